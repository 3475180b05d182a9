package watch_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/consumers/watch"
	"github.com/revstream/revstream/pipeline/pipelinetest"
)

func TestMain(m *testing.M) { pipelinetest.Main(m) }

// run runs tasks for a while of the test's own time, and returns what to look at afterwards.
func run(t *testing.T, d time.Duration, tasks ...watch.Task) (*watch.Watch, *prometheus.Registry) {
	t.Helper()
	reg := prometheus.NewRegistry()
	w, err := watch.New(pipelinetest.Logger(t), reg, tasks, nil, 0)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	require.ErrorIs(t, w.Run(ctx), context.DeadlineExceeded)
	return w, reg
}

// value of a metric by the values of its labels, in the order of their names; -1 where it is absent.
func value(t *testing.T, reg *prometheus.Registry, name string, labels ...string) float64 {
	t.Helper()
	families, err := reg.Gather()
	require.NoError(t, err)
	for _, family := range families {
		for _, m := range family.Metric {
			var have []string
			for _, l := range m.Label {
				have = append(have, l.GetValue())
			}
			switch {
			case family.GetName() != name || !equal(have, labels):
			case m.Counter != nil:
				return m.Counter.GetValue()
			case m.Gauge != nil:
				return m.Gauge.GetValue()
			default:
				return float64(m.Histogram.GetSampleCount())
			}
		}
	}
	return -1
}

func equal(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// TestATaskWaitsForTheRestOfItsInterval, whoever has done it last, and then runs at each.
func TestATaskWaitsForTheRestOfItsInterval(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		stored := began.Add(-20 * time.Minute)
		var ran []time.Duration
		_, reg := run(t, 5*time.Hour-time.Second, watch.Task{Name: "a", Every: time.Hour, Long: true, Run: func(context.Context) error {
			ran = append(ran, time.Since(began))
			stored = time.Now()
			return nil
		}, Last: func(context.Context) (time.Time, error) {
			if len(ran) == 2 && time.Since(began) > 2*time.Hour {
				return began.Add(2 * time.Hour), nil // another replica was here
			}
			return stored, nil
		}})
		require.Equal(t, []time.Duration{40 * time.Minute, 100 * time.Minute, 180 * time.Minute, 240 * time.Minute}, ran)
		require.InDelta(t, 4, value(t, reg, "revstream_watch_runs_total", "succeeded", "a"), 0)
		require.InDelta(t, float64(began.Add(4*time.Hour).Unix()), value(t, reg, "revstream_watch_last_success_timestamp_seconds", "a"), 0.001)
	})
}

// TestATaskThatFoundSomethingLooksAgainSooner, and at its interval again once there is nothing any more. To find something is no failure.
func TestATaskThatFoundSomethingLooksAgainSooner(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		begun := time.Now()
		look := func(context.Context) error {
			if at = append(at, time.Since(begun)); len(at) < 3 {
				return fmt.Errorf("checking: %w", watch.ErrFound)
			}
			return nil
		}
		_, reg := run(t, 150*time.Minute, watch.Task{Name: "contracts", Every: time.Hour, Again: 5 * time.Minute, Run: look})
		require.Equal(t, []time.Duration{0, 5 * time.Minute, 10 * time.Minute, 70 * time.Minute, 130 * time.Minute}, at)
		require.InDelta(t, 5, value(t, reg, "revstream_watch_runs_total", "succeeded", "contracts"), 0)
		require.InDelta(t, 0, value(t, reg, "revstream_watch_runs_total", "failed", "contracts"), 0)

		rare := 0
		run(t, 150*time.Minute, watch.Task{Name: "quality", Every: time.Hour, Run: func(context.Context) error { rare++; return watch.ErrFound }})
		require.Equal(t, 3, rare, "without Again it is the interval")
	})
}

// TestATaskWhoseResultIsFromTheFutureRunsNevertheless within its interval.
func TestATaskWhoseResultIsFromTheFutureRunsNevertheless(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		future, runs := time.Now().Add(1000*time.Hour), 0
		run(t, 30*time.Hour-time.Second, watch.Task{Name: "a", Every: time.Hour, Run: func(context.Context) error { runs++; return nil }})
		require.Equal(t, 30, runs)
		_, reg := run(t, 30*time.Minute, watch.Task{Name: "a", Every: time.Hour, Run: func(context.Context) error { return nil },
			Last: func(context.Context) (time.Time, error) { return future, nil }})
		require.LessOrEqual(t, value(t, reg, "revstream_watch_last_success_timestamp_seconds", "a"), float64(time.Now().Unix()))
	})
}

