package contracts_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/consumers/contracts"
	"github.com/revstream/revstream/consumers/migrations"
	"github.com/revstream/revstream/pipeline/clickhousesink"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/schemas/contract"
)

func TestMain(m *testing.M) { pipelinetest.Main(m) }

// migrated is an empty warehouse.
func migrated(t *testing.T) (string, clickhouse.Conn) {
	t.Helper()
	url := pipelinetest.ClickHouse(t)
	_, err := migrations.Up(t.Context(), url)
	require.NoError(t, err)
	conn, err := clickhousesink.Open(url)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return url, conn
}

func check(t *testing.T, conn clickhouse.Conn, promised ...contract.Contract) contracts.Report {
	t.Helper()
	checker, err := contracts.New(contracts.Config{Contracts: promised, Strict: true}, pipelinetest.Logger(t), conn)
	require.NoError(t, err)
	report, err := checker.Run(t.Context())
	require.NoError(t, err)
	return report
}

// fill puts one row behind each view that a consumer feeds.
func fill(t *testing.T, url string) {
	t.Helper()
	const envelope = "event_id, source_version, observed_at, is_deleted, correlation_id"
	const sealed = "'018f0000-0000-8000-8000-000000000001', now64(6), now64(6), 0, 'run'"
	for _, suffix := range []string{"_current", "_history"} {
		pipelinetest.SQL(t, url, "INSERT INTO forecast"+suffix+" (forecast_id, time_period_id, time_frame_id, user_id, field_id, kind, value, "+envelope+") VALUES ('net', '2026_Q1', 'TF:2026-01-05', '7:00E', 'commit', 'forecast', 1, "+sealed+")")
		pipelinetest.SQL(t, url, "INSERT INTO people"+suffix+" (person_id, email_address, "+envelope+") VALUES (7, 'a@example.com', "+sealed+")")
		pipelinetest.SQL(t, url, "INSERT INTO export_runs"+suffix+" (run_id, source, entity, outcome, requested_at, completed_at, "+envelope+") VALUES ('clari:1', 'clari', 'forecast', 'SUCCEEDED', now64(6), now64(6), "+sealed+")")
	}
}

// TestTheViewsKeepWhatWasPromised: every column has its type, and no column is without a promise.
func TestTheViewsKeepWhatWasPromised(t *testing.T) {
	t.Parallel()
	url, conn := migrated(t)
	fill(t, url)
	promised, err := contracts.Promised()
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(promised), 9)
	report := check(t, conn, promised...)
	require.Empty(t, report.Broken(), "a view and its contract differ: mend the view, or change the contract as docs/contracts.md says")
	for _, r := range report.Results {
		require.NotContains(t, r.Found, "not judged", r.Contract)
	}
}

const deals = `
name: deals_v1
version: 1
relation: deals
doc: One deal.
primary_key: [id, part]
delivery: effectively_once
sla: {freshness_p95_minutes: 15, max_age_minutes: 60}
rows: {min: 2, max: 100}
compatibility: additive_only
owner: sales
consumers: [board]
columns:
  - {name: id, type: Int64, doc: d}
  - {name: part, type: String, nullable: true, doc: d}
  - {name: amount, type: "Decimal(76, 18)", nullable: true, not_null: true, doc: d}
  - {name: stage, type: String, allowed: [open, "it's"], doc: d}
  - {name: observed_at, type: "DateTime64(6, 'UTC')", doc: d}
  - {name: ingested_at, type: "DateTime64(3, 'UTC')", doc: d}
`

