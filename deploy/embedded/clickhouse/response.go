package clickhouse

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	chproto "github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
	"github.com/ClickHouse/clickhouse-go/v2/lib/proto"
)

// writeResult answers with a statement's result in the encodings that the request asks for.
func writeResult(w http.ResponseWriter, req *request, format string, res *result) error {
	header := w.Header()
	header.Set("Content-Type", contentType(format))
	header.Set("X-ClickHouse-Format", format)
	header.Set("X-ClickHouse-Summary", res.summary())
	data := res.bytes()
	if len(data) == 0 {
		header.Set("Content-Length", "0")
		return nil
	}
	if !req.gzip {
		return writeData(w, req, format, data)
	}
	header.Set("Content-Encoding", "gzip")
	compressed, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err := writeData(compressed, req, format, data); err != nil {
		return err // without the end that Close writes, which would make it look whole
	}
	return compressed.Close()
}

func writeData(out io.Writer, req *request, format string, data []byte) error {
	if req.frames {
		out = newFrameWriter(out)
	}
	if req.revision > 0 && strings.EqualFold(format, "Native") {
		return writeNative(out, data, req.revision)
	}
	_, err := out.Write(data)
	return err
}

// writeNative translates Native blocks of revision 0, which is what the library writes, to the revision that the client
// decodes: it expects block info and a serialization byte for each column.
func writeNative(out io.Writer, data []byte, revision uint64) error {
	reader := chproto.NewReader(bytes.NewReader(data))
	buffer := new(chproto.Buffer)
	for {
		block := proto.Block{ServerContext: &column.ServerContext{Revision: revision}}
		if err := block.Decode(reader, 0); errors.Is(err, io.EOF) && len(block.Columns) == 0 {
			return nil
		} else if err != nil {
			return fmt.Errorf("decoding the engine's Native block: %w", err)
		}
		buffer.Reset()
		if err := block.Encode(buffer, revision); err != nil {
			return fmt.Errorf("encoding a Native block: %w", err)
		}
		if _, err := out.Write(buffer.Buf); err != nil {
			return err
		}
	}
}

// writeException answers with an error as a ClickHouse server words it.
func writeException(w http.ResponseWriter, failure *exception) {
	header := w.Header()
	header.Set("Content-Type", "text/plain; charset=UTF-8")
	header.Set("X-ClickHouse-Exception-Code", strconv.Itoa(failure.code))
	w.WriteHeader(failure.status())
	_, _ = io.WriteString(w, strings.TrimRight(failure.text, "\n")+"\n")
}

// summary is the X-ClickHouse-Summary header: numbers as strings, as the server writes them.
func (r *result) summary() string {
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	text, _ := json.Marshal(map[string]string{
		"read_rows":     number(r.lib.resultReadRows(r.handle)),
		"read_bytes":    number(r.lib.resultReadBytes(r.handle)),
		"written_rows":  number(r.lib.resultWrittenRows(r.handle)),
		"written_bytes": number(r.lib.resultWrittenBytes(r.handle)),
		"result_rows":   number(r.lib.resultRows(r.handle)),
		"result_bytes":  number(uint64(r.lib.resultLength(r.handle))),
		"elapsed_ns":    number(uint64(r.lib.resultElapsed(r.handle) * 1e9)),
	})
	return string(text)
}

func contentType(format string) string {
	switch {
	case strings.HasPrefix(format, "JSONEachRow"), strings.HasPrefix(format, "JSONCompactEachRow"):
		return "application/x-ndjson; charset=UTF-8"
	case strings.HasPrefix(format, "JSON"):
		return "application/json; charset=UTF-8"
	case strings.HasPrefix(format, "CSV"):
		return "text/csv; charset=UTF-8"
	case strings.HasPrefix(format, "TabSeparated"), strings.HasPrefix(format, "TSV"):
		return "text/tab-separated-values; charset=UTF-8"
	case format == "Native", strings.HasPrefix(format, "RowBinary"), format == "Parquet":
		return "application/octet-stream"
	default:
		return "text/plain; charset=UTF-8"
	}
}
