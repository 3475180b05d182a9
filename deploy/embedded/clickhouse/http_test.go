package clickhouse_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	kill      = syscall.SIGKILL
	terminate = syscall.SIGTERM
)

// table creates a database with a table t, and returns the parameters that select it.
func table(t *testing.T, name string) url.Values {
	t.Helper()
	require.Equal(t, http.StatusOK, post(t, nil, "CREATE DATABASE "+name).status)
	in := url.Values{"database": {name}}
	require.Equal(t, http.StatusOK, post(t, in, "CREATE TABLE t (n Int64, s String) ENGINE = MergeTree ORDER BY n").status)
	return in
}

func with(values url.Values, pairs ...string) url.Values {
	out := url.Values{}
	maps.Copy(out, values)
	for i := 0; i < len(pairs); i += 2 {
		out.Set(pairs[i], pairs[i+1])
	}
	return out
}

func TestPing(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/ping", "/replicas_status", "/"} {
		got := do(t, http.MethodGet, path, nil, nil)
		require.Equal(t, http.StatusOK, got.status)
		require.Equal(t, "Ok.\n", got.body)
	}
	require.Equal(t, http.StatusNotFound, do(t, http.MethodGet, "/nope", nil, nil).status)
}

func TestFormats(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ query, body, want, contentType string }{
		"default":            {"", "SELECT 1, 'a'", "1\ta\n", "text/tab-separated-values; charset=UTF-8"},
		"clause":             {"", "SELECT 1 AS x, 'a' AS y FORMAT CSVWithNames", "\"x\",\"y\"\n1,\"a\"\n", "text/csv; charset=UTF-8"},
		"clause and ;":       {"default_format=CSV", "SELECT 1 AS x FORMAT JSONEachRow ;\n", "{\"x\":1}\n", "application/x-ndjson; charset=UTF-8"},
		"clause, settings":   {"", "SELECT 1 AS x FORMAT JSONEachRow SETTINGS max_threads = 1", "{\"x\":1}\n", "application/x-ndjson; charset=UTF-8"},
		"default_format":     {"default_format=JSONEachRow", "SELECT 1 AS x", "{\"x\":1}\n", "application/x-ndjson; charset=UTF-8"},
		"in a string":        {"", "SELECT 'FORMAT JSON' -- FORMAT CSV", "FORMAT JSON\n", "text/tab-separated-values; charset=UTF-8"},
		"column of the name": {"", "SELECT format FROM (SELECT 1 AS format) ORDER BY format DESC", "1\n", "text/tab-separated-values; charset=UTF-8"},
		"query and body":     {"query=SELECT+1", "+ 1", "2\n", "text/tab-separated-values; charset=UTF-8"},
		"parameter":          {"param_x=it%27s", "SELECT {x:String}", "it\\'s\n", "text/tab-separated-values; charset=UTF-8"},
		"credentials":        {"user=someone&password=secret&wait_end_of_query=1", "SELECT 1", "1\n", "text/tab-separated-values; charset=UTF-8"},
		"setting":            {"max_threads=3", "SELECT getSetting('max_threads')", "3\n", "text/tab-separated-values; charset=UTF-8"},
		"setting not kept":   {"", "SELECT count() FROM system.settings WHERE changed AND name = 'max_threads'", "0\n", "text/tab-separated-values; charset=UTF-8"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := do(t, http.MethodPost, "/?"+test.query, strings.NewReader(test.body), nil)
			require.Equal(t, http.StatusOK, got.status, got.body)
			require.Equal(t, test.want, got.body)
			require.Equal(t, test.contentType, got.header.Get("Content-Type"))
			require.NotEmpty(t, got.header.Get("X-ClickHouse-Query-Id"))
		})
	}
}

