package forecast

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/producers/clari"
	"github.com/revstream/revstream/producers/clari/claritest"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/exportrun"
)

func TestCyclePublishesWhatTheSourceHoldsOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, claritest.Config{Seed: 1})
	e := w.start(options{})
	require.NoError(t, e.RunOnce(t.Context()))
	w.requireComplete(fiveQuarters...)

	published := len(w.events())
	require.Len(t, current(w.events()), published, "one event a key")
	runs := w.runs()
	require.Len(t, runs, 5)
	var periods []string
	var sum int64
	for _, run := range runs {
		require.Equal(t, exportrun.Succeeded, run.Outcome)
		require.Equal(t, run.RowsExpected, run.RowsPublished)
		require.Equal(t, "clari:"+*run.JobID, run.RunID)
		require.NotNil(t, run.StartedAt)
		require.NotNil(t, run.EndedAt)
		periods, sum = append(periods, *run.TimePeriodID), sum+run.RowsPublished
	}
	require.ElementsMatch(t, fiveQuarters, periods)
	require.EqualValues(t, published, sum)

	// What stands on the topic is not published again, neither by this process nor by one that knows nothing.
	require.NoError(t, e.RunOnce(t.Context()))
	require.NoError(t, w.start(options{}).RunOnce(t.Context()))
	require.Len(t, w.events(), published)
	require.Len(t, w.runs(), 15)
	requireTimed(t, e.metrics.took.WithLabelValues(string(exportrun.Succeeded)), 10)
	requireTimed(t, e.metrics.took.WithLabelValues(string(exportrun.Failed)), 0)
}

func TestOneCorrelationIDPerCycle(t *testing.T) {
	t.Parallel()
	w := newWorld(t, claritest.Config{})
	require.NoError(t, w.start(options{cfg: func(c *Config) { c.Quarters = 2 }}).RunOnce(t.Context()))
	events := w.events()
	id := events[0].CorrelationID
	require.NotEmpty(t, id)
	for _, f := range events {
		require.Equal(t, id, f.CorrelationID)
	}
	for _, run := range w.runs() {
		require.Equal(t, id, run.CorrelationID)
	}
	for _, r := range w.sim.Stats(claritest.Scope{}).Recent {
		require.Equal(t, id, r.CorrelationID, r.Path)
	}
	headers := map[string]string{}
	for _, h := range pipelinetest.ReadAll(t, w.kafka, schemas.ForecastTopic)[0].Headers {
		headers[h.Key] = string(h.Value)
	}
	require.Equal(t, id, headers["correlation-id"])
	require.Equal(t, "/clari", headers["ce_source"])
}

func TestEventNeedsNoLookUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, claritest.Config{Seed: 3, Users: 20, Fields: 2, Weeks: 2})
	require.NoError(t, w.start(options{cfg: func(c *Config) { c.Quarters = 1 }}).RunOnce(t.Context()))
	doc := w.document("")
	byID := func(list, id string, want any) map[string]any {
		i := slices.IndexFunc(doc[list], func(m map[string]any) bool { return m[id] == want })
		require.GreaterOrEqual(t, i, 0)
		return doc[list][i]
	}
	same := func(want any, have *string) {
		t.Helper()
		if want == nil {
			require.Nil(t, have)
		} else {
			require.Equal(t, want, *have)
		}
	}
	events := w.events()
	require.NotEmpty(t, events)
	for _, f := range events {
		user := byID("users", "userId", f.UserID)
		same(user["name"], f.UserName)
		same(user["email"], f.UserEmail)
		same(user["crmId"], f.UserCRMID)
		same(user["hierarchyId"], f.HierarchyID)
		same(user["hierarchyName"], f.HierarchyName)
		same(user["parentHierarchyId"], f.ParentHierarchyID)
		same(user["parentHierarchyName"], f.ParentHierarchyName)
		require.NotNil(t, f.ScopeID)
		field := byID("fields", "fieldId", f.FieldID)
		same(field["fieldName"], f.FieldName)
		same(field["fieldType"], f.FieldType)
		period := byID("timePeriods", "timePeriodId", f.TimePeriodID)
		same(period["label"], f.TimePeriodLabel)
		require.EqualValues(t, 2026, *f.TimePeriodYear)
		require.Equal(t, period["startDate"], f.TimePeriodStart.Format(time.DateOnly))
		require.Equal(t, period["endDate"], f.TimePeriodEnd.Format(time.DateOnly))
		frame := byID("timeFrames", "timeFrameId", f.TimeFrameID)
		require.Equal(t, frame["startDate"], f.TimeFrameStart.Format(time.DateOnly))
		require.Equal(t, frame["endDate"], f.TimeFrameEnd.Format(time.DateOnly))
		if f.UpdatedOn != nil {
			require.Equal(t, *f.UpdatedOn, f.SourceVersion)
		}
	}
}

