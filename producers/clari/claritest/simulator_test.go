package claritest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/producers/chaos"
)

var wednesday = time.Date(2024, 8, 14, 9, 0, 0, 0, time.UTC)

// simulator is one whose clock is moved by setting *now.
func simulator(t *testing.T, cfg Config) (s *Simulator, now *time.Time) {
	t.Helper()
	now = new(time.Time)
	*now = wednesday
	cfg.APIKey, cfg.Now = "k", func() time.Time { return *now }
	s, err := New(cfg)
	require.NoError(t, err)
	return s, now
}

func (s *Simulator) do(t *testing.T, want int, method, path, body string) string {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("apikey", "k")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	require.Equal(t, want, w.Code, w.Body.String())
	return w.Body.String()
}

// finished starts a job and lets it end.
func (s *Simulator) finished(t *testing.T, now *time.Time, body string) (id string) {
	t.Helper()
	var answer struct{ JobID string }
	require.NoError(t, json.Unmarshal([]byte(s.do(t, 200, "POST", "/v4/export/forecast/forecast", body)), &answer))
	*now = now.Add(time.Second)
	return answer.JobID
}

func (s *Simulator) download(t *testing.T, id string) string {
	t.Helper()
	return s.do(t, 200, "GET", "/v4/export/jobs/"+id+"/results", "")
}

func TestNewNamesEverythingThatIsWrong(t *testing.T) {
	t.Parallel()
	_, err := New(Config{Quarters: -1, Users: -1, Fields: -1, Weeks: -1, FiscalStart: 13, ValueKeys: "loud"})
	for _, want := range []string{"API key", "quarters -1", "users -1", "fields -1", "weeks", "fiscal start 13", `value keys "loud"`} {
		require.ErrorContains(t, err, want)
	}
}

func TestSeedDecidesTheData(t *testing.T) {
	t.Parallel()
	const body = `{"includeHistorical":true,"typesToExport":["forecast","quota","adjustment","crm_total"]}`
	export := func(seed uint64) string {
		s, now := simulator(t, Config{Seed: seed, Users: 30})
		return s.download(t, s.finished(t, now, body))
	}
	one := export(1)
	require.True(t, json.Valid([]byte(one)))
	require.Equal(t, one, export(1))
	require.NotEqual(t, one, export(2))
}

func TestJobIsASnapshot(t *testing.T) {
	t.Parallel()
	s, now := simulator(t, Config{Users: 10})
	id := s.finished(t, now, "")
	before := s.download(t, id)
	_, err := s.Update(Update{Entries: 5})
	require.NoError(t, err)
	require.NoError(t, s.HideUser(userID(3), true))
	require.Equal(t, before, s.download(t, id), "what changes later is not in it")
	*now = now.Add(29 * 24 * time.Hour)
	require.Equal(t, before, s.download(t, id), "nor what time changes")

	after := s.download(t, s.finished(t, now, ""))
	require.NotEqual(t, before, after)
	require.Contains(t, before, userID(3))
	require.NotContains(t, after, userID(3))
	require.NoError(t, s.HideUser(userID(3), false))
	require.Contains(t, s.download(t, s.finished(t, now, "")), userID(3))
	require.Error(t, s.HideUser(userID(10), true))
}

func TestFiscalCalendar(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		start       time.Month
		day         string
		id          string
		first, last string
	}{
		{time.January, "2024-08-14", "2024_Q3", "2024-07-01", "2024-09-30"},
		{time.January, "2024-12-31", "2024_Q4", "2024-10-01", "2024-12-31"},
		{time.January, "2025-01-01", "2025_Q1", "2025-01-01", "2025-03-31"},
		{time.February, "2022-12-07", "2023_Q4", "2022-11-01", "2023-01-31"},
		{time.February, "2023-01-31", "2023_Q4", "2022-11-01", "2023-01-31"},
		{time.February, "2023-02-01", "2024_Q1", "2023-02-01", "2023-04-30"},
		{time.October, "2024-02-29", "2024_Q2", "2024-01-01", "2024-03-31"},
	} {
		s, _ := simulator(t, Config{FiscalStart: c.start})
		day, err := time.Parse(dateLayout, c.day)
		require.NoError(t, err)
		q := s.quarterOf(day)
		first, last := s.span(q)
		require.Equal(t, []string{c.id, c.first, c.last}, []string{s.id(q), first.Format(dateLayout), last.Format(dateLayout)}, c.day)
	}
}

