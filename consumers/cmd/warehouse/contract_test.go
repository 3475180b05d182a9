package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/consumers/contracts"
	"github.com/revstream/revstream/consumers/migrations"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/schemas/contract"
)

const deals = `
name: deals_v1
version: 1
relation: deals
doc: One deal.
primary_key: [id]
delivery: effectively_once
compatibility: additive_only
owner: sales
consumers: [board]
columns:
  - {name: id, type: UInt8, doc: d}
  - {name: note, type: String, doc: d}
`

// TestAContractIsCheckedFromTheCommandLine: 0 where it holds, 3 with what does not, 1 where it cannot be told.
func TestAContractIsCheckedFromTheCommandLine(t *testing.T) {
	t.Parallel()
	url := pipelinetest.ClickHouse(t)
	_, err := migrations.Up(t.Context(), url)
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "deals_v1.yaml"), []byte(deals), 0o600))
	pipelinetest.SQL(t, url, "CREATE VIEW deals AS SELECT 1 AS id, 'n' AS note, 2 AS more")

	out, stderr, code := program(t, url, "contract", "check", "--dir", dir)
	require.Zero(t, code, stderr)
	require.Regexp(t, `deals_v1 +columns +yes +all are there +2 columns of the promised types`, out)

	out, stderr, code = program(t, url, "contract", "check", "deals_v1", "--dir", dir, "--strict", "--json")
	require.Equal(t, exitFound, code)
	require.Contains(t, stderr, "deals_v1: unnamed_columns: more")
	var report contracts.Report
	require.NoError(t, json.Unmarshal([]byte(out), &report))
	require.Len(t, report.Broken(), 1)

	out, stderr, code = program(t, url, "contract", "check", "forecast_v1", "people_v1")
	require.Equal(t, exitFound, code)
	require.Equal(t, 2, strings.Count(out, " NO "), "an empty warehouse breaks the promise of rows alone: %s", out)
	require.Contains(t, stderr, "forecast_v1: rows: 0 rows | people_v1: rows: 0 rows")

	_, stderr, code = program(t, url, "contract", "check", "deals_v9", "--dir", dir)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, `there is no contract "deals_v9"; there are deals_v1`)
	require.Equal(t, "2", pipelinetest.SQL(t, url, "SELECT uniqExact(checked_at) FROM contract_checks WHERE contract = 'deals_v1'"))
}

// TestTwoContractsAreCompared without a database: files whatever they are called, folders by name.
func TestTwoContractsAreCompared(t *testing.T) {
	t.Parallel()
	write := func(dir, name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	before, after := t.TempDir(), t.TempDir()
	old := write(before, "deals_v1.yaml", deals)
	additive := write(t.TempDir(), "proposal.yaml", deals+"  - {name: more, type: UInt8, doc: d}\n")
	out, stderr, code := program(t, "", "contract", "diff", old, additive)
	require.Zero(t, code, stderr)
	require.Regexp(t, `deals_v1 +additive +columns.more +added, UInt8`, out)

	breaking := write(after, "deals_v1.yaml", strings.Replace(deals, "name: note", "name: remark", 1))
	out, stderr, code = program(t, "", "contract", "diff", old, breaking)
	require.Equal(t, exitFound, code)
	require.Regexp(t, `deals_v1 +breaking +columns.note +removed`, out)
	require.Contains(t, stderr, "that breaks board: leave deals_v1 as it is and put the change into deals_v2")

	out, _, code = program(t, "", "contract", "diff", before, after, "--json")
	require.Equal(t, exitFound, code)
	var changes struct{ Changes []contract.Change }
	require.NoError(t, json.Unmarshal([]byte(out), &changes))
	require.Len(t, changes.Changes, 2)

	require.NoError(t, os.Remove(breaking))
	write(after, "deals_v1.yaml", deals)
	write(after, "deals_v2.yaml", strings.NewReplacer("deals_v1", "deals_v2", "version: 1", "version: 2", "name: note", "name: remark").Replace(deals))
	out, stderr, code = program(t, "", "contract", "diff", before, after)
	require.Zero(t, code, stderr)
	require.Regexp(t, `deals_v2 +additive +name +the contract is new`, out)

	_, stderr, code = program(t, "", "contract", "diff", old, write(t.TempDir(), "deals_v1.yaml", "name: deals_v1\n"))
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "owner: is required")
	_, stderr, code = program(t, "", "contract", "diff", old, t.TempDir())
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "holds no contract (*.yaml)")
}
