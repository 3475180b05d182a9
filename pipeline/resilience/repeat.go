package resilience

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
)

// RepeatConfig says how patient Repeat is. The zero value of a field stands for its default.
type RepeatConfig struct {
	Backoff Backoff

	MaxTries int // the first included; default 3
	// Retryable reports an error after which op is worth another try. By default that is a BodyError, and JSON that
	// cannot be parsed, which is what an answer cut short by a proxy or a page of HTML looks like.
	Retryable func(error) bool
}

func (c RepeatConfig) withDefaults() RepeatConfig {
	c.Backoff = c.Backoff.withDefaults()
	if c.MaxTries <= 0 {
		c.MaxTries = 3
	}
	if c.Retryable == nil {
		c.Retryable = garbled
	}
	return c
}

func garbled(err error) bool {
	if _, ok := errors.AsType[*BodyError](err); ok {
		return true
	}
	_, ok := errors.AsType[*json.SyntaxError](err)
	return ok
}

// Repeat runs op, which must be idempotent, until it succeeds, its error is not Retryable, its tries are used up or ctx
// ends. It returns nil, op's last error as it is, or ctx's error joined with that. It is for answers that were cut off or
// garbled after their status had come, which the transport cannot see; what the transport itself has given up is not
// repeated, whatever Retryable says, or tries would multiply. what names op in logs.
func Repeat(ctx context.Context, cfg RepeatConfig, logger *slog.Logger, what string, op func(ctx context.Context) error) error {
	cfg = cfg.withDefaults()
	policy := retrypolicy.NewBuilder[any]().
		HandleIf(func(_ any, err error) bool {
			if _, gaveUp := errors.AsType[*givenUpError](err); gaveUp {
				return false
			}
			return err != nil && ctx.Err() == nil && cfg.Retryable(err)
		}).
		ReturnLastFailure().
		WithMaxAttempts(cfg.MaxTries).
		WithDelayFunc(func(exec failsafe.ExecutionAttempt[any]) time.Duration { return cfg.Backoff.delay(exec.Attempts() - 1) }).
		OnRetryScheduled(func(event failsafe.ExecutionScheduledEvent[any]) {
			logger.WarnContext(ctx, "repeating after a damaged answer", "what", what,
				"attempt", event.Attempts(), "delay", event.Delay, "error", event.LastError())
		}).
		Build()
	var last error
	ran := false
	err := failsafe.With(policy).WithContext(ctx).Run(func() error {
		ran, last = true, op(ctx)
		return last
	})
	switch {
	case ran && last == nil: // the policy calls it failed if ctx ended at that moment; what is done is done
		return nil
	case ran && !errors.Is(err, last):
		return errors.Join(err, last)
	}
	return err
}
