package migrations

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/pipeline/pipelinetest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// clustered is a file as a cluster gets it.
func clustered(t *testing.T, name string) string {
	t.Helper()
	raw, err := fs.ReadFile(rendered{files, Layout{"revenue"}, "warehouse"}, name)
	require.NoError(t, err)
	return string(raw)
}

// TestEveryStatementIsRenderedForACluster: the engine's own parser reads each, and each is for every server. What a Replicated
// engine and Keeper make of it, only a server can show.
func TestEveryStatementIsRenderedForACluster(t *testing.T) {
	t.Parallel()
	url := pipelinetest.ClickHouse(t)
	names, err := fs.Glob(files, "*.sql")
	require.NoError(t, err)
	for _, name := range names {
		text := clustered(t, name)
		require.Equal(t, 1, strings.Count(text, "-- +goose Up\n"), name)
		require.Equal(t, 1, strings.Count(text, "-- +goose Down\n"), name)
		count := 0
		for block := range strings.SplitSeq(text, "\n\n") {
			statement := block
			for strings.HasPrefix(statement, "--") {
				_, statement, _ = strings.Cut(statement, "\n")
			}
			if statement = strings.TrimSuffix(strings.TrimSpace(statement), ";"); statement == "" {
				continue
			}
			count++
			parsed := pipelinetest.SQL(t, url, "SELECT formatQuery($heredoc$"+statement+"$heredoc$) FORMAT TSVRaw")
			require.Contains(t, parsed, "ON CLUSTER revenue", name)
		}
		require.Positive(t, count, name)
	}
	parsed := pipelinetest.SQL(t, url, "SELECT formatQuery($heredoc$"+clusterVersions{layout: Layout{"revenue"}, database: "warehouse"}.createTable()+"$heredoc$) FORMAT TSVRaw")
	require.Contains(t, parsed, "ON CLUSTER revenue")
}

// TestRenderingForACluster holds the files that have each form of a statement.
func TestRenderingForACluster(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"00004_parts.sql", "00005_export_quality.sql", "00007_masking_key.sql"} {
		golden := filepath.Join("testdata", "cluster", name)
		got := clustered(t, name)
		if *update {
			require.NoError(t, os.WriteFile(golden, []byte(got), 0o644))
		}
		want, err := os.ReadFile(golden)
		require.NoError(t, err)
		require.Equal(t, string(want), got)
	}
}

func TestRenderingRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	const table = "CREATE TABLE IF NOT EXISTS t\n(\n    a UInt8\n)\nENGINE = MergeTree\nORDER BY a;"
	for statement, want := range map[string]string{
		table:                                  "sharded by",
		"-- sharded by: a\n" + table:           "",
		"CREATE TABLE t\n(\n    a UInt8\n)\n;": "not known",
		"-- sharded by: a\n" + strings.Replace(table, "= MergeTree", "= Log", 1): "MergeTree",
		"INSERT INTO t VALUES (1);":                    "not known",
		"DROP TABLE t;":                                "not known",
		"CREATE MATERIALIZED VIEW v TO t AS SELECT 1;": "not known",
		"ALTER TABLE t DELETE WHERE 1;":                "not known",
		"ALTER TABLE t\n    ADD COLUMN IF NOT EXISTS b UInt8,\n    MODIFY SETTING c = 1;": "two",
		"CREATE OR REPLACE VIEW v AS\nSELECT 1\n\nCOMMENT 'x';":                           "empty line",
	} {
		_, err := Layout{"c"}.render("d", "-- +goose Up\n\n"+statement+"\n")
		if want == "" {
			require.NoError(t, err, statement)
		} else {
			require.ErrorContains(t, err, want, statement)
		}
	}
}

func TestLayout(t *testing.T) {
	t.Parallel()
	one, err := layoutOf("ReplacingMergeTree", "ReplacingMergeTree(version, is_deleted) ORDER BY a")
	require.NoError(t, err)
	require.Equal(t, "forecast_history", one.Storage("forecast_history"))
	shards, err := layoutOf("Distributed", "Distributed('{cluster}', 'revenue', 'forecast_current_local', cityHash64(a))")
	require.NoError(t, err)
	require.Equal(t, "forecast_history_local ON CLUSTER `{cluster}`", shards.Storage("forecast_history"))
	_, err = layoutOf("Distributed", "Distributed(somewhere)")
	require.Error(t, err)
}
