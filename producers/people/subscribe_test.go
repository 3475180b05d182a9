package people

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/producers/salesloft"
	"github.com/revstream/revstream/producers/salesloft/salesloftest"
)

const ourURL, othersURL = "http://127.0.0.1/ours", "http://127.0.0.1/others"

// subscriptions notes in which order things are done, and calls some subscriptions disabled.
type subscriptions struct {
	Subscriber
	mu       sync.Mutex
	disabled map[int64]bool
	log      []string
}

func (s *subscriptions) Subscriptions(ctx context.Context) ([]salesloft.Subscription, error) {
	all, err := s.Subscriber.Subscriptions(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range all {
		all[i].Enabled = !s.disabled[all[i].ID]
	}
	return all, err
}

func (s *subscriptions) note(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, what)
}

func (s *subscriptions) CreateSubscription(ctx context.Context, eventType, url, token string) (salesloft.Subscription, error) {
	s.note("create " + eventType + " " + token)
	return s.Subscriber.CreateSubscription(ctx, eventType, url, token)
}

func (s *subscriptions) DeleteSubscription(ctx context.Context, id int64) error {
	s.note("delete")
	return s.Subscriber.DeleteSubscription(ctx, id)
}

// done returns what was done since the last call.
func (s *subscriptions) done() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	log := s.log
	s.log = nil
	return log
}

// have returns how many subscriptions there are, by event type and URL.
func (s *subscriptions) have(t *testing.T) map[[2]string]int {
	t.Helper()
	all, err := s.Subscriptions(t.Context())
	require.NoError(t, err)
	got := map[[2]string]int{}
	for _, one := range all {
		got[[2]string{one.EventType, one.CallbackURL}]++
	}
	return got
}

func newSubscriptions(t *testing.T, cfg salesloftest.Config) *subscriptions {
	t.Helper()
	return &subscriptions{Subscriber: newWorld(t, cfg).start(nil).source, disabled: map[int64]bool{}}
}

func TestSubscriptionsAreBroughtInOrder(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]salesloftest.Config{
		"bare": {}, "wrapped": {WrapSubscriptions: true, TenantIDString: true}, "tokens hidden": {HideCallbackTokens: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source := newSubscriptions(t, cfg)
			for _, existing := range [][2]string{{"person_updated", ourURL}, {"person_created", othersURL}, {"task_created", ourURL}} {
				_, err := source.Subscriber.CreateSubscription(t.Context(), existing[0], existing[1], "first")
				require.NoError(t, err)
			}
			sync := func(order SubscriptionOrder) []string {
				order.CallbackURL = ourURL
				_, err := SyncSubscriptions(t.Context(), source, order)
				require.NoError(t, err)
				want := map[[2]string]int{
					{"person_updated", ourURL}: 1, {"person_created", ourURL}: 1, {"person_deleted", ourURL}: 1,
					{"person_created", othersURL}: 1, {"task_created", ourURL}: 1,
				}
				if order.Prune {
					delete(want, [2]string{"person_created", othersURL})
				}
				require.Equal(t, want, source.have(t))
				return source.done()
			}
			require.Equal(t, []string{"create person_created first", "create person_deleted first"}, sync(SubscriptionOrder{Token: "first"}))
			require.Empty(t, sync(SubscriptionOrder{Token: "first"}))

			replaced := []string{"create person_created second", "create person_updated second", "create person_deleted second", "delete", "delete", "delete"}
			require.Equal(t, replaced, sync(SubscriptionOrder{Token: "second", Replace: cfg.HideCallbackTokens}), "what is new comes before what is old goes")
			require.Empty(t, sync(SubscriptionOrder{Token: "second"}))

			all, err := source.Subscriptions(t.Context())
			require.NoError(t, err)
			source.disabled[all[len(all)-1].ID] = true
			require.Equal(t, []string{"create person_deleted second", "delete"}, sync(SubscriptionOrder{Token: "second"}))

			_, err = source.Subscriber.CreateSubscription(t.Context(), "person_created", ourURL, "second")
			require.NoError(t, err)
			require.Equal(t, []string{"delete"}, sync(SubscriptionOrder{Token: "second"}), "one of each is enough")
			require.Equal(t, []string{"delete"}, sync(SubscriptionOrder{Token: "second", Prune: true}))
		})
	}
}

// TestASecretThatRotatesIsSubscribedWith, also where the API does not tell what a subscription is signed with.
func TestASecretThatRotatesIsSubscribedWith(t *testing.T) {
	t.Parallel()
	source := newSubscriptions(t, salesloftest.Config{HideCallbackTokens: true})
	var secret atomic.Value
	secret.Store("first")
	ctx, stop := context.WithCancel(t.Context())
	kept := make(chan error, 1)
	go func() {
		kept <- keepSubscribed(ctx, source, ourURL, func() string { return secret.Load().(string) }, slog.New(slog.DiscardHandler), time.Millisecond)
	}()
	did := func(n int) (log []string) {
		require.Eventually(t, func() bool { log = append(log, source.done()...); return len(log) >= n }, 10*time.Second, time.Millisecond)
		return log
	}
	require.Equal(t, []string{"create person_created first", "create person_updated first", "create person_deleted first"}, did(3))
	secret.Store("second")
	require.Equal(t, []string{
		"create person_created second", "create person_updated second", "create person_deleted second", "delete", "delete", "delete",
	}, did(6))
	stop()
	require.NoError(t, <-kept)
	require.Len(t, source.have(t), 3)
}
