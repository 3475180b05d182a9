package endtoend

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/deploy/local/stack"
	"github.com/revstream/revstream/deploy/local/status"
)

// TestRecordedPeopleLandWithEveryValue: each person of a recorded answer is in
// ClickHouse, each value equal to the file's, read over plain HTTP and compared
// without the pipeline's own types.
func TestRecordedPeopleLandWithEveryValue(t *testing.T) {
	t.Parallel()
	path, err := filepath.Abs(*peopleFile)
	require.NoError(t, err)
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	var page struct{ Data []map[string]any }
	decode(t, raw, &page)
	require.NotEmpty(t, page.Data)

	s := newStack(t, stack.Sources{People: path})
	_, err = s.Start(t.Context(), stack.Broker, stack.Registry, stack.ClickHouse, stack.Salesloft)
	require.NoError(t, err)
	require.NoError(t, s.Prepare(t.Context()))
	_, err = s.Start(t.Context(), stack.PeopleConsumer)
	require.NoError(t, err)
	_, err = s.Run(t.Context(), "", stack.PeopleProducer, "--once")
	require.NoError(t, err)

	rows := map[json.Number]map[string]any{}
	require.Eventually(t, func() bool {
		answer, err := status.Query(t.Context(), s.Config().ClickHouseURL(),
			"SELECT * FROM people_full FORMAT JSONEachRow SETTINGS date_time_output_format = 'iso', output_format_json_quote_64bit_integers = 0")
		require.NoError(t, err)
		clear(rows)
		for line := range strings.Lines(answer) {
			row := map[string]any{}
			decode(t, []byte(line), &row)
			rows[row["person_id"].(json.Number)] = row
		}
		return len(rows) >= len(page.Data)
	}, time.Minute, 100*time.Millisecond)

	require.Len(t, rows, len(page.Data))
	compared := 0
	for _, person := range page.Data {
		row := rows[person["id"].(json.Number)]
		require.NotNil(t, row, "person %v", person["id"])
		compared += comparePerson(t, person, row)
	}
	t.Logf("%s: %d people, %d values compared", filepath.Base(path), len(page.Data), compared)
}

func decode(t *testing.T, raw []byte, into any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	require.NoError(t, d.Decode(into))
}

// references are objects {"id":…} of which the ID is kept.
var references = []string{"account", "owner", "last_contacted_by", "import", "person_stage", "most_recent_cadence", "last_completed_step_cadence", "last_completed_step"}

// comparePerson holds each field of the API's record against its column and
// returns how many values it compared.
func comparePerson(t *testing.T, person, row map[string]any) (compared int) {
	t.Helper()
	equal := func(field string, want, got any) {
		t.Helper()
		require.Equal(t, want, got, "person %v: %s", person["id"], field)
		compared++
	}
	for field, value := range person {
		switch {
		case field == "id":
			equal(field, value, row["person_id"])
		case strings.HasSuffix(field, "_at"):
			if value == nil {
				equal(field, nil, row[field])
				continue
			}
			want, err := time.Parse(time.RFC3339Nano, value.(string))
			require.NoError(t, err)
			got, err := time.Parse(time.RFC3339Nano, row[field].(string))
			require.NoError(t, err)
			equal(field, want.UnixMicro(), got.UnixMicro())
		case field == "counts":
			for name, count := range value.(map[string]any) {
				equal(name, count, row[name])
			}
		case field == "cadences":
			ids := []any{}
			for _, cadence := range value.([]any) {
				ids = append(ids, cadence.(map[string]any)["id"])
			}
			equal(field, ids, row["cadence_ids"])
		case field == "custom_fields":
			want := map[string]any{}
			for name, custom := range value.(map[string]any) {
				want[name] = textOf(t, custom)
			}
			equal(field, want, row[field])
		case slices.Contains(references, field):
			if value == nil {
				equal(field, nil, row[field+"_id"])
				continue
			}
			equal(field, value.(map[string]any)["id"], row[field+"_id"])
		default:
			got, there := row[field]
			if !there { // a field that the schema does not name
				got, value = row["extra"].(map[string]any)[field], textOf(t, value)
			}
			equal(field, value, got)
		}
	}
	return compared
}

// textOf is how a map of texts holds a JSON value: a text as itself, anything
// else as its JSON.
func textOf(t *testing.T, value any) any {
	t.Helper()
	if text, ok := value.(string); ok {
		return text
	}
	raw, err := json.Marshal(value)
	require.NoError(t, err)
	return string(raw)
}
