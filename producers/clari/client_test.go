package clari_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/producers/clari"
	"github.com/revstream/revstream/producers/clari/claritest"
)

const key = "k3y-that-nobody-may-see"

// clock is a simulator's, moved by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// bundle is a client of a simulator on the loopback.
type bundle struct {
	*clari.Client
	sim   *claritest.Simulator
	clock *clock
	url   string
}

// connect starts a simulator of a minute-long life of jobs, on Wednesday 2024-08-14, in 2024_Q3.
func connect(t *testing.T, cfg claritest.Config) *bundle {
	t.Helper()
	b := &bundle{clock: &clock{now: time.Date(2024, 8, 14, 9, 0, 0, 0, time.UTC)}}
	cfg.APIKey, cfg.Now = key, b.clock.Now
	cfg.ScheduledFor, cfg.StartedFor = 20*time.Second, 40*time.Second
	sim, err := claritest.New(cfg)
	require.NoError(t, err)
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	b.sim, b.url = sim, srv.URL
	scheme := clari.AuthAPIKey
	if cfg.BearerAuth {
		scheme = clari.AuthBearer
	}
	b.Client = newClient(t, clari.Config{
		BaseURL: srv.URL + "/v4/", AuthScheme: scheme, APIKey: func() string { return key }, SpoolDir: t.TempDir(),
	}, srv.Client())
	return b
}

func newClient(t *testing.T, cfg clari.Config, client *http.Client) *clari.Client {
	t.Helper()
	c, err := clari.New(cfg, slog.New(slog.DiscardHandler), client)
	require.NoError(t, err)
	return c
}

var everyType = []string{
	clari.TypeForecast, clari.TypeQuota, clari.TypeForecastUpdated, clari.TypeAdjustment, clari.TypeCRMTotal, clari.TypeCRMClosed,
}

// export runs a job to its end and downloads its results.
func (b *bundle) export(t *testing.T, req clari.ExportRequest) *clari.Export {
	t.Helper()
	id, err := b.StartExport(t.Context(), "forecast", req)
	require.NoError(t, err)
	b.clock.Advance(time.Minute)
	export, err := b.Results(t.Context(), id)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, export.Close()) })
	return export
}

func TestNewNamesEverythingThatIsWrong(t *testing.T) {
	t.Parallel()
	_, err := clari.New(clari.Config{BaseURL: "https://me:hunter2@api.clari.com", AuthScheme: "basic"}, nil, nil)
	for _, want := range []string{"CLARI_BASE_URL (or --clari-base-url)", "auth scheme \"basic\"", "API key", "logger", "HTTP client"} {
		require.ErrorContains(t, err, want)
	}
	require.NotContains(t, err.Error(), "hunter2")
	for _, bad := range []string{"api.clari.com/v4", "ftp://api.clari.com", "https://", "https://a/v4?x=1", "http://a b"} {
		_, err := clari.New(clari.Config{BaseURL: bad, APIKey: func() string { return key }}, slog.Default(), http.DefaultClient)
		require.ErrorContains(t, err, "CLARI_BASE_URL", bad)
	}
}

