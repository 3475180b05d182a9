package service_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// call is an external call of a process: the nth of its kind, from 1.
type call struct {
	kind string
	nth  int
}

// mode is what happens to a call.
type mode string

const (
	passes mode = "passes"
	fails  mode = "fails before it is carried out"
	lost   mode = "is carried out and its answer lost"
	away   mode = "fails eight times in a row"
	dies   mode = "is carried out and the process dies"
)

// faultNet is the network of one process. It counts each request to Kafka,
// ClickHouse and the registry, and does to one of them what its plan says.
type faultNet struct {
	call call
	mode mode

	mu     sync.Mutex
	counts map[string]int
	calls  []call // in order
	fired  bool
	dead   bool
	died   chan struct{} // closed when dead
	conns  map[*kafkaConn]struct{}
}

func newFaultNet(c call, m mode) *faultNet {
	return &faultNet{call: c, mode: m, counts: make(map[string]int), died: make(chan struct{}), conns: make(map[*kafkaConn]struct{})}
}

var errCut = errors.New("the connection was cut")

// next counts a call and says what happens to it.
func (f *faultNet) next(kind string) (mode, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead {
		return "", errCut
	}
	f.counts[kind]++
	c := call{kind, f.counts[kind]}
	f.calls = append(f.calls, c)
	switch {
	case f.mode == away && kind == f.call.kind && c.nth >= f.call.nth && c.nth < f.call.nth+8:
		f.fired = true
		return fails, nil
	case c != f.call || f.mode == passes:
		return passes, nil
	}
	f.fired = true
	return f.mode, nil
}

// die ends all that the process could still do to the world.
func (f *faultNet) die() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead {
		return
	}
	f.dead = true
	close(f.died)
	for c := range f.conns {
		_ = c.Conn.Close()
	}
}

func (f *faultNet) hasFired() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fired
}

// dial is a kgo.Dialer.
func (f *faultNet) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	raw, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	c := &kafkaConn{Conn: raw, net: f}
	if f.dead {
		_ = raw.Close()
		return nil, errCut
	}
	f.conns[c] = struct{}{}
	return c, nil
}

// kafkaConn sees the requests of a connection: the client writes each as one
// frame, which begins with its size and its key.
type kafkaConn struct {
	net.Conn
	net *faultNet

	mu   sync.Mutex
	then mode // to the next answer
}

func (c *kafkaConn) Write(frame []byte) (int, error) {
	m, err := c.net.next(kmsg.Key(binary.BigEndian.Uint16(frame[4:6])).Name())
	if err == nil && m == fails {
		err = errCut
	}
	if err != nil {
		_ = c.Conn.Close()
		return 0, err
	}
	c.mu.Lock()
	if m != passes {
		c.then = m
	}
	c.mu.Unlock()
	return c.Conn.Write(frame)
}

func (c *kafkaConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	then := c.then
	c.mu.Unlock()
	if then == "" || err != nil {
		return n, err
	}
	if then == dies {
		c.net.die()
	}
	_ = c.Conn.Close()
	return 0, errCut
}

func (c *kafkaConn) Close() error {
	c.net.mu.Lock()
	delete(c.net.conns, c)
	c.net.mu.Unlock()
	return c.Conn.Close()
}

// http returns the URL of a proxy before a server.
func (f *faultNet) http(t testing.TB, target string, kind func(query string) string) string {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler) // the client has given up
		}
		m, err := f.next(kind(r.URL.Query().Get("query") + string(body[:min(len(body), 200)])))
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		if m == fails {
			w.Header().Set("X-ClickHouse-Exception-Code", "241")
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprint(w, "Code: 241. DB::Exception: Memory limit exceeded. (MEMORY_LIMIT_EXCEEDED)")
			return
		}
		// Once asked for, it is carried out, whatever becomes of the client.
		req, err := http.NewRequestWithContext(context.WithoutCancel(r.Context()), r.Method, target+r.URL.RequestURI(), bytes.NewReader(body))
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		req.Header = r.Header.Clone()
		resp, err := client.Do(req)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if m == dies {
			f.die()
		}
		if err != nil || m != passes {
			panic(http.ErrAbortHandler)
		}
		maps.Copy(w.Header(), resp.Header)
		w.WriteHeader(resp.StatusCode)
		_, _ = w.Write(answer) // the client may be gone
	}))
	proxy.Config.ErrorLog = nil
	t.Cleanup(proxy.Close)
	return proxy.URL
}

var insertInto = regexp.MustCompile(`INSERT INTO \w+_(current|history|ledger)`)

// clickhouseCall names a statement.
func clickhouseCall(query string) string {
	if m := insertInto.FindStringSubmatch(query); m != nil {
		return "insert into " + m[1]
	}
	if strings.Contains(query, "_ledger WHERE") {
		return "look up"
	}
	return "say hello"
}

func registryCall(string) string { return "ask the registry" }

// TestTheFaultyNetworkDoesWhatItsPlanSays, or the proof that uses it proves nothing.
func TestTheFaultyNetworkDoesWhatItsPlanSays(t *testing.T) {
	t.Parallel()
	for m, carriedOut := range map[mode]bool{passes: true, fails: false, lost: true, dies: true} {
		var asked int
		target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
		f := newFaultNet(call{"ask the registry", 1}, m)
		url := f.http(t, target.URL, registryCall)
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		ask, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, http.NoBody)
		require.NoError(t, err)
		resp, err := client.Do(ask)
		answered := err == nil && resp.StatusCode == http.StatusOK
		if err == nil {
			require.NoError(t, resp.Body.Close())
		}
		require.Equal(t, m == passes, answered, m)
		require.Equal(t, carriedOut, asked == 1, m)
		again, err := client.Do(ask)
		require.Equal(t, m == dies, err != nil, m)
		if err == nil {
			require.NoError(t, again.Body.Close())
		}
		target.Close()
	}
}
