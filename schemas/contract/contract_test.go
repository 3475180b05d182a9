package contract_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/revstream/revstream/schemas/contract"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const deals = `
name: deals_v1
version: 1
relation: deals
doc: One deal.
topic: revenue.forecast.v1
primary_key: [id]
delivery: effectively_once
sla: {freshness_p95_minutes: 15, max_age_minutes: 60}
rows: {min: 1, max: 100}
compatibility: additive_only
owner: sales
consumers: [finance-bi, board]
columns:
  - {name: id, type: Int64, doc: The deal.}
  - {name: amount, type: "Decimal(76, 18)", nullable: true, not_null: true, doc: The amount.}
  - {name: stage, type: String, allowed: [open, won], doc: The stage.}
  - {name: note, type: String, nullable: true, doc: A note.}
  - {name: observed_at, type: "DateTime64(6, 'UTC')", doc: When it was read.}
  - {name: ingested_at, type: "DateTime64(3, 'UTC')", doc: When it was stored.}
`

func parse(t *testing.T, text string) contract.Contract {
	t.Helper()
	c, err := contract.Parse("deals_v1.yaml", []byte(text))
	require.NoError(t, err)
	return c
}

// TestAContractSaysWhatIsWrongWithIt: each mistake by the file and the key, all of them at once.
func TestAContractSaysWhatIsWrongWithIt(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"id"}, parse(t, deals).PrimaryKey)
	for _, tc := range []struct{ old, new, want string }{
		{"owner: sales", "onwer: sales", "unknown key onwer"},
		{"owner: sales", "", "owner: is required"},
		{"version: 1", "version: 2", `name: "deals_v1" must be in snake_case and end in _v and the version, such as forecast_v2`},
		{"version: 1", "version: one", "line 3: cannot unmarshal"},
		{"relation: deals", "relation: deals; DROP", "relation: "},
		{"topic: revenue.forecast.v1", "topic: revenue.deals.v1", "topic: revenue.deals.v1 is not in the catalogue"},
		{"primary_key: [id]", "primary_key: [key]", "primary_key: key is not among the columns"},
		{"primary_key: [id]", "primary_key: [id, id]", "primary_key: id stands there twice"},
		{"primary_key: [id]", "", "primary_key: is required"},
		{"delivery: effectively_once", "delivery: mostly", `delivery: is "mostly", and must be effectively_once or at_least_once`},
		{"additive_only", "full", "compatibility: is "},
		{"consumers: [finance-bi, board]", "", "consumers: are required"},
		{"min: 1", "min: 101", "rows.min: is more than rows.max"},
		{"min: 1", "min: -1", "cannot unmarshal"},
		{"max_age_minutes: 60", "max_age_minutes: -1", "sla.max_age_minutes: is less than 0"},
		{"name: observed_at", "name: seen_at", "sla.freshness_p95_minutes: is measured by observed_at"},
		{"name: note", "name: stage", "columns.stage: stands there twice"},
		{"name: note", "name: a b", `columns[3].name: "a b" is no name`},
		{"type: String, nullable: true", "type: Nullable(String)", "columns.note.type: "},
		{"type: String, nullable: true", "type: String, not_null: true", "columns.note.not_null: is for a nullable column"},
		{"doc: A note.", "", "columns.note.doc: is required"},
	} {
		require.Contains(t, deals, tc.old)
		_, err := contract.Parse("deals_v1.yaml", []byte(strings.Replace(deals, tc.old, tc.new, 1)))
		require.ErrorContains(t, err, tc.want)
		require.ErrorContains(t, err, "deals_v1.yaml: ")
	}
	_, err := contract.Parse("deals_v1.yaml", []byte(strings.NewReplacer("owner: sales", "", "doc: One deal.", "dok: One deal.").Replace(deals)))
	for _, want := range []string{"unknown key dok", "doc: is required", "owner: is required"} {
		require.ErrorContains(t, err, want)
	}
	_, err = contract.Files(fstest.MapFS{"other_v1.yaml": {Data: []byte(deals)}, "empty_v1.yaml": {}})
	require.ErrorContains(t, err, "other_v1.yaml: name: deals_v1 would have to stand in deals_v1.yaml")
	require.ErrorContains(t, err, "empty_v1.yaml: is empty")
}

// TestAWeakerPromiseIsBreaking: what a reader may have built on is named, with whom it breaks and the way out; what only adds to it is not.
func TestAWeakerPromiseIsBreaking(t *testing.T) {
	t.Parallel()
	require.Empty(t, contract.Diff(parse(t, deals), parse(t, deals)))
	const note = "  - {name: note, type: String, nullable: true, doc: A note.}\n"
	for _, tc := range []struct {
		old, new, key string
		breaking      bool
	}{
		{note, "", "columns.note", true},
		{"name: note", "name: remark", "columns.note", true},
		{"Decimal(76, 18)", "Float64", "columns.amount.type", true},
		{"type: String, nullable: true", "type: String", "columns.note.nullable", false},
		{"allowed: [open, won]", "nullable: true, allowed: [open, won]", "columns.stage.nullable", true},
		{", not_null: true", "", "columns.amount.not_null", true},
		{"nullable: true, not_null: true", "nullable: false", "columns.amount.nullable", false},
		{"nullable: true, doc", "nullable: true, not_null: true, doc", "columns.note.not_null", false},
		{"[open, won]", "[open]", "columns.stage.allowed", true},
		{"[open, won]", "[open, won, lost]", "columns.stage.allowed", true},
		{", allowed: [open, won]", "", "columns.stage.allowed", true},
		{"nullable: true, doc", "nullable: true, allowed: [a], doc", "columns.note.allowed", false},
		{"primary_key: [id]", "primary_key: [id, stage]", "primary_key", true},
		{"freshness_p95_minutes: 15", "freshness_p95_minutes: 16", "sla.freshness_p95_minutes", true},
		{"freshness_p95_minutes: 15, ", "", "sla.freshness_p95_minutes", true},
		{"freshness_p95_minutes: 15", "freshness_p95_minutes: 14", "sla.freshness_p95_minutes", false},
		{"max_age_minutes: 60", "max_age_minutes: 90", "sla.max_age_minutes", true},
		{"additive_only", "none", "compatibility", true},
		{"effectively_once", "at_least_once", "delivery", true},
		{"relation: deals", "relation: all_deals", "relation", true},
		{"revenue.forecast.v1", "revenue.people.v1", "topic", true},
		{"max: 100", "max: 1000", "rows.max", false},
		{"doc: A note.", "doc: A remark.", "columns.note.doc", false},
		{"owner: sales", "owner: finance", "owner", false},
		{"[finance-bi, board]", "[board]", "consumers", false},
		{note, note + "  - {name: remark, type: String, doc: A remark.}\n", "columns.remark", false},
	} {
		require.Contains(t, deals, tc.old)
		changes := contract.Diff(parse(t, deals), parse(t, strings.Replace(deals, tc.old, tc.new, 1)))
		require.NotEmpty(t, changes, tc.new)
		require.Equal(t, tc.key, changes[0].Key, "%v", changes)
		err := contract.Breaking(changes)
		if !tc.breaking {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, "deals_v1: "+tc.key)
		require.ErrorContains(t, err, "breaks finance-bi, board: leave deals_v1 as it is and put the change into deals_v2")
	}
}

func TestContractsThatComeAndGo(t *testing.T) {
	t.Parallel()
	v1 := parse(t, deals)
	v2, err := contract.Parse("deals_v2.yaml", []byte(strings.NewReplacer("deals_v1", "deals_v2", "version: 1", "version: 2", "amount", "value").Replace(deals)))
	require.NoError(t, err)
	require.NoError(t, contract.Breaking(contract.DiffAll([]contract.Contract{v1}, []contract.Contract{v1, v2})))
	require.ErrorContains(t, contract.Breaking(contract.DiffAll([]contract.Contract{v1, v2}, []contract.Contract{v2})), "deals_v1: name: the contract is gone; that breaks finance-bi, board: keep it until they have moved on")

	tried := parse(t, strings.Replace(deals, "additive_only", "none", 1))
	changes := contract.Diff(tried, parse(t, strings.Replace(deals, "name: note", "name: remark", 1)))
	require.Len(t, changes, 3)
	require.NoError(t, contract.Breaking(changes), "nothing was promised yet")
}