func TestJobLife(t *testing.T) {
	t.Parallel()
	for _, cfg := range []claritest.Config{{}, {FlatJobs: true}, {BearerAuth: true}, {RowsTruncated: true}, {CellsTruncated: true, FlatJobs: true}} {
		t.Run(fmt.Sprintf("flat=%v bearer=%v rows=%v cells=%v", cfg.FlatJobs, cfg.BearerAuth, cfg.RowsTruncated, cfg.CellsTruncated), func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			b := connect(t, cfg)
			began := b.clock.Now()
			id, err := b.StartExport(ctx, "forecast", clari.ExportRequest{TimePeriod: "2024_Q2", Currency: "EUR"})
			require.NoError(t, err)
			for _, step := range []struct {
				status clari.Status
				lasts  time.Duration
			}{{clari.StatusScheduled, 20 * time.Second}, {clari.StatusStarted, 40 * time.Second}} {
				job, err := b.Job(ctx, id)
				require.NoError(t, err)
				require.Equal(t, step.status, job.Status)
				require.False(t, job.Terminal() || job.Truncated())
				require.Zero(t, job.EndTime)
				_, err = b.Results(ctx, id)
				require.ErrorIs(t, err, clari.ErrInvalidJob)
				b.clock.Advance(step.lasts)
			}
			job, err := b.Job(ctx, id)
			require.NoError(t, err)
			require.Equal(t, clari.Job{
				ID: id, Status: clari.StatusDone, Title: "Forecast Export", FileType: "JSON", Currency: "EUR",
				FileName:  "clari_export_forecast_2024_Q2_20240814_090000.json",
				StartTime: began, EndTime: began.Add(time.Minute), ExpiredTime: began.Add(time.Minute + 30*24*time.Hour),
				RowsTruncated: cfg.RowsTruncated, CellsTruncated: cfg.CellsTruncated,
			}, job)
			require.True(t, job.Terminal())
			require.Equal(t, cfg.RowsTruncated || cfg.CellsTruncated, job.Truncated())
			jobs, err := b.Jobs(ctx)
			require.NoError(t, err)
			require.Equal(t, []clari.Job{job}, jobs)
			require.ErrorIs(t, b.CancelJob(ctx, id), clari.ErrNotCancellable)

			b.clock.Advance(31 * 24 * time.Hour)
			_, err = b.Results(ctx, id)
			require.ErrorIs(t, err, clari.ErrInvalidJob, "expired")
		})
	}
}

func TestJobsThatDoNotEndWell(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	b := connect(t, claritest.Config{})
	require.NoError(t, b.sim.FailJobs(1, "FAILED"))
	require.NoError(t, b.sim.FailJobs(1, "ABORTED"))
	require.NoError(t, b.sim.FailJobs(1, "STARTED"))
	for _, want := range []clari.Status{clari.StatusFailed, clari.StatusAborted} {
		id, err := b.StartExport(ctx, "forecast", clari.ExportRequest{})
		require.NoError(t, err)
		b.clock.Advance(time.Hour)
		job, err := b.Job(ctx, id)
		require.NoError(t, err)
		require.Equal(t, want, job.Status)
		require.True(t, job.Terminal())
	}
	stuck, err := b.StartExport(ctx, "forecast", clari.ExportRequest{})
	require.NoError(t, err)
	b.clock.Advance(time.Hour)
	job, err := b.Job(ctx, stuck)
	require.NoError(t, err)
	require.Equal(t, clari.StatusStarted, job.Status)
	require.NoError(t, b.CancelJob(ctx, stuck))
	job, err = b.Job(ctx, stuck)
	require.NoError(t, err)
	require.Equal(t, clari.StatusCancelled, job.Status)
	require.True(t, job.Terminal())
}

