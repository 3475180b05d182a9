package report

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/pipeline/clickhousesink"
	"github.com/revstream/revstream/pipeline/pipelinetest"
)

// TestAGoodWeekIsHealthy, and its figures are those of the tables.
func TestAGoodWeekIsHealthy(t *testing.T) {
	t.Parallel()
	b := newBench(t, goodWeek)
	rep := b.report()
	require.Empty(t, rep.Problems)
	require.Len(t, rep.Freshness, 2)
	require.InDelta(t, 4, *rep.Freshness[0].Delay, 0.1)
	require.Positive(t, rep.Freshness[0].PromisedDelay)
	require.Len(t, rep.Lag, 3)
	require.EqualValues(t, 30*900, max(rep.Lag[0].Most, rep.Lag[1].Most, rep.Lag[2].Most))
	require.Empty(t, rep.Letters.Open)
	require.True(t, rep.Letters.Known)
	for _, over := range rep.Letters.Over {
		require.Zero(t, over.Open[len(over.Open)-1], "all were decided")
		require.NotZero(t, over.Open[14], "and open before")
	}
	require.Len(t, rep.Contracts, 3)
	require.Len(t, rep.Reconciliation, 4)
	var runs int64
	for _, r := range rep.Runs {
		runs += r.Runs
	}
	inDays := b.sql("SELECT count() FROM export_runs WHERE completed_at >= toStartOfDay(now('UTC')) - INTERVAL 6 DAY")
	require.Equal(t, inDays, json.Number(jsonOf(t, runs)).String())
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	require.NoError(t, err)
	return string(text)
}

// TestABadDayIsToldInFull: each thing that is wrong is a problem with a way out, and nobody's name or address is shown.
func TestABadDayIsToldInFull(t *testing.T) {
	t.Parallel()
	b := newBench(t, goodWeek, badDay)
	rep := b.report()
	var titles []string
	for _, p := range rep.Problems {
		titles = append(titles, p.Severity+": "+p.Title)
		require.NotEmpty(t, p.Detail)
		require.Contains(t, p.Do, "`", "a command to go on with")
	}
	require.Equal(t, []string{
		"critical: forecast is late", "critical: revstream-forecast is behind", "critical: 3 rows of forecast missing", "critical: contract people_v1 is broken: primary_key",
		"critical: data quality: email_invalid email_address",
		"warning: 4 export runs of forecast did not succeed", "warning: 300 dead letters open", "warning: 7 anomalies to review",
	}, titles)
	page, err := rep.Page()
	require.NoError(t, err)
	require.Contains(t, string(page), "revenue.forecast.v1/0/0")
	require.NotContains(t, strings.ToLower(string(page)+jsonOf(t, rep)), "canary")
	require.Contains(t, string(page), "<li><svg", "a legend")
	require.Contains(t, string(page), "others", "more reasons than colours")
	require.Contains(t, string(page), ">200 %<")
	require.NotContains(t, string(page), "%!")
}

// TestAnEmptyWarehouseSaysSoInWords, and draws no chart.
func TestAnEmptyWarehouseSaysSoInWords(t *testing.T) {
	t.Parallel()
	rep := newBench(t).report()
	require.Empty(t, rep.Unread)
	require.Equal(t, "nothing has been exported", rep.Problems[0].Title)
	page, err := rep.Page()
	require.NoError(t, err)
	require.NotContains(t, string(page), "<figure")
	for _, words := range []string{"No export run has ended", "No lag was sampled: run <code>warehouse watch</code>", "nothing was dead-lettered", "There was no reconciliation", "never checked", "Nobody has searched"} {
		require.Contains(t, string(page), words)
	}
}

// TestWhatCannotBeReadIsAProblem, and no reason to show nothing.
func TestWhatCannotBeReadIsAProblem(t *testing.T) {
	t.Parallel()
	b := newBench(t, goodWeek, "DROP VIEW consumer_lag")
	rep := b.report()
	require.Equal(t, []string{"lag"}, rep.Unread)
	require.Len(t, rep.Problems, 1)
	require.Equal(t, "lag cannot be read", rep.Problems[0].Title)
	require.Contains(t, rep.Problems[0].Detail, "consumer_lag")
	page, err := rep.Page()
	require.NoError(t, err)
	require.NotContains(t, string(page), "No lag was sampled", "which nobody knows")
}

// TestThePageIsMadeAnewAtMostEvery30Seconds, and is served with a policy under which it can do nothing.
func TestThePageIsMadeAnewAtMostEvery30Seconds(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	now := time.Now()
	b.now = func() time.Time { return now }
	handler := NewHandler(b.Reporter, pipelinetest.Logger(t))
	get := func() *httptest.ResponseRecorder {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/", nil))
		return answer
	}
	first := get()
	require.Equal(t, http.StatusOK, first.Code)
	require.Contains(t, first.Header().Get("Content-Security-Policy"), "default-src 'none'; style-src 'sha256-")
	b.sql(strings.Split(badDay, ";\n")[3])
	require.Equal(t, first.Body.String(), get().Body.String())
	now = now.Add(30 * time.Second)
	require.Contains(t, get().Body.String(), "300 dead letters open")

	conn, err := clickhousesink.Open("http://user:hunter2@127.0.0.1:1/revenue")
	require.NoError(t, err)
	defer conn.Close()
	away, err := New(Config{Days: 1}, pipelinetest.Logger(t), conn, nil, "v")
	require.NoError(t, err)
	handler = NewHandler(away, pipelinetest.Logger(t))
	require.Equal(t, http.StatusServiceUnavailable, get().Code)
	require.NotContains(t, get().Body.String(), "127.0.0.1")
}

func TestDaysAreChecked(t *testing.T) {
	t.Parallel()
	for _, days := range []int{0, 91} {
		_, err := New(Config{Days: days}, pipelinetest.Logger(t), nil, nil, "v")
		require.ErrorContains(t, err, "--days must be 1 to 90")
	}
}
