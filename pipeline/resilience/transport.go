package resilience

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"github.com/failsafe-go/failsafe-go/timeout"
)

// ErrCircuitOpen is what a request fails with, at once and without reaching the network, while the circuit breaker
// of its transport is open.
var ErrCircuitOpen = circuitbreaker.ErrOpen

// TransportConfig says how patient a transport is. The zero value of a field stands for its default.
type TransportConfig struct {
	Backoff Backoff

	MaxTries      int           // of one request, the first included; default 3
	HeaderTimeout time.Duration // from the start of a try to its response headers; default 30 s. A body may take longer.

	BreakerFailures uint          // tries in a row that failed before the breaker opens; default 5
	BreakerDelay    time.Duration // for which it stays open before one probe is let through; default 1 min
}

func (c TransportConfig) withDefaults() TransportConfig {
	c.Backoff = c.Backoff.withDefaults()
	if c.MaxTries <= 0 {
		c.MaxTries = 3
	}
	if c.HeaderTimeout <= 0 {
		c.HeaderTimeout = 30 * time.Second
	}
	if c.BreakerFailures == 0 {
		c.BreakerFailures = 5
	}
	if c.BreakerDelay <= 0 {
		c.BreakerDelay = time.Minute
	}
	return c
}

// transport picks the policies by whether the request may be repeated blindly.
type transport struct {
	idempotent http.RoundTripper
	other      http.RoundTripper
}

// NewTransport returns a transport for the API of one source, to be shared by all of its clients, as it holds the
// source's circuit breaker. next is http.DefaultTransport if nil.
//
// A 429 is retried for every method, as it says that the request was not processed; a 5xx and a network error only
// for methods that are idempotent. Retry-After is obeyed and never shortened, except by the end of the request's
// context. When the tries are used up, the caller gets the last response or error as it came. Each try carries the
// context's correlation ID.
func NewTransport(cfg TransportConfig, logger *slog.Logger, next http.RoundTripper) http.RoundTripper {
	cfg = cfg.withDefaults()
	if next == nil {
		next = http.DefaultTransport
	}
	breaker := newBreaker(cfg, logger)
	compose := func(retryable func(*http.Response, error) bool) http.RoundTripper {
		// Outermost first: every try passes the breaker and has a timeout of its own. The executor is given no
		// context, which makes it safe for newRetry to close the body of a response that is retried.
		return failsafehttp.NewRoundTripper(next,
			newRetry(cfg, logger, retryable), breaker, timeout.New[*http.Response](cfg.HeaderTimeout))
	}
	return &transport{idempotent: compose(anyFailure), other: compose(tooManyRequests)}
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	// failsafehttp replaces the request's body between tries, which a RoundTripper must not do to its caller's.
	ctx := req.Context()
	clone := req.Clone(ctx)
	if id := CorrelationID(ctx); id != "" && clone.Header.Get(CorrelationHeader) == "" {
		clone.Header.Set(CorrelationHeader, id)
	}
	if req.Body != nil {
		defer req.Body.Close() // a RoundTripper closes the body; its content was read or is not wanted
	}
	switch req.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions:
		return t.idempotent.RoundTrip(clone)
	default:
		return t.other.RoundTrip(clone)
	}
}

func tooManyRequests(resp *http.Response, err error) bool {
	return err == nil && resp.StatusCode == http.StatusTooManyRequests
}

// anyFailure does not ask whether the caller's context has ended: the executor does, before it retries.
func anyFailure(resp *http.Response, err error) bool {
	return err != nil || resp.StatusCode >= 500 || tooManyRequests(resp, err)
}

func newRetry(cfg TransportConfig, logger *slog.Logger, retryable func(*http.Response, error) bool) failsafe.Policy[*http.Response] {
	return retrypolicy.NewBuilder[*http.Response]().
		HandleIf(retryable).
		AbortOnErrors(circuitbreaker.ErrOpen).
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
			logger.DebugContext(event.Context(), "retrying HTTP request",
				"status", status, "attempt", event.Attempts(), "delay", event.Delay)
		}).
		Build()
}

// newBreaker counts 5xx and network errors, one of a caller who gave up excepted. A 429 is a sign of life.
func newBreaker(cfg TransportConfig, logger *slog.Logger) failsafe.Policy[*http.Response] {
	return circuitbreaker.NewBuilder[*http.Response]().
		HandleIf(func(resp *http.Response, err error) bool {
			if err != nil {
				return !errors.Is(err, context.Canceled)
			}
			return resp.StatusCode >= 500
		}).
		WithFailureThreshold(cfg.BreakerFailures).
		WithDelay(cfg.BreakerDelay).
		WithSuccessThreshold(1).
		OnStateChanged(func(event circuitbreaker.StateChangedEvent) {
			level := slog.LevelInfo
			if event.NewState == circuitbreaker.OpenState {
				level = slog.LevelWarn
			}
			logger.Log(event.Context(), level, "circuit breaker changed state",
				"from", event.OldState.String(), "to", event.NewState.String())
		}).
		Build()
}

// retryAfter returns the wait that a response asks for, in seconds or as a date, or 0.
func retryAfter(resp *http.Response, now time.Time) time.Duration {
	if resp == nil {
		return 0
	}
	header := resp.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(header); err == nil {
		return date.Sub(now)
	}
	return 0
}
