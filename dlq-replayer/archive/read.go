package archive

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/parquet-go/parquet-go"

	"github.com/revstream/revstream/pipeline/deadletter"
)

// Reader reads the letters of an archive. It is not safe for concurrent use.
type Reader struct {
	next func(*row) error // io.EOF ends
	unit string           // of what is counted: line or row
	n    int
	err  error // that ended it

	file *os.File // nil when the archive comes from a stream
}

// Open opens an archive, or takes stdin if the path is -, which only JSON lines can be read from. An empty format is that of the
// path's name.
func Open(path, format string, stdin io.Reader) (*Reader, error) {
	var err error
	if format == "" {
		if format, err = FormatOf(path); err != nil {
			return nil, err
		}
	}
	r := &Reader{}
	in := stdin
	if path != "-" {
		if r.file, err = os.Open(path); err != nil {
			return nil, fmt.Errorf("opening the archive: %w", err)
		}
		in = r.file
	}
	switch {
	case format == JSONLines:
		r.readLines(in)
	case format == Parquet && r.file == nil:
		err = errors.New("Parquet cannot be read from standard input, as it is read from its end: name a file")
	case format == Parquet:
		err = r.readTable()
	default:
		err = fmt.Errorf("%q is not a format: %s or %s", format, JSONLines, Parquet)
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// Next returns the next letter, with the place that it was exported from; io.EOF follows the last. Any other error names the line
// or row, and none of its content; nothing can be read after it.
func (r *Reader) Next() (deadletter.Letter, error) {
	if r.err != nil {
		return deadletter.Letter{}, r.err
	}
	letter, err := r.read()
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%s %d of the archive %w", r.unit, r.n, err)
	}
	r.err = err
	return letter, err
}

func (r *Reader) read() (deadletter.Letter, error) {
	var current row
	r.n++
	if err := r.next(&current); err != nil {
		return deadletter.Letter{}, err
	}
	return current.letter()
}

// Close releases the archive's file.
func (r *Reader) Close() {
	if r.file != nil {
		_ = r.file.Close() // it was only read
	}
}

// maxLine of a file: the largest letter twice, in base64 and decoded.
const maxLine = 256 << 20

func (r *Reader) readLines(in io.Reader) {
	r.unit = "line"
	buffered := bufio.NewReaderSize(in, 64<<10)
	lines := bufio.NewScanner(buffered)
	lines.Buffer(nil, maxLine)
	r.next = func(into *row) error {
		if r.n == 1 {
			if first, err := buffered.Peek(1); err == nil && first[0] != '{' {
				return errors.New("is not a JSON object: is the archive of another format?")
			}
		}
		switch {
		case lines.Scan():
			return parseLine(lines.Bytes(), into)
		case errors.Is(lines.Err(), bufio.ErrTooLong):
			return fmt.Errorf("is longer than %d bytes", maxLine)
		case lines.Err() != nil:
			return fmt.Errorf("cannot be read: %w", lines.Err())
		}
		return io.EOF
	}
}

// parseLine reads a line's object. Errors of decoding may quote it, and are told in other words.
func parseLine(line []byte, into *row) error {
	err := json.Unmarshal(line, into)
	if err == nil {
		return nil
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("has a field %s of another type", wrong.Field)
	}
	if _, ok := errors.AsType[base64.CorruptInputError](err); ok {
		return errors.New("is damaged: bytes are not base64")
	}
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		if syntax.Offset >= int64(len(bytes.TrimRight(line, " \t\r"))) {
			return errors.New("is cut off")
		}
		return fmt.Errorf("is not JSON, from byte %d on", syntax.Offset)
	}
	return fmt.Errorf("is damaged: %w", err)
}

func (r *Reader) readTable() error {
	file, err := openTable(r.file)
	if err != nil {
		return err
	}
	r.unit = "row"
	table := parquet.NewGenericReader[row](file)
	var read []row
	batch := make([]row, batchRows)
	r.next = func(into *row) error {
		if len(read) == 0 {
			n, err := readRows(table, batch)
			if n == 0 {
				return err
			}
			read = batch[:n]
		}
		*into, read = read[0], read[1:]
		return nil
	}
	return nil
}

// batchRows are read at once. They may be large.
const batchRows = 32

// readRows reads rows, or returns why there are none.
func readRows(table *parquet.GenericReader[row], into []row) (n int, err error) {
	defer func() {
		// The library takes a file at its word, and panics on one that lies.
		if p := recover(); p != nil {
			n, err = 0, errors.New("or one soon after it is damaged")
		}
	}()
	n, err = table.Read(into)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("or one soon after it cannot be read: %w", err)
	}
	if n == 0 && err == nil {
		err = io.ErrNoProgress
	}
	return n, err
}

// openTable opens a file that has the columns of an export.
func openTable(in *os.File) (file *parquet.File, err error) {
	defer func() {
		if p := recover(); p != nil { // as in readRows
			file, err = nil, errors.New("the archive is no whole Parquet file: its schema is damaged")
		}
	}()
	size, err := tableSize(in)
	if err != nil {
		return nil, fmt.Errorf("the archive is no whole Parquet file: %w", err)
	}
	// The index and the filters are for those who look for something.
	file, err = parquet.OpenFile(in, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, fmt.Errorf("the archive is no whole Parquet file: %w", err)
	}
	ours, theirs := parquet.SchemaOf(row{}), file.Schema()
	for _, column := range ours.Columns() {
		want, _ := ours.Lookup(column...)
		got, ok := theirs.Lookup(column...)
		if !ok || !parquet.EqualNodes(want.Node, got.Node) {
			return nil, fmt.Errorf("the archive is not an export of dead letters: it has no column %s, or one of another type", column[0])
		}
	}
	return file, nil
}

// tableSize is a file's size, if its end is that of a table: the length of its footer, for which the library would make room
// however large, and a mark.
func tableSize(in *os.File) (int64, error) {
	info, err := in.Stat()
	if err != nil {
		return 0, err
	}
	const mark = "PAR1"
	end := make([]byte, 4+len(mark))
	if _, err := in.ReadAt(end, max(info.Size()-int64(len(end)), 0)); err != nil {
		return 0, errors.New("it is too short")
	}
	footer := int64(binary.LittleEndian.Uint32(end))
	if string(end[4:]) != mark || footer > info.Size()-int64(len(end)+len(mark)) {
		return 0, errors.New("it is cut off, or of another format")
	}
	return info.Size(), nil
}