func TestValueThatComesBackIsThreeFacts(t *testing.T) {
	t.Parallel()
	for name, withoutUpdatedOn := range map[string]bool{"updated": false, "not marked as updated": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, claritest.Config{})
			once := options{cfg: func(c *Config) { c.Quarters = 1 }}
			cycle := func() { require.NoError(t, w.start(once).RunOnce(t.Context())) }
			cycle()
			before := w.events()
			changed, err := w.sim.Update(claritest.Update{Entries: 1, Kind: "forecast", Value: "111", WithoutUpdatedOn: true})
			require.NoError(t, err)
			key := changed[0].Key
			for _, value := range []string{"222", "111", "222"} { // A is 111 already
				cycle()
				w.ahead.Add(int64(time.Second))
				_, err := w.sim.Update(claritest.Update{Key: &key, Kind: "forecast", Value: json.Number(value), WithoutUpdatedOn: withoutUpdatedOn})
				require.NoError(t, err)
			}
			cycle()
			cycle()
			var facts []string
			for _, f := range w.events() {
				if f.UserID == key.UserID && f.FieldID == key.FieldID && f.TimeFrameID == key.TimeFrameID && f.Kind == "forecast" {
					facts = append(facts, f.Value.String())
				}
			}
			require.Equal(t, []string{"111", "222", "111", "222"}, facts[1:])
			require.Greater(t, len(w.events()), len(before))
			w.requireComplete("2026_Q1")
		})
	}
}

// TestUpdateThatGoesBackInTimeIsNewest: what readers end up with is the value that the source shows now, whatever
// its updatedOn says.
func TestUpdateThatGoesBackInTimeIsNewest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, claritest.Config{})
	e := w.start(options{cfg: func(c *Config) { c.Quarters = 1 }})
	update := func(value string, key *claritest.Key, at time.Time) claritest.Key {
		u := claritest.Update{Key: key, Kind: "forecast", Value: json.Number(value), UpdatedOn: at.UnixMilli()}
		if key == nil {
			u.Entries = 1
		}
		changed, err := w.sim.Update(u)
		require.NoError(t, err)
		require.NoError(t, e.RunOnce(t.Context()))
		return changed[0].Key
	}
	now := time.Date(2026, 2, 11, 8, 0, 0, 0, time.UTC)
	key := update("1", nil, now)
	update("2", &key, now.Add(-time.Hour))     // older than what is published
	update("3", &key, now.AddDate(10, 0, 0))   // a clock far ahead
	update("4", &key, now.Add(30*time.Minute)) // older than that, and the job is as well
	update("5", &key, now.AddDate(10, 0, 1))
	var values []string
	var versions []time.Time
	for _, f := range w.events() {
		if f.UserID == key.UserID && f.FieldID == key.FieldID && f.TimeFrameID == key.TimeFrameID && f.Kind == "forecast" {
			values, versions = append(values, f.Value.String()), append(versions, f.SourceVersion)
		}
	}
	require.Equal(t, []string{"1", "2", "3", "4", "5"}, values)
	require.True(t, slices.IsSortedFunc(versions, time.Time.Compare))
	require.Equal(t, now, versions[0])
	require.Equal(t, now.AddDate(10, 0, 0).Add(time.Microsecond), versions[3])
	w.requireComplete("2026_Q1")
}

// TestUserWhoVanishesIsNotDeleted: exports leave users out who have opted out, with all their history.
func TestUserWhoVanishesIsNotDeleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, claritest.Config{})
	e := w.start(options{cfg: func(c *Config) { c.Quarters = 2 }})
	require.NoError(t, e.RunOnce(t.Context()))
	events := w.events()
	for _, hidden := range []bool{true, false} {
		require.NoError(t, w.sim.HideUser(events[0].UserID, hidden))
		require.NoError(t, e.RunOnce(t.Context()))
		require.Len(t, w.events(), len(events))
	}
}

