package salesloft_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/producers/salesloft"
	"github.com/revstream/revstream/producers/salesloft/salesloftest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const apiKey = "api-key-of-the-tests"

func constant(text string) func() string { return func() string { return text } }

// listen serves a handler and returns its address and a client for it.
func listen(t *testing.T, handler http.Handler) (string, *http.Client) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL, server.Client()
}

func newSim(t *testing.T, cfg salesloftest.Config) *salesloftest.Simulator {
	t.Helper()
	cfg.APIKeys = append(cfg.APIKeys, apiKey)
	if cfg.Budget == 0 {
		cfg.Budget = 1_000_000
	}
	sim, err := salesloftest.New(cfg)
	require.NoError(t, err)
	t.Cleanup(sim.Close)
	return sim
}

func newClient(t *testing.T, handler http.Handler, cfg salesloft.Config) *salesloft.Client {
	t.Helper()
	base, httpClient := listen(t, handler)
	cfg.BaseURL, cfg.TokenURL = base+"/v2/", base+"/oauth/token"
	if cfg.Budget == (salesloft.BudgetConfig{}) {
		cfg.Budget = salesloft.BudgetConfig{PerMinute: 1_000_000, Share: 1}
	}
	cfg.Backoff = resilience.Backoff{Base: time.Millisecond, Jitter: -1}
	if cfg.ClientID == "" && cfg.APIKey == nil {
		cfg.APIKey = constant(apiKey)
	}
	client, err := salesloft.New(cfg, slog.New(slog.DiscardHandler), httpClient)
	require.NoError(t, err)
	return client
}

func TestNewNamesEveryMistake(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		cfg  salesloft.Config
		want []string
	}{
		"nothing":       {salesloft.Config{}, []string{"no credentials"}},
		"both":          {salesloft.Config{APIKey: constant("x"), ClientID: "id"}, []string{"both an API key and a client ID"}},
		"half a client": {salesloft.Config{RefreshToken: constant("x")}, []string{"client ID: missing", "client secret: missing", "token store"}},
		"addresses": {
			salesloft.Config{BaseURL: "api.example", TokenURL: "::", ClientID: "id", ClientSecret: constant("x"), PageSize: 101},
			[]string{"SALESLOFT_BASE_URL (or --salesloft-base-url): want http", "SALESLOFT_TOKEN_URL (or --salesloft-token-url): want http", "101 is not within 1 and 100"},
		},
		"unused address": {salesloft.Config{APIKey: constant("x"), TokenURL: "::"}, []string{"SALESLOFT_TOKEN_URL"}},
	} {
		_, err := salesloft.New(test.cfg, slog.New(slog.DiscardHandler), http.DefaultClient)
		for _, part := range test.want {
			require.ErrorContains(t, err, part, name)
		}
	}
}

func TestMe(t *testing.T) {
	t.Parallel()
	client := newClient(t, newSim(t, salesloftest.Config{Budget: 600}), salesloft.Config{})
	me, err := client.Me(t.Context())
	require.NoError(t, err)
	require.Equal(t, int64(7001), me.ID)
	require.Equal(t, int64(501), me.TeamID)
	require.True(t, me.Active)
	require.Equal(t, salesloft.RateLimit{Cost: 1, Remaining: 599}, me.RateLimit)
}

func TestErrorsAreTyped(t *testing.T) {
	t.Parallel()
	sim := newSim(t, salesloftest.Config{Scopes: []string{"people:write"}})
	client := newClient(t, sim, salesloft.Config{})
	_, err := client.People(t.Context(), salesloft.Query{})
	require.ErrorIs(t, err, salesloft.ErrForbidden)
	require.ErrorContains(t, err, "GET /v2/people answered 403: The token lacks the scope people:read")
	require.ErrorIs(t, client.DeleteSubscription(t.Context(), 5), salesloft.ErrNotFound)
	sim.FailNext(1, http.StatusBadGateway)
	_, err = client.Me(t.Context())
	var failure *salesloft.APIError
	require.ErrorAs(t, err, &failure)
	require.Equal(t, http.StatusBadGateway, failure.Status)
	_, err = client.Me(t.Context())
	require.NoError(t, err)

	invalid := newClient(t, newSim(t, salesloftest.Config{}), salesloft.Config{})
	_, err = invalid.People(t.Context(), salesloft.Query{SortBy: "shoe_size"})
	var validation *salesloft.ValidationError
	require.ErrorAs(t, err, &validation)
	require.Equal(t, map[string][]string{"sort_by": {"is not included in the list"}}, validation.Fields)
	require.ErrorAs(t, err, &failure)
}

