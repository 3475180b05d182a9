package forecast

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/producers/chaos"
	"github.com/revstream/revstream/producers/clari"
	"github.com/revstream/revstream/producers/clari/claritest"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/exportrun"
)

// edited changes a text of every results document that has it.
type edited struct {
	next     http.RoundTripper
	old, new string
}

func (e *edited) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := e.next.RoundTrip(r)
	if err != nil || !strings.HasSuffix(r.URL.Path, "/results") {
		return resp, err
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body = struct {
		io.Reader
		io.Closer
	}{bytes.NewReader(bytes.ReplaceAll(body, []byte(e.old), []byte(e.new))), resp.Body}
	resp.ContentLength = -1
	return resp, err
}

// TestDoubtfulDataIsSaidToBe: in the run's account and a metric, and nothing of it is published where that would do harm.
func TestDoubtfulDataIsSaidToBe(t *testing.T) {
	t.Parallel()
	received := "2026_Q1"
	for name, c := range map[string]struct {
		sim      claritest.Config
		edit     edited
		quarters int
		issues   []string
		want     func(*exportrun.ExportRun) // of the last run
		outcome  exportrun.Outcome
	}{
		"empty":           {sim: claritest.Config{EmptyResults: true}, issues: []string{issueEmpty}, outcome: exportrun.Failed, want: func(r *exportrun.ExportRun) { r.Empty = true }},
		"rows truncated":  {sim: claritest.Config{RowsTruncated: true}, issues: []string{issueRowsTruncated}, outcome: exportrun.Partial, want: func(r *exportrun.ExportRun) { r.RowsTruncated, r.Truncated = true, true }},
		"cells truncated": {sim: claritest.Config{CellsTruncated: true}, issues: []string{issueCellsTruncated}, outcome: exportrun.Partial, want: func(r *exportrun.ExportRun) { r.CellsTruncated, r.Truncated = true, true }},
		"unknown references": {sim: claritest.Config{UnknownRefs: 3}, issues: []string{issueUnknownUsers, issueUnknownFields}, outcome: exportrun.Partial,
			want: func(r *exportrun.ExportRun) { r.UnknownUsers, r.UnknownFields = 2, 1 }},
		"other period": {sim: claritest.Config{Quarters: 1}, quarters: 2, issues: []string{issueOtherPeriod}, outcome: exportrun.Failed, want: func(r *exportrun.ExportRun) { r.TimePeriodReceived = &received }},
		"gap": {quarters: 2, edit: edited{old: `"endDate":"2025-12-31"`, new: `"endDate":"2025-12-30"`}, issues: []string{issuePeriodGap}, outcome: exportrun.Partial,
			want: func(r *exportrun.ExportRun) { r.PeriodGap = true }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, c.sim)
			c.edit.next = w.pool
			e := w.start(options{http: &c.edit, cfg: func(cfg *Config) { cfg.Quarters = max(c.quarters, 1) }})
			err := e.RunOnce(t.Context())
			require.Equal(t, c.outcome == exportrun.Failed, err != nil, "%v", err)
			runs := w.runs()
			last := runs[len(runs)-1]
			require.Equal(t, c.outcome, last.Outcome)
			require.NotEmpty(t, *last.Error)
			want := exportrun.ExportRun{}
			c.want(&want)
			got := exportrun.ExportRun{
				Truncated: last.Truncated, RowsTruncated: last.RowsTruncated, CellsTruncated: last.CellsTruncated, Empty: last.Empty, TimePeriodReceived: last.TimePeriodReceived,
				PeriodGap: last.PeriodGap, UnknownUsers: last.UnknownUsers, UnknownFields: last.UnknownFields, UnusualCount: last.UnusualCount,
			}
			require.Equal(t, want, got)
			for _, label := range issueLabels {
				times := 0.0
				for _, issue := range c.issues {
					if issue == label {
						times++
					}
				}
				require.InDelta(t, times, testutil.ToFloat64(e.metrics.quality.WithLabelValues(label)), 0, label)
			}
			for _, f := range w.events() {
				if c.outcome == exportrun.Failed {
					require.NotEqual(t, last.RunID, "clari:"+f.JobID, "nothing of it is published")
				}
			}
		})
	}
}

// TestACountFarFromTheLastIsUnusual, and the account says what the last one was.
func TestACountFarFromTheLastIsUnusual(t *testing.T) {
	t.Parallel()
	w := newWorld(t, claritest.Config{Users: 20, Weeks: 4})
	e := w.start(options{cfg: func(c *Config) { c.Quarters = 1 }})
	require.NoError(t, e.RunOnce(t.Context()))
	users := map[string]bool{}
	for _, f := range w.events() {
		if len(users) < 14 && !users[f.UserID] {
			users[f.UserID] = true
			require.NoError(t, w.sim.HideUser(f.UserID, true))
		}
	}
	require.NoError(t, w.start(options{cfg: func(c *Config) { c.Quarters = 1 }}).RunOnce(t.Context()))
	runs := w.runs()
	require.Nil(t, runs[0].RowsPrevious)
	require.Equal(t, runs[0].RowsExpected, *runs[1].RowsPrevious)
	require.True(t, runs[1].UnusualCount)
	require.Equal(t, exportrun.Partial, runs[1].Outcome)
	require.NoError(t, e.RunOnce(t.Context()))
	require.Equal(t, exportrun.Succeeded, w.runs()[2].Outcome)
}

