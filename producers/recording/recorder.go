// Package recording owns records of HTTP exchanges with a source, without secrets and without personal data, and serves them
// again: what a customer meets can be met again elsewhere.
//
// # What is in a record
//
// Everything that is not known to be harmless is replaced before it reaches the disk. Headers stay by an allow-list. In JSON,
// IDs, times, states, counts and paging stay, by their keys; every other text and number, revenue figures among them, becomes a
// pseudonym of the same form: an e-mail address stays one, a number keeps its digits' number. Equal texts have equal pseudonyms
// within one run of a Recorder, whose key is thrown away. Messages of errors keep the words of a fixed vocabulary. A body that is
// no JSON is left out but for its type and length; of a list, the first elements stay.
package recording

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"gopkg.in/dnaeon/go-vcr.v4/pkg/cassette"
)

const (
	maxRequestBytes = 1 << 20   // of a request's body; a longer one is left out
	maxBodyBytes    = 4 << 20   // of an answer's body, after its lists were shortened; likewise
	maxPendingBytes = 32 << 20  // of exchanges that wait to be written; what comes on top of that is left out
	maxTotalBytes   = 512 << 20 // of a record; then it ends
)

// The headers by which a record says how its answer differs from what was received.
const (
	headerLeftOut   = "X-Recording-Left-Out"  // bytes of a body that is not in the record
	headerShortened = "X-Recording-Shortened" // elements of lists that are not
	headerCut       = "X-Recording-Cut"       // the body ended with an error
)

// Recorder is a transport that writes down what it carries. It alters and delays nothing: it copies what the caller reads, and
// one goroutine of its own scrubs and writes. It is safe for concurrent use.
type Recorder struct {
	next    http.RoundTripper
	scrub   *scrubber
	film    *film
	queue   chan exchange
	written chan struct{} // closed when the goroutine has ended

	mu      sync.Mutex // guards closed, and the queue against sending after it is closed
	closed  bool
	pending atomic.Int64 // bytes in the queue
	leftOut atomic.Int64 // exchanges
	failed  error        // written by the goroutine, read after it has ended
}

// exchange is one request and what came back, as received.
type exchange struct {
	request     *http.Request
	requestBody []byte
	response    *http.Response
	body        sample
	cut         bool
	took        time.Duration
}

// New makes a Recorder that writes into files of its own in dir, which it creates. next carries the requests.
// Close ends it.
func New(dir string, next http.RoundTripper) (*Recorder, error) {
	if dir == "" || next == nil {
		return nil, errors.New("recording: want a folder (HTTP_RECORD_DIR) and a transport")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("recording: creating the folder (HTTP_RECORD_DIR): %w", err)
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	r := &Recorder{
		next: next, scrub: &scrubber{key: key}, film: newFilm(dir, time.Now()),
		queue: make(chan exchange, 1024), written: make(chan struct{}),
	}
	go r.write()
	return r, nil
}

// RoundTrip sends a request by the next transport. An exchange without an answer is not written down.
func (r *Recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	e := exchange{request: req.Clone(req.Context()), requestBody: copyBody(req)}
	begun := time.Now()
	resp, err := r.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	e.took = time.Since(begun)
	e.response = &http.Response{Status: resp.Status, StatusCode: resp.StatusCode, Header: resp.Header.Clone()}
	if resp.StatusCode != http.StatusSwitchingProtocols { // its body is a connection
		resp.Body = &tee{ReadCloser: resp.Body, recorder: r, exchange: e}
	}
	return resp, nil
}

// copyBody copies a request's body where that can be had without reading it in the transport's place.
func copyBody(req *http.Request) []byte {
	if req.GetBody == nil || req.ContentLength > maxRequestBytes {
		return nil
	}
	body, err := req.GetBody()
	if err != nil {
		return nil
	}
	defer body.Close()
	var text bytes.Buffer
	if _, err := io.CopyN(&text, body, maxRequestBytes+1); !errors.Is(err, io.EOF) {
		return nil
	}
	return text.Bytes()
}

// tee keeps a sample of what is read.
type tee struct {
	io.ReadCloser
	recorder *Recorder
	mu       sync.Mutex // Close may come while a Read waits
	exchange exchange
	done     bool
}

// Read passes on what comes.
func (t *tee) Read(b []byte) (int, error) {
	n, err := t.ReadCloser.Read(b)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done {
		return n, err
	}
	t.exchange.body.add(b[:n])
	if err != nil {
		t.exchange.cut = !errors.Is(err, io.EOF)
		t.finish()
	}
	return n, err
}

// Close hands the exchange over, unless its end was read.
func (t *tee) Close() error {
	t.mu.Lock()
	if !t.done {
		t.finish()
	}
	t.mu.Unlock()
	return t.ReadCloser.Close()
}

func (t *tee) finish() {
	t.done = true
	t.recorder.enqueue(t.exchange)
	t.exchange = exchange{}
}

func (e exchange) bytes() int64 { return int64(len(e.requestBody) + len(e.body.kept)) }

// enqueue never waits: what there is no room for is left out and counted.
func (r *Recorder) enqueue(e exchange) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.pending.Load()+e.bytes() > maxPendingBytes {
		r.leftOut.Add(1)
		return
	}
	select {
	case r.queue <- e:
		r.pending.Add(e.bytes())
	default:
		r.leftOut.Add(1)
	}
}

