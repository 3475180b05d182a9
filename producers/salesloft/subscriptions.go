package salesloft

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
)

// Subscription is one webhook subscription. Printing it leaves the callback token out.
type Subscription struct {
	ID            int64
	EventType     string
	CallbackURL   string
	CallbackToken string `json:"-"` // the secret that deliveries are signed with; "" where the API does not tell
	Enabled       bool
	TenantID      string
}

// String names what is not secret.
func (s Subscription) String() string {
	return fmt.Sprintf("webhook subscription %d: %s to %s, enabled %t", s.ID, s.EventType, s.CallbackURL, s.Enabled)
}

// GoString keeps %#v from printing the callback token.
func (s Subscription) GoString() string { return s.String() }

// LogValue keeps slog from printing the callback token.
func (s Subscription) LogValue() slog.Value { return slog.StringValue(s.String()) }

// CreateSubscription subscribes callbackURL to one event type (POST /webhook_subscriptions). Deliveries are signed with
// callbackToken.
func (c *Client) CreateSubscription(ctx context.Context, eventType, callbackURL, callbackToken string) (Subscription, error) {
	body := map[string]string{"event_type": eventType, "callback_url": callbackURL, "callback_token": callbackToken}
	var answer json.RawMessage
	if _, err := c.call(ctx, http.MethodPost, "/webhook_subscriptions", nil, body, into(&answer, nil)); err != nil {
		return Subscription{}, fmt.Errorf("creating a webhook subscription: %w", err)
	}
	raw, err := unwrap(answer)
	if err != nil {
		return Subscription{}, fmt.Errorf("creating a webhook subscription: %w", ErrMalformed)
	}
	subscription, err := parseSubscription(raw)
	if err != nil {
		return Subscription{}, fmt.Errorf("creating a webhook subscription: %w", err)
	}
	return subscription, nil
}

// Subscriptions lists the webhook subscriptions of the credentials' owner (GET /webhook_subscriptions).
func (c *Client) Subscriptions(ctx context.Context) ([]Subscription, error) {
	var all []Subscription
	for page := 1; ; page++ {
		list, more, err := c.subscriptionPage(ctx, page)
		if err != nil {
			return nil, fmt.Errorf("listing webhook subscriptions: %w", err)
		}
		all = append(all, list...)
		if !more || len(list) == 0 {
			return all, nil
		}
	}
}

func (c *Client) subscriptionPage(ctx context.Context, page int) ([]Subscription, bool, error) {
	query := url.Values{"page": {strconv.Itoa(page)}, "per_page": {strconv.Itoa(MaxPageSize)}}
	var answer json.RawMessage
	if _, err := c.call(ctx, http.MethodGet, "/webhook_subscriptions", query, nil, into(&answer, nil)); err != nil {
		return nil, false, err
	}
	list, bare := unmarshal[[]json.RawMessage](answer)
	var more bool
	if !bare {
		envelope, ok := unmarshal[struct {
			Metadata struct {
				Paging struct {
					NextPage *int `json:"next_page"`
				} `json:"paging"`
			} `json:"metadata"`
			Data []json.RawMessage `json:"data"`
		}](answer)
		if !ok || envelope.Data == nil {
			return nil, false, fmt.Errorf("%w: it is no list", ErrMalformed)
		}
		list, more = envelope.Data, envelope.Metadata.Paging.NextPage != nil
	}
	subscriptions := make([]Subscription, len(list))
	for i, raw := range list {
		var err error
		if subscriptions[i], err = parseSubscription(raw); err != nil {
			return nil, false, err
		}
	}
	return subscriptions, more, nil
}

// DeleteSubscription removes a subscription (DELETE /webhook_subscriptions/{id}); one that is gone already is ErrNotFound.
func (c *Client) DeleteSubscription(ctx context.Context, id int64) error {
	path := "/webhook_subscriptions/" + strconv.FormatInt(id, 10)
	if _, err := c.call(ctx, http.MethodDelete, path, nil, nil, nil); err != nil {
		return fmt.Errorf("deleting webhook subscription %d: %w", id, err)
	}
	return nil
}

func parseSubscription(raw json.RawMessage) (Subscription, error) {
	object, ok := unmarshal[struct {
		ID            int64           `json:"id"`
		EventType     string          `json:"event_type"`
		CallbackURL   string          `json:"callback_url"`
		CallbackToken string          `json:"callback_token"`
		Enabled       bool            `json:"enabled"`
		TenantID      json.RawMessage `json:"tenant_id"`
	}](raw)
	if !ok || object.ID == 0 {
		return Subscription{}, fmt.Errorf("%w: it is no subscription", ErrMalformed)
	}
	subscription := Subscription{
		ID: object.ID, EventType: object.EventType, CallbackURL: object.CallbackURL, CallbackToken: object.CallbackToken,
		Enabled: object.Enabled,
	}
	if !isNull(object.TenantID) {
		subscription.TenantID, _ = text(object.TenantID)
	}
	return subscription, nil
}
