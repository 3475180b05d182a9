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

	"github.com/revstream/revstream/pipeline/resilience"
)

// ReasonRejected is the reason of a row that ClickHouse can never take.
const ReasonRejected = "sink_rejected"

// rejection says, without any value, why the rows can never go in, or "" if
// the error may pass.
func rejection(err error) string {
	if exception, ok := errors.AsType[*clickhouse.Exception](err); ok {
		if known := codes[exception.Code]; known.class == rejects {
			return fmt.Sprintf("error %d %s", exception.Code, known.name)
		}
	}
	return ""
}

// failure is an error of ClickHouse or of its driver. Its text is what is safe
// to log: ClickHouse's own texts may quote values, and the driver's URLs name users.
type failure struct{ err error }

func (f *failure) Unwrap() error { return f.err }

// Safe makes an error of ClickHouse, or of its driver, one whose text may be shown and logged.
func Safe(err error) error { return &failure{err} }

// Class says what ends the outage: what the table of codes has, or what the network says.
func (f *failure) Class() resilience.Class {
	exception, ok := errors.AsType[*clickhouse.Exception](f.err)
	if !ok {
		// Of what answers in ClickHouse's place a status of 5xx is known: a proxy without a server behind it.
		if answer, ok := errors.AsType[*clickhouse.HTTPError](f.err); ok && answer.StatusCode >= 500 || errors.Is(f.err, clickhouse.ErrAcquireConnTimeout) {
			return resilience.Passes
		}
		return resilience.ClassOf(f.err)
	}
	if known, ok := codes[exception.Code]; ok {
		return known.class
	}
	return resilience.Unknown
}

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

// codeOf labels an error in metrics: its ClickHouse code, or what it is else.
func codeOf(err error) string {
	if exception, ok := errors.AsType[*clickhouse.Exception](err); ok {
		return strconv.Itoa(int(exception.Code))
	}
	return codeConnection
}
