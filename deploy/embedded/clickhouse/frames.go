package clickhouse

import (
	"errors"
	"fmt"
	"io"

	"github.com/ClickHouse/ch-go/compress"
)

// frameSize bounds what one compressed frame of an answer holds.
const frameSize = 1 << 20

// frameWriter writes ClickHouse's compressed frames.
type frameWriter struct {
	out        io.Writer
	compressor *compress.Writer
}

func newFrameWriter(out io.Writer) *frameWriter {
	return &frameWriter{out: out, compressor: compress.NewWriter(compress.LevelZero, compress.LZ4)}
}

func (f *frameWriter) Write(data []byte) (int, error) {
	written := 0
	for len(data) > 0 {
		chunk := data[:min(len(data), frameSize)]
		if err := f.compressor.Compress(chunk); err != nil {
			return written, fmt.Errorf("compressing the answer: %w", err)
		}
		if _, err := f.out.Write(f.compressor.Data); err != nil {
			return written, err
		}
		written += len(chunk)
		data = data[len(chunk):]
	}
	return written, nil
}

// frameReader reads ClickHouse's compressed frames. The library's reader wraps the end in an error of its own, which is the
// same for a body that ends behind a frame and one that ends inside it: only the first is an end.
type frameReader struct {
	source *countingReader
	frames *compress.Reader
}

func newFrameReader(source io.Reader) *frameReader {
	counting := &countingReader{source: source}
	return &frameReader{source: counting, frames: compress.NewReader(counting)}
}

func (f *frameReader) Read(p []byte) (int, error) {
	before := f.source.read
	n, err := f.frames.Read(p)
	if errors.Is(err, io.EOF) && f.source.read == before {
		return n, io.EOF
	}
	if errors.Is(err, io.EOF) {
		return n, fmt.Errorf("a compressed frame is cut off: %w", io.ErrUnexpectedEOF)
	}
	return n, err
}

type countingReader struct {
	source io.Reader
	read   int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.source.Read(p)
	c.read += int64(n)
	return n, err
}
