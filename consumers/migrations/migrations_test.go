package migrations_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/revstream/revstream/consumers/exportrun"
	"github.com/revstream/revstream/consumers/forecast"
	"github.com/revstream/revstream/consumers/migrations"
	"github.com/revstream/revstream/consumers/people"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/pipeline/table"
	"github.com/revstream/revstream/schemas/event"
)

func TestMain(m *testing.M) { pipelinetest.Main(m) }

// TestUpIsSafeToRunAgain applies everything once, into a database that it creates.
func TestUpIsSafeToRunAgain(t *testing.T) {
	t.Parallel()
	url := pipelinetest.ClickHouse(t) + "_new"
	applied, err := migrations.Up(t.Context(), url)
	require.NoError(t, err)
	files, err := filepath.Glob("*.sql")
	require.NoError(t, err)
	require.Len(t, applied, len(files))
	applied, err = migrations.Up(t.Context(), url)
	require.NoError(t, err)
	require.Empty(t, applied)
	tables := pipelinetest.SQL(t, url, "SELECT name FROM system.tables WHERE database = currentDatabase() AND name NOT LIKE 'goose%' ORDER BY name")
	require.Equal(t, strings.Join([]string{
		"anomaly_runs",
		"consumer_lag", "consumer_lag_samples",
		"contract_checks",
		"data_quality", "data_quality_analyses", "data_quality_findings",
		"dead_letter_positions", "dead_letter_states", "dead_letters", "dead_letters_open",
		"dlq_audit",
		"erasures",
		"export_runs", "export_runs_current", "export_runs_history", "export_runs_ledger",
		"forecast", "forecast_anomalies", "forecast_as_of", "forecast_changes", "forecast_current", "forecast_full", "forecast_history", "forecast_ledger", "forecast_vs_quota",
		"freshness",
		"masking_key",
		"people", "people_as_of", "people_current", "people_full", "people_history", "people_ledger",
		"pipeline_health",
		"reconciliation", "reconciliation_missing", "reconciliations",
		"retentions",
	}, "\n"), tables)
}

func TestUpSaysWhatIsWrongWithTheURL(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"localhost:8123":                        "CLICKHOUSE_URL",
		"http://user:hunter2@localhost:8123":    "names no database",
		"http://user:hunter2@localhost:8123/a;": "names no database",
		"gopher://user:hunter2@localhost:1/a":   "",
		"http://user:hunter2@127.0.0.1:1/a":     "the tables of database a",
	} {
		_, err := migrations.Up(t.Context(), url)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "hunter2")
	}
}

// TestUpAndDownAndUp: the way down leaves nothing, and the way up makes the same again.
func TestUpAndDownAndUp(t *testing.T) {
	t.Parallel()
	url := pipelinetest.ClickHouse(t)
	up, err := migrations.Up(t.Context(), url)
	require.NoError(t, err)
	before := schema(t, url)
	require.NotEmpty(t, before)
	down, err := migrations.Down(t.Context(), url, 0)
	require.NoError(t, err)
	slices.Reverse(down)
	require.Equal(t, up, down)
	require.Empty(t, schema(t, url))
	_, err = migrations.Up(t.Context(), url)
	require.NoError(t, err)
	require.Equal(t, before, schema(t, url))
}

// schema is every statement that would make the database's tables and views.
func schema(t *testing.T, url string) string {
	t.Helper()
	return pipelinetest.SQL(t, url, "SELECT create_table_query FROM system.tables WHERE database = currentDatabase() AND name NOT LIKE 'goose%' ORDER BY name")
}

// TestReplicasMigrateAtOnce: on a database that is not there yet, and on one that is half migrated.
func TestReplicasMigrateAtOnce(t *testing.T) {
	t.Parallel()
	single := pipelinetest.ClickHouse(t)
	_, err := migrations.Up(t.Context(), single)
	require.NoError(t, err)
	for name, prepare := range map[string]func(t *testing.T, url string){
		"new": func(*testing.T, string) {},
		"half migrated": func(t *testing.T, url string) {
			t.Helper()
			_, err := migrations.Up(t.Context(), url)
			require.NoError(t, err)
			_, err = migrations.Down(t.Context(), url, 4)
			require.NoError(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := pipelinetest.ClickHouse(t) + "_replicas"
			prepare(t, url)
			var replicas errgroup.Group
			for range 8 {
				replicas.Go(func() error {
					_, err := migrations.Up(t.Context(), url)
					return err
				})
			}
			require.NoError(t, replicas.Wait())
			inOneDatabase := func(url string) string {
				return strings.ReplaceAll(schema(t, url), url[strings.LastIndex(url, "/")+1:]+".", "")
			}
			require.Equal(t, inOneDatabase(single), inOneDatabase(url))
			again, err := migrations.Up(t.Context(), url)
			require.NoError(t, err)
			require.Empty(t, again)
			states, err := migrations.Target{URL: url}.Status(t.Context())
			require.NoError(t, err)
			for _, s := range states {
				require.NotZero(t, s.At, s.File)
			}
		})
	}
}