// TestAFailingTaskIsTriedAgain with longer and longer pauses, says so, and stops no other.
func TestAFailingTaskIsTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var tries []time.Duration
		others := 0
		reg := prometheus.NewRegistry()
		w, err := watch.New(pipelinetest.Logger(t), reg, []watch.Task{
			{Name: "bad", Every: 24 * time.Hour, Run: func(context.Context) error {
				tries = append(tries, time.Since(began))
				if len(tries) < 5 {
					return errors.New("the engine is away")
				}
				return nil
			}},
			{Name: "good", Every: time.Minute, Run: func(context.Context) error { others++; return nil }},
			{Name: "off", Run: func(context.Context) error { panic("it is off") }},
		}, []watch.Observe{func(context.Context) error { return errors.New("no table") }}, time.Minute)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		time.Sleep(30 * time.Second) //nolint:forbidigo // the time of this test is its own
		synctest.Wait()
		details, err := w.Checks()["bad"](t.Context())
		require.EqualError(t, err, "bad unavailable since "+began.UTC().Format(time.RFC3339)+": the engine is away")
		require.Contains(t, details, "since")
		_, err = w.Checks()["good"](t.Context())
		require.NoError(t, err)
		require.NotContains(t, w.Checks(), "off")
		time.Sleep(10 * time.Minute) //nolint:forbidigo // likewise
		synctest.Wait()
		_, err = w.Checks()["bad"](t.Context())
		require.NoError(t, err)
		_, err = w.Checks()["metrics"](t.Context())
		require.ErrorContains(t, err, "no table")
		cancel()
		require.ErrorIs(t, <-ended, context.Canceled)
		require.Len(t, tries, 5)
		for i, least := range []time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second, 40 * time.Second} {
			require.InDelta(t, least.Seconds(), (tries[i+1] - tries[i]).Seconds(), 1.001)
		}
		require.Equal(t, 11, others)
		require.InDelta(t, 4, value(t, reg, "revstream_watch_runs_total", "failed", "bad"), 0)
		require.InDelta(t, 1, value(t, reg, "revstream_watch_runs_total", "succeeded", "bad"), 0)
		require.InDelta(t, 5, value(t, reg, "revstream_watch_run_seconds", "bad"), 0)
		require.InDelta(t, 0, value(t, reg, "revstream_watch_runs_total", "failed", "good"), 0)
		require.InDelta(t, -1, value(t, reg, "revstream_watch_last_success_timestamp_seconds", "metrics"), 0)
	})
}

// TestLongTasksRunOneAfterAnother, and the others beside them.
func TestLongTasksRunOneAfterAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var running, most, short atomic.Int64
		long := func(ctx context.Context) error {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			select {
			case <-time.After(time.Hour):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		_, reg := run(t, 150*time.Minute-time.Second,
			watch.Task{Name: "a", Every: 24 * time.Hour, Long: true, Run: long}, watch.Task{Name: "b", Every: 24 * time.Hour, Long: true, Run: long},
			watch.Task{Name: "c", Every: 24 * time.Hour, Long: true, Run: long},
			watch.Task{Name: "short", Every: time.Minute, Run: func(context.Context) error { short.Add(1); return nil }})
		require.EqualValues(t, 1, most.Load())
		require.EqualValues(t, 150, short.Load())
		done := 0.0
		for _, name := range []string{"a", "b", "c"} {
			done += value(t, reg, "revstream_watch_runs_total", "succeeded", name)
			require.InDelta(t, 0, value(t, reg, "revstream_watch_runs_total", "failed", name), 0, "being stopped is no failure")
		}
		require.InDelta(t, 2, done, 0)
	})
}

// TestATaskThatHangsIsLeft, and says so.
func TestATaskThatHangsIsLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, reg := run(t, 6*time.Minute, watch.Task{Name: "a", Every: time.Minute, Run: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }})
		require.InDelta(t, 1, value(t, reg, "revstream_watch_runs_total", "failed", "a"), 0)
		_, err := w.Checks()["a"](t.Context())
		require.ErrorContains(t, err, "it took longer than 5m0s")
	})
}

func TestTasksAreChecked(t *testing.T) {
	t.Parallel()
	_, err := watch.New(pipelinetest.Logger(t), prometheus.NewRegistry(), []watch.Task{{Name: "a", Every: -1}, {Name: "b"}, {Name: "b"}}, nil, time.Minute)
	require.ErrorContains(t, err, "the interval of a is negative")
	require.ErrorContains(t, err, "two tasks have the name b")
}
