package people

import (
	"context"
	"errors"
	"log/slog"
	"slices"

	"github.com/google/uuid"

	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/producers/salesloft"
)

// eventTypes are the webhook events that a Receiver has a use for.
var eventTypes = []string{"person_created", "person_updated", "person_deleted"}

// Subscriber manages webhook subscriptions; *salesloft.Client is one.
type Subscriber interface {
	Subscriptions(ctx context.Context) ([]salesloft.Subscription, error)
	CreateSubscription(ctx context.Context, eventType, callbackURL, callbackToken string) (salesloft.Subscription, error)
}

// KeepSubscribing tries to Subscribe until it has succeeded. It gives up, with a log line, on what no retry mends: without
// webhooks, polling still brings every change.
func KeepSubscribing(ctx context.Context, source Subscriber, callbackURL string, secret func() string, logger *slog.Logger) error {
	ctx = resilience.WithCorrelationID(ctx, uuid.NewString())
	cfg := resilience.ForeverConfig{Permanent: func(err error) bool {
		var refused *salesloft.ValidationError
		return errors.As(err, &refused) || errors.Is(err, salesloft.ErrForbidden) || errors.Is(err, salesloft.ErrNotFound)
	}}
	err := resilience.Forever(ctx, cfg, logger, "webhook subscriptions", func(ctx context.Context) error {
		return Subscribe(ctx, source, callbackURL, secret(), logger)
	})
	if err != nil && ctx.Err() == nil {
		logger.ErrorContext(ctx, "subscribing to webhooks failed", "error", err)
	}
	return nil
}

// Subscribe creates those of the subscriptions to person events that callbackURL does not have yet, signed with secret.
// It touches no other. A subscription made with an older secret cannot be told from one with this secret: delete it when
// the secret changes.
func Subscribe(ctx context.Context, source Subscriber, callbackURL, secret string, logger *slog.Logger) error {
	existing, err := source.Subscriptions(ctx)
	if err != nil {
		return err
	}
	for _, eventType := range eventTypes {
		i := slices.IndexFunc(existing, func(s salesloft.Subscription) bool {
			return s.EventType == eventType && s.CallbackURL == callbackURL
		})
		switch {
		case i < 0:
			created, err := source.CreateSubscription(ctx, eventType, callbackURL, secret)
			if err != nil {
				return err
			}
			logger.InfoContext(ctx, "webhook subscription created", "event_type", eventType, "subscription_id", created.ID)
		case !existing[i].Enabled:
			logger.WarnContext(ctx, "webhook subscription is disabled", "event_type", eventType, "subscription_id", existing[i].ID)
		}
	}
	return nil
}
