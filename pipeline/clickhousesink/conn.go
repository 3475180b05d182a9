package clickhousesink

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/revstream/revstream/pipeline/tracing"
)

// Open makes a connection pool from a URL such as
// http://user:password@host:8123/revenue. It does no I/O. Its errors never hold
// the URL, for the sake of the password in it.
//
// It is ClickHouse's HTTP interface alone, as only that takes blocks that stand encoded.
func Open(rawURL string) (clickhouse.Conn, error) {
	u, err := url.Parse(strings.TrimSpace(rawURL))
	if err != nil || u.Host == "" {
		return nil, errors.New("CLICKHOUSE_URL is not a URL such as http://user:password@host:8123/revenue")
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("CLICKHOUSE_URL has an unsupported scheme; give the HTTP interface, such as http://host:8123/revenue or https://host:8443/revenue")
	}
	if strings.Trim(u.Path, "/") == "" {
		return nil, errors.New("CLICKHOUSE_URL names no database; add it as the path, such as /revenue")
	}
	opts, err := clickhouse.ParseDSN(u.String())
	if err != nil {
		return nil, errors.New("CLICKHOUSE_URL has an unsupported option")
	}
	opts.DialTimeout = 10 * time.Second
	opts.TransportFunc = func(next *http.Transport) (http.RoundTripper, error) { return spanning{next}, nil }
	conn, err := clickhouse.Open(opts)
	if err != nil {
		return nil, errors.New("CLICKHOUSE_URL has an unsupported option")
	}
	return conn, nil
}

// spanning is a transport that names the span of a request's context to ClickHouse, whose own spans then are below it. The
// driver does so for the native protocol alone.
type spanning struct{ *http.Transport }

// RoundTrip implements http.RoundTripper.
func (s spanning) RoundTrip(req *http.Request) (*http.Response, error) {
	if traceparent := tracing.Traceparent(req.Context()); traceparent != nil {
		req = req.Clone(req.Context())
		req.Header.Set(tracing.Header, string(traceparent))
	}
	return s.Transport.RoundTrip(req)
}
