package people

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/producers/salesloft/salesloftest"
	"github.com/revstream/revstream/schemas"
)

// subscribe serves a process's receiver and has the simulator deliver to it.
func (w *world) subscribe(p *process) {
	w.t.Helper()
	server := httptest.NewServer(p.receiver)
	w.t.Cleanup(func() {
		w.sim.Close()
		server.Close()
	})
	_, err := SyncSubscriptions(w.t.Context(), p.source, SubscriptionOrder{CallbackURL: server.URL, Token: webhookSecret})
	require.NoError(w.t, err)
}

func (w *world) webhooksSettled() {
	w.t.Helper()
	require.Eventually(w.t, func() bool { return w.sim.Stats().Webhooks.Pending == 0 }, 20*time.Second, time.Millisecond)
	require.Zero(w.t, w.sim.Stats().Webhooks.Lost)
}

func sign(newHash func() hash.Hash, body string) string {
	mac := hmac.New(newHash, []byte(webhookSecret))
	mac.Write([]byte(body))
	return hex.EncodeToString(mac.Sum(nil))
}

func deliver(receiver http.Handler, method, event, body string, headers map[string]string) *httptest.ResponseRecorder {
	request := httptest.NewRequest(method, "/any/path", strings.NewReader(body))
	request.Header.Set("X-Salesloft-Event", event)
	for name, value := range headers {
		request.Header.Set(name, value)
	}
	answer := httptest.NewRecorder()
	receiver.ServeHTTP(answer, request)
	return answer
}

const (
	goodBody  = `{"id":5,"updated_at":"2026-01-02T03:04:05.000006+01:00","first_name":"Zoë"}`
	hugeValue = maxDelivery + 1
)

func TestReceiverAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{})
	p := w.start(nil)
	for name, c := range map[string]struct {
		method, event, body string
		signature           string // "" is the right one
		want                int
	}{
		"created":             {"POST", "person_created", goodBody, "", 200},
		"updated, enveloped":  {"POST", "person_updated", `{"data":` + goodBody + `}`, "", 200},
		"another family":      {"POST", "cadence_created", `not even JSON`, "", 200},
		"bad signature":       {"POST", "person_updated", goodBody, "00", 401},
		"other body's":        {"POST", "person_updated", goodBody, sign(sha1.New, "x"), 401},
		"no signature":        {"POST", "person_updated", goodBody, " ", 401},
		"unsigned other":      {"POST", "cadence_created", `{}`, "00", 401},
		"not JSON":            {"POST", "person_updated", `{"id":5`, "", 200},
		"no version":          {"POST", "person_updated", `{"id":6}`, "", 200},
		"version before 1970": {"POST", "person_updated", `{"id":7,"updated_at":"1960-01-01T00:00:00Z"}`, "", 200},
		"too large":           {"POST", "person_updated", strings.Repeat("x", hugeValue), "", 413},
		"GET":                 {"GET", "person_updated", "", "", 405},
	} {
		t.Run(name, func(t *testing.T) {
			signature := c.signature
			if signature == "" {
				signature = strings.ToUpper(sign(sha1.New, c.body))
			}
			answer := deliver(p.receiver, c.method, c.event, c.body, map[string]string{"X-Salesloft-Signature": signature})
			require.Equal(t, c.want, answer.Code)
		})
	}
	require.Len(t, w.events(), 2)
	require.Len(t, w.counts(), 1)
	require.Equal(t, int64(5), w.events()[0].PersonID)
	require.NotEmpty(t, w.events()[0].CorrelationID)
	require.NotEqual(t, w.events()[0].CorrelationID, w.events()[1].CorrelationID, "each delivery has an ID of its own")

	// What is the sender's and can never be an event is a dead letter, with its bytes.
	bodies := map[string]string{}
	for _, record := range pipelinetest.ReadAll(t, w.kafka, schemas.DLQTopic(schemas.PeopleTopic)) {
		letter, err := deadletter.Parse(record)
		require.NoError(t, err)
		bodies[string(letter.Value)] = letter.Reason + " " + string(letter.Key)
	}
	require.Equal(t, map[string]string{
		`{"id":5`: "malformed ", `{"id":6}`: "malformed ", `{"id":7,"updated_at":"1960-01-01T00:00:00Z"}`: "invalid salesloft:7",
	}, bodies)
}