func TestUnusualCounts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		last, now             int64
		lastFrames, nowFrames int
		want                  bool
	}{
		"the same":                     {1000, 1000, 1, 1, false},
		"half as much again":           {1000, 1500, 1, 1, false},
		"more than that":               {1000, 1501, 1, 1, true},
		"less than half":               {1000, 499, 1, 1, true},
		"few rows":                     {100, 5, 1, 1, false},
		"another week":                 {1000, 2000, 1, 2, false},
		"another week without its own": {4000, 4000, 4, 13, true},
		"nothing to compare with":      {0, 1_000_000, 0, 1, false},
	} {
		job := "now"
		run := &exportrun.ExportRun{JobID: &job, RowsExpected: c.now}
		compare(run, findings{frames: c.nowFrames}, past{JobID: "then", Rows: c.last, Frames: c.lastFrames})
		require.Equal(t, c.want, run.UnusualCount, name)
	}
}

// TestWhatIsRejectedIsADeadLetterOnce, as it came; too many of them say that the export is wrong.
func TestWhatIsRejectedIsADeadLetterOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, claritest.Config{MalformedEntries: 2})
	changed, err := w.sim.Update(claritest.Update{Entries: 1, Kind: "forecast", Value: "123456789e30"})
	require.NoError(t, err)
	e := w.start(options{cfg: func(c *Config) { c.Quarters = 1 }})
	letters := func() (values []string) {
		for _, r := range pipelinetest.ReadAll(t, w.kafka, schemas.DLQTopic(schemas.ForecastTopic)) {
			values = append(values, string(r.Value))
		}
		return values
	}
	for range 2 {
		require.NoError(t, e.RunOnce(t.Context()))
		require.Len(t, letters(), 3)
	}
	require.Contains(t, strings.Join(letters(), "\n"), changed[0].UserID)
	require.Contains(t, strings.Join(letters(), "\n"), "123456789e30")
	require.EqualValues(t, 3, w.runs()[1].RowsRejected)

	w = newWorld(t, claritest.Config{MalformedEntries: maxRejections + 1})
	require.ErrorIs(t, w.start(options{cfg: func(c *Config) { c.Quarters = 1 }}).RunOnce(t.Context()), errTooManyRejections)
	require.NotEmpty(t, letters())
	require.LessOrEqual(t, len(letters()), maxRejections)
	require.Equal(t, map[exportrun.Outcome]int{exportrun.Failed: 1}, w.outcomes())
}

// TestAllThatStandsIsPublishedAsTheEventThatItIs, if that is wanted.
func TestAllThatStandsIsPublishedAsTheEventThatItIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, claritest.Config{})
	require.NoError(t, w.start(options{cfg: twoQuarters}).RunOnce(t.Context()))
	once := len(w.events())
	require.NoError(t, w.start(options{cfg: func(c *Config) { c.Quarters, c.Publish = 2, PublishAll }}).RunOnce(t.Context()))
	ids := map[uuid.UUID]int{}
	for _, f := range w.events() {
		ids[f.EventID]++
	}
	require.Len(t, ids, once)
	for id, n := range ids {
		require.Equal(t, 2, n, id)
	}
	require.EqualValues(t, once, w.runs()[2].RowsPublished+w.runs()[3].RowsPublished)
}

// TestWhatAnotherProcessHasPublishedIsKnown: a change of value would else be two facts.
func TestWhatAnotherProcessHasPublishedIsKnown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, claritest.Config{})
	one, other := w.start(options{cfg: twoQuarters}), w.start(options{cfg: twoQuarters})
	require.NoError(t, one.RunOnce(t.Context()))
	_, err := w.sim.Update(claritest.Update{Entries: 3, Kind: "forecast", WithoutUpdatedOn: true})
	require.NoError(t, err)
	require.NoError(t, other.RunOnce(t.Context()))
	events := len(w.events())
	require.NoError(t, one.RunOnce(t.Context()))
	require.Len(t, w.events(), events)
}

// TestQuartersAreTheSourcesOwn: a fiscal year need not begin in January, and the answer may list more than was asked for.
func TestQuartersAreTheSourcesOwn(t *testing.T) {
	t.Parallel()
	for _, more := range []int{0, 3} {
		w := newWorld(t, claritest.Config{FiscalStart: time.February, MorePeriods: more})
		e := w.start(options{})
		_, found, err := e.Periods(t.Context())
		require.NoError(t, err)
		require.False(t, found)
		require.NoError(t, e.RunOnce(t.Context()))
		require.Equal(t, map[exportrun.Outcome]int{exportrun.Succeeded: 5}, w.outcomes())
		w.requireComplete("2027_Q1", "2026_Q4", "2026_Q3", "2026_Q2", "2026_Q1")
		current, found, err := w.start(options{}).Periods(t.Context())
		require.NoError(t, err)
		require.True(t, found)
		require.Equal(t, clari.TimePeriod{ID: "2027_Q1", Type: "QUARTER", StartDate: "2026-02-01", EndDate: "2026-04-30"}, current)
	}
}

