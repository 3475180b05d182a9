package forecast

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/producers/clari/claritest"
	"github.com/revstream/revstream/schemas/exportrun"
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
					require.NoError(t, e.deps.State.Save(ctx, runsName, nil)) // as if the interval were over
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
	require.NoError(t, w.sim.FailJobs(maxJobs, "FAILED"))
	log := correlated{slog.DiscardHandler, map[string][]string{}}
	require.Error(t, w.start(options{logger: slog.New(log)}).RunOnce(t.Context()))
	require.Equal(t, []string{w.runs()[0].CorrelationID}, log.ids["export cycle failed"])
}

func TestJobsThatFailAreNotTriedAgainBeforeTheInterval(t *testing.T) {
	t.Parallel()
	w := newWorld(t, claritest.Config{})
	require.NoError(t, w.sim.FailJobs(maxJobs, "FAILED"))
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
	away := &switched{next: w.pool, atPost: 4}
	require.Equal(t, 4, w.run(options{http: away}, 1, nil), "the fourth job's answer never came")
	e := w.start(options{})
	away.off.Store(false)
	require.Equal(t, 5, w.runWith(e, 1, nil), "one job a quarter")
	w.requireComplete(fiveQuarters...)
}

// run runs cycles of a new process, and returns how many jobs there are then. before is called before each.
func (w *world) run(o options, cycles int, before func(*Exporter)) int {
	return w.runWith(w.start(o), cycles, before)
}

func (w *world) runWith(e *Exporter, cycles int, before func(*Exporter)) int {
	w.t.Helper()
	if before == nil {
		before = func(*Exporter) {}
	}
	n := 0
	e.wait = func(context.Context, time.Duration) error {
		if n++; n == cycles {
			return context.Canceled
		}
		before(e)
		return nil
	}
	before(e)
	require.ErrorIs(w.t, e.Run(w.t.Context()), context.Canceled)
	return w.jobs()
}

// TestNobodyExportsAgainWhatWasWithinTheInterval: neither a process that restarts in a loop nor a replica, and what has failed is
// no exception. Whoever asks for one cycle gets it.
func TestNobodyExportsAgainWhatWasWithinTheInterval(t *testing.T) {
	t.Parallel()
	w := newWorld(t, claritest.Config{})
	first := w.start(options{})
	require.Equal(t, 5, w.runWith(first, 2, nil))
	for range 3 {
		require.Equal(t, 5, w.run(options{}, 2, nil))
	}
	require.Equal(t, 5+1, w.run(options{cfg: func(c *Config) { c.ScopeID, c.Quarters = "1905::MGR", 1 }}, 1, nil), "another export")
	require.Equal(t, 6, w.run(options{}, 1, nil))

	replica := w.start(options{})
	replica.wait = func(_ context.Context, d time.Duration) error {
		require.Less(t, d, time.Hour)
		require.Greater(t, d, time.Hour-time.Minute, "it wakes up when the first is due again")
		return context.Canceled
	}
	require.ErrorIs(t, replica.Run(t.Context()), context.Canceled)
	require.InDelta(t, time.Now().Unix(), testutil.ToFloat64(replica.metrics.last), 60, "it is not overdue")
	require.NoError(t, replica.RunOnce(t.Context()))
	require.Equal(t, 11, w.jobs())

	w = newWorld(t, claritest.Config{})
	require.NoError(t, w.sim.FailJobs(maxJobs, "FAILED"))
	for range 3 {
		e := w.start(options{cfg: func(c *Config) { c.Quarters = 1 }})
		require.Equal(t, maxJobs, w.runWith(e, 2, nil))
		_, err := e.Check(t.Context())
		require.ErrorContains(t, err, "FAILED, the last of 4", "nobody is told that all is well")
	}
}

// TestReplicasShareTheWork, and the one job at a time.
func TestReplicasShareTheWork(t *testing.T) {
	t.Parallel()
	w := newWorld(t, claritest.Config{ConcurrentLimit: 1})
	var replicas sync.WaitGroup
	for range 3 {
		e := w.start(options{})
		e.wait = func(context.Context, time.Duration) error { return context.Canceled }
		replicas.Go(func() { _ = e.Run(t.Context()) }) // which ends with the wait's error
	}
	replicas.Wait()
	require.Equal(t, 5, w.jobs())
	require.Equal(t, map[exportrun.Outcome]int{exportrun.Succeeded: 5}, w.outcomes())
	require.Len(t, current(w.events()), len(w.events()))
	w.requireComplete(fiveQuarters...)
}
