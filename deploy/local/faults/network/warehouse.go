package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// Refusal is how the warehouse can fail an insert. The engine itself gives the
// answer: the front adds the setting to the request that makes it.
type Refusal string

// The refusals.
const (
	TooManyParts Refusal = "too-many-parts"
	MemoryLimit  Refusal = "memory-limit"
	TimeLimit    Refusal = "timeout"
	ReadOnly     Refusal = "read-only"
	DiskFull     Refusal = "disk-full"   // no disk has as much free space as an insert is made to demand
	LostAnswer   Refusal = "lost-answer" // the insert is carried out, and the connection closed without an answer
)

// Refusals are all of them.
var Refusals = []Refusal{TooManyParts, MemoryLimit, TimeLimit, ReadOnly, DiskFull, LostAnswer}

// refusalSettings are ClickHouse's, for each refusal but LostAnswer.
var refusalSettings = map[Refusal]map[string]string{
	TooManyParts: {"parts_to_throw_insert": "1"},
	MemoryLimit:  {"max_memory_usage": "1", "max_untracked_memory": "0"},
	TimeLimit:    {"max_execution_time": "0.000001"},
	ReadOnly:     {"readonly": "1"},
	DiskFull:     {"min_free_disk_bytes_to_perform_insert": "1000000000000000000"},
}

// Warehouse is an HTTP proxy before ClickHouse that can make it refuse inserts.
type Warehouse struct {
	server  *http.Server
	proxy   *httputil.ReverseProxy
	refusal atomic.Pointer[Refusal]
	refused atomic.Int64
}

// NewWarehouse starts a front of the ClickHouse at upstream, a host and port,
// and returns it with the address that it listens on.
func NewWarehouse(ctx context.Context, upstream string) (*Warehouse, string, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", fmt.Errorf("starting the front of ClickHouse: %w", err)
	}
	w := &Warehouse{}
	w.proxy = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: upstream})
			w.spoil(r.Out)
		},
		ModifyResponse: w.answer,
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }, // closes the connection
		FlushInterval:  -1,
	}
	w.server = &http.Server{Handler: w.proxy, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = w.server.Serve(listener) }() // it ends with Close
	return w, listener.Addr().String(), nil
}

// Close ends the front.
func (w *Warehouse) Close() error { return w.server.Close() }

// Refused is how many inserts were made to fail so far.
func (w *Warehouse) Refused() int64 { return w.refused.Load() }

// Refuse makes inserts fail until heal is called.
func (w *Warehouse) Refuse(refusal Refusal) (heal func()) {
	w.refusal.Store(&refusal)
	return func() { w.refusal.Store(nil) }
}

var errLostAnswer = errors.New("the answer gets lost")

func isInsert(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Query().Get("query"), "INSERT")
}

// spoil adds the setting that makes ClickHouse refuse an insert.
func (w *Warehouse) spoil(r *http.Request) {
	refusal := w.refusal.Load()
	if refusal == nil || !isInsert(r) {
		return
	}
	values := r.URL.Query()
	for name, value := range refusalSettings[*refusal] {
		values.Set(name, value)
	}
	r.URL.RawQuery = values.Encode()
}

// answer counts the refusals that ClickHouse has made, and loses answers.
func (w *Warehouse) answer(r *http.Response) error {
	refusal := w.refusal.Load()
	switch {
	case refusal == nil || !isInsert(r.Request):
	case *refusal == LostAnswer:
		w.refused.Add(1)
		return errLostAnswer
	case r.StatusCode != http.StatusOK:
		w.refused.Add(1)
	}
	return nil
}
