package clickhousesink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// ReasonRejected is the reason of a row that ClickHouse can never take.
const ReasonRejected = "sink_rejected"

// rejections are the codes of ClickHouse that say "this row, never": trying
// again, now or in an hour, gives the same answer. Names and numbers are those
// of ClickHouse's ErrorCodes.cpp.
//
// Everything else is an outage and is waited for, also what looks permanent
// but is an operator's to mend: a missing table (60), missing rights (497), a
// full disk (243), a read-only table (242). So is a code that is not known
// here: to wait with a code that will never pass costs time and raises an
// alert; to dead-letter on one that would have passed costs data's order.
var rejections = map[int32]string{
	6:   "CANNOT_PARSE_TEXT",
	27:  "CANNOT_PARSE_INPUT_ASSERTION_FAILED",
	38:  "CANNOT_PARSE_DATE",
	41:  "CANNOT_PARSE_DATETIME",
	53:  "TYPE_MISMATCH",
	69:  "ARGUMENT_OUT_OF_BOUND",
	70:  "CANNOT_CONVERT_TYPE",
	72:  "CANNOT_PARSE_NUMBER",
	117: "INCORRECT_DATA",
	131: "TOO_LARGE_STRING_SIZE",
	321: "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE",
	349: "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN",
	376: "CANNOT_PARSE_UUID",
	407: "DECIMAL_OVERFLOW",
	469: "VIOLATED_CONSTRAINT",
	691: "UNKNOWN_ELEMENT_OF_ENUM",
}

// conversionError is the driver's refusal to put a value into a column. The
// server never saw it. Its text names the column; the cause may quote values.
type conversionError struct {
	column string
	err    error
}

func (e *conversionError) Error() string {
	return fmt.Sprintf("column %s does not take a value", e.column)
}

func (e *conversionError) Unwrap() error { return e.err }

// rejection says, without any value, why the rows can never go in, or "" if
// the error may pass.
func rejection(err error) string {
	if conversion, ok := errors.AsType[*conversionError](err); ok {
		return conversion.Error()
	}
	if exception, ok := errors.AsType[*clickhouse.Exception](err); ok {
		if name, ok := rejections[exception.Code]; ok {
			return fmt.Sprintf("error %d %s", exception.Code, name)
		}
	}
	return ""
}

// failure is an error of ClickHouse or of its driver. Its text is what is safe
// to log: ClickHouse's own texts may quote values, and the driver's URLs name users.
type failure struct{ err error }

func (f *failure) Unwrap() error { return f.err }

func (f *failure) Error() string {
	var exception *clickhouse.Exception
	var answer *clickhouse.HTTPError
	var request *url.Error
	var network net.Error
	switch err := f.err; {
	case errors.As(err, &exception):
		return strings.TrimSpace(fmt.Sprintf("ClickHouse error %d %s", exception.Code, exception.CodeName))
	case errors.As(err, &answer):
		return fmt.Sprintf("HTTP status %d, not from ClickHouse", answer.StatusCode)
	case errors.As(err, &request):
		return request.Err.Error()
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, clickhouse.ErrAcquireConnTimeout), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return err.Error()
	case errors.As(err, &network):
		return network.Error()
	default:
		return fmt.Sprintf("the driver failed (%T)", err)
	}
}

// class labels an error in metrics: its ClickHouse code, or what it is else.
func class(err error) string {
	var exception *clickhouse.Exception
	var conversion *conversionError
	switch {
	case errors.As(err, &exception):
		return strconv.Itoa(int(exception.Code))
	case errors.As(err, &conversion):
		return "conversion"
	default:
		return "connection"
	}
}
