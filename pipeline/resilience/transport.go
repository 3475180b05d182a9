package resilience

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"github.com/failsafe-go/failsafe-go/timeout"
)

// TransportConfig says how patient a transport is. The zero value of a field stands for its default.
type TransportConfig struct {
	Backoff Backoff

	MaxTries      int           // of one request, the first included; default 3
	HeaderTimeout time.Duration // from the start of a try to its response headers; default 30 s. A body may take longer.
	StallTimeout  time.Duration // for which a body may bring nothing while it is read; default 30 s

	BreakerFailures uint          // tries in a row that failed before the breaker opens; default 5
	BreakerDelay    time.Duration // for which it stays open before one probe is let through; default 1 min

	Metrics *Metrics // of the source; may be nil
}

func (c TransportConfig) withDefaults() TransportConfig {
	c.Backoff = c.Backoff.withDefaults()
	if c.MaxTries <= 0 {
		c.MaxTries = 3
	}
	if c.HeaderTimeout <= 0 {
		c.HeaderTimeout = 30 * time.Second
	}
	if c.StallTimeout <= 0 {
		c.StallTimeout = 30 * time.Second
	}
	if c.BreakerFailures == 0 {
		c.BreakerFailures = 5
	}
	if c.BreakerDelay <= 0 {
		c.BreakerDelay = time.Minute
	}
	return c
}

// RetryAfterError is what a request fails with at once when the answer's Retry-After ends later than the request's
// context: waiting would be in vain, and longer than the caller can bear.
type RetryAfterError struct {
	Status int           // of the answer
	Wait   time.Duration // that it asks for
}

func (e *RetryAfterError) Error() string {
	return fmt.Sprintf("%d %s: asks to wait for %s (Retry-After), which is beyond the deadline of the request", e.Status, http.StatusText(e.Status), e.Wait)
}

// Unwrap says that the deadline is what ended the request, if a little early.
func (e *RetryAfterError) Unwrap() error { return context.DeadlineExceeded }

// givenUpError marks an error as the transport's last word, for Repeat to know.
type givenUpError struct{ error }

func (e *givenUpError) Unwrap() error { return e.error }

// Timeout lets url.Error, which looks no deeper, tell a timeout.
func (e *givenUpError) Timeout() bool {
	timeout, ok := errors.AsType[net.Error](e.error)
	return ok && timeout.Timeout()
}

// Temporary makes it a net.Error again, if it was one.
func (e *givenUpError) Temporary() bool { return e.Timeout() }

// transport picks the policies by whether the request may be repeated blindly.
type transport struct {
	idempotent policies
	other      policies
}

// policies repeat the requests whose outcome is retryable.
type policies struct {
	http.RoundTripper
	retryable func(*http.Response, error) bool
}

// NewTransport returns a transport for the API of one source, to be shared by all of its clients, as it holds the
// source's circuit breaker. next is like http.DefaultTransport if nil.
//
// A 429 is retried for every method, as it says that the request was not processed; a 5xx and a network error only
// for methods that are idempotent. Retry-After is obeyed and never shortened: a request that would be retried, but
// whose deadline is sooner, fails with a RetryAfterError. When the tries are used up, the caller gets the last response or error as it came. Each try
// carries the context's correlation ID and has a span.
func NewTransport(cfg TransportConfig, logger *slog.Logger, next http.RoundTripper) http.RoundTripper {
	cfg = cfg.withDefaults()
	if next == nil {
		next = newBase()
	}
	// Each layer is around those before it: a try has its timeouts and its span, is counted, passes the breaker, and is repeated.
	// No executor is given a context, which makes it safe for newRetry to close the body of a response that is retried.
	try := withMetrics(withHeaderTimeout(withSpan(withStallTimeout(next, cfg.StallTimeout)), cfg.HeaderTimeout), cfg.Metrics)
	broken := newBreaker(cfg, logger, try)
	repeating := func(retryable func(*http.Response, error) bool) policies {
		return policies{failsafehttp.NewRoundTripper(broken, newRetry(cfg, logger, retryable)), retryable}
	}
	return &transport{idempotent: repeating(anyFailure), other: repeating(tooManyRequests)}
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	// failsafehttp replaces the request's body between tries, which a RoundTripper must not do to its caller's.
	ctx := req.Context()
	clone := req.Clone(context.WithValue(ctx, callerKey{}, ctx))
	if id := CorrelationID(ctx); id != "" && clone.Header.Get(CorrelationHeader) == "" {
		clone.Header.Set(CorrelationHeader, id)
	}
	if req.Body != nil {
		defer req.Body.Close() // a RoundTripper closes the body; its content was read or is not wanted
	}
	chosen := t.other // what may not be repeated blindly
	switch req.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions:
		chosen = t.idempotent
	}
	resp, err := chosen.RoundTrip(clone)
	if err != nil {
		return nil, &givenUpError{err}
	}
	if wait, late := tooLate(ctx, resp); late && chosen.retryable(resp, nil) {
		_ = resp.Body.Close() // the answer is given up; its connection must not be
		return nil, &givenUpError{&RetryAfterError{Status: resp.StatusCode, Wait: wait}}
	}
	return resp, nil
}

