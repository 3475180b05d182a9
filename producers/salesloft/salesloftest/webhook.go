package salesloftest

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // the API signs with it
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// webhookTries is how often a delivery is tried before it is lost.
const webhookTries = 4

// eventTypes are the events that can be subscribed to; those about people are the ones that are sent.
var eventTypes = []string{
	"person_created", "person_updated", "person_deleted", "account_created", "account_updated", "account_deleted",
	"cadence_created", "cadence_updated", "cadence_deleted", "call_created", "call_updated", "task_created", "task_updated",
	"task_deleted", "task_completed",
}

type subscription struct {
	id            int64
	eventType     string
	callbackURL   string
	callbackToken string
}

type delivery struct {
	subscription subscription
	body         []byte
	attempt      int
}

// courier owns the subscriptions and delivers. Its one dispatcher starts with the first delivery and ends with close.
type courier struct {
	cfg  Config
	wake chan struct{} // holds one token: there may be something in queue

	mu            sync.Mutex // guards what follows
	subscriptions []subscription
	lastID        int64
	queue         []delivery
	held          *delivery // waits for its successor to go first
	sequence      int
	counts        DeliveryStats
	closed        bool
	cancel        context.CancelFunc // nil until the dispatcher runs
	done          chan struct{}
}

// DeliveryStats counts webhooks.
type DeliveryStats struct {
	Pending   int `json:"pending"`   // not settled: queued, on their way or waiting for the next try
	Delivered int `json:"delivered"` // answered 2xx
	Failed    int `json:"failed"`    // tries that were not
	Lost      int `json:"lost"`      // given up after the last try
}

func newCourier(cfg Config) *courier {
	return &courier{cfg: cfg, wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// notify queues one delivery for each subscription to the event.
func (c *courier) notify(event string, body []byte) {
	if c.cfg.WrapDeliveries {
		body = slices.Concat([]byte(`{"data":`), body, []byte("}"))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, subscription := range c.subscriptions {
		if subscription.eventType == event {
			c.add(delivery{subscription: subscription, body: body})
		}
	}
}

func (c *courier) subscribed(event string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.subscriptions, func(s subscription) bool { return s.eventType == event })
}

func (c *courier) add(d delivery) {
	c.sequence++
	if c.cfg.SwapEvery > 0 && c.sequence%c.cfg.SwapEvery == 0 && c.held == nil {
		c.held = &d
		return
	}
	c.enqueue(d)
	if c.cfg.DuplicateEvery > 0 && c.sequence%c.cfg.DuplicateEvery == 0 {
		c.enqueue(d)
	}
	c.release()
}

// release sends what was held back. It is called after each successor and, for want of one, at the end of each change.
func (c *courier) release() {
	if c.held != nil {
		c.enqueue(*c.held)
		c.held = nil
	}
}

func (c *courier) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.release()
}

func (c *courier) enqueue(d delivery) {
	if c.closed {
		return
	}
	if c.cancel == nil {
		// A delivery outlives the change that is told of: close ends it.
		ctx, cancel := context.WithCancel(context.Background()) //nolint:forbidigo // no caller's context lasts as long
		c.cancel = cancel
		go c.run(ctx)
	}
	c.queue = append(c.queue, d)
	c.counts.Pending++
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *courier) next() (delivery, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		return delivery{}, false
	}
	d := c.queue[0]
	c.queue = c.queue[1:]
	return d, true
}

func (c *courier) run(ctx context.Context) {
	defer close(c.done)
	var workers errgroup.Group
	workers.SetLimit(c.cfg.WebhookWorkers)
	defer func() { _ = workers.Wait() }()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		}
		for d, ok := c.next(); ok && ctx.Err() == nil; d, ok = c.next() {
			workers.Go(func() error {
				c.settle(d, c.post(ctx, d))
				return nil
			})
		}
	}
}

