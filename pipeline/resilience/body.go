package resilience

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// TimeoutError is a net.Error: nothing came for too long.
type TimeoutError struct {
	What  string // that did not come, e.g. "answer"
	After time.Duration
}

func (e *TimeoutError) Error() string { return fmt.Sprintf("no %s within %s", e.What, e.After) }

// Timeout implements net.Error.
func (e *TimeoutError) Timeout() bool { return true }

// Temporary implements net.Error.
func (e *TimeoutError) Temporary() bool { return true }

// BodyError is what reading a response's body fails with, other than by the end of the request's context: the answer
// was cut off, damaged or stalled after its status had come. The transport does not repeat such a request, as the
// caller may have used what it has read; Repeat does.
type BodyError struct{ Err error }

func (e *BodyError) Error() string { return "reading the response: " + e.Err.Error() }

// Unwrap returns the cause: io.ErrUnexpectedEOF, a TimeoutError, or what the network says.
func (e *BodyError) Unwrap() error { return e.Err }

// Class implements the interface of ClassOf: what cuts an answer off passes.
func (e *BodyError) Class() Class { return Passes }

// roundTripper is a function that is an http.RoundTripper.
type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// withStallTimeout fails the reading of a body that brings nothing for after. A reader that takes its time stalls
// nothing: only time in Read counts.
func withStallTimeout(next http.RoundTripper, after time.Duration) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		// Ending the context is the one way to end a Read of any body from another goroutine.
		ctx, cancel := context.WithCancel(req.Context())
		resp, err := next.RoundTrip(req.WithContext(ctx))
		if err != nil {
			cancel()
			return nil, err
		}
		body := &timedBody{ReadCloser: resp.Body, parent: req.Context(), cancel: cancel, after: after}
		body.timer = time.AfterFunc(after, func() { body.stalled.Store(true); cancel() })
		body.timer.Stop()
		resp.Body = body
		return resp, nil
	})
}

// timedBody is read by one goroutine, as any body is. Its timer runs while a Read does.
type timedBody struct {
	io.ReadCloser
	parent  context.Context //nolint:containedctx // of the request, whose end is the caller's doing and no fault of the body
	cancel  context.CancelFunc
	after   time.Duration
	timer   *time.Timer
	stalled atomic.Bool // written by the timer
}

func (b *timedBody) Read(p []byte) (int, error) {
	b.timer.Reset(b.after)
	n, err := b.ReadCloser.Read(p)
	b.timer.Stop()
	switch {
	case err == nil || errors.Is(err, io.EOF): // a stall that the end of the body overtook is none
		return n, err
	case b.stalled.Load():
		return n, &BodyError{&TimeoutError{What: "data", After: b.after}}
	case b.parent.Err() != nil:
		return n, err
	}
	return n, &BodyError{err}
}

func (b *timedBody) Close() error {
	defer b.cancel()
	b.timer.Stop()
	return b.ReadCloser.Close()
}

// observedBody tells once how the reading of a body ended: nil at its end, or when the reader had enough.
type observedBody struct {
	io.ReadCloser
	done func(error)
	once sync.Once

	release func() bool // called by the reader when it is done; may be nil
}

// end may be called by others than the reader.
func (b *observedBody) end(err error) { b.once.Do(func() { b.done(err) }) }

func (b *observedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		b.endReading(nil)
	} else if err != nil {
		b.endReading(err)
	}
	return n, err
}

func (b *observedBody) Close() error {
	b.endReading(nil)
	return b.ReadCloser.Close()
}

func (b *observedBody) endReading(err error) {
	if b.release != nil {
		b.release()
	}
	b.end(err)
}