func TestLimits(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	b := connect(t, claritest.Config{ConcurrentLimit: 2, MonthlyQuota: 3})
	start := func() (string, error) { return b.StartExport(ctx, "forecast", clari.ExportRequest{}) }
	first, err := start()
	require.NoError(t, err)
	b.clock.Advance(30 * time.Second)
	second, err := start()
	require.NoError(t, err)
	_, err = start()
	require.ErrorIs(t, err, clari.ErrQuota, "two at a time")
	limits, err := b.Limits(ctx)
	require.NoError(t, err)
	require.Equal(t, clari.Limits{
		ConcurrentLimit: 2, MonthlyQuota: 3, AvailableMonthlyQuota: 1, RunningJobIDs: []string{first}, SubmittedJobIDs: []string{second},
	}, limits)

	b.clock.Advance(time.Minute)
	_, err = start()
	require.NoError(t, err)
	b.clock.Advance(time.Minute)
	_, err = start()
	require.ErrorIs(t, err, clari.ErrQuota, "three a month")
	b.clock.Advance(30 * 24 * time.Hour)
	_, err = start()
	require.NoError(t, err, "a month later")
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	start := func(forecast string, types ...string) func(context.Context, *bundle) error {
		return func(ctx context.Context, b *bundle) error {
			_, err := b.StartExport(ctx, forecast, clari.ExportRequest{Types: types})
			return err
		}
	}
	for name, c := range map[string]struct {
		cfg    claritest.Config
		call   func(context.Context, *bundle) error
		want   error // nil: none of the sentinels
		status int
		code   string
	}{
		"unknown forecast":         {call: start("nope"), want: clari.ErrUnknownForecast, status: 400, code: "no_such_forecast_config"},
		"unknown forecast, as 404": {cfg: claritest.Config{UnknownForecast404: true}, call: start("nope"), want: clari.ErrUnknownForecast, status: 404, code: "no_such_forecast_config"},
		"no opt-in":                {cfg: claritest.Config{NoOptIn: []string{"forecast"}}, call: start("forecast"), want: clari.ErrNoOptIn, status: 401, code: "no_optin"},
		"type":                     {cfg: claritest.Config{RejectCRM: true}, call: start("forecast", everyType...), want: clari.ErrTypeNotSupported, status: 400, code: "type_not_supported"},
		"bad request":              {call: start("forecast", "weather"), status: 400, code: "bad_request"},
		"no such job": {call: func(ctx context.Context, b *bundle) error {
			_, err := b.Job(ctx, "606e23c981a6da229d75b515")
			return err
		}, want: clari.ErrInvalidJob, status: 400, code: "invalid_jobId"},
		"an ID that is a path": {call: func(ctx context.Context, b *bundle) error {
			_, err := b.Results(ctx, "../../admin/limits")
			return err
		}, want: clari.ErrInvalidJob, status: 400, code: "invalid_jobId"},
		"server error": {call: func(ctx context.Context, b *bundle) error {
			if err := b.sim.Fail(1, claritest.Fault{Status: 503}); err != nil {
				return err
			}
			_, err := b.Jobs(ctx)
			return err
		}, status: 503, code: "internal_server_error"},
		"rate limit": {call: func(ctx context.Context, b *bundle) error {
			if err := b.sim.Fail(1, claritest.Fault{Status: 429, RetryAfter: "7"}); err != nil {
				return err
			}
			_, err := b.Limits(ctx)
			return err
		}, status: 429},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := c.call(t.Context(), connect(t, c.cfg))
			var api *clari.APIError
			require.ErrorAs(t, err, &api)
			require.Equal(t, c.status, api.Status)
			require.Equal(t, c.code, api.Code)
			require.NotEmpty(t, api.Message)
			require.ErrorContains(t, err, api.Message)
			sentinels := []error{
				clari.ErrQuota, clari.ErrUnauthorized, clari.ErrNoOptIn, clari.ErrUnknownForecast, clari.ErrTypeNotSupported,
				clari.ErrInvalidJob, clari.ErrNotCancellable,
			}
			for _, sentinel := range sentinels {
				require.Equal(t, errors.Is(sentinel, c.want), errors.Is(err, sentinel), "%v", sentinel)
			}
		})
	}
}

func TestRefusedKeyAndWrongBase(t *testing.T) {
	t.Parallel()
	for _, html := range []bool{false, true} {
		b := connect(t, claritest.Config{HTMLErrors: html})
		wrong := newClient(t, clari.Config{BaseURL: b.url + "/v4", APIKey: func() string { return "wr0ng" }}, &http.Client{Transport: transport(t)})
		_, err := wrong.Limits(t.Context())
		require.ErrorIs(t, err, clari.ErrUnauthorized)
		require.NotErrorIs(t, err, clari.ErrNoOptIn)
		require.NotContains(t, err.Error(), "wr0ng")

		elsewhere := newClient(t, clari.Config{BaseURL: b.url + "/v9", APIKey: func() string { return key }}, &http.Client{Transport: transport(t)})
		_, err = elsewhere.StartExport(t.Context(), "forecast", clari.ExportRequest{})
		var api *clari.APIError
		require.ErrorAs(t, err, &api)
		require.Equal(t, 404, api.Status)
		require.NotErrorIs(t, err, clari.ErrUnknownForecast, "a wrong base URL is not a wrong forecast")
	}
}

