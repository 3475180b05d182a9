package backfill

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/producers/clari"
	"github.com/revstream/revstream/producers/clari/claritest"
	"github.com/revstream/revstream/schemas/exportrun"
)

// lastYear is three quarters before the current one.
var lastYear = Config{Entity: Forecast, Start: day("2025-04-15"), End: day("2025-12-31")}

// cycle is the live producer's, which knows which quarter is the current one afterwards.
func (w *world) cycle() {
	w.t.Helper()
	require.NoError(w.t, w.forecasts(w.start()).Exporter.RunOnce(w.t.Context()))
}

func TestForecastsOfARangeArePublishedOnceAndAccountedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withClari(claritest.Config{})
	w.cycle()
	_, before := w.published()
	require.Len(t, before, 1)

	p := w.start()
	require.NoError(t, w.backfill(p, w.forecasts(p), lastYear).Run(t.Context()))
	events, periods := w.published()
	require.ElementsMatch(t, []string{"2026_Q1", "2025_Q4", "2025_Q3", "2025_Q2"}, keys(periods))
	for id, times := range events {
		require.Equal(t, 1, times, id)
	}
	r := w.state()
	require.True(t, r.Finished)
	require.Equal(t, []string{"2025_Q2", "2025_Q3", "2025_Q4"}, []string{r.Steps[0].Period, r.Steps[1].Period, r.Steps[2].Period}, "oldest first")

	summaries := w.summaries()
	require.Len(t, summaries, 1)
	s := summaries[0]
	require.Equal(t, "backfill:"+r.CorrelationID, s.RunID)
	require.Equal(t, r.CorrelationID, s.CorrelationID)
	require.Equal(t, exportrun.Succeeded, s.Outcome)
	require.EqualValues(t, 3, s.Jobs)
	require.Equal(t, "2025-04-15 00:00:00", s.WindowStart.Format(time.DateTime))
	require.Equal(t, "2026-01-01 00:00:00", s.WindowEnd.Format(time.DateTime), "the last day is part of the range")
	require.EqualValues(t, len(events)-before["2026_Q1"], s.RowsPublished)
	require.Contains(t, p.out.String(), "3 of 3 exports: forecast 2025_Q4 SUCCEEDED")
	require.Contains(t, p.out.String(), "SUCCEEDED in ")

	// Had the process died before it wrote that it has finished, the summary would come again, as the event that it is.
	r.Finished = false
	require.NoError(t, file{w.file}.save(&r))
	last := w.start()
	require.NoError(t, w.backfill(last, w.forecasts(last), lastYear).Run(t.Context()))
	require.Len(t, w.summaries(), 1)

	// A finished one says so and does nothing.
	again := w.start()
	require.NoError(t, w.backfill(again, w.forecasts(again), lastYear).Run(t.Context()))
	require.Contains(t, again.out.String(), "finished already")
	require.Equal(t, 4, jobs(w.clari))
	require.Len(t, w.summaries(), 1)

	restarted := lastYear
	restarted.Restart = true
	again = w.start()
	require.NoError(t, w.backfill(again, w.forecasts(again), restarted).Run(t.Context()))
	require.Equal(t, 7, jobs(w.clari))
	require.Len(t, w.summaries(), 2)
	require.NotEqual(t, r.CorrelationID, w.state().CorrelationID)
	after, _ := w.published()
	require.Equal(t, events, after, "what stands on the topic is not published again")
}

func keys(m map[string]int) []string {
	var all []string
	for k := range m {
		all = append(all, k)
	}
	return all
}

