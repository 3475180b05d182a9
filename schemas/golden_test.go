package schemas_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/linkedin/goavro/v2"
	"github.com/stretchr/testify/require"
	"github.com/twmb/avro"
	"go.uber.org/goleak"

	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/alert"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/exportrun"
	"github.com/revstream/revstream/schemas/forecast"
	"github.com/revstream/revstream/schemas/money"
	"github.com/revstream/revstream/schemas/people"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Golden bytes are only ever added to: a file that exists is never rewritten,
// for its bytes stand on topics.
var add = flag.Bool("add", false, "write golden files that do not exist yet")

type golden struct {
	name       string
	schemaFile string
	schema     *avro.Schema
	event      event.Event
	empty      func() event.Event
}

// before is a golden file that an older version of its schema wrote. That schema stands beside it.
func (g golden) before() bool { return g.schemaFile == "" }

func goldens(t *testing.T) []golden {
	t.Helper()
	version := time.Date(2026, 2, 3, 4, 5, 6, 789_012_000, time.UTC)
	seal := func(e event.Event, op event.Operation) event.Event {
		require.NoError(t, event.Seal(e, op, version, version.Add(time.Minute), "0b7f6f3e-run"))
		return e
	}
	day := func(m time.Month, d int) *time.Time { return new(time.Date(2026, m, d, 0, 0, 0, 0, time.UTC)) }
	amount, err := money.Parse("-12345678901234567.890000000000000001")
	require.NoError(t, err)

	full := &forecast.Forecast{
		ForecastID: "net_commit", TimePeriodID: "2026_Q1", TimeFrameID: "TF:2026-02-02", UserID: "7:00E", FieldID: "fc_commit",
		Kind: forecast.KindAdjustment, Value: &amount, CurrencyCode: new("EUR"), CurrencySymbol: new("€"),
		IsUpdated: true, UpdatedBy: new("7"), UpdatedOn: new(version.Truncate(time.Millisecond)),
		UserCRMID: new("005"), UserEmail: new("zoë@example.com"), UserName: new("Zoë 李"), ScopeID: new("7::MGR"),
		HierarchyID: new("h2"), HierarchyName: new("West"), ParentHierarchyID: new("h1"), ParentHierarchyName: new("All"),
		FieldName: new("Commit"), FieldType: new("NUMERIC"),
		TimePeriodType: new("QUARTER"), TimePeriodLabel: new("Q1"), TimePeriodYear: new(int32(2026)),
		TimePeriodStart: day(1, 1), TimePeriodEnd: day(3, 31), TimePeriodCRMID: new("026"),
		TimeFrameStart: day(2, 2), TimeFrameEnd: day(2, 8), JobID: "job-1",
	}
	sparse := &forecast.Forecast{
		ForecastID: "net_commit", TimePeriodID: "2026_Q1", TimeFrameID: "TF:2026-02-02", UserID: "7:00E", FieldID: "fc_commit",
		Kind: forecast.KindForecastUpdated, JobID: "job-1",
	}
	person := &people.Person{
		PersonID: 164, CreatedAt: new(version.Add(-time.Hour)), UpdatedAt: &version,
		FirstName: new("Ünï"), LastName: new(""), EmailAddress: new("u@example.com"), Phone: new("+49 30 1"),
		DoNotContact: new(false), Bouncing: new(true), Locale: new("Europe/Berlin"), LocaleUTCOffset: new(int64(60)),
		SuccessCount: new(int64(3)), EmailsSent: new(int64(1 << 40)), AccountID: new(int64(9)), OwnerID: new(int64(8)),
		CadenceIDs: []int64{5, 4}, Tags: []string{"vip", "ünï"}, ContactRestrictions: []string{},
		CustomFields: map[string]string{"hobby": "surfing"}, Extra: map[string]string{"new_field": `{"a":[1,null]}`},
	}
	gone := &people.Person{
		PersonID: 165, CadenceIDs: []int64{}, Tags: []string{}, ContactRestrictions: []string{},
		CustomFields: map[string]string{}, Extra: map[string]string{},
	}
	run := &exportrun.ExportRun{
		RunID: "clari:job-1", Source: "clari", OfEntity: "forecast", Scope: "net_commit", TimePeriodID: new("2026_Q1"),
		Kinds: []string{"forecast", "quota"}, JobID: new("job-1"), RequestedAt: version, StartedAt: new(version.Add(time.Second)),
		EndedAt: new(version.Add(2 * time.Second)), CompletedAt: version.Add(3 * time.Second),
		RowsExpected: 10, RowsPublished: 7, RowsUnchanged: 2, RowsRejected: 1, Truncated: true,
		Outcome: exportrun.Partial, Error: new("1 value does not fit decimal(38,18)"),
		Jobs: 1, // the default: its schema did not have it
	}
	doubtful := &exportrun.ExportRun{
		RunID: "clari:job-4", Source: "clari", OfEntity: "forecast", Scope: "net_commit", TimePeriodID: new("2026_Q1"),
		Kinds: []string{"forecast"}, JobID: new("job-4"), RequestedAt: version, CompletedAt: version.Add(3 * time.Second),
		RowsExpected: 10, RowsPublished: 10, Truncated: true, Outcome: exportrun.Partial, Error: new("rows are missing"),
		Jobs: 4, RowsTruncated: true, CellsTruncated: true, Empty: true, TimePeriodReceived: new("2026_Q2"), PeriodGap: true,
		UnknownUsers: 3, UnknownFields: 2, RowsPrevious: new(int64(1 << 40)), UnusualCount: true,
	}
	small, err := money.Parse("0.5")
	require.NoError(t, err)
	move := &alert.Alert{
		AlertID: uuid.MustParse("0190825e-a538-80db-9770-6c50c4e69696"), Kind: alert.ForecastAnomaly, Severity: alert.Warning,
		Title: "fc_commit moved by 25 %", Relation: "forecast", Subject: "net_commit|2026_Q1|TF:2026-02-02|7:00E|fc_commit|forecast",
		OccurredAt: version, AmountBefore: &amount, AmountAfter: &small, CurrencyCode: new("EUR"),
		Attributes: map[string]string{"scope": "user"}, // of several the order would be any
	}
	bare := &alert.Alert{
		AlertID: uuid.MustParse("0190825e-a538-80db-9770-6c50c4e69697"), Kind: alert.ContractViolation, Severity: alert.Critical,
		Title: "late", Relation: "people", Subject: "people_v1", OccurredAt: version, Attributes: map[string]string{},
	}
	newForecast := func() event.Event { return new(forecast.Forecast) }
	newRun := func() event.Event { return new(exportrun.ExportRun) }
	newAlert := func() event.Event { return new(alert.Alert) }
	newPerson := func() event.Event { return new(people.Person) }
	return []golden{
		{"forecast.v1.full", forecast.SchemaFile, forecast.Schema, seal(full, event.Upsert), newForecast},
		{"forecast.v1.sparse", forecast.SchemaFile, forecast.Schema, seal(sparse, event.Upsert), newForecast},
		{"person.v1.full", people.SchemaFile, people.Schema, seal(person, event.Upsert), newPerson},
		{"person.v1.deleted", people.SchemaFile, people.Schema, seal(gone, event.Delete), newPerson},
		{"export_run.v1.partial", "", exportrun.Schema, seal(run, event.Upsert), newRun},
		{"export_run.v1.doubtful", exportrun.SchemaFile, exportrun.Schema, seal(doubtful, event.Upsert), newRun},
		{"alert.v1.anomaly", alert.SchemaFile, alert.Schema, seal(move, event.Upsert), newAlert},
		{"alert.v1.bare", alert.SchemaFile, alert.Schema, seal(bare, event.Upsert), newAlert},
	}
}