// transport is one whose connections are closed when the test ends.
func transport(t *testing.T) *http.Transport {
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

func TestKeyIsReadForEveryRequestAndCorrelationIDSent(t *testing.T) {
	t.Parallel()
	b := connect(t, claritest.Config{})
	var current string
	c := newClient(t, clari.Config{
		BaseURL: b.url + "/v4", APIKey: func() string { return current },
		CorrelationID: func(context.Context) string { return "run-7" },
	}, &http.Client{Transport: transport(t)})
	_, err := c.Jobs(t.Context())
	require.ErrorIs(t, err, clari.ErrUnauthorized)
	require.ErrorContains(t, err, "key is empty")
	current = "before"
	_, err = c.Jobs(t.Context())
	require.ErrorIs(t, err, clari.ErrUnauthorized)
	current = key
	_, err = c.Jobs(t.Context())
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(b.sim.Stats(claritest.Scope{}).Recent) == 2 }, time.Second, time.Millisecond)
	for i, status := range []int{401, 200} {
		want := claritest.Request{Method: "GET", Path: "/v4/export/jobs", Status: status, CorrelationID: "run-7"}
		require.Equal(t, want, b.sim.Stats(claritest.Scope{}).Recent[i])
	}
}

func TestKeyStaysWithItsOrigin(t *testing.T) {
	t.Parallel()
	var carried []string
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		carried = append(carried, r.Header.Get("apikey")+r.Header.Get("Authorization"))
		if r.URL.Path == "/1" { // a second redirect starts from the first request's headers again
			http.Redirect(w, r, "/2", http.StatusFound)
			return
		}
		_, _ = fmt.Fprint(w, `{"entries":[]}`)
	}))
	defer store.Close()
	api := httptest.NewServer(http.RedirectHandler(store.URL+"/1", http.StatusFound))
	defer api.Close()
	for _, scheme := range []string{clari.AuthAPIKey, clari.AuthBearer} {
		client := &http.Client{Transport: transport(t)}
		c := newClient(t, clari.Config{BaseURL: api.URL, AuthScheme: scheme, APIKey: func() string { return key }, SpoolDir: t.TempDir()}, client)
		export, err := c.Results(t.Context(), "j")
		require.NoError(t, err)
		require.NoError(t, export.Close())
		require.Nil(t, client.CheckRedirect, "the caller's client is not changed")
	}
	require.Equal(t, []string{"", "", "", ""}, carried)
}

func TestErrorsNeverShowTheKey(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]http.HandlerFunc{
		"echoed in an error": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = fmt.Fprintf(w, `{"code":"%[1]s","errorId":"%[1]s","message":"bad key %[1]s"}`, r.Header.Get("apikey"))
		},
		"echoed at the edge of a long message": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = fmt.Fprintf(w, `{"message":"%s%s"}`, strings.Repeat("x", 490), r.Header.Get("apikey"))
		},
		"a long message": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = fmt.Fprintf(w, `{"message":"%s"}`, strings.Repeat("ü", 2000))
		},
		"echoed in a page": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			_, _ = fmt.Fprintf(w, "<pre>%s</pre>", r.Header.Get("apikey"))
		},
		"echoed with status 200": func(w http.ResponseWriter, r *http.Request) { _, _ = fmt.Fprint(w, r.Header.Get("apikey")) },
		"connection cut":         func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"echoed in place of a job": func(w http.ResponseWriter, r *http.Request) {
			_, _ = fmt.Fprintf(w, `{"job":{"startTime":%q}}`, r.Header.Get("apikey"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewServer(handler)
			defer srv.Close()
			c := newClient(t, clari.Config{BaseURL: srv.URL, APIKey: func() string { return key }, SpoolDir: t.TempDir()}, srv.Client())
			_, started := c.StartExport(t.Context(), "forecast", clari.ExportRequest{})
			_, read := c.Job(t.Context(), "j")
			_, listed := c.Jobs(t.Context())
			_, limits := c.Limits(t.Context())
			_, results := c.Results(t.Context(), "j")
			for _, err := range []error{started, read, listed, limits, results} {
				require.Error(t, err)
				require.NotContains(t, err.Error(), key)
				require.NotContains(t, err.Error(), key[:8])
				require.Less(t, len(err.Error()), 700)
				require.True(t, utf8.ValidString(err.Error()))
			}
		})
	}
}

