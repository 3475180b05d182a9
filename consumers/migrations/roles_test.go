package migrations_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/consumers/migrations"
	"github.com/revstream/revstream/pipeline/pipelinetest"
)

// The roles that a table or a view is granted to. The operator has all of them.
const (
	writes  = "consumer_writer: INSERT"
	looksUp = "consumer_writer: SELECT, INSERT"
	bi      = "bi_reader: SELECT"
	pii     = "bi_pii_reader: SELECT"
	ops     = "ops_reader: SELECT"
	opsPart = "ops_reader: SELECT of columns"
)

// decisions says who may do what with each table and view. Whoever adds one decides here, and grants it in deploy/clickhouse/roles.sql.
var decisions = map[string][]string{
	"anomaly_runs": {ops}, "forecast_anomalies": {ops},
	"consumer_lag": {ops}, "consumer_lag_samples": {},
	"contract_checks": {ops},
	"data_quality":    {bi, ops}, "data_quality_analyses": {ops}, "data_quality_findings": {ops},
	"dead_letter_positions": {}, "dead_letter_states": {ops}, "dead_letters": {}, "dead_letters_open": {ops},
	"dlq_audit": {writes, opsPart},
	"erasures":  {ops}, "retentions": {ops},
	"export_runs": {bi, ops}, "export_runs_current": {writes}, "export_runs_history": {writes}, "export_runs_ledger": {looksUp},
	"forecast": {bi}, "forecast_as_of": {bi}, "forecast_changes": {bi}, "forecast_vs_quota": {bi}, "forecast_full": {pii},
	"forecast_current": {writes}, "forecast_history": {writes}, "forecast_ledger": {looksUp},
	"freshness": {bi, ops}, "pipeline_health": {bi, ops},
	"masking_key": {},
	"people":      {bi}, "people_as_of": {bi}, "people_full": {pii},
	"people_current": {writes}, "people_history": {writes}, "people_ledger": {looksUp},
	"reconciliation": {bi, ops}, "reconciliations": {ops}, "reconciliation_missing": {ops},
}

var (
	grant   = regexp.MustCompile(`^GRANT (.+) ON revenue\.(\w+) TO (\w+)$`)
	columns = regexp.MustCompile(`^SELECT\(.*\)$`)
)

// statementsOf reads a file of deploy/clickhouse.
func statementsOf(t *testing.T, name string) []string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", "deploy", "clickhouse", name))
	require.NoError(t, err)
	var statements []string
	for line := range strings.Lines(string(raw)) {
		line, _, _ = strings.Cut(line, "--")
		if line = strings.TrimSuffix(strings.TrimSpace(line), ";"); line != "" {
			statements = append(statements, line)
		}
	}
	return statements
}

// TestEveryTableIsGrantedToWhoShouldHaveIt: to those, and to nobody else; and the engine's parser reads each statement. The
// embedded engine has no users, so that only a server shows what a grant does.
func TestEveryTableIsGrantedToWhoShouldHaveIt(t *testing.T) {
	t.Parallel()
	url := pipelinetest.ClickHouse(t)
	_, err := migrations.Up(t.Context(), url)
	require.NoError(t, err)
	granted := map[string][]string{}
	for _, name := range []string{"roles.sql", "roles-cluster.sql", "users.sql"} {
		for _, statement := range statementsOf(t, name) {
			pipelinetest.SQL(t, url, "SELECT formatQuery($heredoc$"+statement+"$heredoc$)")
			if m := grant.FindStringSubmatch(statement); m != nil {
				what := m[1]
				if columns.MatchString(what) {
					what = "SELECT of columns"
				}
				granted[m[2]] = append(granted[m[2]], m[3]+": "+what)
			}
		}
	}
	want := map[string][]string{}
	for line := range strings.SplitSeq(pipelinetest.SQL(t, url, "SELECT name, engine FROM system.tables WHERE database = currentDatabase() AND name NOT LIKE 'goose%'"), "\n") {
		name, engine, _ := strings.Cut(line, "\t")
		who, decided := decisions[name]
		require.True(t, decided, "%s is new: decide in this file who may read it, and grant it in deploy/clickhouse/roles.sql", name)
		if slices.Contains(who, bi) {
			require.Equal(t, "View", engine, "bi_reader gets views alone: %s", name)
			require.NotContains(t, name, "_full")
		}
		if len(who) > 0 {
			want[name] = slices.Sorted(slices.Values(who))
		}
		for _, w := range who {
			if strings.HasPrefix(w, "consumer_writer") {
				want[name+"_local"] = []string{w}
			}
		}
	}
	for name := range granted {
		slices.Sort(granted[name])
	}
	require.Equal(t, want, granted)
	require.Len(t, decisions, len(strings.Split(pipelinetest.SQL(t, url, "SELECT name FROM system.tables WHERE database = currentDatabase() AND name NOT LIKE 'goose%'"), "\n")))
}

