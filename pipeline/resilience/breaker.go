package resilience

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
)

// ErrCircuitOpen is what a request fails with, at once and without reaching the network, while the circuit breaker
// of its transport is open.
var ErrCircuitOpen = circuitbreaker.ErrOpen

// breaker is failsafe's circuit breaker around a try with its body, which failsafehttp's ends before: an answer of 200
// whose body stalls is a failure like any other. A 429 is a sign of life, and so is every other 4xx.
type breaker struct {
	circuit circuitbreaker.CircuitBreaker[any]
	next    http.RoundTripper
}

func newBreaker(cfg TransportConfig, logger *slog.Logger, next http.RoundTripper) *breaker {
	circuit := circuitbreaker.NewBuilder[any]().
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
	return &breaker{circuit: circuit, next: next}
}

// RoundTrip implements http.RoundTripper.
func (b *breaker) RoundTrip(req *http.Request) (*http.Response, error) {
	if !b.circuit.TryAcquirePermit() {
		return nil, ErrCircuitOpen
	}
	resp, err := b.next.RoundTrip(req)
	if err != nil || resp.StatusCode >= 500 {
		b.record(req.Context(), false)
		return resp, err
	}
	if resp.ContentLength == 0 {
		b.record(req.Context(), true)
		return resp, nil
	}
	resp.Body = &observedBody{ReadCloser: resp.Body, done: func(err error) { b.record(req.Context(), err == nil) }}
	return resp, nil
}

// record counts a try. One whose caller gave up tells nothing of the source. It must not count where many tries of one
// caller end together, nor be mistaken for a success; but if it was the probe of a breaker that is half open, its
// permit has to be given back, or there would never be another probe.
func (b *breaker) record(ctx context.Context, ok bool) {
	switch {
	case ok:
		b.circuit.RecordSuccess()
	case !errors.Is(ctx.Err(), context.Canceled) || b.circuit.IsHalfOpen():
		b.circuit.RecordFailure()
	}
}