// TestOldAndNewSecretWhileItRotates: deliveries on their way are signed with either.
func TestOldAndNewSecretWhileItRotates(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{})
	p := w.start(nil)
	deliverSigned := func() int {
		return deliver(p.receiver, "POST", "person_updated", goodBody, map[string]string{"X-Salesloft-Signature": sign(sha1.New, goodBody)}).Code
	}
	for _, c := range []struct {
		accepted []string
		want     int
	}{{[]string{"new", webhookSecret}, 200}, {[]string{webhookSecret, "old"}, 200}, {[]string{"new"}, 401}, {[]string{""}, 401}, {nil, 401}} {
		p.receiver.secrets = func() []string { return c.accepted }
		require.Equal(t, c.want, deliverSigned(), c.accepted)
	}
}

func TestDeliveriesComeFromAllowedNetworks(t *testing.T) {
	t.Parallel()
	networks := func(texts ...string) (all []netip.Prefix) {
		for _, text := range texts {
			all = append(all, netip.MustParsePrefix(text))
		}
		return all
	}
	for name, c := range map[string]struct {
		allowed, proxies []netip.Prefix
		peer             string
		forwarded        []string
		want             bool
	}{
		"anywhere":                         {nil, nil, "198.51.100.7:1", nil, true},
		"allowed":                          {networks("10.0.0.0/8", "198.51.100.0/24"), nil, "198.51.100.7:1", nil, true},
		"elsewhere":                        {networks("198.51.100.0/24"), nil, "203.0.113.1:1", nil, false},
		"IPv4 in IPv6":                     {networks("198.51.100.0/24"), nil, "[::ffff:198.51.100.7]:1", nil, true},
		"IPv6":                             {networks("2001:db8::/32"), nil, "[2001:db8::1]:1", nil, true},
		"a header that nobody vouches for": {networks("198.51.100.0/24"), nil, "203.0.113.1:1", []string{"198.51.100.7"}, false},
		"through a proxy":                  {networks("198.51.100.0/24"), networks("10.0.0.0/8"), "10.0.0.1:1", []string{"198.51.100.7"}, true},
		"the proxy itself":                 {networks("198.51.100.0/24"), networks("10.0.0.0/8"), "10.0.0.1:1", nil, false},
		"through two, a claim before":      {networks("198.51.100.0/24"), networks("10.0.0.0/8"), "10.0.0.1:1", []string{"203.0.113.9, 198.51.100.7", "10.0.0.2"}, true},
		"a claim through a proxy":          {networks("198.51.100.0/24"), networks("10.0.0.0/8"), "10.0.0.1:1", []string{"198.51.100.7, 203.0.113.9"}, false},
		"nonsense through a proxy":         {networks("198.51.100.0/24"), networks("10.0.0.0/8"), "10.0.0.1:1", []string{"198.51.100.7, unknown"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := httptest.NewRequest(http.MethodPost, "/", nil)
			req.RemoteAddr = c.peer
			for _, value := range c.forwarded {
				req.Header.Add("X-Forwarded-For", value)
			}
			require.Equal(t, c.want, ReceiverConfig{AllowedCIDRs: c.allowed, TrustedProxies: c.proxies}.allows(req))
		})
	}
	w := newWorld(t, salesloftest.Config{})
	p := w.start(nil)
	p.receiver.cfg.AllowedCIDRs = networks("198.51.100.0/24") // httptest's peer is 192.0.2.1
	require.Equal(t, 403, deliver(p.receiver, "POST", "person_updated", goodBody, map[string]string{"X-Salesloft-Signature": sign(sha1.New, goodBody)}).Code)
}

func TestReceiverSHA256(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{})
	inbox := w.start(nil).receiver.people
	receiver, err := NewReceiver(ReceiverConfig{Algorithm: "sha256", AckTimeout: 10 * time.Second},
		slog.New(slog.DiscardHandler), inbox, func() []string { return []string{webhookSecret} }, prometheus.NewRegistry())
	require.NoError(t, err)
	right := map[string]string{"X-Signature": "sha256=" + sign(sha256.New, goodBody)}
	require.Equal(t, 200, deliver(receiver, "POST", "person_updated", goodBody, right).Code)
	wrong := map[string]string{"X-Salesloft-Signature": sign(sha1.New, goodBody)}
	require.Equal(t, 401, deliver(receiver, "POST", "person_updated", goodBody, wrong).Code)
}