func (c *courier) post(ctx context.Context, d delivery) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, d.subscription.callbackURL, bytes.NewReader(d.body))
	if err != nil {
		return false
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Salesloft-Event", d.subscription.eventType)
	request.Header.Set("X-Salesloft-Signature", Sign(d.subscription.callbackToken, d.body))
	response, err := c.cfg.WebhookClient.Do(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode >= 200 && response.StatusCode < 300
}

// settle books a try. A retry waits in a timer, not in a worker; one that fires after close finds the courier closed.
func (c *courier) settle(d delivery, delivered bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d.attempt++
	switch {
	case delivered:
		c.counts.Pending--
		c.counts.Delivered++
	case d.attempt == webhookTries:
		c.counts.Pending--
		c.counts.Failed++
		c.counts.Lost++
	default:
		c.counts.Failed++
		time.AfterFunc(c.cfg.WebhookRetryInterval, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.counts.Pending--
			c.enqueue(d)
		})
	}
}

func (c *courier) stats() DeliveryStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts
}

func (c *courier) close() {
	c.mu.Lock()
	c.closed = true
	cancel := c.cancel
	c.mu.Unlock()
	if cancel != nil {
		cancel()
		<-c.done
		c.cfg.WebhookClient.CloseIdleConnections()
	}
}

// Sign is the signature that a delivery of body carries: HMAC-SHA1 keyed with the callback token, in hexadecimal.
func Sign(callbackToken string, body []byte) string {
	mac := hmac.New(sha1.New, []byte(callbackToken))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

func (s *Simulator) createSubscription(w http.ResponseWriter, r *http.Request) {
	var body struct {
		EventType     string `json:"event_type"`
		CallbackURL   string `json:"callback_url"`
		CallbackToken string `json:"callback_token"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		writeError(w, http.StatusBadRequest, "The body is no JSON object")
		return
	}
	if !slices.Contains(eventTypes, body.EventType) {
		writeInvalid(w, "event_type", "is not included in the list")
		return
	}
	if u, err := url.Parse(body.CallbackURL); err != nil || u.Host == "" {
		writeInvalid(w, "callback_url", "is invalid")
		return
	}
	if body.CallbackToken == "" {
		writeInvalid(w, "callback_token", "can't be blank")
		return
	}
	c := s.courier
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastID++
	created := subscription{
		id: c.lastID, eventType: body.EventType, callbackURL: body.CallbackURL, callbackToken: body.CallbackToken,
	}
	c.subscriptions = append(c.subscriptions, created)
	if s.cfg.WrapSubscriptions {
		writeData(w, s.subscriptionJSON(created))
		return
	}
	writeJSON(w, http.StatusOK, s.subscriptionJSON(created))
}

func (s *Simulator) listSubscriptions(w http.ResponseWriter, _ *http.Request) {
	s.courier.mu.Lock()
	defer s.courier.mu.Unlock()
	list := make([]any, 0, len(s.courier.subscriptions))
	for _, subscription := range s.courier.subscriptions {
		item := s.subscriptionJSON(subscription)
		if s.cfg.HideCallbackTokens {
			delete(item, "callback_token")
		}
		list = append(list, item)
	}
	if s.cfg.WrapSubscriptions {
		writeData(w, list)
		return
	}
	writeJSON(w, http.StatusOK, list)
}

func (s *Simulator) deleteSubscription(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	s.courier.mu.Lock()
	defer s.courier.mu.Unlock()
	before := len(s.courier.subscriptions)
	s.courier.subscriptions = slices.DeleteFunc(s.courier.subscriptions, func(x subscription) bool { return x.id == id })
	if err != nil || len(s.courier.subscriptions) == before {
		writeError(w, http.StatusNotFound, "Not found")
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *Simulator) subscriptionJSON(x subscription) map[string]any {
	var tenant any = 501
	if s.cfg.TenantIDString {
		tenant = "501"
	}
	return map[string]any{
		"id": x.id, "event_type": x.eventType, "callback_url": x.callbackURL, "callback_token": x.callbackToken,
		"enabled": true, "user_guid": "0b8f6a3e-5c1d-4f0e-9a77-2d6d8b1c4e55", "tenant_id": tenant,
	}
}
