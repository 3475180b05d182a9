package salesloft_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/producers/salesloft"
	"github.com/revstream/revstream/producers/salesloft/salesloftest"
)

// memoryStore is a TokenStore that notes when it was written. Clients that share one are processes with one store.
type memoryStore struct {
	lock   chan struct{} // holds one token
	mu     sync.Mutex
	grant  salesloft.Grant
	fail   error
	events *journal
}

func newMemoryStore(events *journal) *memoryStore {
	s := &memoryStore{lock: make(chan struct{}, 1), events: events}
	s.lock <- struct{}{}
	return s
}

func (s *memoryStore) Load(context.Context) (salesloft.Grant, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.grant, nil
}

func (s *memoryStore) Save(_ context.Context, grant salesloft.Grant) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	s.grant = grant
	s.events.add("save")
	return nil
}

func (s *memoryStore) Lock(ctx context.Context) (func(), error) {
	select {
	case <-s.lock:
		return func() { s.lock <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *memoryStore) set(grant salesloft.Grant, fail error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.grant, s.fail = grant, fail
}

func (s *memoryStore) stored() salesloft.Grant {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.grant
}

type journal struct {
	mu     sync.Mutex
	events []string
}

func (j *journal) add(event string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.events = append(j.events, event)
}

func (j *journal) take() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	text := strings.Join(j.events, " ")
	j.events = nil
	return text
}

// world is a simulator with OAuth, its clock, and what happened in which order.
type world struct {
	*salesloftest.Simulator
	events     *journal
	store      *memoryStore
	cfg        salesloft.Config
	mu         sync.Mutex
	now        time.Time
	configured string
	onToken    func() // called before the token endpoint answers
}

func newWorld(t *testing.T, cfg salesloftest.Config) *world {
	t.Helper()
	w := &world{events: &journal{}, now: time.Date(2025, 5, 5, 5, 5, 5, 0, time.UTC), configured: "refresh-0"}
	w.store = newMemoryStore(w.events)
	cfg.ClientID, cfg.ClientSecret, cfg.RefreshToken, cfg.Now = "client-1", "client-secret", "refresh-0", w.clock
	w.Simulator = newSim(t, cfg)
	w.cfg = salesloft.Config{
		ClientID: "client-1", ClientSecret: constant("client-secret"), TokenStore: w.store, Now: w.clock,
		RefreshToken: func() string {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.configured
		},
	}
	return w
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) configure(refreshToken string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.configured = refreshToken
}

func (w *world) advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// throughTransport is a client with the transport that the producers have, which gives up sooner.
func (w *world) throughTransport(t *testing.T, cfg salesloft.Config) (*salesloft.Client, fmt.Stringer) {
	t.Helper()
	base, httpClient := listen(t, w)
	logger, text := logText()
	patience := resilience.Backoff{Base: time.Millisecond, Max: 2 * time.Millisecond, Jitter: -1}
	httpClient.Transport = resilience.NewTransport(resilience.TransportConfig{
		Backoff: patience, HeaderTimeout: time.Second, StallTimeout: time.Second, BreakerFailures: 1000,
	}, logger, httpClient.Transport)
	cfg.BaseURL, cfg.TokenURL, cfg.Backoff = base+"/v2", base+"/oauth/token", patience
	cfg.ClientID, cfg.ClientSecret, cfg.RefreshToken, cfg.TokenStore = w.cfg.ClientID, w.cfg.ClientSecret, w.cfg.RefreshToken, w.store
	cfg.Budget, cfg.Sleep = salesloft.BudgetConfig{PerMinute: 1_000_000, Share: 1}, func(ctx context.Context, _ time.Duration) error {
		w.advance(time.Minute + time.Second)
		return ctx.Err()
	}
	cfg.Now = w.clock
	client, err := salesloft.New(cfg, logger, httpClient)
	require.NoError(t, err)
	return client, text
}

func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/oauth/token" {
		w.events.add("token")
		w.Simulator.ServeHTTP(rw, r)
		if w.onToken != nil {
			w.onToken()
		}
		return
	}
	w.events.add("api")
	w.Simulator.ServeHTTP(rw, r)
}

func TestRefreshTokenIsStoredBeforeTheAccessTokenIsUsed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{})
	client := newClient(t, w, w.cfg)
	for range 2 {
		_, err := client.Me(t.Context())
		require.NoError(t, err)
	}
	require.Equal(t, "token save api api", w.events.take())
	require.NotEqual(t, "refresh-0", w.store.stored().RefreshToken)

	w.ExpireTokens() // without the client's clock knowing: a 401
	_, err := client.Me(t.Context())
	require.NoError(t, err)
	require.Equal(t, "api token save api", w.events.take(), "one refresh, one retry")

	before := w.store.stored()
	w.advance(2*time.Hour - 4*time.Minute)
	_, err = client.Me(t.Context())
	require.NoError(t, err, "the present token is good for minutes")
	require.Eventually(t, func() bool { return w.store.stored() != before }, 10*time.Second, time.Millisecond)
	w.advance(5 * time.Minute)
	_, err = client.Me(t.Context())
	require.NoError(t, err)
	require.Zero(t, w.Stats().Unauthorized-1, "renewed ahead of its expiry, without a refused request")

	again := newClient(t, w, w.cfg) // a restart: the configured token is revoked long since
	_, err = again.Me(t.Context())
	require.NoError(t, err)
}

func TestConcurrentRefreshesAreOneFlight(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{})
	client := newClient(t, w, w.cfg)
	for round := range 5 {
		w.ExpireTokens()
		group, ctx := errgroup.WithContext(t.Context())
		for range 20 {
			group.Go(func() error {
				_, err := client.Me(ctx)
				return err
			})
		}
		require.NoError(t, group.Wait())
		require.Equal(t, round+1, w.Stats().TokensIssued)
	}
}

