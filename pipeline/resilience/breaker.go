package resilience

import (
	"context"
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
	metrics *Metrics
	next    http.RoundTripper
}

func newBreaker(cfg TransportConfig, logger *slog.Logger, next http.RoundTripper) *breaker {
	circuit := circuitbreaker.NewBuilder[any]().
		WithFailureThreshold(cfg.BreakerFailures).
		WithDelay(cfg.BreakerDelay).
		WithSuccessThreshold(1).
		OnStateChanged(func(event circuitbreaker.StateChangedEvent) {
			cfg.Metrics.circuit(event.NewState)
			level := slog.LevelInfo
			if event.NewState == circuitbreaker.OpenState {
				level = slog.LevelWarn
			}
			logger.Log(event.Context(), level, "circuit breaker changed state",
				"from", event.OldState.String(), "to", event.NewState.String())
		}).
		Build()
	return &breaker{circuit: circuit, metrics: cfg.Metrics, next: next}
}

// RoundTrip implements http.RoundTripper.
func (b *breaker) RoundTrip(req *http.Request) (*http.Response, error) {
	if !b.circuit.TryAcquirePermit() {
		b.metrics.tried(req, codeCircuitOpen)
		return nil, ErrCircuitOpen
	}
	resp, err := b.next.RoundTrip(req)
	if err != nil {
		b.failed(req.Context())
		return nil, err
	}
	resp.Request = req // for newRetry; not every RoundTripper sets it
	switch {
	case resp.StatusCode >= 500:
		b.failed(req.Context())
	case resp.ContentLength == 0:
		b.circuit.RecordSuccess()
	default:
		b.settleWith(resp)
	}
	return resp, nil
}

// settleWith counts a try when its body has ended, or when its context has: a response that nobody closes, such as one
// that the executor drops because the caller gives up at that moment, must not keep the permit of a half-open breaker.
func (b *breaker) settleWith(resp *http.Response) {
	ctx := resp.Request.Context()
	body := &observedBody{ReadCloser: resp.Body, done: func(err error) {
		if err == nil {
			b.circuit.RecordSuccess()
		} else {
			b.failed(ctx)
		}
	}}
	body.release = context.AfterFunc(ctx, func() { body.end(ctx.Err()) })
	resp.Body = body
}

// failed counts a failure. A try whose caller gave up tells nothing of the source, and must not count where many tries
// of one caller end together. But if it was the probe of a breaker that is half open, its permit has to be given back,
// and not as a success.
func (b *breaker) failed(ctx context.Context) {
	if !givenUpByCaller(ctx) || b.circuit.IsHalfOpen() {
		b.circuit.RecordFailure()
	}
}
