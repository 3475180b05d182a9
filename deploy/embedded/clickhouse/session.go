package clickhouse

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"unsafe"
)

// session is one connection to the engine: its current database, settings and temporary tables. It takes one statement at a
// time and belongs to one goroutine.
//
// The front opens a session for each request and closes it with the answer, as a ClickHouse server does for a request
// without a session_id: nothing of a request (USE, SET, temporary tables) can reach the next one. That costs a fifth of a
// millisecond. Keeping sessions for reuse would be wrong even with their settings reset: when a statement fails after its
// first block, the engine hands that block out as the beginning of the session's next result.
type session struct {
	lib    *library
	handle *uintptr
}

// parameters are the {name:Type} values of a statement.
type parameters struct {
	names, values []string
}

// openSession opens a session on dir. The first one boots the engine, closing the last one shuts it down.
func openSession(lib *library, dir string) (*session, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	// A server has implicit_select ("x" means "SELECT x") off, and runs in UTC wherever its machine is.
	argv := newCStrings(&pin, []string{"clickhouse", "--path=" + dir, "--implicit_select=0", "--session_timezone=UTC"})
	handle := lib.connect(int32(len(argv.pointers)), argv.pointer())
	if handle == nil {
		return nil, fmt.Errorf("opening the data folder %s: the ClickHouse engine refused it", dir)
	}
	return &session{lib: lib, handle: handle}, nil
}

func (s *session) close() {
	s.lib.closeConn(s.handle)
}

// analyze parses a statement without running it.
func (s *session) analyze(sql string) analysis {
	text, length := cText(sql)
	out := &analysis{size: uint32(unsafe.Sizeof(analysis{}))}
	s.lib.classify(*s.handle, text, length, nil, 0, out)
	return *out
}

// run runs a statement that has no data behind it. The caller closes the result.
func (s *session) run(sql, format string, params parameters) (*result, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	names, values := newCStrings(&pin, params.names), newCStrings(&pin, params.values)
	text, length := cText(sql)
	formatText, formatLength := cText(format)
	return newResult(s.lib, s.lib.query(*s.handle, text, length, formatText, formatLength,
		names.pointer(), names.lengthsPointer(), values.pointer(), values.lengthsPointer(), uintptr(len(params.names))))
}

// insertChunk bounds what an insert holds in memory here; the engine blocks the stream when it is behind.
const insertChunk = 256 << 10

var insertBuffers = sync.Pool{New: func() any { return new([insertChunk]byte) }}

// errReadingBody is returned by insert when the data could not be read to its end; nothing of the unfinished block is kept.
var errReadingBody = errors.New("reading the request's body")

// insert runs an INSERT whose data comes from a reader, in any input format. The head has neither a FORMAT clause nor data:
// inline data given to run would be cut at its first empty line.
func (s *session) insert(head, format string, params parameters, data io.Reader) (*result, error) {
	stream := s.openInsert(head, format, params)
	// Closing a stream that is not done cancels it.
	defer s.lib.destroyStream(stream)
	if text := s.lib.streamError(stream); text != "" {
		return nil, parseException(text)
	}
	buffer := insertBuffers.Get().(*[insertChunk]byte)
	defer insertBuffers.Put(buffer)
	for {
		n, err := fill(data, buffer[:])
		if n > 0 && s.lib.streamAppend(stream, &buffer[0], uintptr(n)) != 0 {
			return nil, parseException(s.lib.streamError(stream))
		}
		switch {
		case err == io.EOF: //nolint:errorlint // as Reader has it: an EOF inside another error is a body that was cut off
			return newResult(s.lib, s.lib.streamDone(stream))
		case err != nil:
			return nil, fmt.Errorf("%w: %w", errReadingBody, err)
		}
	}
}

// fill reads until the buffer is full or the reader fails. io.ReadFull would answer the end of the data and a body that was
// cut off with the same io.ErrUnexpectedEOF.
func fill(data io.Reader, buffer []byte) (n int, err error) {
	for n < len(buffer) && err == nil {
		var read int
		read, err = data.Read(buffer[n:])
		n += read
	}
	return n, err
}

func (s *session) openInsert(head, format string, params parameters) uintptr {
	var pin runtime.Pinner
	defer pin.Unpin()
	names, values := newCStrings(&pin, params.names), newCStrings(&pin, params.values)
	text, length := cText(head)
	formatText, formatLength := cText(format)
	return s.lib.streamInsert(*s.handle, text, length, formatText, formatLength,
		names.pointer(), names.lengthsPointer(), values.pointer(), values.lengthsPointer(), uintptr(len(params.names)))
}

// result is what a statement gave. Its bytes are the engine's memory until close.
type result struct {
	lib    *library
	handle uintptr
}

func newResult(lib *library, handle uintptr) (*result, error) {
	r := &result{lib: lib, handle: handle}
	if text := lib.resultError(handle); text != "" {
		r.close()
		return nil, parseException(text)
	}
	return r, nil
}

func (r *result) bytes() []byte {
	return unsafe.Slice(r.lib.resultBuffer(r.handle), r.lib.resultLength(r.handle))
}

func (r *result) close() {
	r.lib.destroyResult(r.handle)
}

// cText returns a string as C wants it. The pointer is good for the call that it is an argument of.
func cText(s string) (*byte, uintptr) {
	if s == "" {
		return nil, 0
	}
	return unsafe.StringData(s), uintptr(len(s))
}
