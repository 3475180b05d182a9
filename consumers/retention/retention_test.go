package retention

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/consumers/migrations"
	"github.com/revstream/revstream/pipeline/clickhousesink"
	"github.com/revstream/revstream/pipeline/pipelinetest"
)

// now is in the last quarter of 2026, so that eight quarters before it begin on the first of October 2024.
var now = time.Date(2026, 11, 23, 1, 0, 0, 0, time.UTC)

func newRetention(t *testing.T) (r *Retention, sql func(string, ...any) string) {
	t.Helper()
	url := pipelinetest.ClickHouse(t)
	_, err := migrations.Up(t.Context(), url)
	require.NoError(t, err)
	conn, err := clickhousesink.Open(url)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	r, err = New(Config{Quarters: 8, By: "ops"}, pipelinetest.Logger(t), conn)
	require.NoError(t, err)
	r.now = func() time.Time { return now }
	return r, func(statement string, args ...any) string {
		return pipelinetest.SQL(t, url, fmt.Sprintf(statement, args...))
	}
}

func TestCutoff(t *testing.T) {
	t.Parallel()
	for at, want := range map[string]string{
		"2026-11-23": "2024-10-01", "2026-12-31": "2024-10-01", "2027-01-01": "2025-01-01", "2026-03-31": "2024-01-01", "2026-04-01": "2024-04-01",
	} {
		day, err := time.Parse(time.DateOnly, at)
		require.NoError(t, err)
		require.Equal(t, want, Cutoff(day, 8).Format(time.DateOnly), at)
	}
	require.Equal(t, "2026-07-01", Cutoff(now, 1).Format(time.DateOnly))
	_, err := New(Config{By: "ops"}, nil, nil)
	require.ErrorContains(t, err, "--quarters")
}

// id makes an event ID of a moment.
func id(at string, deleted bool) string {
	moment, _ := time.Parse(time.DateOnly, at)
	half := "8000-000000000001"
	if deleted {
		half = "a000-000000000001"
	}
	ms := fmt.Sprintf("%012x", moment.UnixMilli())
	return ms[:8] + "-" + ms[8:] + "-8000-" + half
}

// unmerged keeps a table's parts apart; SYSTEM STOP MERGES would hold deletions up as well.
const unmerged = "ALTER TABLE %s MODIFY SETTING max_bytes_to_merge_at_max_space_in_pool = 1, max_bytes_to_merge_at_min_space_in_pool = 1"