func TestWeeksRepeatAcrossQuartersAndKeysDoNot(t *testing.T) {
	t.Parallel()
	s, now := simulator(t, Config{Users: 2, Fields: 2})
	frames, keys := map[string]int{}, map[string]bool{}
	entries := 0
	for q := s.quarterOf(*now); q > s.quarterOf(*now)-5; q-- {
		body := fmt.Sprintf(`{"timePeriod":%q,"includeHistorical":true,"typesToExport":["forecast","quota"]}`, s.id(q))
		var document struct {
			Entries    []Key
			TimeFrames []struct{ TimeFrameID, StartDate, EndDate string }
		}
		require.NoError(t, json.Unmarshal([]byte(s.download(t, s.finished(t, now, body))), &document))
		for _, f := range document.TimeFrames {
			frames[f.TimeFrameID]++
			require.LessOrEqual(t, f.StartDate, now.Format(dateLayout), "no week has yet to begin")
		}
		for _, k := range document.Entries {
			keys[k.TimePeriodID+k.TimeFrameID+k.UserID+k.FieldID] = true
			entries++
		}
	}
	repeated := 0
	for _, n := range frames {
		if n == 2 {
			repeated++
		}
	}
	require.Equal(t, 1, repeated, "of the four quarters' turns only 2023-10-01 was no Monday")
	require.Len(t, keys, entries)
}

func TestUpdateSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	s, _ := simulator(t, Config{Users: 3})
	good := Key{"forecast", "2024_Q3", "TF:2024-08-12", userID(0), "fc_quota"}
	key := func(change func(*Key)) *Key {
		k := good
		change(&k)
		return &k
	}
	for want, u := range map[string]Update{
		"either a key":      {},
		"a number":          {Entries: 1, Key: &good},
		"there are 12":      {Entries: 13},
		"there are 3":       {Entries: 4, Kind: "quota"},
		"unknown kind":      {Entries: 1, Kind: "weather"},
		"not a number":      {Entries: 1, Value: "0x10"},
		"time period":       {Entries: 1, TimePeriodID: "1999_Q1"},
		"withoutUpdatedOn":  {Entries: 1, UpdatedOn: 1, WithoutUpdatedOn: true},
		"such forecastId":   {Key: key(func(k *Key) { k.ForecastID = "x" })},
		"such timePeriodId": {Key: key(func(k *Key) { k.TimePeriodID = "2024_Q4" })},
		"such timeFrameId":  {Key: key(func(k *Key) { k.TimeFrameID = "TF:2024-08-13" })},
		"no such userId":    {Key: key(func(k *Key) { k.UserID = userID(3) })},
		"no such fieldId":   {Key: key(func(k *Key) { k.FieldID = "fc" })},
	} {
		_, err := s.Update(u)
		require.ErrorContains(t, err, want)
	}
}

func TestUpdatePicksEachEntryOnce(t *testing.T) {
	t.Parallel()
	for users := 1; users < 12; users++ {
		s, _ := simulator(t, Config{Users: users, Fields: 2})
		changes, err := s.Update(Update{Entries: users * 2})
		require.NoError(t, err)
		seen := map[Key]bool{}
		for _, c := range changes {
			seen[c.Key] = true
			require.NotEqual(t, c.Old, c.Value)
		}
		require.Len(t, seen, users*2)
	}
}

