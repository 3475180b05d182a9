package check

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/producers/clari"
	"github.com/revstream/revstream/producers/clari/claritest"
)

const testKey = "test-api-key"

// source is a simulator with what is asked of it.
type source struct {
	sim  *claritest.Simulator
	url  string
	pool *http.Client
}

func newSource(t *testing.T, cfg claritest.Config) source {
	t.Helper()
	cfg.APIKey, cfg.Users, cfg.Fields, cfg.Weeks = testKey, 1, 1, 1
	sim, err := claritest.New(cfg)
	require.NoError(t, err)
	server := httptest.NewServer(sim)
	t.Cleanup(server.Close)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return source{sim, server.URL + "/v4", &http.Client{Transport: transport}}
}

func (s source) check(t *testing.T, key string, change func(*ClariConfig)) string {
	t.Helper()
	cfg := ClariConfig{BaseURL: s.url, HTTP: s.pool, ForecastIDs: []string{"forecast"}, Quarters: 5, Interval: 6 * time.Hour, Reserve: 0.1}
	if change != nil {
		change(&cfg)
	}
	cfg.Open = func(context.Context) (*clari.Client, error) {
		return clari.New(clari.Config{BaseURL: cfg.BaseURL, APIKey: func() string { return key }}, slog.New(slog.DiscardHandler), s.pool)
	}
	out := lines(t, Run(t.Context(), nil, Clari(cfg)))
	require.NotContains(t, out, key)
	return out
}

func (s source) jobs() int {
	n := 0
	for _, count := range s.sim.Stats(claritest.Scope{}).Jobs {
		n += count
	}
	return n
}

func TestClariCredentialsHaveThreeMessages(t *testing.T) {
	t.Parallel()
	s := newSource(t, claritest.Config{SayExpired: true})
	out := s.check(t, testKey, nil)
	require.Contains(t, out, "[PASS] Clari API: Connected (")
	require.Contains(t, out, "[PASS] Clari Credentials: Valid\n")
	require.Contains(t, out, "[PASS] Clari Quota: 1000 of 1000 export jobs left in these 30 days, 3 of 3 at a time\n")
	require.Contains(t, out, "[WARN] Forecast forecast: UNVERIFIED: ")

	out = s.check(t, "wrong-api-key", nil)
	require.Contains(t, out, "[PASS] Clari API: Connected (")
	require.Contains(t, out, "[FAIL] Clari Credentials: REFUSED: ")
	require.Contains(t, out, "[SKIP] Forecast forecast: needs Clari Credentials\n")

	require.NoError(t, s.sim.SetAPIKeys("another-api-key"))
	require.Contains(t, s.check(t, testKey, nil), "[FAIL] Clari Credentials: EXPIRED: ")

	lacking := newSource(t, claritest.Config{NoPermission: true})
	require.Contains(t, lacking.check(t, testKey, nil), "[FAIL] Clari Credentials: VALID, BUT LACKS PERMISSION: ")
}

func TestClariThatIsAway(t *testing.T) {
	t.Parallel()
	s := newSource(t, claritest.Config{})
	out := s.check(t, testKey, func(c *ClariConfig) { c.BaseURL = "http://127.0.0.1:1/v4" })
	require.Contains(t, out, "[FAIL] Clari API: UNREACHABLE: dial tcp 127.0.0.1:1")
	require.Contains(t, out, "[SKIP] Clari Credentials: needs Clari API\n")

	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("<html>Sign in</html>"))
	}))
	defer page.Close()
	require.Contains(t, s.check(t, testKey, func(c *ClariConfig) { c.BaseURL = page.URL }), "[FAIL] Clari API: answers as no API does")
	require.NoError(t, s.sim.Fail(1, claritest.Fault{Status: 503}))
	require.Contains(t, s.check(t, testKey, nil), "[FAIL] Clari API: answers 503")
}

func TestClariForecastsAreFoundOutWithoutAJobWhereThatIsPossible(t *testing.T) {
	t.Parallel()
	s := newSource(t, claritest.Config{Forecasts: []string{"done", "new", "closed"}, NoOptIn: []string{"closed"}, V1: true, StartedFor: time.Hour})
	client, err := clari.New(clari.Config{BaseURL: s.url, APIKey: func() string { return testKey }}, slog.New(slog.DiscardHandler), s.pool)
	require.NoError(t, err)
	all := func(deep bool) func(*ClariConfig) {
		return func(c *ClariConfig) { c.ForecastIDs, c.Deep = []string{"done", "new", "closed", "typo"}, deep }
	}
	out := s.check(t, testKey, all(false))
	for _, id := range []string{"done", "new", "closed", "typo"} {
		require.Contains(t, out, "[WARN] Forecast "+id+": UNVERIFIED: ")
	}
	require.Zero(t, s.jobs(), "the check has spent quota without having been told to")

	out = s.check(t, testKey, all(true))
	require.Contains(t, out, "[PASS] Forecast done: Accessible: an export job was started and cancelled\n")
	require.Contains(t, out, "[FAIL] Forecast closed: LACKS PERMISSION: ")
	require.Contains(t, out, "[FAIL] Forecast typo: UNKNOWN to Clari: ")
	require.Equal(t, map[string]int{"CANCELLED": 2}, s.sim.Stats(claritest.Scope{}).Jobs)
	limits, err := client.Limits(t.Context())
	require.NoError(t, err)
	require.Equal(t, limits.ConcurrentLimit, limits.AvailableConcurrentLimit, "a job goes on and takes a place")

	out = s.check(t, testKey, func(c *ClariConfig) { all(true)(c); c.BaseURL = s.url[:len(s.url)-1] + "1" })
	require.Contains(t, out, "[PASS] Forecast new: Accessible\n")
	require.Contains(t, out, "[FAIL] Forecast typo: NOT AMONG the forecasts of this key: ")
	require.Equal(t, 2, s.jobs(), "version 1 lists the forecasts: no job is needed")
}

func TestClariForecastWithARecentExportIsAccessible(t *testing.T) {
	t.Parallel()
	s := newSource(t, claritest.Config{StartedFor: time.Nanosecond, ScheduledFor: time.Nanosecond})
	client, err := clari.New(clari.Config{BaseURL: s.url, APIKey: func() string { return testKey }}, slog.New(slog.DiscardHandler), s.pool)
	require.NoError(t, err)
	_, err = client.StartExport(t.Context(), "forecast", clari.ExportRequest{})
	require.NoError(t, err)
	out := s.check(t, testKey, func(c *ClariConfig) { c.ForecastIDs, c.Deep = []string{"forecast", "fore"}, false })
	require.Contains(t, out, "[PASS] Forecast forecast: Accessible: last exported ")
	require.Contains(t, out, "[WARN] Forecast fore: UNVERIFIED: ", "one forecast's export says nothing of another")
}

func TestClariQuotaThatIsShort(t *testing.T) {
	t.Parallel()
	s := newSource(t, claritest.Config{MonthlyQuota: 100})
	require.Contains(t, s.check(t, testKey, nil), "[WARN] Clari Quota: 100 of 100 export jobs left in these 30 days, 3 of 3 at a time; the schedule wants 600 in 30 days and may have 90: ")
	few := newSource(t, claritest.Config{MonthlyQuota: 4})
	require.Contains(t, few.check(t, testKey, func(c *ClariConfig) { c.Interval = 0 }), "a cycle takes 5: it will wait")
}
