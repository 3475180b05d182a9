package clickhouse

import (
	"fmt"
	"runtime"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"
)

// library is the part of libchdb's C interface (chdb.h) that the front needs. Handles are C pointers that Go never follows,
// hence uintptr.
//
// Every function that takes SQL is the one with explicit lengths: the others end a statement at its first NUL byte.
type library struct {
	setSignalHandlersEnabled func(enabled int32)
	connect                  func(argc int32, argv unsafe.Pointer) *uintptr
	closeConn                func(conn *uintptr)
	classify                 func(conn uintptr, sql *byte, sqlLen uintptr, database *byte, databaseLen uintptr, out *analysis) int32
	query                    func(conn uintptr, sql *byte, sqlLen uintptr, format *byte, formatLen uintptr, names, nameLens, values, valueLens unsafe.Pointer, count uintptr) uintptr
	streamInsert             func(conn uintptr, sql *byte, sqlLen uintptr, format *byte, formatLen uintptr, names, nameLens, values, valueLens unsafe.Pointer, count uintptr) uintptr
	streamAppend             func(stream uintptr, data *byte, length uintptr) int32
	streamDone               func(stream uintptr) uintptr
	streamError              func(stream uintptr) string
	destroyStream            func(stream uintptr)
	resultBuffer             func(result uintptr) *byte
	resultLength             func(result uintptr) uintptr
	resultElapsed            func(result uintptr) float64
	resultRows               func(result uintptr) uint64
	resultReadRows           func(result uintptr) uint64
	resultReadBytes          func(result uintptr) uint64
	resultWrittenRows        func(result uintptr) uint64
	resultWrittenBytes       func(result uintptr) uint64
	resultError              func(result uintptr) string
	destroyResult            func(result uintptr)
}

// loadedLibrary is the one library of the process: the engine's state is process-wide, and it cannot be unloaded.
var loadedLibrary struct {
	sync.Mutex
	path string
	lib  *library
}

// loadLibrary loads libchdb, or returns it when it is loaded already. A second path in one process is an error.
func loadLibrary(path string) (*library, error) {
	loadedLibrary.Lock()
	defer loadedLibrary.Unlock()
	switch {
	case loadedLibrary.lib == nil:
		lib, err := bindLibrary(path)
		if err != nil {
			return nil, fmt.Errorf("loading the ClickHouse engine from %s: %w", path, err)
		}
		loadedLibrary.path, loadedLibrary.lib = path, lib
	case loadedLibrary.path != path:
		return nil, fmt.Errorf("loading the ClickHouse engine from %s: the process already runs %s", path, loadedLibrary.path)
	}
	return loadedLibrary.lib, nil
}

func bindLibrary(path string) (lib *library, err error) {
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, err
	}
	// RegisterLibFunc panics on a symbol that the library does not export.
	defer func() {
		if missing := recover(); missing != nil {
			lib, err = nil, fmt.Errorf("it is not the version that package.json pins: %v", missing)
		}
	}()
	lib = &library{}
	for name, function := range map[string]any{
		"chdb_set_signal_handlers_enabled": &lib.setSignalHandlersEnabled,
		"chdb_connect":                     &lib.connect,
		"chdb_close_conn":                  &lib.closeConn,
		"chdb_classify_query_n":            &lib.classify,
		"chdb_query_with_params_n":         &lib.query,
		"chdb_stream_insert_with_params_n": &lib.streamInsert,
		"chdb_stream_append":               &lib.streamAppend,
		"chdb_stream_done":                 &lib.streamDone,
		"chdb_stream_insert_error":         &lib.streamError,
		"chdb_destroy_insert_stream":       &lib.destroyStream,
		"chdb_result_buffer":               &lib.resultBuffer,
		"chdb_result_length":               &lib.resultLength,
		"chdb_result_elapsed":              &lib.resultElapsed,
		"chdb_result_rows_read":            &lib.resultRows,
		"chdb_result_storage_rows_read":    &lib.resultReadRows,
		"chdb_result_storage_bytes_read":   &lib.resultReadBytes,
		"chdb_result_rows_written":         &lib.resultWrittenRows,
		"chdb_result_bytes_written":        &lib.resultWrittenBytes,
		"chdb_result_error":                &lib.resultError,
		"chdb_destroy_query_result":        &lib.destroyResult,
	} {
		purego.RegisterLibFunc(function, handle, name)
	}
	// Before the first connect: the engine would otherwise take SIGSEGV, SIGTRAP and others from the Go runtime.
	lib.setSignalHandlersEnabled(0)
	return lib, nil
}

// statementClass is what a statement does to state that outlives it (chdb_query_class).
type statementClass uint32

const (
	classReadOnly statementClass = 0
	classUnparsed statementClass = 4
)

// analysis is the layout of chdb_query_analysis_v1.
type analysis struct {
	size       uint32
	statements uint32
	_          uint32 // flags
	class      statementClass
}

// cStrings is a list of strings as C wants it: pointers and lengths, alive until the pinner lets go.
type cStrings struct {
	pointers []*byte
	lengths  []uintptr
}

// newCStrings pins the strings' bytes: C holds pointers to them that the collector does not see.
func newCStrings(pin *runtime.Pinner, values []string) cStrings {
	var list cStrings
	for _, value := range values {
		// The extra byte makes an empty string a valid pointer, and ends the string where C counts on it.
		data := append([]byte(value), 0)
		pin.Pin(&data[0])
		list.pointers = append(list.pointers, &data[0])
		list.lengths = append(list.lengths, uintptr(len(value)))
	}
	if len(values) > 0 {
		pin.Pin(&list.pointers[0])
		pin.Pin(&list.lengths[0])
	}
	return list
}

func (s cStrings) pointer() unsafe.Pointer {
	return unsafe.Pointer(unsafe.SliceData(s.pointers))
}

func (s cStrings) lengthsPointer() unsafe.Pointer {
	return unsafe.Pointer(unsafe.SliceData(s.lengths))
}
