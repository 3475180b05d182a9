package quality_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/consumers/migrations"
	"github.com/revstream/revstream/consumers/quality"
	"github.com/revstream/revstream/pipeline/clickhousesink"
	"github.com/revstream/revstream/pipeline/pipelinetest"
)

func TestMain(m *testing.M) { pipelinetest.Main(m) }

// persons is how many people a test has.
const persons = 2000

// clean are people as they should be, as of two weeks ago: number is from 0.
var clean = map[string]string{
	"created_at": "now64(6) - INTERVAL 30 DAY", "updated_at": "now64(6) - INTERVAL 14 DAY", "last_contacted_at": "now64(6) - INTERVAL 20 DAY",
	"first_name": "'canary-first'", "last_name": "'canary-last'", "display_name": "'canary-name'",
	"email_address": "concat('canary-', toString(number), '@example.com')", "phone": "concat('+1 (555) ', leftPad(toString(number), 7, '0'))",
	"person_company_name": "'Acme'", "owner_id": "number % 7", "country": "['US', 'DE', 'FR'][1 + number % 3]",
	"job_seniority": "['director', 'manager', 'unknown', 'executive'][1 + number % 4]",
	"emails_sent":   "number % 50", "emails_viewed": "number % 20", "calls": "toInt64(0)",
}

// defects are what is wrong with some of them, as a version of yesterday.
var defects = []struct{ column, value, of string }{
	{"email_address", "concat('canary no address ', toString(number))", "number BETWEEN 0 AND 39"},
	{"email_address", "if(number % 2 = 0, 'Canary@Example.com', ' canary@example.com')", "number BETWEEN 40 AND 54"},
	{"phone", "concat('call ', toString(number))", "number BETWEEN 55 AND 164"},
	{"phone", "if(number % 2 = 0, '+1 555 123 4567 8', '(1) 5551 2345678')", "number BETWEEN 165 AND 174"},
	{"emails_sent", "toInt64(1000000)", "number BETWEEN 200 AND 202"},
	{"calls", "toInt64(-1)", "number BETWEEN 210 AND 211"},
	{"created_at", "now64(6)", "number BETWEEN 220 AND 223"},
	{"last_contacted_at", "now64(6) + INTERVAL 2 DAY", "number BETWEEN 230 AND 259"},
	{"owner_id", "NULL", "number BETWEEN 1000 AND 1599"},
	{"country", "'XX'", "number BETWEEN 1500 AND 1999"},
}

// store writes a version of people down, as of so many days ago.
func store(t *testing.T, url string, columns map[string]string, days int, of string) {
	t.Helper()
	names, values := "person_id, event_id, source_version, observed_at, is_deleted, correlation_id, ingested_at", fmt.Sprintf(
		"number + 1, reinterpret(bitOr(bitShiftLeft(toUInt128(%d), 80), toUInt128(number)), 'UUID'), now64(6) - INTERVAL %[2]d DAY, now64(6), 0, 'run', now64(3) - INTERVAL %[2]d DAY", 100-days, days)
	for name, value := range columns {
		names, values = names+", "+name, values+", "+value
	}
	source := fmt.Sprintf("SELECT %s FROM numbers(%d) WHERE %s", values, persons, of)
	pipelinetest.SQL(t, url, fmt.Sprintf("INSERT INTO people_current (%s) %s", names, source))
	pipelinetest.SQL(t, url, fmt.Sprintf("INSERT INTO people_history (%s, kafka_topic, kafka_partition, kafka_offset) SELECT *, 't', 0, 0 FROM (%s)", names, source))
}

// analyze runs one analysis.
func analyze(t *testing.T, url string, sample int64) quality.Report {
	t.Helper()
	conn, err := clickhousesink.Open(url)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	a, err := quality.New(quality.Config{Sample: sample}, pipelinetest.Logger(t), conn)
	require.NoError(t, err)
	report, err := a.Run(t.Context())
	require.NoError(t, err)
	return report
}

func newDatabase(t *testing.T) string {
	t.Helper()
	url := pipelinetest.ClickHouse(t)
	_, err := migrations.Up(t.Context(), url)
	require.NoError(t, err)
	return url
}