// TestForecastsGoOnAfterAKillAtEachStep kills the process after each write of its state file, and before each.
func TestForecastsGoOnAfterAKillAtEachStep(t *testing.T) {
	t.Parallel()
	for n := 1; n <= 7; n++ { // begun, planned, three quarters, completed, finished
		t.Run(fmt.Sprintf("after write %d", n), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.withClari(claritest.Config{})
			w.cycle()
			first := w.start()
			require.ErrorIs(t, killedAfter(w.backfill(first, w.forecasts(first), lastYear), n).Run(t.Context()), errKilled)
			id := w.state().CorrelationID
			second := w.start()
			require.NoError(t, w.backfill(second, w.forecasts(second), lastYear).Run(t.Context()))

			events, periods := w.published()
			require.Len(t, periods, 4)
			for event, times := range events {
				require.Equal(t, 1, times, event)
			}
			require.Equal(t, id, w.state().CorrelationID)
			require.Equal(t, 4, jobs(w.clari), "a step was done twice")
			summaries := w.summaries()
			require.Len(t, summaries, 1)
			require.EqualValues(t, len(events)-periods["2026_Q1"], summaries[0].RowsPublished)
			require.Len(t, correlated(t, w.clari), 2, "the live cycle's and one more")
		})
	}
}

// TestForecastsTakeOverWhatWasAccountedForBeforeAKill: the process died between the account and the state file.
func TestForecastsTakeOverWhatWasAccountedForBeforeAKill(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withClari(claritest.Config{})
	w.cycle()
	first := w.start()
	killed := killedAfter(w.backfill(first, w.forecasts(first), lastYear), 4)
	require.ErrorIs(t, killed.Run(t.Context()), errKilled)
	r := w.state()
	last := r.Steps[1]
	*last = step{ForecastID: last.ForecastID, Period: last.Period}
	r.Counts = r.Steps[0].Counts
	require.NoError(t, file{w.file}.save(&r))

	second := w.start()
	require.NoError(t, w.backfill(second, w.forecasts(second), lastYear).Run(t.Context()))
	require.Equal(t, 4, jobs(w.clari))
	_, periods := w.published()
	require.EqualValues(t, periods["2025_Q2"]+periods["2025_Q3"]+periods["2025_Q4"], w.summaries()[0].RowsPublished)
}

func TestForecastsThatASignalInterrupts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withClari(claritest.Config{})
	w.cycle()
	ctx, cancel := context.WithCancel(t.Context())
	p := w.start()
	b := w.backfill(p, w.forecasts(p), lastYear)
	writes := 0
	b.saved = func() error {
		if writes++; writes == 3 {
			cancel()
		}
		return nil
	}
	require.ErrorIs(t, b.Run(ctx), context.Canceled)
	require.Contains(t, p.out.String(), "interrupted: the same command goes on from here")
	p = w.start()
	require.NoError(t, w.backfill(p, w.forecasts(p), lastYear).Run(t.Context()))
	require.Contains(t, p.out.String(), "going on with the backfill of forecast from 2025-04-15")
	require.Equal(t, 4, jobs(w.clari))
}

// TestFirstForecastsShowWhichQuarterIsTheCurrentOne: nothing is published yet, so nobody knows.
func TestFirstForecastsShowWhichQuarterIsTheCurrentOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withClari(claritest.Config{FiscalStart: time.February}) // 2026_Q4 ends with January 2026
	p := w.start()
	require.NoError(t, w.backfill(p, w.forecasts(p), Config{Entity: Forecast, Start: day("2025-10-31")}).Run(t.Context()))
	_, periods := w.published()
	require.ElementsMatch(t, []string{"2027_Q1", "2026_Q4", "2026_Q3"}, keys(periods))
	require.Equal(t, 3, jobs(w.clari))
	require.Len(t, w.state().Steps, 3)
}

// TestQuartersThatClariDoesNotHaveAreReported: it answers with the current one, which is not what was asked for.
func TestQuartersThatClariDoesNotHaveAreReported(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withClari(claritest.Config{Quarters: 2})
	w.cycle()
	before, _ := w.published()
	p := w.start()
	require.NoError(t, w.backfill(p, w.forecasts(p), Config{Entity: Forecast, Start: day("2025-07-01"), End: day("2025-12-31")}).Run(t.Context()))
	_, periods := w.published()
	require.ElementsMatch(t, []string{"2026_Q1", "2025_Q4"}, keys(periods))
	require.Equal(t, len(before), periods["2026_Q1"])
	s := w.summaries()[0]
	require.Equal(t, exportrun.Partial, s.Outcome)
	require.Contains(t, *s.Error, "forecast 2025_Q3: ")
	require.Contains(t, p.out.String(), "forecast 2025_Q3                         FAILED")
}

