package people

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/producers/salesloft"
)

// secretLook is how often KeepSubscribed looks whether the secret is another one.
const secretLook = 10 * time.Second

// eventTypes are the webhook events that a Receiver has a use for.
var eventTypes = []string{"person_created", "person_updated", "person_deleted"}

// Subscriber manages webhook subscriptions; *salesloft.Client is one.
type Subscriber interface {
	Subscriptions(ctx context.Context) ([]salesloft.Subscription, error)
	CreateSubscription(ctx context.Context, eventType, callbackURL, callbackToken string) (salesloft.Subscription, error)
	DeleteSubscription(ctx context.Context, id int64) error
}

// KeepSubscribed brings the subscriptions in order, and again whenever the secret is another one, until ctx ends. It gives one
// of these up, with a log line, on what no retry mends: without webhooks, polling still brings every change.
func KeepSubscribed(ctx context.Context, source Subscriber, callbackURL string, secret func() string, logger *slog.Logger) error {
	return keepSubscribed(ctx, source, callbackURL, secret, logger, secretLook)
}

func keepSubscribed(ctx context.Context, source Subscriber, callbackURL string, secret func() string, logger *slog.Logger, look time.Duration) error {
	ctx = resilience.WithCorrelationID(ctx, uuid.NewString())
	cfg := resilience.ForeverConfig{Permanent: func(err error) bool {
		var refused *salesloft.ValidationError
		return errors.As(err, &refused) || errors.Is(err, salesloft.ErrForbidden) || errors.Is(err, salesloft.ErrNotFound)
	}}
	order := SubscriptionOrder{CallbackURL: callbackURL}
	for {
		signed := secret()
		err := resilience.Forever(ctx, cfg, logger, "webhook subscriptions", func(ctx context.Context) error {
			signed = secret()
			order.Token = signed
			done, err := SyncSubscriptions(ctx, source, order)
			for _, s := range done.Created {
				logger.InfoContext(ctx, "webhook subscription created", "event_type", s.EventType, "subscription_id", s.ID)
			}
			for _, s := range done.Deleted {
				logger.InfoContext(ctx, "webhook subscription deleted", "event_type", s.EventType, "subscription_id", s.ID)
			}
			return err
		})
		if err != nil && ctx.Err() == nil {
			logger.ErrorContext(ctx, "subscribing to webhooks failed", "error", err)
		}
		for secret() == signed {
			if resilience.Sleep(ctx, look) != nil {
				return nil
			}
		}
		order.Replace = true // whatever there is was not signed with a secret that did not exist
	}
}

// SubscriptionOrder says what subscriptions there are to be.
type SubscriptionOrder struct {
	CallbackURL string
	Token       string // that deliveries are to be signed with
	// Replace makes a subscription anew if the API does not tell what it is signed with. One that is known to be signed with
	// another token is in any case.
	Replace bool
	// Prune deletes the subscriptions to person events of other callback URLs.
	Prune bool
}

// SubscriptionChanges says what was done.
type SubscriptionChanges struct{ Created, Deleted []salesloft.Subscription }

// SyncSubscriptions brings the subscriptions to person events in order: one of each for the callback URL, enabled and signed
// with the token. What is to be replaced is deleted after its successor is there, so that no event falls between them. Others'
// subscriptions are not touched.
func SyncSubscriptions(ctx context.Context, source Subscriber, order SubscriptionOrder) (done SubscriptionChanges, err error) {
	existing, err := source.Subscriptions(ctx)
	if err != nil {
		return done, err
	}
	var surplus []salesloft.Subscription
	for _, eventType := range eventTypes {
		good := false
		for _, s := range existing {
			switch {
			case s.EventType != eventType, s.CallbackURL != order.CallbackURL && !order.Prune:
			case !good && order.met(s):
				good = true
			default:
				surplus = append(surplus, s)
			}
		}
		if good {
			continue
		}
		created, err := source.CreateSubscription(ctx, eventType, order.CallbackURL, order.Token)
		if err != nil {
			return done, err
		}
		done.Created = append(done.Created, created)
	}
	err = DeleteSubscriptions(ctx, source, surplus, &done)
	return done, err
}

// met tells whether a subscription is as it is to be.
func (order SubscriptionOrder) met(s salesloft.Subscription) bool {
	signed := s.CallbackToken == order.Token || s.CallbackToken == "" && !order.Replace
	return s.CallbackURL == order.CallbackURL && s.Enabled && signed
}

// DeleteSubscriptions deletes subscriptions, as far as they still are there.
func DeleteSubscriptions(ctx context.Context, source Subscriber, subscriptions []salesloft.Subscription, done *SubscriptionChanges) error {
	for _, s := range subscriptions {
		if err := source.DeleteSubscription(ctx, s.ID); err != nil && !errors.Is(err, salesloft.ErrNotFound) {
			return err
		}
		done.Deleted = append(done.Deleted, s)
	}
	return nil
}

// SubscriptionsOf returns those that the IDs name, or those to person events of a callback URL if there are no IDs. An ID that
// none has is an error.
func SubscriptionsOf(ctx context.Context, source Subscriber, callbackURL string, ids []int64) ([]salesloft.Subscription, error) {
	existing, err := source.Subscriptions(ctx)
	if err != nil {
		return nil, err
	}
	if len(ids) == 0 {
		return slices.DeleteFunc(existing, func(s salesloft.Subscription) bool {
			return s.CallbackURL != callbackURL || !slices.Contains(eventTypes, s.EventType)
		}), nil
	}
	var found []salesloft.Subscription
	for _, id := range ids {
		i := slices.IndexFunc(existing, func(s salesloft.Subscription) bool { return s.ID == id })
		if i < 0 {
			return nil, fmt.Errorf("there is no webhook subscription %d", id)
		}
		found = append(found, existing[i])
	}
	return found, nil
}
