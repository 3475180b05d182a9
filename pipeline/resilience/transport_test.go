package resilience_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/revstream/revstream/pipeline/resilience"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fast retries without making the tests wait, and never opens its breaker.
var fast = resilience.TransportConfig{
	Backoff:         resilience.Backoff{Base: time.Millisecond, Max: 2 * time.Millisecond, Jitter: -1},
	BreakerFailures: 1000,
}

var quiet = slog.New(slog.DiscardHandler)

// source answers the i-th request with the i-th step, and all further ones with 200.
type source struct {
	*httptest.Server
	client *http.Client
	next   *http.Transport

	mu         sync.Mutex
	bodies     []string
	correlated []string
}

func newSource(t *testing.T, cfg resilience.TransportConfig, steps ...http.HandlerFunc) *source {
	t.Helper()
	s := &source{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		i := len(s.bodies)
		s.bodies = append(s.bodies, string(body))
		s.correlated = append(s.correlated, r.Header.Get("X-Correlation-Id"))
		s.mu.Unlock()
		if i < len(steps) {
			steps[i](w, r)
		}
	}))
	s.next = s.Server.Client().Transport.(*http.Transport)
	s.client = &http.Client{Transport: resilience.NewTransport(cfg, quiet, s.next)}
	t.Cleanup(func() {
		s.next.CloseIdleConnections()
		s.Close()
	})
	return s
}

func (s *source) tries() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.bodies)
}

func (s *source) do(t *testing.T, ctx context.Context, method, body string) (*http.Response, error) {
	t.Helper()
	// A reader that http.NewRequest cannot rewind by itself.
	req, err := http.NewRequestWithContext(ctx, method, s.URL, struct{ io.Reader }{strings.NewReader(body)})
	require.NoError(t, err)
	resp, err := s.client.Do(req)
	if err == nil {
		t.Cleanup(func() { _ = resp.Body.Close() })
	}
	return resp, err
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, http.StatusText(code))
	}
}

// hangUp cuts the connection without an answer.
func hangUp(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		_ = conn.Close()
	}
}

func TestWhatIsRetried(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		method string
		step   http.HandlerFunc
		tries  int
		ok     bool
	}{
		{"GET after a 500", "GET", status(500), 2, true},
		{"HEAD after a 503", "HEAD", status(503), 2, true},
		{"PUT after a 502", "PUT", status(502), 2, true},
		{"DELETE after a cut connection", "DELETE", hangUp, 2, true},
		{"OPTIONS after a 504", "OPTIONS", status(504), 2, true},
		{"GET after a 429", "GET", status(429), 2, true},
		{"POST after a 429: it was not processed", "POST", status(429), 2, true},
		{"PATCH after a 429", "PATCH", status(429), 2, true},
		{"POST after a 500: it may have been processed", "POST", status(500), 1, false},
		{"PATCH after a 503", "PATCH", status(503), 1, false},
		{"POST after a cut connection", "POST", hangUp, 1, false},
		{"GET after a 404", "GET", status(404), 1, false},
		{"GET after a 401", "GET", status(401), 1, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newSource(t, fast, test.step)
			resp, err := s.do(t, t.Context(), test.method, "the body")
			require.Equal(t, test.ok, err == nil && resp.StatusCode == http.StatusOK)
			require.Equal(t, test.tries, s.tries())
			for _, body := range s.bodies {
				require.Equal(t, "the body", body, "each try sends the whole body")
			}
		})
	}
}

func TestLastAnswerComesThroughWithItsBody(t *testing.T) {
	t.Parallel()
	s := newSource(t, fast, status(500), status(502), status(503), status(200))
	resp, err := s.do(t, t.Context(), "GET", "")
	require.NoError(t, err)
	require.Equal(t, 503, resp.StatusCode)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, "Service Unavailable", string(body))
	require.Equal(t, 3, s.tries())
}

func TestNetworkErrorComesThrough(t *testing.T) {
	t.Parallel()
	s := newSource(t, fast, hangUp, hangUp, hangUp)
	_, err := s.do(t, t.Context(), "GET", "")
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, 3, s.tries())
}

func TestRetryAfterIsNeverShortened(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		header func(now time.Time) []string
		least  time.Duration
	}{
		"seconds":            {func(time.Time) []string { return []string{"Retry-After", "7200"} }, 2 * time.Hour},
		"less than back-off": {func(time.Time) []string { return []string{"Retry-After", "0"} }, 250 * time.Millisecond},
		"date": {func(now time.Time) []string {
			return []string{"Retry-After", now.Add(time.Hour).UTC().Format(http.TimeFormat)}
		}, time.Hour},
		"date of a source whose clock is late": {func(now time.Time) []string {
			theirs := now.Add(-50 * time.Minute).UTC()
			return []string{"Date", theirs.Format(http.TimeFormat), "Retry-After", theirs.Add(time.Hour).Format(http.TimeFormat)}
		}, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := &network{}
				n.answer = func(req *http.Request) (*http.Response, error) {
					n.set(up)
					return response(http.StatusTooManyRequests, http.NoBody, test.header(time.Now())...), nil
				}
				start := time.Now()
				require.NoError(t, fetch(t.Context(), &http.Client{Transport: resilience.NewTransport(resilience.TransportConfig{}, quiet, n)}))
				require.GreaterOrEqual(t, time.Since(start), test.least)
				require.Less(t, time.Since(start), test.least+time.Second)
			})
		})
	}
}