// TestGoldenBytes holds both Avro libraries, and every later version of the
// schemas, to the bytes that stand on topics.
func TestGoldenBytes(t *testing.T) {
	t.Parallel()
	for _, g := range goldens(t) {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join("testdata", "golden", g.name+".avro")
			if g.before() {
				text, err := os.ReadFile(filepath.Join("testdata", "golden", g.name+".avsc"))
				require.NoError(t, err)
				requireRead(t, g, path, string(text))
				return
			}
			encoded, err := g.schema.Encode(g.event)
			require.NoError(t, err)
			if _, err := os.Stat(path); *add && os.IsNotExist(err) {
				require.NoError(t, os.WriteFile(path, encoded, 0o644))
			}
			want, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, want, encoded, "the encoding changed")

			text, err := schemas.Avro(g.schemaFile)
			require.NoError(t, err)
			requireRead(t, g, path, text)
		})
	}
}

// requireRead reads what was written with a schema, as a consumer of today does and as goavro does.
func requireRead(t *testing.T, g golden, path, writer string) {
	t.Helper()
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	parsed, err := avro.Parse(writer)
	require.NoError(t, err)
	reader, err := avro.Resolve(parsed, g.schema)
	require.NoError(t, err)
	decoded := g.empty()
	rest, err := reader.Decode(want, decoded)
	require.NoError(t, err)
	require.Empty(t, rest)
	require.Equal(t, g.event, decoded)
	require.NoError(t, event.Check(decoded, []byte(decoded.Key())))

	codec, err := goavro.NewCodec(writer)
	require.NoError(t, err)
	native, rest, err := codec.NativeFromBinary(want)
	require.NoError(t, err, "goavro cannot read the bytes")
	require.Empty(t, rest)
	again, err := codec.BinaryFromNative(nil, native)
	require.NoError(t, err)
	require.Equal(t, want, again, "goavro writes other bytes")
}