// TestPlantedDefectsAreFound, each with its count; and none among people as they should be.
func TestPlantedDefectsAreFound(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	store(t, url, clean, 14, "1")
	report := analyze(t, url, 0)
	require.Empty(t, report.Findings)
	require.True(t, report.Compared)
	require.Equal(t, []int64{persons, persons, persons}, []int64{report.People, report.Sampled, report.BaselineSampled})

	columns := maps.Clone(clean) // a version has the whole person
	for _, d := range defects {
		columns[d.column] = fmt.Sprintf("if(%s, %s, %s)", d.of, d.value, columns[d.column])
	}
	store(t, url, columns, 1, "1")
	pipelinetest.SQL(t, url, `INSERT INTO export_runs_current (run_id, source, entity, scope, time_period_id, requested_at, completed_at, outcome, rows_truncated, unknown_users, event_id, source_version)
		SELECT 'clari:' || toString(number), 'clari', 'forecast', 'net', '2026_Q' || toString(number % 2), now64(6), now64(6) - INTERVAL number HOUR, 'PARTIAL', number = 0, number = 3, generateUUIDv7(), now64(6) FROM numbers(4)`)
	report = analyze(t, url, 0)
	got := map[string]string{}
	for _, f := range report.Findings {
		got[f.Check+" "+f.Column] = fmt.Sprintf("%s %d of %d", f.Severity, f.Count, f.Of)
	}
	require.Equal(t, map[string]string{
		"email_invalid email_address":   "warning 47 of 2000", // a space before it makes an address none
		"email_duplicate email_address": "info 15 of 2000",
		"phone_invalid phone":           "warning 110 of 2000",
		"phone_duplicate phone":         "info 10 of 2000",
		"outlier emails_sent":           "info 3 of 2000",
		"negative calls":                "warning 2 of 2000",
		"time_order created_at":         "warning 4 of 2000",
		"time_future last_contacted_at": "critical 30 of 2000",
		"null_rate owner_id":            "warning 600 of 2000",
		"null_drift owner_id":           "critical 600 of 2000",
		"distribution_drift country":    "critical 2000 of 2000",
		"export_doubt rows_truncated":   "critical 1 of 2",
	}, got)
	require.Equal(t, 4, report.Criticals())

	// What it says and writes down names nobody.
	raw, err := json.Marshal(report)
	require.NoError(t, err)
	require.NotContains(t, string(raw), "anary")
	require.True(t, report.Recorded)
	require.Equal(t, "12\t0", pipelinetest.SQL(t, url, "SELECT count(), countIf(positionCaseInsensitive(text, 'canary') > 0) FROM data_quality"))

	conn, err := clickhousesink.Open(url)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	reg := prometheus.NewRegistry()
	metrics, err := quality.NewMetrics(reg)
	require.NoError(t, err)
	require.NoError(t, metrics.Observe(t.Context(), conn))
	problems, err := testutil.GatherAndLint(reg)
	require.NoError(t, err)
	require.Empty(t, problems)
	require.Equal(t, 3*len(quality.Checks), testutil.CollectAndCount(reg, "revstream_quality_findings"))
	families, err := reg.Gather()
	require.NoError(t, err)
	sum := 0.0
	for _, m := range families[0].GetMetric() {
		sum += m.GetGauge().GetValue()
	}
	require.InDelta(t, 12, sum, 0)
	require.WithinDuration(t, time.Now(), time.Unix(int64(families[1].GetMetric()[0].GetGauge().GetValue()), 0), time.Minute)
}

// TestASampleIsTheSameEachTime, and too small a one is compared with nothing.
func TestASampleIsTheSameEachTime(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	report := analyze(t, url, 100)
	require.Empty(t, report.Findings, "where there is nobody")
	store(t, url, clean, 14, "1")
	store(t, url, map[string]string{"email_address": "'canary@example.com'"}, 1, "number < 200")
	first, second := analyze(t, url, 500), analyze(t, url, 500)
	require.InDelta(t, 500, first.Sampled, 80)
	require.False(t, first.Compared)
	require.NotEmpty(t, first.Findings)
	require.Equal(t, first.Findings, second.Findings)
	require.Equal(t, first.Sampled, second.Sampled)
	for _, f := range first.Findings {
		require.NotEqual(t, quality.NullDrift, f.Check)
	}
}
