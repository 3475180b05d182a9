package archive

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/parquet-go/parquet-go"
)

// A group of a table's rows is in memory until it is full.
const (
	groupRows  = 10_000
	groupBytes = 4 << 20
)

// Writer writes an archive. It is not safe for concurrent use.
type Writer struct {
	reveal bool
	write  func(row) error
	finish func() error

	file *os.File // nil when the archive goes to a stream
	path string
}

// Create begins an archive in a file, or on stdout if the path is -. An empty format is that of the path's name. With reveal it
// has the letters' bytes, and can be imported. The file has its name once Close has made it whole; until then, and if Abort
// is called instead, one that is there stays as it is.
func Create(path, format string, stdout io.Writer, reveal bool) (*Writer, error) {
	var err error
	if format == "" {
		if format, err = FormatOf(path); err != nil {
			return nil, err
		}
	}
	w := &Writer{reveal: reveal, path: path}
	out := stdout
	if path != "-" {
		w.file, err = os.OpenFile(partOf(path), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) // it may hold personal data
		if err != nil {
			return nil, fmt.Errorf("creating the archive: %w", err)
		}
		out = w.file
	}
	switch format {
	case JSONLines:
		w.writeLines(out)
	case Parquet:
		w.writeTable(out)
	default:
		w.Abort()
		return nil, fmt.Errorf("%q is not a format: %s or %s", format, JSONLines, Parquet)
	}
	return w, nil
}

func partOf(path string) string { return path + ".part" }

func (w *Writer) writeLines(out io.Writer) {
	buffered := bufio.NewWriterSize(out, 64<<10)
	enc := json.NewEncoder(buffered)
	enc.SetEscapeHTML(false)
	w.write = func(r row) error { return enc.Encode(&r) }
	w.finish = buffered.Flush
}

func (w *Writer) writeTable(out io.Writer) {
	table := parquet.NewGenericWriter[row](out, parquet.Compression(&parquet.Snappy),
		parquet.CreatedBy("revstream", "1", ""), parquet.SkipPageBounds("value"), parquet.SkipPageBounds("value_bytes"))
	rows, bytes := 0, 0
	w.write = func(r row) error {
		if _, err := table.Write([]row{r}); err != nil {
			return err
		}
		rows, bytes = rows+1, bytes+len(r.ValueBytes)+len(r.Value)+len(r.Headers)
		if rows < groupRows && bytes < groupBytes {
			return nil
		}
		rows, bytes = 0, 0
		return table.Flush()
	}
	w.finish = table.Close
}

// Write adds a letter.
func (w *Writer) Write(rec Record) error {
	r, err := newRow(rec, w.reveal)
	if err == nil {
		err = w.write(r)
	}
	if err != nil {
		return fmt.Errorf("writing %s to the archive: %w", rec.ID, err)
	}
	return nil
}

// Close makes the archive whole.
func (w *Writer) Close() error {
	err := w.finish()
	if w.file == nil {
		if err != nil {
			return fmt.Errorf("finishing the archive: %w", err)
		}
		return nil
	}
	if err == nil {
		err = w.file.Sync()
	}
	if err = errors.Join(err, w.file.Close()); err == nil {
		err = os.Rename(partOf(w.path), w.path)
	}
	if err != nil {
		w.Abort()
		return fmt.Errorf("finishing the archive: %w", err)
	}
	w.file = nil
	return nil
}

// Abort gives the archive up. After Close it does nothing.
func (w *Writer) Abort() {
	if w.file == nil {
		return
	}
	_ = w.file.Close() // it is thrown away
	_ = os.Remove(partOf(w.path))
	w.file = nil
}
