package people

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/producers/salesloft"
	"github.com/revstream/revstream/producers/salesloft/salesloftest"
)

// TestSyncRange publishes a range whole, goes on where it was interrupted, and leaves the polling where it was.
func TestSyncRange(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{Seed: 20, People: 300})
	all := w.versions()
	from, until := all[50], all[250]
	start := func() *process {
		p := w.start(func(_ *Config, api *salesloft.Config, _ *Deps) { api.PageSize = 10 })
		p.checkpointRows = 20
		return p
	}
	ctx := resilience.WithCorrelationID(t.Context(), "backfill")
	enough, rows := errors.New("enough"), int64(0)
	var at Progress
	for range 3 { // each is interrupted after two checkpoints, but for the last
		reports := 0
		since := from
		if !at.Cursor.IsZero() {
			since = at.Cursor
		}
		err := start().SyncRange(ctx, since, until, func(p Progress) error {
			require.False(t, p.Cursor.Before(at.Cursor))
			require.Equal(t, p.Rows, p.Published)
			at = p
			if reports++; reports == 2 && rows < 80 {
				return enough
			}
			return nil
		})
		rows += at.Rows
		if err == nil {
			break
		}
		require.ErrorIs(t, err, enough)
	}
	require.Equal(t, until, at.Cursor)
	inRange := map[int64]bool{}
	for _, e := range w.events() {
		require.False(t, e.SourceVersion.Before(from))
		require.True(t, e.SourceVersion.Before(until))
		require.Equal(t, "backfill", e.CorrelationID)
		inRange[e.PersonID] = true
	}
	require.Len(t, inRange, 200)
	require.Len(t, w.counts(), 200)
	require.Empty(t, w.runs(), "the account of it is the caller's")

	require.NoError(t, start().RunOnce(t.Context()))
	w.requireNothingLost()
	require.EqualValues(t, 300, w.lastRun().RowsPublished, "the polling has its own position")
}

// TestAnEmptyRangeIsDone: where it begins is where to go on.
func TestAnEmptyRangeIsDone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{Seed: 22, People: 5})
	from := w.versions()[4].Add(time.Second)
	var at Progress
	require.NoError(t, w.start(nil).SyncRange(t.Context(), from, time.Time{}, func(p Progress) error { at = p; return nil }))
	require.Equal(t, Progress{Cursor: from}, at)
}

// TestTwoReplicas: one polls, the other stands by, healthy, and takes over.
func TestTwoReplicas(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{Seed: 21, People: 20})
	quick := func(cfg *Config, _ *salesloft.Config, _ *Deps) { cfg.Interval = 10 * time.Millisecond }
	first, second := w.start(quick), w.start(quick)
	run := func(p *process) (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		return func() {
			cancel()
			require.NoError(t, <-done)
		}
	}
	stopFirst := run(first)
	require.Eventually(t, func() bool { return len(w.events()) == 20 }, 20*time.Second, 10*time.Millisecond)
	stopSecond := run(second)
	defer stopSecond()
	require.Eventually(t, func() bool {
		details, err := second.Check(t.Context())
		return err == nil && details["standby"] == true
	}, 20*time.Second, time.Millisecond)
	details, err := first.Check(t.Context())
	require.NoError(t, err)
	require.NotContains(t, details, "standby")
	w.update(salesloftest.Change{Count: 2})
	require.Eventually(t, func() bool { return len(w.events()) == 22 }, 20*time.Second, 10*time.Millisecond)

	stopFirst()
	w.update(salesloftest.Change{Count: 3})
	require.Eventually(t, func() bool { return len(w.events()) == 25 }, 20*time.Second, 10*time.Millisecond)
	details, err = second.Check(t.Context())
	require.NoError(t, err)
	require.NotContains(t, details, "standby", "it goes on where the first had come to")
	w.requireNothingLost()
	require.Len(t, w.counts(), 25)
}