// TestSchemasBeginWithTheEnvelope: a subscriber of any topic finds the same
// five fields first.
func TestSchemasBeginWithTheEnvelope(t *testing.T) {
	t.Parallel()
	topics, err := schemas.Topics()
	require.NoError(t, err)
	var seen int
	var first []byte
	for _, topic := range topics {
		if topic.Schema == "" {
			continue
		}
		text, err := schemas.Avro(topic.Schema)
		require.NoError(t, err)
		var doc struct {
			Fields []struct {
				Name string          `json:"name"`
				Type json.RawMessage `json:"type"`
				Doc  string          `json:"doc"`
			} `json:"fields"`
		}
		require.NoError(t, json.Unmarshal([]byte(text), &doc))
		require.Greater(t, len(doc.Fields), 5)
		for _, f := range doc.Fields {
			require.NotEmpty(t, f.Doc, "%s: field %s has no doc", topic.Schema, f.Name)
		}
		head, err := json.Marshal(doc.Fields[:5])
		require.NoError(t, err)
		if first == nil {
			first = head
		}
		require.True(t, bytes.Equal(first, head), "%s begins otherwise", topic.Schema)
		seen++
	}
	require.Equal(t, 4, seen)
}

// TestEveryEntityTopicHasADLQ: a consumer of ours must find its dead-letter topic. We read no topic that goes into no table.
func TestEveryEntityTopicHasADLQ(t *testing.T) {
	t.Parallel()
	topics, err := schemas.Topics()
	require.NoError(t, err)
	byName := map[string]schemas.Topic{}
	for _, topic := range topics {
		byName[topic.Name] = topic
	}
	for _, topic := range topics {
		if topic.Table == "" {
			continue
		}
		dlq, ok := byName[schemas.DLQTopic(topic.Name)]
		require.True(t, ok, topic.Name)
		require.Equal(t, topic.Partitions, dlq.Partitions)
		require.Greater(t, dlq.MaxMessageBytes, topic.MaxMessageBytes)
		require.Equal(t, 30*24*time.Hour, dlq.Retention)
		require.True(t, topic.Compacted)
		require.GreaterOrEqual(t, topic.Retention, 7*24*time.Hour)
	}
}
