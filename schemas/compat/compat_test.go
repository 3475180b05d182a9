package compat_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/compat"
	"github.com/revstream/revstream/schemas/contract"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestBrokenCopiesOfASchemaAreCaught: each names the field, why, and who has declared it. Avro's own rules would let some of them pass.
func TestBrokenCopiesOfASchemaAreCaught(t *testing.T) {
	t.Parallel()
	good := schemas.MustAvro("export_run.v1.avsc")
	subscribers := []compat.Subscriber{
		{Name: "loader", Owner: "platform", Contact: "platform@example.com", Fields: []string{"run_id", "outcome", "jobs", "error", "kinds", "completed_at", "rows_previous"}},
		{Name: "board", Owner: "finance", Contact: "finance@example.com", Fields: []string{"outcome"}},
	}
	const loader, nobody = "declared by loader (platform, platform@example.com)", "no subscriber has declared it"
	const jobs = `    {"name": "jobs", "type": "long", "default": 1, "doc": "Export jobs that it took: those that failed or took too long, and the last. 0 for a sync window."},` + "\n"
	for _, tc := range []struct{ name, old, new, want, who string }{
		{"nothing", "", "", "", ""},
		{"a doc alone", "Why it did not succeed", "Why it failed", "", ""},
		{"a new optional field", jobs, jobs + `    {"name": "cost", "type": ["null", "double"], "default": null, "doc": "d"},`, "", ""},
		{"a new field without a default", jobs, jobs + `    {"name": "cost", "type": "double", "doc": "d"},`, "field cost: readers of today cannot read what was written before", nobody},
		{"an optional field gone", jobs, "", "field jobs: it is gone (or renamed)", loader},
		{"a field renamed", `"name": "run_id"`, `"name": "id"`, "field run_id: it is gone (or renamed)", loader},
		{"a field renamed with an alias", `"name": "run_id"`, `"name": "id", "aliases": ["run_id"]`, "field run_id: it is gone (or renamed)", loader},
		{"another type", `"name": "jobs", "type": "long"`, `"name": "jobs", "type": "int"`, "field jobs: its type was long and is int", loader},
		{"text becomes bytes", `"name": "run_id", "type": "string"`, `"name": "run_id", "type": "bytes"`, "field run_id: its type was string and is bytes", loader},
		{"another unit", `"name": "completed_at", "type": {"type": "long", "logicalType": "timestamp-micros"}`, `"name": "completed_at", "type": {"type": "long", "logicalType": "timestamp-millis"}`,
			"field completed_at: its type was long timestamp-micros and is long timestamp-millis", loader},
		{"another item", `"name": "kinds", "type": {"type": "array", "items": "string"}`, `"name": "kinds", "type": {"type": "array", "items": "bytes"}`, "field kinds: its type was string and is bytes", loader},
		{"not optional any more", `"name": "error", "type": ["null", "string"], "default": null`, `"name": "error", "type": "string", "default": ""`, "field error: its type was [null, string] and is string", loader},
		{"one more branch", `"name": "rows_previous", "type": ["null", "long"]`, `"name": "rows_previous", "type": ["null", "long", "string"]`, "field rows_previous: its type was", loader},
		{"a symbol gone", `"PARTIAL", "FAILED"`, `"FAILED"`, "field outcome: the symbol PARTIAL is gone", "declared by loader (platform, platform@example.com), board (finance, finance@example.com)"},
		{"a symbol more", `"CANCELLED"]`, `"CANCELLED", "LOST"]`, "field outcome: readers of before cannot read what is written now", loader},
		{"another record", `"name": "ExportRun"`, `"name": "Run"`, "field (the record): its type was record ExportRun", nobody},
		{"no schema", `"fields": [`, `"fields": [[`, "export_run.v1.avsc: ", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			require.Contains(t, good, tc.old)
			copied := compat.Text{File: "export_run.v1.avsc", Text: strings.Replace(good, tc.old, tc.new, 1)}
			err := compat.Check(copied, []compat.Text{{File: "released/export_run.v1.1.avsc", Text: good}}, subscribers)
			if tc.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tc.want)
			require.ErrorContains(t, err, tc.who)
		})
	}
}

// TestEveryReleasedTextCounts: a field that only the first one had is missed, too, and all that is wrong is told at once.
func TestEveryReleasedTextCounts(t *testing.T) {
	t.Parallel()
	record := func(fields string) string { return `{"type":"record","name":"R","fields":[` + fields + `]}` }
	const a, b = `{"name":"a","type":"long","default":0}`, `{"name":"b","type":"long","default":0}`
	released := []compat.Text{{File: "1", Text: record(a + "," + b)}, {File: "2", Text: record(b)}}
	err := compat.Check(compat.Text{File: "r.avsc", Text: record(`{"name":"c","type":"long"}`)}, released, nil)
	for _, field := range []string{"a", "b", "c"} {
		require.ErrorContains(t, err, "r.avsc: field "+field)
	}
	require.NoError(t, compat.Check(compat.Text{File: "r.avsc", Text: record(a + "," + b)}, released, nil))
}

func TestSubscribersSayWhatIsWrongWithThem(t *testing.T) {
	t.Parallel()
	const good = "name: bi\nowner: finance\ncontact: finance@example.com\ntopic: revenue.people.v1\nfields: [person_id, title]\n"
	for _, tc := range []struct{ old, new, want string }{
		{"", "", ""},
		{"title", "titel", "subscribers/bi.yaml: fields: revenue.people.v1 has no field titel"},
		{"revenue.people.v1", "revenue.persons.v1", "subscribers/bi.yaml: topic: revenue.persons.v1 is not in the catalogue of topics"},
		{"revenue.people.v1", "revenue.people.v1.dlq", "subscribers/bi.yaml: topic: the values of revenue.people.v1.dlq have no schema"},
		{"name: bi", "name: sales", `subscribers/bi.yaml: name: "sales" is not that of the file`},
		{"owner: finance\n", "", "subscribers/bi.yaml: owner, contact, topic and fields are required"},
		{"fields: ", "columns: ", "subscribers/bi.yaml: yaml: unmarshal errors"},
	} {
		require.Contains(t, good, tc.old)
		subscribers, err := compat.Subscribers(fstest.MapFS{"bi.yaml": {Data: []byte(strings.Replace(good, tc.old, tc.new, 1))}})
		if tc.want == "" {
			require.NoError(t, err)
			require.Len(t, subscribers, 1)
			continue
		}
		require.ErrorContains(t, err, tc.want)
	}
}

// TestContractsSubscribe: who changes a field hears of the contracts whose columns have its name.
func TestContractsSubscribe(t *testing.T) {
	t.Parallel()
	subscribers := compat.OfContracts([]contract.Contract{
		{Name: "runs_v1", Topic: schemas.ExportRunsTopic, Owner: "platform", Consumers: []string{"board", "finance"}, Columns: []contract.Column{{Name: "jobs"}, {Name: "seconds"}}},
		{Name: "freshness_v1", Columns: []contract.Column{{Name: "jobs"}}},
	})
	good := schemas.MustAvro("export_run.v1.avsc")
	err := compat.Check(compat.Text{File: "e", Text: strings.Replace(good, `"name": "jobs"`, `"name": "tries"`, 1)}, []compat.Text{{File: "r", Text: good}}, subscribers)
	require.ErrorContains(t, err, "e: field jobs: it is gone (or renamed) (r has it otherwise); declared by contract runs_v1 (platform, board, finance)")
	require.NotContains(t, err.Error(), "freshness_v1")
}