// TestABackfillOfWhichNothingSucceedsFails: it has its account, and an exit code that scripts notice.
func TestABackfillOfWhichNothingSucceedsFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withClari(claritest.Config{Quarters: 2})
	w.cycle()
	p := w.start()
	err := w.backfill(p, w.forecasts(p), Config{Entity: Forecast, Start: day("2025-07-01"), End: day("2025-09-30")}).Run(t.Context())
	require.ErrorIs(t, err, errAllFailed)
	require.Equal(t, exportrun.Failed, w.summaries()[0].Outcome)
	require.Contains(t, p.out.String(), "forecast 2025_Q3                         FAILED")
	require.True(t, w.state().Finished)
}

func TestDryRunOfForecastsSpendsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withClari(claritest.Config{})
	p := w.start()
	dry := lastYear
	dry.DryRun = true
	require.NoError(t, w.backfill(p, w.forecasts(p), dry).Run(t.Context()))
	require.Contains(t, p.out.String(), "nobody knows before the first export")
	require.Contains(t, p.out.String(), "about 4 export jobs it is in all")
	require.Zero(t, jobs(w.clari))
	w.cycle()
	before := len(w.runs())
	p = w.start()
	require.NoError(t, w.backfill(p, w.forecasts(p), dry).Run(t.Context()))
	require.Contains(t, p.out.String(), "would export forecast 2025_Q2: one export job\n")
	require.Contains(t, p.out.String(), "that is 3; 999 export jobs of 1000 are left in these 30 days")
	require.Equal(t, 1, jobs(w.clari))
	require.Len(t, w.runs(), before)
	require.NoFileExists(t, w.file)
}

// TestForecastsBesideALiveProducer: both export, one at a time, and nothing comes twice.
func TestForecastsBesideALiveProducer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withClari(claritest.Config{ConcurrentLimit: 1})
	w.cycle()
	live := w.forecasts(w.start())
	ctx, cancel := context.WithCancel(t.Context())
	var producing sync.WaitGroup
	producing.Go(func() {
		for ctx.Err() == nil {
			_ = live.Exporter.RunOnce(ctx) // ends in the middle of one
		}
	})
	p := w.start()
	require.NoError(t, w.backfill(p, w.forecasts(p), lastYear).Run(t.Context()))
	cancel()
	producing.Wait()
	events, periods := w.published()
	require.Len(t, periods, 4)
	for id, times := range events {
		require.Equal(t, 1, times, id)
	}
	require.Equal(t, exportrun.Succeeded, w.summaries()[0].Outcome)
}

func TestQuartersOfARange(t *testing.T) {
	t.Parallel()
	current := clari.TimePeriod{ID: "2026_Q1", StartDate: "2026-01-01", EndDate: "2026-03-31"}
	for _, c := range []struct {
		start, until string
		want         []string
	}{
		{"2026-01-01", "2026-02-01", []string{"2026_Q1"}},
		{"2025-12-31", "2026-01-01", []string{"2025_Q4"}},
		{"2025-12-31", "2026-01-02", []string{"2025_Q4", "2026_Q1"}},
		{"2024-07-01", "2024-07-02", []string{"2024_Q3"}},
		{"2024-06-30", "2025-04-01", []string{"2024_Q2", "2024_Q3", "2024_Q4", "2025_Q1"}},
	} {
		have, err := quarters(current, &record{Start: c.start, Until: day(c.until).Time})
		require.NoError(t, err)
		require.Equal(t, c.want, have, "%s to %s", c.start, c.until)
	}
}