// TestAnOlderDatabaseLosesNothing: it has rows, and the views of before.
func TestAnOlderDatabaseLosesNothing(t *testing.T) {
	t.Parallel()
	url := pipelinetest.ClickHouse(t)
	_, err := migrations.Up(t.Context(), url)
	require.NoError(t, err)
	_, err = migrations.Down(t.Context(), url, 6)
	require.NoError(t, err)
	pipelinetest.SQL(t, url, "INSERT INTO people_current (person_id, email_address, event_id, source_version, is_deleted) VALUES (1, 'ada@example.com', generateUUIDv4(), '2026-01-01', 0), (2, 'bea@example.com', generateUUIDv4(), '2026-01-01', 1)")
	pipelinetest.SQL(t, url, "INSERT INTO forecast_history (forecast_id, user_id, value, event_id, source_version, ingested_at) VALUES ('net', 'u', 1.5, generateUUIDv4(), '2026-01-01', '2026-01-02')")
	pipelinetest.SQL(t, url, "INSERT INTO export_runs_current (run_id, source, outcome, event_id) VALUES ('r', 'clari', 'FAILED', generateUUIDv4())")
	require.Equal(t, "ada@example.com", pipelinetest.SQL(t, url, "SELECT email_address FROM people"))
	_, err = migrations.Up(t.Context(), url)
	require.NoError(t, err)
	require.Equal(t, "a***@example.com", pipelinetest.SQL(t, url, "SELECT email_address FROM people"))
	require.Equal(t, "ada@example.com", pipelinetest.SQL(t, url, "SELECT email_address FROM people_full"))
	require.Equal(t, "1.5", pipelinetest.SQL(t, url, "SELECT value FROM forecast_as_of(ts = '2026-01-03')"))
	require.Equal(t, "1", pipelinetest.SQL(t, url, "SELECT failed FROM pipeline_health"))
	require.Equal(t, "2", pipelinetest.SQL(t, url, "SELECT count() FROM people_current"), "the deleted one keeps its row")
}

// TestStatusChangesNothing, not even by making the database.
func TestStatusChangesNothing(t *testing.T) {
	t.Parallel()
	base := pipelinetest.ClickHouse(t)
	_, err := migrations.Target{URL: base + "_none"}.Status(t.Context())
	require.ErrorContains(t, err, "_none")
	states, err := migrations.Target{URL: base}.Status(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, states)
	for _, s := range states {
		require.Zero(t, s.At, s.File)
	}
	_, err = migrations.Up(t.Context(), base)
	require.NoError(t, err)
	_, err = migrations.Target{URL: base, Cluster: "revenue"}.Up(t.Context())
	require.ErrorContains(t, err, "one server", "a database is not half on a cluster")
}

// TestColumnsMatchTheTables: what the consumers send is what the tables have,
// name by name and type by type, so that nothing is converted on the way.
func TestColumnsMatchTheTables(t *testing.T) {
	t.Parallel()
	url := pipelinetest.ClickHouse(t)
	_, err := migrations.Up(t.Context(), url)
	require.NoError(t, err)
	check(t, url, forecast.Tables, forecast.Columns)
	check(t, url, people.Tables, people.Columns)
	check(t, url, exportrun.Tables, exportrun.Columns)
}

func check[E event.Event](t *testing.T, url, prefix string, columns []table.Column[E]) {
	t.Helper()
	var want []string
	for _, c := range columns {
		want = append(want, c.Name+" "+c.Type)
	}
	for suffix, also := range map[string][]string{
		"_current": nil,
		"_history": {"kafka_topic LowCardinality(String)", "kafka_partition Int32", "kafka_offset Int64"},
	} {
		got := pipelinetest.SQL(t, url, "SELECT name || ' ' || type FROM system.columns WHERE database = currentDatabase() AND table = '"+prefix+suffix+
			"' AND name NOT IN ('version', 'ingested_at') ORDER BY position FORMAT TSVRaw")
		require.Equal(t, append(append([]string(nil), want...), also...), strings.Split(got, "\n"), prefix+suffix)
		undocumented := pipelinetest.SQL(t, url, "SELECT name FROM system.columns WHERE database = currentDatabase() AND table = '"+prefix+suffix+"' AND comment = ''")
		require.Empty(t, undocumented, "columns of %s%s without a comment", prefix, suffix)
	}
}