func TestGetIsReadonly(t *testing.T) {
	t.Parallel()
	in := table(t, "readonly")
	get := func(query string) answer {
		return do(t, http.MethodGet, "/?"+with(in, "query", query).Encode(), nil, nil)
	}
	require.Equal(t, "0\n", get("SELECT count() FROM t").body)
	for _, sql := range []string{"INSERT INTO t VALUES (1, 'x')", "DROP TABLE t", "SYSTEM STOP MERGES"} {
		got := get(sql)
		require.Equal(t, "164", got.header.Get("X-ClickHouse-Exception-Code"), got.body)
	}
	require.Equal(t, "0\n", get("SELECT count() FROM t").body)
}

func TestInsertFormats(t *testing.T) {
	t.Parallel()
	in := table(t, "formats")
	for name, test := range map[string]struct{ query, body string }{
		"values in the body":     {"", "INSERT INTO t VALUES (1, 'a\n\nb\\0'), (2, concat('x', 'y'));\n"},
		"values after the query": {"INSERT INTO t (n, s) VALUES", "(1, 'a\n\nb\\0'), (2, 'xy')"},
		"lower case, comments":   {"", "/* VALUES */ insert into t -- FORMAT\n (s, n) values ('a\n\nb\\0', 1), ('xy', 2)"},
		"settings":               {"", "INSERT INTO t SETTINGS async_insert = 0 VALUES (1, 'a\n\nb\\0'), (2, 'xy')"},
		"JSONEachRow":            {"INSERT INTO t FORMAT JSONEachRow", `{"n":1,"s":"a\n\nb\u0000"}` + "\n\n" + `{"s":"xy","n":2}`},
		"CSV":                    {"INSERT INTO t (s, n) FORMAT CSV", "\"a\n\nb\x00\",1\n\"xy\",2\n"},
		"TSV in the body":        {"", "INSERT INTO t FORMAT TSV\n1\ta\\n\\nb\\0\n2\txy\n"},
		"RowBinary":              {"INSERT INTO t FORMAT RowBinary", "\x01\x00\x00\x00\x00\x00\x00\x00\x05a\n\nb\x00\x02\x00\x00\x00\x00\x00\x00\x00\x02xy"},
		"select":                 {"", "INSERT INTO t SELECT number + 1, ['a\n\nb\\0', 'xy'][number + 1] FROM numbers(2)"},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, http.StatusOK, post(t, in, "TRUNCATE TABLE t").status)
			query := with(in)
			if test.query != "" {
				query.Set("query", test.query)
			}
			got := post(t, query, test.body)
			require.Equal(t, http.StatusOK, got.status, got.body)
			require.Contains(t, got.header.Get("X-ClickHouse-Summary"), `"written_rows":"2"`)
			require.Equal(t, "1\t610A0A6200\n2\t7879\n", post(t, in, "SELECT n, hex(s) FROM t ORDER BY n").body)
		})
	}
}

// A body far larger than any buffer of the front, compressed and of unknown length.
func TestLongInsert(t *testing.T) {
	t.Parallel()
	const rows = 50_000
	in := table(t, "long")
	reader, writer := io.Pipe()
	go func() {
		compressed := gzip.NewWriter(writer)
		for i := range rows {
			fmt.Fprintf(compressed, "%d,\"%040d\n\n\"\n", i, i)
		}
		writer.CloseWithError(compressed.Close())
	}()
	got := do(t, http.MethodPost, "/?"+with(in, "query", "INSERT INTO t FORMAT CSV").Encode(), reader, http.Header{"Content-Encoding": {"gzip"}})
	require.Equal(t, http.StatusOK, got.status, got.body)
	require.Equal(t, fmt.Sprintf("%d\t%d\t42\n", rows, rows), post(t, in, "SELECT count(), uniqExact(n), any(length(s)) FROM t").body)
}