// TestABackfillIsOneRunOfThePeriod, finished rather than repeated if it was killed.
func TestABackfillIsOneRunOfThePeriod(t *testing.T) {
	t.Parallel()
	w := newWorld(t, claritest.Config{})
	ctx, die := context.WithCancel(t.Context())
	_, err := w.start(options{http: &stepper{next: w.pool, n: 4, die: die}}).ExportPeriod(ctx, "forecast", "2025_Q2")
	require.Error(t, err)
	require.Equal(t, 1, w.jobs())
	e := w.start(options{})
	run, err := e.ExportPeriod(resilience.WithCorrelationID(t.Context(), "backfill-1"), "forecast", "2025_Q2")
	require.NoError(t, err)
	require.Equal(t, 1, w.jobs())
	require.Equal(t, exportrun.Succeeded, run.Outcome)
	require.Equal(t, "backfill-1", run.CorrelationID)
	require.Equal(t, []exportrun.ExportRun{run}, w.runs())
	w.requireComplete("2025_Q2")
	run, err = e.ExportPeriod(t.Context(), "forecast", "")
	require.NoError(t, err)
	require.Equal(t, "2026_Q1", *run.TimePeriodID)
	require.NoError(t, w.sim.FailJobs(maxJobs, "FAILED"))
	run, err = e.ExportPeriod(t.Context(), "forecast", "2025_Q1")
	require.Error(t, err)
	require.Equal(t, exportrun.Failed, run.Outcome)
	_, err = e.ExportPeriod(t.Context(), "unheard_of", "2025_Q1")
	require.ErrorIs(t, err, clari.ErrUnknownForecast)
}

// TestTypesAreGuessedWithoutLosingTheRest, where a refusal names none.
func TestTypesAreGuessedWithoutLosingTheRest(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		unsupported []string
		message     string
		tries       int
	}{
		"one of the likely":     {[]string{"crm_closed"}, "Not supported.", 2},
		"both of the likely":    {[]string{"crm_total", "crm_closed"}, "Not supported.", 3},
		"another":               {[]string{"quota"}, "Not supported.", 3 + 6},
		"four":                  {[]string{"quota", "adjustment", "crm_total", "crm_closed"}, "", 62},
		"named":                 {[]string{"forecast_updated"}, "Type forecast_updated is not supported.", 1},
		"all of them repeated":  {[]string{"crm_total"}, "One of forecast, quota, forecast_updated, adjustment, crm_total, crm_closed is not.", 1},
		"a word and not a type": {[]string{"adjustment"}, "This forecast has a type that is not supported.", 3 + 6},
	} {
		types, tries := clari.Types(), 0
		g := guess(types)
		for len(without(c.unsupported, types)) < len(c.unsupported) { // Clari refuses
			types = g.next(types, &clari.APIError{Code: "type_not_supported", Message: c.message})
			require.NotEmpty(t, types, name)
			tries++
		}
		require.Equal(t, without(clari.Types(), c.unsupported), types, name)
		require.LessOrEqual(t, tries, c.tries, name)
	}
	g := guess([]string{"forecast"})
	require.Nil(t, g.next([]string{"forecast"}, errors.New("no")))
}

// TestACycleUnderChaosEndsComplete, with no job more than quarters.
func TestACycleUnderChaosEndsComplete(t *testing.T) {
	t.Parallel()
	w := newWorld(t, claritest.Config{Chaos: chaos.Config{
		Unauthorized: 0.04, RateLimited: 0.04, ServerError: 0.08, Reset: 0.04, Stall: 0.03, HalfBody: 0.06, WrongType: 0.04, HTML: 0.06,
		AfterEffect: 0.5, StallFor: time.Minute, Seed: 1,
	}})
	quick := resilience.Backoff{Base: time.Millisecond, Max: 4 * time.Millisecond, Jitter: time.Millisecond}
	transport := resilience.NewTransport(resilience.TransportConfig{
		Backoff: quick, HeaderTimeout: 200 * time.Millisecond, StallTimeout: 200 * time.Millisecond, BreakerDelay: time.Millisecond,
	}, slog.New(slog.DiscardHandler), w.pool)
	e := w.start(options{http: transport})
	e.wait = func(context.Context, time.Duration) error {
		if _, err := e.Check(t.Context()); err == nil {
			return context.Canceled
		}
		return nil
	}
	require.ErrorIs(t, e.Run(t.Context()), context.Canceled)
	require.NotEmpty(t, w.sim.Stats(claritest.Scope{}).Chaos)
	require.Equal(t, 5, w.jobs())
	require.NoError(t, w.sim.Chaos(chaos.Config{}))
	require.Equal(t, map[exportrun.Outcome]int{exportrun.Succeeded: 5}, w.outcomes())
	require.Len(t, current(w.events()), len(w.events()))
	w.requireComplete(fiveQuarters...)
}