// settle is how long the Recorder waits for a next exchange before it writes down the last ones.
const settle = time.Second

// write scrubs and writes until Close.
func (r *Recorder) write() {
	defer close(r.written)
	timer := time.NewTimer(settle)
	defer timer.Stop()
	for {
		select {
		case e, open := <-r.queue:
			if !open {
				r.failed = errors.Join(r.failed, r.film.save())
				return
			}
			r.pending.Add(-e.bytes())
			r.add(e)
			timer.Reset(settle)
		case <-timer.C:
			r.failed = errors.Join(r.failed, r.film.save())
		}
	}
}

func (r *Recorder) add(e exchange) {
	if r.failed != nil || r.film.total > maxTotalBytes {
		r.leftOut.Add(1)
		return
	}
	r.failed = r.film.add(r.scrub.exchange(e))
}

// Close writes what is not written yet. Bodies that are still being read are left out. Its error says whether the record is
// complete.
func (r *Recorder) Close() error {
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		close(r.queue)
	}
	r.mu.Unlock()
	<-r.written
	err := r.failed
	if n := r.leftOut.Load(); n > 0 {
		err = errors.Join(err, fmt.Errorf("%d exchanges were left out", n))
	}
	if err != nil {
		return fmt.Errorf("recording: %w", err)
	}
	return nil
}

// exchange makes of an exchange what may be written down.
func (s *scrubber) exchange(e exchange) *cassette.Interaction {
	i := &cassette.Interaction{
		Request: cassette.Request{
			Method: e.request.Method, URL: s.url(e.request.URL), Headers: s.headers(e.request.Header, requestHeaders),
			Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		},
		Response: cassette.Response{
			Code: e.response.StatusCode, Status: http.StatusText(e.response.StatusCode), Duration: e.took,
			Headers: s.headers(e.response.Header, responseHeaders), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		},
	}
	if text, err := s.json(e.requestBody); err == nil {
		i.Request.Body = string(text)
		i.Request.ContentLength = int64(len(text))
	}
	if to := e.response.Header.Get("Location"); to != "" {
		i.Response.Headers.Set("Location", s.location(to))
	}
	i.Response.Body = s.body(e, i.Response.Headers)
	i.Response.ContentLength = int64(len(i.Response.Body))
	return i
}

// body is the text of an answer; in its headers it says what is missing.
func (s *scrubber) body(e exchange, say http.Header) string {
	b := &e.body
	if b.leftOut || b.total > 0 && !b.isJSON() {
		say.Set(headerLeftOut, fmt.Sprint(b.total))
		return ""
	}
	if b.dropped > 0 {
		say.Set(headerShortened, fmt.Sprint(b.dropped))
	}
	if e.cut {
		say.Set(headerCut, "true")
	}
	text, _ := s.json(b.kept) // what came before the mistake is the answer that somebody could not read
	return string(text)
}