// The client goes away between two whole rows: what is not finished must not be taken for the end.
func TestBrokenInsertIsNotDone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, dir)
	require.NoError(t, open(t, p, nil).Exec(t.Context(), "CREATE TABLE t (n Int64, s String) ENGINE = MergeTree ORDER BY n"))
	reader, writer := io.Pipe()
	query := url.Values{"query": {"INSERT INTO t FORMAT CSV"}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+p.addr+"/?"+query.Encode(), reader)
	require.NoError(t, err)
	sent := make(chan error, 1)
	go func() {
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			err = errors.Join(errors.New("answered"), response.Body.Close())
		}
		sent <- err
	}()
	_, err = writer.Write(bytes.Repeat([]byte("1,x\n"), 100_000))
	require.NoError(t, err)
	require.NoError(t, writer.CloseWithError(errors.New("gone")))
	require.ErrorContains(t, <-sent, "gone")
	// An ordered stop waits until the front is through with the request.
	require.NoError(t, p.stop(terminate))
	p = start(t, dir)
	var count uint64
	require.NoError(t, open(t, p, nil).QueryRow(t.Context(), "SELECT count() FROM t").Scan(&count))
	require.Zero(t, count)
	require.NoError(t, p.stop(terminate))
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		query, body, code string
		status            int
		header            http.Header
	}{
		"session":          {query: "session_id=x", body: "SELECT 1", code: "48", status: 501},
		"unknown database": {query: "database=nope", body: "SELECT 1", code: "81", status: 404},
		"unknown setting":  {query: "no_such_setting=1", body: "SELECT 1", code: "115", status: 404},
		"unknown format":   {body: "SELECT 1 FORMAT Nope", code: "73", status: 404},
		"insert format":    {body: "INSERT INTO FUNCTION null('n Int8') FORMAT Nope\n1", code: "73", status: 404},
		"encoding":         {body: "SELECT 1", code: "89", status: 500, header: http.Header{"Content-Encoding": {"br"}}},
		"not gzip":         {body: "SELECT 1", code: "33", status: 500, header: http.Header{"Content-Encoding": {"gzip"}}},
		"not a frame":      {query: "decompress=1", body: strings.Repeat("SELECT 1", 10), code: "33", status: 500},
		"external tables":  {body: "--x--", code: "48", status: 501, header: http.Header{"Content-Type": {"multipart/form-data; boundary=x"}}},
		"too long":         {body: "SELECT '" + strings.Repeat("x", 300<<10) + "'", code: "62", status: 400},
		"nothing":          {body: "", code: "62", status: 400},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := do(t, http.MethodPost, "/?"+test.query, strings.NewReader(test.body), test.header)
			require.Equal(t, test.code, got.header.Get("X-ClickHouse-Exception-Code"), got.body)
			require.Equal(t, test.status, got.status)
			require.Regexp(t, `^Code: `+test.code+`\. DB::Exception: (?s:.+) \([A-Z_]+\)`, got.body)
		})
	}
}

func TestOneProcessOnADataFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, dir)
	_, err := startProcess(dir)
	require.ErrorContains(t, err, "another process uses it; stop that, or choose another with --data-dir")
	require.NoError(t, p.stop(terminate))
}

func TestEndsWithItsParent(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir())
	require.NoError(t, p.stdin.Close())
	require.NoError(t, <-p.exited)
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	for _, part := range []string{"broker", "registry", "clickhouse"} {
		out, err := exec.Command(binary, part, "--addr="+shared.addr, "--data-dir="+t.TempDir()).CombinedOutput()
		require.Error(t, err)
		require.Equal(t, fmt.Sprintf("embedded %s: %s is in use; choose another with --addr\n", part, shared.addr), string(out))
	}
}

func TestMissingLibrary(t *testing.T) {
	t.Parallel()
	command := exec.Command(binary, "clickhouse", "--addr=127.0.0.1:0", "--data-dir="+t.TempDir())
	command.Dir = t.TempDir()
	out, err := command.CombinedOutput()
	require.Error(t, err)
	require.Regexp(t, `^embedded clickhouse: the ClickHouse engine \(.*libchdb.*\) is not installed: run "make deps", or set CHDB_LIB to its path\n$`, string(out))
}