func TestMalformedAnswersAreNoEmptyPages(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", "<html>busy</html>", `{"metadata":{}}`, `{"data":null}`, `{"data":{}}`, `{"data":[{"id":1}`} {
		client := newClient(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, body)
		}), salesloft.Config{})
		_, err := client.People(t.Context(), salesloft.Query{})
		require.ErrorIs(t, err, salesloft.ErrMalformed, body)
		require.NotContains(t, err.Error(), "busy")
	}
	cut := newClient(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, `{"data":[`)
	}), salesloft.Config{})
	_, err := cut.People(t.Context(), salesloft.Query{})
	require.ErrorIs(t, err, salesloft.ErrMalformed)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

func TestErrorsHoldNoSecretAndNoQuery(t *testing.T) {
	t.Parallel()
	leaky := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"error":"bad token `+strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")+`"}`)
	})
	_, err := newClient(t, leaky, salesloft.Config{}).Me(t.Context())
	require.ErrorContains(t, err, "bad token [redacted]")
	require.NotContains(t, err.Error(), apiKey)

	client := newClient(t, leaky, salesloft.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = client.People(ctx, salesloft.Query{IDs: []int64{4711}})
	require.ErrorIs(t, err, context.Canceled)
	require.NotContains(t, err.Error(), "4711")
}

func TestRotatedAPIKeyIsPickedUp(t *testing.T) {
	t.Parallel()
	var reads atomic.Int32
	client := newClient(t, newSim(t, salesloftest.Config{}), salesloft.Config{APIKey: func() string {
		if reads.Add(1) == 1 {
			return "revoked"
		}
		return apiKey
	}})
	_, err := client.Me(t.Context())
	require.NoError(t, err)

	sim := newSim(t, salesloftest.Config{})
	wrong := newClient(t, sim, salesloft.Config{APIKey: constant("wrong-key")})
	_, err = wrong.Me(t.Context())
	require.ErrorIs(t, err, salesloft.ErrUnauthorized)
	require.NotContains(t, err.Error(), "wrong-key")
	require.Equal(t, 1, sim.Stats().Requests, "the same key again would be refused again")
	empty := newClient(t, sim, salesloft.Config{APIKey: constant("")})
	_, err = empty.Me(t.Context())
	require.ErrorIs(t, err, salesloft.ErrMissingSecret)
}

func TestPeopleQuery(t *testing.T) {
	t.Parallel()
	sim := newSim(t, salesloftest.Config{Seed: 1, People: 30})
	client := newClient(t, sim, salesloft.Config{})
	page, err := client.People(t.Context(), salesloft.Query{Page: 2, PerPage: 12, SortDirection: "ASC", IncludePagingCounts: true})
	require.NoError(t, err)
	require.Len(t, page.People, 12)
	require.Equal(t, []any{2, true, 30, 3, 1}, []any{page.Number, page.More, *page.TotalCount, *page.TotalPages, page.RateLimit.Cost})
	one, two := page.People[0], page.People[1]
	count := func(q salesloft.Query) int {
		q.PerPage = 100
		got, err := client.People(t.Context(), q)
		require.NoError(t, err)
		require.Nil(t, got.TotalCount)
		return len(got.People)
	}
	require.Equal(t, 2, count(salesloft.Query{IDs: []int64{one.ID, two.ID}}))
	require.Equal(t, 13, count(salesloft.Query{UpdatedAtLTE: one.UpdatedAt}))
	require.Equal(t, 12, count(salesloft.Query{UpdatedAtLT: one.UpdatedAt}))
	require.Equal(t, 18, count(salesloft.Query{UpdatedAtGTE: one.UpdatedAt}))
	require.Equal(t, 17, count(salesloft.Query{UpdatedAtGT: one.UpdatedAt}))
}

func TestSubscriptionsInEveryShape(t *testing.T) {
	t.Parallel()
	for _, wrap := range []bool{false, true} {
		sim := newSim(t, salesloftest.Config{WrapSubscriptions: wrap, TenantIDString: wrap})
		client := newClient(t, sim, salesloft.Config{})
		created, err := client.CreateSubscription(t.Context(), "person_updated", "https://hooks.example/x", "token")
		require.NoError(t, err)
		require.Equal(t, salesloft.Subscription{
			ID: 1, EventType: "person_updated", CallbackURL: "https://hooks.example/x", CallbackToken: "token", Enabled: true, TenantID: "501",
		}, created)
		list, err := client.Subscriptions(t.Context())
		require.NoError(t, err)
		require.Equal(t, []salesloft.Subscription{created}, list)
		require.NoError(t, client.DeleteSubscription(t.Context(), created.ID))
		list, err = client.Subscriptions(t.Context())
		require.NoError(t, err)
		require.Empty(t, list)
		_, err = client.CreateSubscription(t.Context(), "shoe_updated", "https://hooks.example/x", "token")
		var validation *salesloft.ValidationError
		require.ErrorAs(t, err, &validation)
	}
}

// logText collects what a client logs at every level.
func logText() (*slog.Logger, *bytes.Buffer) {
	var text bytes.Buffer
	return slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug})), &text
}