// TestWhatIsOldGoesWhole: of a key that goes nothing is left that would be seen, and of one that stays nothing is missed.
func TestWhatIsOldGoesWhole(t *testing.T) {
	t.Parallel()
	r, sql := newRetention(t)
	for _, table := range []string{"forecast_current", "forecast_history"} {
		sql(unmerged, table)
		for i, row := range [][3]string{ // period, its end, value
			{"2024_Q2", "'2024-06-30'", "1"},
			{"2024_Q2", "'2024-06-30'", "2"},
			{"2024_Q3", "'2024-09-30'", "1"}, // its end was corrected to be later
			{"2024_Q3", "'2024-10-31'", "2"},
			{"2024_Q4", "'2024-12-31'", "1"}, // and here to be earlier
			{"2024_Q4", "'2024-09-30'", "2"},
			{"it\\'s old", "'2024-01-31'", "1"}, // and here it was left out
			{"it\\'s old", "NULL", "2"},
			{"unknown", "NULL", "1"},
		} {
			sql("INSERT INTO %s (forecast_id, time_period_id, user_id, kind, value, time_period_end, event_id, source_version) VALUES ('f', '%s', 'u', 'quota', %s, %s, '%s', '2024-05-01')",
				table, row[0], row[2], row[1], id(fmt.Sprintf("2024-05-%02d", i+1), false))
		}
	}
	for _, table := range []string{"people_current", "people_history"} {
		sql(unmerged, table)
		for _, row := range []struct {
			id      int
			at      string
			deleted bool
		}{
			{1, "2023-01-01", false}, {1, "2023-02-01", false}, // alive
			{2, "2023-01-01", false}, {2, "2024-09-30", true}, // deleted long since
			{3, "2023-01-01", false}, {3, "2024-10-01", true}, // and not so long
			{4, "2023-01-01", false}, {4, "2023-02-01", true}, {4, "2026-01-01", false}, // back
			{5, "2023-01-01", false}, {5, "2023-02-01", false}, {5, "2025-01-01", false},
		} {
			sql("INSERT INTO %s (person_id, event_id, source_version, is_deleted) VALUES (%d, '%s', '%s', %t)", table, row.id, id(row.at, row.deleted), row.at, row.deleted)
		}
	}
	sql("INSERT INTO dlq_audit (at, run_id) VALUES ('2024-09-30 23:59:59.999999', 'old'), ('2024-10-01', 'new')")
	sql("INSERT INTO export_runs_history (run_id, requested_at) VALUES ('old', '2024-01-01'), ('new', '2026-01-01')")

	before := sql("SELECT sum(rows) FROM system.parts WHERE active AND database = currentDatabase()")
	plan, err := r.Plan(t.Context())
	require.NoError(t, err)
	require.Equal(t, before, sql("SELECT sum(rows) FROM system.parts WHERE active AND database = currentDatabase()"))
	rows := map[string]uint64{}
	for _, s := range plan.Shares {
		rows[s.Table+" "+s.Quarter] = s.Rows
		require.Positive(t, s.Bytes)
	}
	require.Equal(t, map[string]uint64{
		"forecast_current 2024-Q1": 1, "forecast_history 2024-Q1": 1, // of the one without an end: dated by its version
		"forecast_current 2024-Q2": 3, "forecast_history 2024-Q2": 3,
		"people_current 2023-Q1": 1, "people_current 2024-Q3": 1,
		"people_history 2023-Q1": 4, "people_history 2024-Q3": 1,
		"dlq_audit 2024-Q3": 1, "export_runs_history 2024-Q1": 1,
	}, rows)

	done, err := r.Run(t.Context())
	require.NoError(t, err)
	require.Equal(t, plan, done)
	require.Equal(t, "2024_Q3\t2\n2024_Q4\t2\nunknown\t1", sql("SELECT time_period_id, value FROM forecast_current FINAL ORDER BY 1"))
	require.Equal(t, "2024_Q3\t2\n2024_Q4\t2\nunknown\t1", sql("SELECT time_period_id, count() FROM forecast_history GROUP BY 1 ORDER BY 1"))
	require.Equal(t, "1\n4\n5", sql("SELECT person_id FROM people_current FINAL ORDER BY 1"))
	require.Equal(t, "1\t2023-02-01\n3\t2023-01-01\n3\t2024-10-01\n4\t2023-02-01\n4\t2026-01-01\n5\t2023-02-01\n5\t2025-01-01",
		sql("SELECT person_id, toDate(source_version) FROM people_history ORDER BY 1, 2"))
	require.Equal(t, "new\tnew", sql("SELECT (SELECT run_id FROM dlq_audit), (SELECT run_id FROM export_runs_history)"))
	require.Equal(t, "10\t17\tops\t2024-10-01", sql("SELECT count(), sum(rows), any(by), any(cutoff) FROM retentions"))

	again, err := r.Run(t.Context())
	require.NoError(t, err)
	require.Empty(t, again.Shares)
}

// TestEachTableIsThoughtOf: a new one is let go of, or it is said why not.
func TestEachTableIsThoughtOf(t *testing.T) {
	t.Parallel()
	_, sql := newRetention(t)
	known := slices.Collect(maps.Keys(kept))
	for _, rule := range rules {
		known = append(known, rule.table)
	}
	require.ElementsMatch(t, known, strings.Split(sql("SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%%MergeTree'"), "\n"))
	for table, why := range kept {
		if strings.Contains(why, "TTL") {
			require.Contains(t, sql("SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = '%s'", table), "TTL", table)
		}
	}
}
