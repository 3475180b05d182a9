package resilience

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// ForeverConfig says how Forever waits and whom it tells.
type ForeverConfig struct {
	Backoff Backoff

	// Permanent reports an error that no retry can mend. Nil means that there is none.
	Permanent func(error) bool
	// Observe is told of every try that failed, and when What is back. May be nil; it is called from the goroutine of
	// Forever.
	Observe func(Outage)
}

// Outage is what Forever tells its observer.
type Outage struct {
	What  string    // that is unavailable, e.g. "sink"
	Since time.Time // when the first try failed
	Err   error     // what the last try failed with; nil once What is available again
}

// Forever runs op until it succeeds, fails permanently or ctx ends. It returns nil, the permanent error as it is, or
// ctx's error joined with op's last. what names that which op needs in logs.
//
// It is a loop and not a failsafe policy, as a policy reports an op that has succeeded while ctx ended as failed: what
// was just stored would not be committed, at every shutdown.
func Forever(ctx context.Context, cfg ForeverConfig, logger *slog.Logger, what string, op func(context.Context) error) error {
	backoff := cfg.Backoff.withDefaults()
	var since time.Time
	for attempt := 0; ; attempt++ {
		err := op(ctx)
		if err == nil {
			if attempt > 0 {
				logger.InfoContext(ctx, "available again", "what", what, "unavailable_for", time.Since(since))
				cfg.observe(Outage{What: what, Since: since})
			}
			return nil
		}
		if cfg.Permanent != nil && cfg.Permanent(err) {
			return err
		}
		if ctx.Err() != nil {
			return errors.Join(ctx.Err(), err)
		}
		if attempt == 0 {
			since = time.Now()
			logger.WarnContext(ctx, "unavailable, retrying until it is back", "what", what, "error", err)
		}
		cfg.observe(Outage{What: what, Since: since, Err: err})
		if waitErr := Sleep(ctx, backoff.delay(attempt)); waitErr != nil {
			return errors.Join(waitErr, err)
		}
	}
}

func (c ForeverConfig) observe(o Outage) {
	if c.Observe != nil {
		c.Observe(o)
	}
}

// Availability turns what Forever observes into a readiness check. The zero value is available.
type Availability struct {
	mu     sync.Mutex
	outage Outage
}

// Observe is a ForeverConfig.Observe.
func (a *Availability) Observe(o Outage) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.outage = o
}

// Outage returns the present one; its Err is nil if there is none.
func (a *Availability) Outage() Outage {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.outage
}

// Check returns an error while there is an outage: "sink unavailable since 2026-01-02T15:04:05Z: connection refused".
func (a *Availability) Check(context.Context) (map[string]any, error) {
	outage := a.Outage()
	if outage.Err == nil {
		return nil, nil
	}
	since := outage.Since.UTC().Format(time.RFC3339)
	return map[string]any{"since": since}, fmt.Errorf("%s unavailable since %s: %w", outage.What, since, outage.Err)
}