// TestAnAnswerThatCameDamagedIsAskedForAgain, if it is to a GET: a POST may have had its effect.
func TestAnAnswerThatCameDamagedIsAskedForAgain(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]http.HandlerFunc{
		"page of a proxy": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = fmt.Fprint(w, "<html><body>Please wait</body></html>")
		},
		"half a body": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = fmt.Fprint(w, `{"jobs":{"entries":[`)
		},
		"cut in chunks":     func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, `{"entries":[{"a":1},`) },
		"nothing":           func(http.ResponseWriter, *http.Request) {},
		"error with a 200 ": func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, "upstream connect error") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int64
			sound := func(w http.ResponseWriter, r *http.Request) {
				body := `{"jobs":{"monthlyQuota":30},"entries":[],"jobId":"j","status":"DONE"}`
				if strings.HasSuffix(r.URL.Path, "/jobs") {
					body = "[]"
				}
				_, _ = fmt.Fprint(w, body)
			}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if requests.Add(1) < 3 {
					damage(w, r)
					return
				}
				sound(w, r)
			}))
			t.Cleanup(server.Close)
			c := newClient(t, clari.Config{
				BaseURL: server.URL, APIKey: func() string { return key }, SpoolDir: t.TempDir(),
				Repeat: resilience.RepeatConfig{Backoff: resilience.Backoff{Base: time.Millisecond, Jitter: -1}},
			}, &http.Client{Transport: resilience.NewTransport(resilience.TransportConfig{}, slog.New(slog.DiscardHandler), transport(t))})
			for what, call := range map[string]func() error{
				"limits": func() error { _, err := c.Limits(t.Context()); return err },
				"jobs":   func() error { _, err := c.Jobs(t.Context()); return err },
				"job":    func() error { _, err := c.Job(t.Context(), "j"); return err },
				"results": func() error {
					export, err := c.Results(t.Context(), "j")
					if err == nil {
						err = export.Close()
					}
					return err
				},
			} {
				requests.Store(0)
				require.NoError(t, call(), what)
				require.EqualValues(t, 3, requests.Load(), what)
			}
			requests.Store(0)
			_, err := c.StartExport(t.Context(), "forecast", clari.ExportRequest{})
			require.Error(t, err)
			require.EqualValues(t, 1, requests.Load())
		})
	}
}

// TestARotatedKeyCostsNoRequest, whatever its method; and the ways in which a key is refused are told apart.
func TestARotatedKeyCostsNoRequest(t *testing.T) {
	t.Parallel()
	b := connect(t, claritest.Config{SayExpired: true, NoOptIn: []string{"private"}})
	current := key
	c := newClient(t, clari.Config{
		BaseURL: b.url + "/v4", APIKey: func() string { return current }, SpoolDir: t.TempDir(),
		RenewKey: func(_ context.Context, refused string) string {
			require.Equal(t, current, refused)
			current = "the-next-key"
			return current
		},
	}, &http.Client{Transport: transport(t)})
	require.NoError(t, b.sim.SetAPIKeys("the-next-key"))
	_, err := c.StartExport(t.Context(), "forecast", clari.ExportRequest{})
	require.NoError(t, err)
	require.Equal(t, map[string]int{"SCHEDULED": 1}, b.sim.Stats(claritest.Scope{}).Jobs)

	require.NoError(t, b.sim.SetAPIKeys("another-key"))
	_, err = c.Limits(t.Context())
	require.ErrorIs(t, err, clari.ErrKeyExpired)
	require.ErrorIs(t, err, clari.ErrUnauthorized)
	current = "never-good"
	_, err = newClient(t, clari.Config{BaseURL: b.url + "/v4", APIKey: func() string { return current }}, &http.Client{Transport: transport(t)}).Limits(t.Context())
	require.ErrorIs(t, err, clari.ErrUnauthorized)
	require.NotErrorIs(t, err, clari.ErrKeyExpired)
	current = "another-key"
	_, err = c.StartExport(t.Context(), "private", clari.ExportRequest{})
	require.ErrorIs(t, err, clari.ErrNoOptIn)
	require.NotErrorIs(t, err, clari.ErrUnauthorized)
}
