package salesloftest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/producers/salesloft/salesloftest"
)

const callbackToken = "callback-token"

// inbox is a receiver of webhooks that refuses the first few.
type inbox struct {
	mu     sync.Mutex
	refuse int
	got    []delivered
}

type delivered struct {
	event, signature string
	body             []byte
	id               int64
}

func (i *inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var record struct {
		ID   int64           `json:"id"`
		Data json.RawMessage `json:"data"`
	}
	_ = json.Unmarshal(body, &record)
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.refuse > 0 {
		i.refuse--
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	i.got = append(i.got, delivered{r.Header.Get("x-salesloft-event"), r.Header.Get("x-salesloft-signature"), body, record.ID})
}

func (i *inbox) all() []delivered {
	i.mu.Lock()
	defer i.mu.Unlock()
	return append([]delivered(nil), i.got...)
}

func (s server) subscribe(inbox *inbox, events ...string) {
	s.t.Helper()
	receiver := httptest.NewServer(inbox)
	s.t.Cleanup(func() {
		s.Close()
		receiver.Close()
	})
	for _, event := range events {
		got := s.do(http.MethodPost, "/v2/webhook_subscriptions", map[string]string{
			"callback_url": receiver.URL, "callback_token": callbackToken, "event_type": event,
		})
		require.Equal(s.t, http.StatusOK, got.status, string(got.body))
	}
}

func (s server) settled() {
	s.t.Helper()
	require.Eventually(s.t, func() bool { return s.Stats().Webhooks.Pending == 0 }, 10*time.Second, time.Millisecond)
}

func TestChangesAreDelivered(t *testing.T) {
	t.Parallel()
	s := start(t, salesloftest.Config{Seed: 1, People: 10, WebhookWorkers: 1})
	inbox := &inbox{}
	s.subscribe(inbox, "person_created", "person_deleted")
	created, err := s.Create(salesloftest.Change{Count: 2})
	require.NoError(t, err)
	_, err = s.Update(salesloftest.Change{IDs: created}) // nobody has subscribed to updates
	require.NoError(t, err)
	_, err = s.Create(salesloftest.Change{Count: 1, Quiet: true})
	require.NoError(t, err)
	s.do(http.MethodDelete, fmt.Sprintf("/v2/people/%d", created[0]), nil)
	s.settled()
	got := inbox.all()
	require.Len(t, got, 3)
	require.Equal(t, "person_created", got[0].event)
	require.Equal(t, "person_deleted", got[2].event)
	require.Equal(t, []int64{created[0], created[1], created[0]}, []int64{got[0].id, got[1].id, got[2].id})
	require.Equal(t, salesloftest.Sign(callbackToken, got[0].body), got[0].signature)
}

func TestDeliveryIsTriedFourTimes(t *testing.T) {
	t.Parallel()
	s := start(t, salesloftest.Config{Seed: 1, People: 10, WebhookRetryInterval: time.Millisecond, WebhookWorkers: 1})
	inbox := &inbox{refuse: 3}
	s.subscribe(inbox, "person_updated")
	change := salesloftest.Change{Count: 1}
	_, err := s.Update(change)
	require.NoError(t, err)
	s.settled()
	require.Equal(t, salesloftest.DeliveryStats{Delivered: 1, Failed: 3}, s.Stats().Webhooks)
	inbox.mu.Lock()
	inbox.refuse = 4
	inbox.mu.Unlock()
	_, err = s.Update(change)
	require.NoError(t, err)
	s.settled()
	require.Equal(t, salesloftest.DeliveryStats{Delivered: 1, Failed: 7, Lost: 1}, s.Stats().Webhooks)
	require.Len(t, inbox.all(), 1)
}

func TestDuplicatesAndReordering(t *testing.T) {
	t.Parallel()
	s := start(t, salesloftest.Config{Seed: 1, WebhookWorkers: 1, DuplicateEvery: 3, SwapEvery: 2})
	inbox := &inbox{}
	s.subscribe(inbox, "person_created")
	ids, err := s.Create(salesloftest.Change{Count: 4})
	require.NoError(t, err)
	s.settled()
	var got []int64
	for _, d := range inbox.all() {
		got = append(got, d.id)
	}
	require.Equal(t, []int64{ids[0], ids[2], ids[2], ids[1], ids[3]}, got)
}

func TestDeliverySwitches(t *testing.T) {
	t.Parallel()
	s := start(t, salesloftest.Config{Seed: 1, People: 3, WrapDeliveries: true, DeleteBodyIDOnly: true})
	inbox := &inbox{}
	s.subscribe(inbox, "person_deleted")
	ids, err := s.Delete(salesloftest.Change{Count: 1})
	require.NoError(t, err)
	s.settled()
	require.JSONEq(t, fmt.Sprintf(`{"data":{"id":%d}}`, ids[0]), string(inbox.all()[0].body))
}

func TestCloseDropsWhatWaits(t *testing.T) {
	t.Parallel()
	s := start(t, salesloftest.Config{Seed: 1, People: 50, WebhookRetryInterval: time.Hour})
	var once sync.Once
	arrived := make(chan struct{})
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then does the server notice that the caller is gone
		once.Do(func() { close(arrived) })
		<-r.Context().Done()
	}))
	t.Cleanup(receiver.Close)
	s.do(http.MethodPost, "/v2/webhook_subscriptions", map[string]string{
		"callback_url": receiver.URL, "callback_token": callbackToken, "event_type": "person_updated",
	})
	_, err := s.Update(salesloftest.Change{Count: 50})
	require.NoError(t, err)
	<-arrived
	s.Close()
	s.Close()
}