func TestControlRoutes(t *testing.T) {
	t.Parallel()
	s, now := simulator(t, Config{Users: 4, Quarters: 2})
	stats := func(query string) (st Stats) {
		require.NoError(t, json.Unmarshal([]byte(s.do(t, 200, "GET", "/_sim/stats"+query, "")), &st))
		return st
	}
	require.Equal(t, Count{Entries: 16, Values: 16}, stats("?types=forecast,quota").State.Periods["2024_Q3"])
	require.Equal(t, Count{Entries: 12, Values: 12}, stats("?types=forecast").State.Periods["2024_Q2"])
	require.Equal(t, Count{Entries: 4 * 4 * (13 + 7), Values: 4 * 4 * (13 + 7)}, stats("?types=forecast,quota&historical=true").State.Count)
	require.Zero(t, stats("?forecastId=other").State.Count)

	answer := s.do(t, 200, "POST", "/_sim/update", `{"key":{"forecastId":"forecast","timePeriodId":"2024_Q3","timeFrameId":"TF:2024-08-12",
		"userId":"280628:00E4M0000000001UAS","fieldId":"fc_pipeline"},"value":12345678901234.123456789,"updatedOn":1600000000000}`)
	require.Contains(t, answer, `"value":12345678901234.123456789,"updatedOn":1600000000000`)
	id := s.finished(t, now, "")
	require.Contains(t, s.download(t, id), `"fieldId":"fc_pipeline","forecastValue":12345678901234.123456789,`)
	s.do(t, 200, "POST", "/_sim/hide-user", `{"index":1}`)
	require.Equal(t, 12, stats("?types=forecast,quota").State.Periods["2024_Q3"].Entries)
	s.do(t, 200, "POST", "/_sim/hide-user", `{"userId":"280628:00E4M0000000001UAS","show":true}`)
	require.Equal(t, 16, stats("?types=forecast,quota").State.Periods["2024_Q3"].Entries)

	s.do(t, 200, "POST", "/_sim/fail-jobs", `{"jobs":1,"status":"FAILED"}`)
	s.finished(t, now, "")
	require.Equal(t, map[string]int{"DONE": 1, "FAILED": 1}, stats("").Jobs)
	require.Equal(t, 2, stats("").Requests["POST /v4/export/forecast/{forecastId}"])

	s.do(t, 200, "POST", "/_sim/chaos", `{"serverError":1,"max":1}`)
	failing := httptest.NewRecorder()
	s.ServeHTTP(failing, httptest.NewRequest(http.MethodGet, "/v4/admin/limits", nil))
	require.Contains(t, failing.Body.String(), "internal_server_error")
	require.Equal(t, map[chaos.Kind]int{chaos.ServerError: 1}, stats("").Chaos)
	s.do(t, 200, "GET", "/v4/admin/limits", "")
	for path, body := range map[string]string{
		"/_sim/chaos": `{"HTLM":1}`, "/_sim/update": `{"entires":5}`, "/_sim/hide-user": `{}`, "/_sim/fail": `{"requests":1,"status":200}`, "/_sim/fail-jobs": `{"jobs":1,"status":"DONE"}`,
	} {
		require.Contains(t, s.do(t, 400, "POST", path, body), "error", path)
	}
	s.do(t, 404, "GET", "/_sim/other", "")
}

func TestFaultsAndGateway(t *testing.T) {
	t.Parallel()
	for _, html := range []bool{false, true} {
		s, _ := simulator(t, Config{HTMLErrors: html})
		get := func(path, key string) *httptest.ResponseRecorder {
			r := httptest.NewRequest(http.MethodGet, path, nil)
			r.Header.Set("apikey", key)
			r.Header.Set("X-Correlation-Id", "c1")
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			require.Equal(t, "c1", w.Header().Get("X-Correlation-Id"))
			require.Equal(t, html && w.Code != 200 && w.Code != 429, w.Header().Get("Content-Type") == "text/html")
			return w
		}
		require.NoError(t, s.Fail(2, Fault{Status: 429, RetryAfter: "3"}))
		for range 2 {
			w := get("/v4/admin/limits", "k")
			require.Equal(t, 429, w.Code)
			require.Equal(t, "3", w.Header().Get("Retry-After"))
			require.JSONEq(t, `{"error":"API rate limit exceeded"}`, w.Body.String())
		}
		require.Equal(t, 200, get("/v4/admin/limits", "k").Code)
		require.Equal(t, 401, get("/v4/admin/limits", "").Code)
		require.Equal(t, 404, get("/v4/forecast/forecast", "k").Code)
		require.Equal(t, 404, get("/v1/export/jobs", "k").Code)
		require.Equal(t, Request{"GET", "/v1/export/jobs", 404, "c1"}, s.Stats(Scope{}).Recent[5])
	}
}