func TestAnswerOfAnotherPeriodIsNotPublished(t *testing.T) {
	t.Parallel()
	w := newWorld(t, claritest.Config{Quarters: 2})
	err := w.start(options{cfg: func(c *Config) { c.Quarters = 3 }}).RunOnce(t.Context())
	require.ErrorContains(t, err, "results are of time period 2026_Q1 instead of 2025_Q3")
	require.Equal(t, map[exportrun.Outcome]int{exportrun.Succeeded: 2, exportrun.Failed: 1}, w.outcomes())
	w.requireComplete("2026_Q1", "2025_Q4")
}

func TestTruncatedExportIsPartial(t *testing.T) {
	t.Parallel()
	w := newWorld(t, claritest.Config{RowsTruncated: true})
	require.NoError(t, w.start(options{cfg: func(c *Config) { c.Quarters = 2 }}).RunOnce(t.Context()))
	for _, run := range w.runs() {
		require.Equal(t, exportrun.Partial, run.Outcome)
		require.True(t, run.Truncated)
		require.Contains(t, *run.Error, "truncated")
	}
	w.requireComplete("2026_Q1", "2025_Q4")
}

func TestValuesThatCannotBeRepresentedAreRejected(t *testing.T) {
	t.Parallel()
	w := newWorld(t, claritest.Config{MalformedEntries: 2})
	changed, err := w.sim.Update(claritest.Update{Entries: 1, Kind: "forecast", Value: "123456789e30"})
	require.NoError(t, err)
	var log logs
	require.NoError(t, w.start(options{cfg: func(c *Config) { c.Quarters = 1 }, logger: log.logger()}).RunOnce(t.Context()))
	run := w.runs()[0]
	require.Equal(t, exportrun.Partial, run.Outcome)
	require.EqualValues(t, 3, run.RowsRejected)
	require.Equal(t, run.RowsExpected, run.RowsPublished+3)
	require.Len(t, w.events(), int(run.RowsPublished))
	require.Contains(t, log.String(), changed[0].UserID+"|"+changed[0].FieldID+"|forecast")
	require.Contains(t, log.String(), "does not fit decimal(38,18)")
	require.NotContains(t, log.String(), "123456789")
}

func TestQuotaIsWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, claritest.Config{ConcurrentLimit: 1})
	require.NoError(t, w.sim.FailJobs(1, "STARTED"))
	var other struct{ JobID string }
	w.call("POST", "/export/forecast/forecast", `{}`, &other) // somebody else's, that does not end
	done := make(chan error, 1)
	e := w.start(options{cfg: func(c *Config) { c.Quarters = 1 }})
	go func() { done <- e.RunOnce(t.Context()) }()
	looks := func() int { return w.sim.Stats(claritest.Scope{}).Requests["GET /v4/admin/limits"] }
	require.Eventually(t, func() bool { return looks() > 3 }, 10*time.Second, time.Millisecond)
	require.Equal(t, 1, w.jobs())
	w.call("PATCH", "/export/jobs/"+other.JobID, `{"type":"CANCEL"}`, &map[string]any{})
	require.NoError(t, <-done)
	w.requireComplete("2026_Q1")
}

// TestQuotaThatIsUsedUpIsWaitedFor: the reserve is left to people, and waiting is no failure, but it shows.
func TestQuotaThatIsUsedUpIsWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, claritest.Config{MonthlyQuota: 20})
	for range 17 {
		w.document("2026_Q1") // somebody else's jobs
	}
	e := w.start(options{cfg: func(c *Config) { c.Quarters = 2 }})
	done := make(chan error, 1)
	go func() { done <- e.RunOnce(t.Context()) }()
	require.Eventually(t, func() bool {
		details, err := e.Check(t.Context())
		require.NoError(t, err)
		return details["state"] == "waiting for quota" && len(w.runs()) == 1
	}, 10*time.Second, time.Millisecond)
	require.InDelta(t, 2, testutil.ToFloat64(e.metrics.quota), 0)
	require.InDelta(t, 1, testutil.ToFloat64(e.metrics.waiting), 0)
	require.Equal(t, 18, w.jobs(), "two of the quota are left")
	w.ahead.Add(int64(31 * 24 * time.Hour))
	require.NoError(t, <-done)
	require.InDelta(t, 0, testutil.ToFloat64(e.metrics.waiting), 0)
	details, err := e.Check(t.Context())
	require.NoError(t, err)
	require.NotContains(t, details, "state")
}

// forbidden is a network on which a key may not see the limits.
type forbidden struct{ next http.RoundTripper }