// TestOpsSeeNoContentOfRecords: the columns of dlq_audit that are granted are all but the one that may hold personal data.
func TestOpsSeeNoContentOfRecords(t *testing.T) {
	t.Parallel()
	url := pipelinetest.ClickHouse(t)
	_, err := migrations.Up(t.Context(), url)
	require.NoError(t, err)
	names := pipelinetest.SQL(t, url, "SELECT arrayStringConcat(groupArray(concat('`', name, '`')), ', ') FROM (SELECT name FROM system.columns WHERE database = currentDatabase() AND table = 'dlq_audit' AND NOT comment ILIKE '%personal data%' ORDER BY position)")
	require.Contains(t, statementsOf(t, "roles.sql"), "GRANT SELECT("+names+") ON revenue.dlq_audit TO ops_reader")
}

// TestViewsRunWithTheirMakersRights: or their readers would need the tables.
func TestViewsRunWithTheirMakersRights(t *testing.T) {
	t.Parallel()
	url := pipelinetest.ClickHouse(t)
	_, err := migrations.Up(t.Context(), url)
	require.NoError(t, err)
	require.Empty(t, pipelinetest.SQL(t, url, "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine = 'View' AND create_table_query NOT LIKE '%SQL SECURITY DEFINER%'"))
	require.Empty(t, pipelinetest.SQL(t, url, "SELECT name FROM system.tables WHERE database = currentDatabase() AND name NOT LIKE 'goose%' AND comment = ''"))
	require.Empty(t, pipelinetest.SQL(t, url, "SELECT table, name FROM system.columns WHERE database = currentDatabase() AND comment = '' AND table IN "+
		"(SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree' AND name NOT LIKE 'goose%')"))
}

// What stands in personal columns, and must not be seen. Of a phone the last four digits may.
const canary, canaryDigits = "Cænaryleak", "55501099"

// TestMaskedViewsShowNothingPersonal fills every column that is said to be personal, and looks for it in all that bi_reader may read.
func TestMaskedViewsShowNothingPersonal(t *testing.T) {
	t.Parallel()
	url := pipelinetest.ClickHouse(t)
	_, err := migrations.Up(t.Context(), url)
	require.NoError(t, err)
	for table, key := range map[string]string{"forecast_current": "user_id", "forecast_history": "user_id", "people_current": "person_id", "people_history": "person_id"} {
		fillPersonal(t, url, table, key)
	}
	for name, who := range decisions {
		if !slices.Contains(who, bi) {
			continue
		}
		source := name
		if strings.HasSuffix(name, "_as_of") {
			source += "(ts = '2099-01-01')"
		}
		seen := pipelinetest.SQL(t, url, "SELECT * FROM "+source+" FORMAT JSONEachRow")
		for _, secret := range []string{canary, canaryDigits} {
			require.NotContains(t, seen, secret, name)
		}
		if prefix, _, _ := strings.Cut(name, "_"); prefix == "people" || name == "forecast" || name == "forecast_as_of" {
			require.Equal(t, 2, strings.Count(seen, "source_version"), name)
		}
	}
	for _, full := range []string{"forecast_full", "people_full"} {
		require.Contains(t, pipelinetest.SQL(t, url, "SELECT * FROM "+full+" FORMAT JSONEachRow"), canary)
	}
}

// fillPersonal inserts a row in which each personal column is what it should be, and one in which none is.
func fillPersonal(t *testing.T, url, table, key string) {
	t.Helper()
	var names, proper, odd []string
	for line := range strings.SplitSeq(pipelinetest.SQL(t, url, "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = '"+table+"' AND comment ILIKE '%personal data%'"), "\n") {
		name, kind, _ := strings.Cut(line, "\t")
		names = append(names, name)
		switch {
		case strings.HasPrefix(kind, "Map"):
			proper, odd = append(proper, "map('"+canary+"', '"+canary+"')"), append(odd, "map('"+canary+"', '"+canary+"')")
			continue
		case strings.HasSuffix(name, "phone"):
			proper = append(proper, "'+"+canaryDigits+"1234'")
		case name == "full_email_address":
			proper = append(proper, "'"+canary+" <x"+canary+"@example.com>'")
		case strings.Contains(name, "email"):
			proper = append(proper, "'x"+canary+"@example.com'")
		default:
			proper = append(proper, "'x"+canary+" "+canary+"'")
		}
		odd = append(odd, "'x@"+canary+".@"+canary+" '")
	}
	require.GreaterOrEqual(t, len(names), 2, table)
	for i, fill := range [][]string{proper, odd} {
		pipelinetest.SQL(t, url, fmt.Sprintf("INSERT INTO %s (%s, event_id, source_version, observed_at, %s) SELECT '%d', generateUUIDv4(), '2020-01-01', now(), %s",
			table, key, strings.Join(names, ", "), i, strings.Join(fill, ", ")))
	}
}