// newBase returns what goes to the network where nothing else was given: http.DefaultTransport with a ping on HTTP/2
// connections that are silent. A connection that a firewall has forgotten would otherwise time out every request for a
// quarter of an hour, as new ones go over the same.
func newBase() http.RoundTripper {
	base, ok := http.DefaultTransport.(*http.Transport)
	if !ok { // replaced by the program, which knows why
		return http.DefaultTransport
	}
	base = base.Clone()
	base.HTTP2 = &http.HTTP2Config{SendPingTimeout: 15 * time.Second}
	return base
}

type callerKey struct{}

// givenUpByCaller tells whether the caller has ended a try whose context is ctx. ctx itself cannot tell: our timeouts end it too.
func givenUpByCaller(ctx context.Context) bool {
	if caller, ok := ctx.Value(callerKey{}).(context.Context); ok {
		ctx = caller
	}
	return errors.Is(ctx.Err(), context.Canceled)
}

// withHeaderTimeout gives every try a timeout that ends with its headers.
func withHeaderTimeout(next http.RoundTripper, after time.Duration) http.RoundTripper {
	timed := failsafehttp.NewRoundTripper(next, timeout.New[*http.Response](after))
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		resp, err := timed.RoundTrip(req)
		if errors.Is(err, timeout.ErrExceeded) {
			return nil, &TimeoutError{What: "answer", After: after}
		}
		return resp, err
	})
}

func tooManyRequests(resp *http.Response, err error) bool {
	return err == nil && resp.StatusCode == http.StatusTooManyRequests
}

// anyFailure does not ask whether the caller's context has ended: the executor does, before it retries.
func anyFailure(resp *http.Response, err error) bool {
	return err != nil || resp.StatusCode >= 500 || tooManyRequests(resp, err)
}

// tooLate reports an answer that asks for a longer wait than its request has time.
func tooLate(ctx context.Context, resp *http.Response) (wait time.Duration, late bool) {
	wait = retryAfter(resp, time.Now())
	deadline, ok := ctx.Deadline()
	return wait, ok && wait > 0 && time.Until(deadline) < wait
}

func newRetry(cfg TransportConfig, logger *slog.Logger, retryable func(*http.Response, error) bool) failsafe.Policy[*http.Response] {
	return retrypolicy.NewBuilder[*http.Response]().
		HandleIf(retryable).
		AbortIf(func(resp *http.Response, err error) bool {
			if err != nil {
				return errors.Is(err, ErrCircuitOpen)
			}
			_, late := tooLate(resp.Request.Context(), resp) // breaker has set the request
			return late
		}).
		ReturnLastFailure().
		WithMaxAttempts(cfg.MaxTries).
		WithDelayFunc(func(exec failsafe.ExecutionAttempt[*http.Response]) time.Duration {
			backoff := cfg.Backoff.delay(exec.Attempts() - 1)
			return max(backoff, retryAfter(exec.LastResult(), time.Now()))
		}).
		OnRetryScheduled(func(event failsafe.ExecutionScheduledEvent[*http.Response]) {
			status := 0
			if resp := event.LastResult(); resp != nil {
				status = resp.StatusCode
				_ = resp.Body.Close() // the answer is given up; its connection must not be
			}
			level := slog.LevelDebug
			if event.Delay > longWait {
				level = slog.LevelWarn
			}
			logger.Log(event.Context(), level, "retrying HTTP request",
				"status", status, "attempt", event.Attempts(), "delay", event.Delay)
		}).
		Build()
}

// longWait is what no backoff reaches: a source has asked for it, and who looks on should know why nothing moves.
const longWait = time.Minute

// retryAfter returns the wait that a response asks for, in seconds or as a date, or 0. A date is the source's, and is
// held against what the source says that the time is; a clock that differs from ours must not shorten the wait.
func retryAfter(resp *http.Response, now time.Time) time.Duration {
	if resp == nil {
		return 0
	}
	header := resp.Header.Get("Retry-After")
	// Beyond 2³¹ seconds ParseUint fails with the most that there is, which is obeyed like any other number.
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(seconds) * time.Second
	}
	until, err := http.ParseTime(header)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		now = date
	}
	return until.Sub(now)
}