func (f forbidden) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, "/admin/limits") {
		return &http.Response{StatusCode: http.StatusForbidden, Body: http.NoBody, Request: r}, nil
	}
	return f.next.RoundTrip(r)
}

// TestAKeyThatMayNotSeeTheLimits works without: Clari itself says when they are reached, and that is waited for.
func TestAKeyThatMayNotSeeTheLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, claritest.Config{MonthlyQuota: 1})
	w.document("2026_Q1") // somebody else's job
	var log logs
	e := w.start(options{http: forbidden{w.pool}, cfg: func(c *Config) { c.Quarters = 1 }, logger: log.logger()})
	done := make(chan error, 1)
	go func() { done <- e.RunOnce(t.Context()) }()
	require.Eventually(t, func() bool {
		details, err := e.Check(t.Context())
		return err == nil && details["state"] == "waiting for quota"
	}, 10*time.Second, time.Microsecond)
	w.ahead.Add(int64(31 * 24 * time.Hour))
	require.NoError(t, <-done)
	require.Equal(t, map[exportrun.Outcome]int{exportrun.Succeeded: 1}, w.outcomes())
	require.Equal(t, 1, strings.Count(log.String(), "may not see Clari's export limits"))
}

// TestWaitingForQuotaIsDegradedWhenOverdue, and says what for.
func TestWaitingForQuotaIsDegradedWhenOverdue(t *testing.T) {
	t.Parallel()
	e := &Exporter{health: newHealth(time.Hour)}
	e.health.waits(true)
	_, err := e.Check(t.Context())
	require.NoError(t, err)
	e.health.since = e.health.since.Add(-3 * time.Hour)
	_, err = e.Check(t.Context())
	require.ErrorContains(t, err, "no cycle has ended for 3h0m0s: waiting for quota")
}

func TestTypesThatTheTenantRefusesAreLeftOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, claritest.Config{RejectCRM: true})
	var log logs
	require.NoError(t, w.start(options{logger: log.logger()}).RunOnce(t.Context()))
	stats := w.sim.Stats(claritest.Scope{})
	require.Equal(t, 6, stats.Requests["POST /v4/export/forecast/{forecastId}"], "refused once, then five without")
	require.Equal(t, 1, strings.Count(log.String(), "does not support"))
	for _, run := range w.runs() {
		require.Equal(t, exportrun.Succeeded, run.Outcome)
		require.Equal(t, []string{"forecast", "quota", "forecast_updated", "adjustment"}, run.Kinds)
	}
	for _, f := range w.events() {
		require.NotContains(t, f.Kind, "crm")
	}
}

// TestJobsThatComeToNothingAreAskedForAgain, three times; then the run has failed, and says so.
func TestJobsThatComeToNothingAreAskedForAgain(t *testing.T) {
	t.Parallel()
	for _, fate := range []string{"FAILED", "ABORTED", "STARTED"} {
		for fail, want := range map[int]exportrun.Outcome{1: exportrun.Succeeded, maxJobs - 1: exportrun.Succeeded, maxJobs: exportrun.Failed} {
			t.Run(fmt.Sprint(fate, " ", fail), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, claritest.Config{})
				require.NoError(t, w.sim.FailJobs(fail, fate))
				e := w.start(options{cfg: func(c *Config) { c.Quarters, c.JobTimeout = 2, 50*time.Millisecond }})
				err := e.RunOnce(t.Context())
				run := w.runs()[0]
				require.Equal(t, want, run.Outcome)
				require.EqualValues(t, min(fail+1, maxJobs), run.Jobs)
				if want == exportrun.Succeeded {
					require.NoError(t, err)
				} else {
					require.ErrorContains(t, err, "the last of 4")
					require.Contains(t, *run.Error, "the last of 4")
					require.NoError(t, e.RunOnce(t.Context()))
				}
				if fate == "STARTED" {
					require.Equal(t, fail, w.sim.Stats(claritest.Scope{}).Jobs["CANCELLED"], "they do not go on beside their successors")
				}
				w.requireComplete("2026_Q1", "2025_Q4")
			})
		}
	}
}