// TestEveryRuleIsHeld: each fault of a view is found by its rule, alone, in words that say what is wrong.
func TestEveryRuleIsHeld(t *testing.T) {
	t.Parallel()
	url, conn := migrated(t)
	promised, err := contract.Parse("deals_v1.yaml", []byte(deals))
	require.NoError(t, err)
	columns := map[string]string{
		"id": "id", "part": "CAST(part, 'LowCardinality(Nullable(String))')", "amount": "amount", "stage": "CAST(stage, 'LowCardinality(String)')",
		"observed_at": "observed_at", "ingested_at": "ingested_at",
	}
	// The numbers are rows: of fresh ones, keys differ in the part alone, which may be NULL once.
	const source = `(SELECT toInt64(1) AS id, if(number = 0, NULL, toString(number)) AS part, CAST(1, 'Nullable(Decimal(76, 18))') AS amount,
		['open', 'it\'s'][1 + (number %% 2)] AS stage, now64(6, 'UTC') - INTERVAL 1 MINUTE AS observed_at, now64(3, 'UTC') - INTERVAL 10 SECOND AS ingested_at FROM numbers(%d))`
	view := func(rows int, changes map[string]string) {
		var list []string
		for name, expression := range columns {
			if changed, ok := changes[name]; ok {
				expression = changed
			}
			if expression != "" {
				list = append(list, expression+" AS "+name)
			}
		}
		if extra := changes["extra"]; extra != "" {
			list = append(list, extra+" AS extra")
		}
		pipelinetest.SQL(t, url, "CREATE OR REPLACE VIEW deals AS SELECT "+strings.Join(list, ", ")+" FROM "+fmt.Sprintf(source, rows))
	}
	for _, tc := range []struct {
		name    string
		rows    int
		changes map[string]string
		want    string // rule: violations: what is found
	}{
		{"as promised", 20, nil, ""},
		{"a column gone", 20, map[string]string{"amount": ""}, "columns: 1: amount is missing"},
		{"a key's column gone", 20, map[string]string{"part": ""}, "columns: 1: part is missing"},
		{"another type", 20, map[string]string{"amount": "CAST(amount, 'Nullable(Decimal(38, 18))')"}, "columns: 1: amount is Decimal(38, 18), not Decimal(76, 18)"},
		{"nullable", 20, map[string]string{"id": "toNullable(id)"}, "columns: 1: id is nullable"},
		{"two columns", 20, map[string]string{"id": "toString(id)", "stage": ""}, "columns: 2: id is String, not Int64; stage is missing"},
		{"keys repeated", 20, map[string]string{"part": "CAST(toString(toUInt8(part) % 2), 'Nullable(String)')"}, "primary_key: 17: 17 rows repeat the key of another"},
		{"nulls", 20, map[string]string{"amount": "if(number_of(part) < 3, NULL, amount)"}, "not_null: 3: amount is NULL in 3 rows"},
		{"another value", 20, map[string]string{"stage": "if(number_of(part) = 5, 'lost', stage)"}, "allowed: 1: stage has another value in 1 rows"},
		{"late", 20, map[string]string{"observed_at": "if(number_of(part) < 4, observed_at - INTERVAL 1 HOUR, observed_at)"}, "freshness_p95: 1: 95 of 100 within 1h0m50"},
		{"one of a hundred late", 100, map[string]string{"observed_at": "if(number_of(part) < 1, observed_at - INTERVAL 1 HOUR, observed_at)"}, ""},
		{"late, but long ago", 20, map[string]string{
			"ingested_at": "if(number_of(part) < 10, ingested_at - INTERVAL 2 DAY, ingested_at)", "observed_at": "if(number_of(part) < 10, observed_at - INTERVAL 3 DAY, observed_at)",
		}, ""},
		{"stale", 20, map[string]string{"ingested_at": "ingested_at - INTERVAL 2 DAY", "observed_at": "observed_at - INTERVAL 2 DAY"}, "max_age: 1: the newest came 48h0m"},
		{"too few", 1, nil, "rows: 1: 1 rows"},
		{"too many", 101, nil, "rows: 1: 101 rows"},
		{"one column more", 20, map[string]string{"extra": "1"}, "unnamed_columns: 1: extra"},
	} {
		for name, expression := range tc.changes {
			tc.changes[name] = strings.ReplaceAll(expression, "number_of(part)", "toUInt8(ifNull(part, '0'))")
		}
		view(tc.rows, tc.changes)
		broken := check(t, conn, promised).Broken()
		if tc.want == "" {
			require.Empty(t, broken, tc.name)
			continue
		}
		require.Len(t, broken, 1, "%s: %v", tc.name, broken)
		require.Contains(t, fmt.Sprintf("%s: %d: %s", broken[0].Rule, broken[0].Violations, broken[0].Found), tc.want, tc.name)
	}

	pipelinetest.SQL(t, url, "DROP VIEW deals")
	broken := check(t, conn, promised).Broken()
	require.Len(t, broken, 1)
	require.Equal(t, "relation", broken[0].Rule)
	_, err = contracts.Named([]contract.Contract{promised}, []string{"deals_v1", "deals_v2"})
	require.EqualError(t, err, `there is no contract "deals_v2"; there are deals_v1`)
}

// TestTheLastCheckIsWhatMetricsTell: of each contract its newest check, whoever made it, and of no other contract than this build's.
func TestTheLastCheckIsWhatMetricsTell(t *testing.T) {
	t.Parallel()
	url, conn := migrated(t)
	reg := prometheus.NewPedanticRegistry()
	metrics, err := contracts.NewMetrics(reg)
	require.NoError(t, err)
	observe := func() map[string]float64 {
		require.NoError(t, metrics.Observe(t.Context(), conn))
		return samples(t, reg)
	}
	const last, rows, p95 = "last_check_timestamp_seconds forecast_v1", "violations forecast_v1 rows", "freshness_p95_seconds forecast_v1"
	now := observe()
	require.Zero(t, now[last])
	require.Contains(t, now, last, "that it was never checked is seen")
	require.NotContains(t, now, rows)

	promised, err := contracts.Promised()
	require.NoError(t, err)
	named, err := contracts.Named(promised, []string{"forecast_v1"})
	require.NoError(t, err)
	other, err := contract.Parse("deals_v1.yaml", []byte(deals))
	require.NoError(t, err)
	check(t, conn, append(named, other)...)
	now = observe()
	require.InDelta(t, 1, now[rows], 0)
	require.NotContains(t, now, p95, "nothing came")
	require.NotContains(t, now, "violations deals_v1 relation")

	fill(t, url)
	report := check(t, conn, named...)
	now = observe()
	require.Zero(t, now[rows])
	require.Contains(t, now, rows)
	require.Contains(t, now, p95)
	require.InDelta(t, float64(report.CheckedAt.UnixMilli())/1000, now[last], 0.001)
}

// samples are the gauges of contracts by their names and labels.
func samples(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	require.NoError(t, err)
	found := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			key := strings.TrimPrefix(family.GetName(), "revstream_contract_")
			for _, label := range m.GetLabel() {
				key += " " + label.GetValue()
			}
			found[key] = m.GetGauge().GetValue()
		}
	}
	return found
}
