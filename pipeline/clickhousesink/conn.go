package clickhousesink

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// Open makes a connection pool from a URL such as
// http://user:password@host:8123/revenue, or clickhouse:// for the native
// protocol. It does no I/O. Its errors never hold the URL, for the sake of the
// password in it.
func Open(rawURL string) (clickhouse.Conn, error) {
	u, err := url.Parse(strings.TrimSpace(rawURL))
	if err != nil || u.Host == "" {
		return nil, errors.New("CLICKHOUSE_URL is not a URL such as http://user:password@host:8123/revenue")
	}
	if !slices.Contains([]string{"http", "https", "clickhouse", "tcp"}, u.Scheme) { // the driver takes any other for the native protocol
		return nil, errors.New("CLICKHOUSE_URL has an unsupported scheme; http, https, clickhouse and tcp are supported")
	}
	if strings.Trim(u.Path, "/") == "" {
		return nil, errors.New("CLICKHOUSE_URL names no database; add it as the path, such as /revenue")
	}
	opts, err := clickhouse.ParseDSN(u.String())
	if err != nil {
		return nil, errors.New("CLICKHOUSE_URL has an unsupported option")
	}
	opts.DialTimeout = 10 * time.Second
	conn, err := clickhouse.Open(opts)
	if err != nil {
		return nil, errors.New("CLICKHOUSE_URL has an unsupported option")
	}
	return conn, nil
}