func TestPersistent401IsRetriedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{})
	client := newClient(t, w, w.cfg)
	_, err := client.Me(t.Context())
	require.NoError(t, err)
	w.events.take()
	w.FailNext(10, http.StatusUnauthorized)
	_, err = client.Me(t.Context())
	require.ErrorIs(t, err, salesloft.ErrUnauthorized)
	require.Equal(t, "api token save api", w.events.take())
}

func TestUnstoredRefreshTokenIsNotLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{})
	client := newClient(t, w, w.cfg)
	full := errors.New("disk full")
	w.store.set(salesloft.Grant{}, full)
	_, err := client.Me(t.Context())
	require.ErrorIs(t, err, full)
	require.Equal(t, "token", w.events.take(), "not used while it is not stored")
	w.store.set(salesloft.Grant{}, nil)
	_, err = client.Me(t.Context())
	require.NoError(t, err)
	require.Equal(t, "save api", w.events.take(), "asking again would have been an invalid_grant")
}

func TestCancelledCallerDoesNotLoseTheRefreshToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	w.onToken = cancel
	client := newClient(t, w, w.cfg)
	_, err := client.Me(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, client.Close(t.Context()), "which waits for the renewal")
	require.Equal(t, "token save", w.events.take())
	_, err = client.Me(t.Context())
	require.NoError(t, err)
}

func TestInvalidGrantIsFatalUntilSomebodyAuthorisesAgain(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusBadRequest, http.StatusUnauthorized} {
		w := newWorld(t, salesloftest.Config{InvalidGrantStatus: status})
		client := newClient(t, w, w.cfg)
		_, err := client.Me(t.Context())
		require.NoError(t, err)
		w.RevokeRefreshToken()
		w.ExpireTokens()
		_, err = client.Me(t.Context())
		require.ErrorIs(t, err, salesloft.ErrInvalidGrant)
		var refusal *salesloft.TokenError
		require.ErrorAs(t, err, &refusal)
		require.Equal(t, status, refusal.Status)

		w.AuthoriseAgain("refresh-new")
		w.configure("refresh-new")
		_, err = client.Me(t.Context())
		require.NoError(t, err, "without a restart")
	}
}

func TestTokenThatAnotherReplicaRotated(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{})
	one, two := newClient(t, w, w.cfg), newClient(t, w, w.cfg)
	for range 3 {
		for _, client := range []*salesloft.Client{one, two} {
			w.ExpireTokens()
			_, err := client.Me(t.Context())
			require.NoError(t, err)
		}
	}
}

func TestClientCredentials(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{})
	cfg := w.cfg
	cfg.RefreshToken, cfg.TokenStore = nil, nil
	client := newClient(t, w, cfg)
	_, err := client.Me(t.Context())
	require.NoError(t, err)
	require.Equal(t, "token api", w.events.take())

	cfg.TokenStore = w.store // with the token of an authorisation that was configured once
	w.store.set(salesloft.Grant{RefreshToken: "refresh-0"}, nil)
	_, err = newClient(t, w, cfg).Me(t.Context())
	require.NoError(t, err)
	require.Equal(t, "token api", w.events.take(), "no new refresh token to save")
	require.Equal(t, "refresh-0", w.store.stored().RefreshToken)

	cfg.ClientSecret = constant("wrong")
	_, err = newClient(t, w, cfg).Me(t.Context())
	require.ErrorIs(t, err, salesloft.ErrUnauthorized)
	require.NotErrorIs(t, err, salesloft.ErrInvalidGrant)
}

func TestSecretsStayOutOfLogsAndErrors(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{})
	base, httpClient := listen(t, w)
	cfg := w.cfg
	cfg.BaseURL, cfg.TokenURL = base+"/v2", base+"/oauth/token"
	logger, text := logText()
	client, err := salesloft.New(cfg, logger, httpClient)
	require.NoError(t, err)
	_, err = client.Me(t.Context())
	require.NoError(t, err)
	secrets := []string{"client-secret", "refresh-0", w.store.stored().RefreshToken}
	w.RevokeRefreshToken()
	w.ExpireTokens()
	_, err = client.Me(t.Context())
	require.Error(t, err)
	require.NotEmpty(t, text.String())
	for _, secret := range secrets {
		require.NotContains(t, text.String()+err.Error(), secret)
	}
}

// The age is that of the token in use: a restart takes the stored one's, and an API key has none.
func TestTheTokensAgeIsSinceItWasIssued(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{})
	age := func(cfg salesloft.Config, act bool) string {
		reg := prometheus.NewPedanticRegistry()
		cfg.Metrics = reg
		client := newClient(t, w, cfg)
		if act {
			_, err := client.Me(t.Context())
			require.NoError(t, err)
		}
		w.advance(time.Hour)
		families, err := reg.Gather()
		require.NoError(t, err)
		for _, family := range families {
			if family.GetName() == "revstream_salesloft_token_age_seconds" {
				return fmt.Sprint(family.GetMetric()[0].GetGauge().GetValue())
			}
		}
		return "absent"
	}
	require.Equal(t, "absent", age(w.cfg, false), "before the first token")
	require.Equal(t, "3600", age(w.cfg, true))
	w.advance(-30 * time.Minute)
	require.Equal(t, "5400", age(w.cfg, true), "of a process that has found it in the store")
	key := w.cfg
	key.APIKey, key.ClientID, key.ClientSecret, key.RefreshToken, key.TokenStore = func() string { return "key" }, "", nil, nil, nil
	require.Equal(t, "absent", age(key, false))
}