// TestKafkaAwayIsRefusedAndDeliveredAgain: no 2xx before the brokers have it, so that the sender's retry covers an outage.
func TestKafkaAwayIsRefusedAndDeliveredAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{Seed: 1, People: 10, WebhookRetryInterval: 2 * time.Second})
	p := w.start(nil)
	p.receiver.cfg.AckTimeout = 300 * time.Millisecond
	back := w.kafkaAway()
	headers := map[string]string{"X-Salesloft-Signature": sign(sha1.New, goodBody)}
	answer := deliver(p.receiver, "POST", "person_updated", goodBody, headers)
	require.Equal(t, http.StatusServiceUnavailable, answer.Code)
	require.NotEmpty(t, answer.Header().Get("Retry-After"))
	headers = map[string]string{"X-Salesloft-Signature": sign(sha1.New, `{"id":5`)}
	answer = deliver(p.receiver, "POST", "person_updated", `{"id":5`, headers)
	require.Equal(t, http.StatusServiceUnavailable, answer.Code, "nor is what can be no event taken before the brokers have its letter")

	w.subscribe(p)
	changed := w.update(salesloftest.Change{Count: 3})
	require.Eventually(t, func() bool { return w.sim.Stats().Webhooks.Failed >= len(changed) }, 10*time.Second, time.Millisecond)
	back()
	w.webhooksSettled()
	present, counts := w.present(), w.counts()
	onTopic := map[int64]bool{}
	for eventID, id := range present {
		onTopic[id] = counts[eventID] > 0
	}
	for _, id := range changed {
		require.True(t, onTopic[id], "person %d is lost", id)
	}
}

func TestReceiverBoundsWhatItHolds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{})
	p := w.start(nil)
	for range maxInFlight {
		p.receiver.slots <- struct{}{}
	}
	headers := map[string]string{"X-Salesloft-Signature": sign(sha1.New, goodBody)}
	require.Equal(t, 503, deliver(p.receiver, "POST", "person_updated", goodBody, headers).Code)
	<-p.receiver.slots
	require.Equal(t, 200, deliver(p.receiver, "POST", "person_updated", goodBody, headers).Code)
}

func TestServeFinishesWhatIsInFlight(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{})
	p := w.start(nil)
	p.receiver.cfg.Addr = "127.0.0.1:0"
	listener, err := p.receiver.Listen(t.Context())
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- p.receiver.Serve(ctx, listener) }()

	back := w.kafkaAway()
	pool := &http.Transport{}
	defer pool.CloseIdleConnections()
	answered := make(chan int, 1)
	go func() {
		request, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+listener.Addr().String(), bytes.NewReader([]byte(goodBody)))
		request.Header.Set("X-Salesloft-Event", "person_updated")
		request.Header.Set("X-Salesloft-Signature", sign(sha1.New, goodBody))
		response, err := pool.RoundTrip(request)
		if err != nil {
			answered <- 0
			return
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		answered <- response.StatusCode
	}()
	require.Eventually(t, func() bool { return len(p.receiver.slots) == 1 }, 10*time.Second, time.Millisecond)
	stop()
	back()
	require.Equal(t, 200, <-answered)
	require.NoError(t, <-served)
	require.Len(t, w.events(), 1)
}

func TestListenNamesTheSetting(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{})
	p := w.start(nil)
	p.receiver.cfg.Addr = "127.0.0.1:0"
	listener, err := p.receiver.Listen(t.Context())
	require.NoError(t, err)
	defer listener.Close()
	p.receiver.cfg.Addr = listener.Addr().String()
	_, err = p.receiver.Listen(t.Context())
	_, port, splitErr := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, splitErr)
	require.EqualError(t, err, "WEBHOOK_ADDR "+listener.Addr().String()+": port "+port+
		" is in use: stop what listens on it, or choose another with WEBHOOK_ADDR or --webhook-addr")
	p.receiver.cfg.Addr = "nonsense"
	_, err = p.receiver.Listen(t.Context())
	require.ErrorContains(t, err, "WEBHOOK_ADDR (--webhook-addr): ")
}
