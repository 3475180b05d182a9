package forecast

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/producers/clari/claritest"
)

func TestRunGoesOnAfterAFailedCycle(t *testing.T) {
	t.Parallel()
	w := newWorld(t, claritest.Config{})
	require.NoError(t, w.sim.Fail(1, claritest.Fault{Status: 503}))
	e := w.start(options{cfg: func(c *Config) { c.Interval, c.Quarters = 10*time.Millisecond, 1 }})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	require.Eventually(t, func() bool { return len(w.runs()) > 1 }, 10*time.Second, 5*time.Millisecond)
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	w.requireComplete("2026_Q1")
}

func TestCycleThatIsBrokenOffIsTriedAgainSoon(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		interval time.Duration
		want     []time.Duration
	}{
		"long interval":  {6 * time.Hour, []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 15 * time.Minute, 15 * time.Minute}},
		"short interval": {90 * time.Second, []time.Duration{time.Minute, 90 * time.Second, 90 * time.Second, 90 * time.Second, 90 * time.Second, 90 * time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, claritest.Config{})
			away := &switched{next: w.pool}
			e := w.start(options{http: away, cfg: func(c *Config) { c.Interval, c.Quarters = test.interval, 1 }})
			away.off.Store(true)
			ctx, stop := context.WithCancel(t.Context())
			var waits []time.Duration
			e.wait = func(ctx context.Context, d time.Duration) error {
				waits = append(waits, d)
				switch len(waits) {
				case len(test.want):
					away.off.Store(false)
				case len(test.want) + 1: // a cycle that succeeded
					away.off.Store(true)
				case len(test.want) + 2:
					stop()
				}
				return ctx.Err()
			}
			require.ErrorIs(t, e.Run(ctx), context.Canceled)
			require.Equal(t, test.want, waits[:len(test.want)])
			require.InDelta(t, test.interval, waits[len(test.want)], float64(time.Minute), "from the start of one cycle to that of the next")
			require.Equal(t, time.Minute, waits[len(test.want)+1], "success ends the doubling")
			w.requireComplete("2026_Q1")
		})
	}
}

// switched is a network that can be off.
type switched struct {
	next http.RoundTripper
	off  atomic.Bool

	posts  atomic.Int64 // that have gone through
	atPost int64        // goes off with the answer to this one
}

func (s *switched) RoundTrip(req *http.Request) (*http.Response, error) {
	if s.off.Load() {
		return nil, errors.New("away")
	}
	if req.Method == http.MethodPost {
		s.off.Store(s.posts.Add(1) == s.atPost)
	}
	return s.next.RoundTrip(req)
}

// correlated notes the correlation IDs that errors are logged with.
type correlated struct {
	slog.Handler
	ids map[string][]string // by message
}

func (c correlated) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelError
}

func (c correlated) Handle(ctx context.Context, r slog.Record) error {
	c.ids[r.Message] = append(c.ids[r.Message], resilience.CorrelationID(ctx))
	return nil
}

func TestFailureIsLoggedWithItsCorrelationID(t *testing.T) {
	t.Parallel()
	w := newWorld(t, claritest.Config{})
	require.NoError(t, w.sim.FailJobs(1, "FAILED"))
	log := correlated{slog.DiscardHandler, map[string][]string{}}
	require.Error(t, w.start(options{logger: slog.New(log)}).RunOnce(t.Context()))
	require.Equal(t, []string{w.runs()[0].CorrelationID}, log.ids["export cycle failed"])
}

func TestJobsThatFailAreNotTriedAgainBeforeTheInterval(t *testing.T) {
	t.Parallel()
	w := newWorld(t, claritest.Config{})
	require.NoError(t, w.sim.FailJobs(1, "FAILED"))
	e := w.start(options{cfg: func(c *Config) { c.Interval = 6 * time.Hour }})
	e.wait = func(_ context.Context, d time.Duration) error {
		require.Greater(t, d, 5*time.Hour)
		return context.Canceled
	}
	require.ErrorIs(t, e.Run(t.Context()), context.Canceled)
	_, err := e.Check(t.Context())
	require.ErrorContains(t, err, "the last cycle failed")
}

func TestTryAgainTakesNoQuotaForWhatIsDone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, claritest.Config{})
	away := &switched{next: w.pool}
	e := w.start(options{http: away})
	away.atPost = 4
	require.Error(t, e.RunOnce(t.Context()))
	away.off.Store(false)
	require.NoError(t, e.RunOnce(t.Context()))
	require.EqualValues(t, 5, away.posts.Load(), "one job a quarter")
	w.requireComplete(fiveQuarters...)

	require.NoError(t, e.RunOnce(t.Context()))
	require.EqualValues(t, 10, away.posts.Load(), "a new cycle exports all again")
}