// TestAJobThatAPersonCancelsStaysCancelled.
func TestAJobThatAPersonCancelsStaysCancelled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, claritest.Config{})
	require.NoError(t, w.sim.FailJobs(1, "STARTED"))
	e := w.start(options{cfg: twoQuarters})
	done := make(chan error, 1)
	go func() { done <- e.RunOnce(t.Context()) }()
	require.Eventually(t, func() bool { return w.jobs() == 1 }, 10*time.Second, time.Millisecond)
	var jobs []struct{ Job struct{ JobID string } }
	w.call("GET", "/export/jobs", "", &jobs)
	w.call("PATCH", "/export/jobs/"+jobs[0].Job.JobID, `{"type":"CANCEL"}`, &map[string]any{})
	require.ErrorContains(t, <-done, "cancelled in Clari")
	require.Equal(t, map[exportrun.Outcome]int{exportrun.Cancelled: 1}, w.outcomes())
}

func TestOneForecastsRefusalDoesNotStopTheOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, claritest.Config{Forecasts: []string{"private", "forecast"}, NoOptIn: []string{"private"}})
	e := w.start(options{cfg: func(c *Config) { c.ForecastIDs, c.Quarters = []string{"unheard_of", "private", "forecast"}, 2 }})
	err := e.RunOnce(t.Context())
	require.ErrorIs(t, err, clari.ErrNoOptIn)
	require.ErrorIs(t, err, clari.ErrUnknownForecast)
	w.requireComplete("2026_Q1", "2025_Q4")
	details, err := e.Check(t.Context())
	require.ErrorIs(t, err, clari.ErrNoOptIn)
	require.Equal(t, 1, details["cycles"])
}

// lossy performs the POST but loses the answer, or loses the request before.
type lossy struct {
	next      http.RoundTripper
	performed bool
	left      int
}

var errLost = errors.New("connection lost")

func (l *lossy) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodPost || l.left == 0 {
		return l.next.RoundTrip(r)
	}
	l.left--
	if l.performed {
		resp, err := l.next.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		_ = resp.Body.Close()
	}
	return nil, errLost
}

func TestLostPOSTIsNotRepeatedBlindly(t *testing.T) {
	t.Parallel()
	for name, performed := range map[string]bool{"answer lost": true, "request lost": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, claritest.Config{})
			e := w.start(options{http: &lossy{next: w.pool, performed: performed, left: 2}})
			require.NoError(t, e.RunOnce(t.Context()))
			jobs := 0
			for _, n := range w.sim.Stats(claritest.Scope{}).Jobs {
				jobs += n
			}
			require.Equal(t, 5, jobs, "one job a quarter")
			require.Len(t, w.runs(), 5)
			w.requireComplete(fiveQuarters...)
		})
	}
}

func TestNewNamesEverythingThatIsWrong(t *testing.T) {
	t.Parallel()
	w := newWorld(t, claritest.Config{})
	deps := w.start(options{}).deps
	_, err := New(Config{ForecastIDs: []string{"a|b"}}, nil, deps)
	for _, want := range []string{`"a|b"`, "CLARI_TYPES", "CLARI_QUARTERS", "CLARI_INTERVAL", "CLARI_POLL_INTERVAL", "CLARI_JOB_TIMEOUT", "CLARI_PUBLISH"} {
		require.ErrorContains(t, err, want)
	}
	cfg := w.start(options{}).cfg
	cfg.Types = []string{"forecast", "crm_lost"}
	require.EqualError(t, cfg.Validate(),
		`CLARI_TYPES (or --clari-types): "crm_lost" is none of forecast, quota, forecast_updated, adjustment, crm_total, crm_closed`)
}

func TestPreviousQuarter(t *testing.T) {
	t.Parallel()
	for of, want := range map[string]string{"2026_Q1": "2025_Q4", "2026_Q4": "2026_Q3", "2000_Q1": "1999_Q4"} {
		got, err := Previous(of)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, bad := range []string{"", "2026", "2026_Q5", "Q1_2026", "2026_Q1 "} {
		_, err := Previous(bad)
		require.Error(t, err, bad)
	}
}

// TestAnUpdateFromTheFarFutureCostsOneEntry: a time that no event can carry was
// not taken for a bad value, so the job failed at it in every cycle, and no
// other quarter was exported.
func TestAnUpdateFromTheFarFutureCostsOneEntry(t *testing.T) {
	t.Parallel()
	w := newWorld(t, claritest.Config{})
	_, err := w.sim.Update(claritest.Update{Entries: 1, UpdatedOn: time.Date(9998, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()})
	require.NoError(t, err)
	p := w.start(options{})
	require.NoError(t, p.RunOnce(t.Context()))
	outcomes := w.outcomes()
	require.Equal(t, 1, outcomes[exportrun.Partial])
	require.Equal(t, 4, outcomes[exportrun.Succeeded])
}
