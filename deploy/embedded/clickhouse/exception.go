package clickhouse

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// exception is a ClickHouse error: what clients classify is its code.
type exception struct {
	code int
	text string // "Code: 60. DB::Exception: … (UNKNOWN_TABLE)"
}

func (e *exception) Error() string { return e.text }

// ClickHouse's codes for what the front itself refuses.
const (
	codeNotImplemented    = 48
	codeSyntaxError       = 62
	codeUnknownFormat     = 73
	codeReadonly          = 164
	codeUnknownCompressed = 89
	codeCannotReadAll     = 33
	codeIncorrectRequest  = 36
	codeUnknownException  = 1002
	codeCannotSchedule    = 439
)

func newException(code int, name, format string, args ...any) *exception {
	return &exception{code: code, text: fmt.Sprintf("Code: %d. DB::Exception: %s. (%s)", code, fmt.Sprintf(format, args...), name)}
}

var exceptionCode = regexp.MustCompile(`Code: (\d+)\.`)

// parseException reads an error text of the engine.
func parseException(text string) *exception {
	found := exceptionCode.FindStringSubmatchIndex(text)
	if found == nil {
		return newException(codeUnknownException, "UNKNOWN_EXCEPTION", "%s", strings.TrimSuffix(text, "."))
	}
	code, _ := strconv.Atoi(text[found[2]:found[3]])
	return &exception{code: code, text: text[found[0]:]}
}

// status is the HTTP status that a ClickHouse server answers an exception with.
func (e *exception) status() int {
	switch e.code {
	case 46, 47, 50, 56, 60, 63, codeUnknownFormat, 81, 115: // UNKNOWN_FUNCTION, _IDENTIFIER, _TYPE, _STORAGE, _TABLE, …
		return http.StatusNotFound
	case 6, 25, 26, 27, codeIncorrectRequest, 38, 41, 53, codeSyntaxError, 69, 72, 117, 427: // CANNOT_PARSE_*, BAD_ARGUMENTS, TYPE_MISMATCH, …
		return http.StatusBadRequest
	case codeNotImplemented:
		return http.StatusNotImplemented
	case codeCannotSchedule:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}