// To wait in vain helps nobody: the caller learns at once how long the source wants to be left alone.
func TestRetryAfterBeyondTheDeadline(t *testing.T) {
	t.Parallel()
	for _, code := range []int{429, 503} {
		t.Run(strconv.Itoa(code), func(t *testing.T) {
			t.Parallel()
			s := newSource(t, fast, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "86400")
				w.WriteHeader(code)
			})
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			_, err := s.do(t, ctx, "GET", "")
			require.ErrorContains(t, err, "asks to wait for 24h0m0s (Retry-After)")
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Equal(t, resilience.Passes, resilience.ClassOf(err))
			var late *resilience.RetryAfterError
			require.ErrorAs(t, err, &late)
			require.Equal(t, resilience.RetryAfterError{Status: code, Wait: 24 * time.Hour}, *late)
			require.Equal(t, 1, s.tries())
		})
	}
}

// What is not retried anyway is the caller's, with its body.
func TestRetryAfterOfWhatIsNotRetried(t *testing.T) {
	t.Parallel()
	s := newSource(t, fast, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "86400")
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	resp, err := s.do(t, ctx, "POST", "")
	require.NoError(t, err)
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
}

func TestCallerCanLeaveALongRetryAfter(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	s := newSource(t, fast, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "86400")
		w.WriteHeader(http.StatusServiceUnavailable)
		time.AfterFunc(10*time.Millisecond, cancel)
	})
	_, err := s.do(t, ctx, "GET", "")
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 1, s.tries())
}

func TestTimeoutIsForTheHeadersAlone(t *testing.T) {
	t.Parallel()
	cfg := fast
	cfg.HeaderTimeout = 100 * time.Millisecond
	var stalled atomic.Bool
	s := newSource(t, cfg,
		func(_ http.ResponseWriter, r *http.Request) { // never answers
			<-r.Context().Done()
			stalled.Store(true)
		},
		func(w http.ResponseWriter, _ *http.Request) { // streams for longer than the timeout
			for range 5 {
				_, _ = w.Write(bytes.Repeat([]byte("x"), 1000))
				_ = http.NewResponseController(w).Flush()
				<-time.After(cfg.HeaderTimeout / 2)
			}
		})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // or the test would hang with what it tests
	defer cancel()
	resp, err := s.do(t, ctx, "GET", "")
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Len(t, body, 5000)
	require.Equal(t, 2, s.tries())
	require.Eventually(t, stalled.Load, 5*time.Second, time.Millisecond, "the try that timed out was not cancelled")
}

// An outage costs the tries that open the breaker and then one probe per delay; a success closes it.
func TestBreaker(t *testing.T) {
	t.Parallel()
	cfg := fast
	cfg.BreakerFailures = 4
	cfg.BreakerDelay = 200 * time.Millisecond
	down := make([]http.HandlerFunc, 5)
	for i := range down {
		down[i] = status(500)
	}
	s := newSource(t, cfg, down...)
	get := func() error {
		_, err := s.do(t, t.Context(), "GET", "")
		return err
	}
	require.NoError(t, get()) // three tries
	require.ErrorIs(t, get(), resilience.ErrCircuitOpen)
	require.Equal(t, 4, s.tries())
	require.ErrorIs(t, get(), resilience.ErrCircuitOpen)
	require.Equal(t, 4, s.tries(), "an open breaker lets nothing through")

	require.Eventually(t, func() bool { return errors.Is(get(), resilience.ErrCircuitOpen) && s.tries() == 5 }, 5*time.Second, time.Millisecond)
	require.Eventually(t, func() bool { return get() == nil }, 5*time.Second, time.Millisecond)
	require.Equal(t, 6, s.tries())
	require.NoError(t, get())
}

func Test429DoesNotOpenTheBreaker(t *testing.T) {
	t.Parallel()
	cfg := fast
	cfg.BreakerFailures = 1
	s := newSource(t, cfg, status(429), status(429))
	resp, err := s.do(t, t.Context(), "GET", "")
	require.NoError(t, err)
	require.Equal(t, 200, resp.StatusCode)
}

func TestEveryTryCarriesTheCorrelationID(t *testing.T) {
	t.Parallel()
	s := newSource(t, fast, status(500))
	_, err := s.do(t, resilience.WithCorrelationID(t.Context(), "run-1"), "GET", "")
	require.NoError(t, err)
	_, err = s.do(t, t.Context(), "GET", "")
	require.NoError(t, err)
	require.Equal(t, []string{"run-1", "run-1", ""}, s.correlated)
}

// What a RoundTripper must leave alone: its caller's request. And what it must not keep: connections.
func TestRequestIsLeftAloneAndConnectionsAreNotLeaked(t *testing.T) {
	t.Parallel()
	var open atomic.Int64
	var steps []http.HandlerFunc
	for range 20 {
		steps = append(steps, status(500), status(200))
	}
	s := newSource(t, fast, steps...)
	s.next.MaxConnsPerHost = 1 // a try that kept its connection would block the next one
	ctx, cancel := context.WithTimeout(resilience.WithCorrelationID(t.Context(), "run-1"), 10*time.Second)
	defer cancel()
	body := &closing{Reader: strings.NewReader("x"), open: &open}
	for range 20 {
		open.Add(1)
		body.Reader = strings.NewReader("x")
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, s.URL, body)
		require.NoError(t, err)
		resp, err := s.client.Transport.RoundTrip(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Same(t, body, req.Body)
		require.Empty(t, req.Header)
	}
	require.Zero(t, open.Load(), "the request's body was not closed")
}

type closing struct {
	io.Reader
	open *atomic.Int64
}

func (c *closing) Close() error {
	c.open.Add(-1)
	return nil
}
