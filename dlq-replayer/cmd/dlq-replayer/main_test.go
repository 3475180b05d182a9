package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/dlq-replayer/desk"
	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/pipeline/secret"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/people"
	"github.com/revstream/revstream/schemas/wire"
)

func TestMain(m *testing.M) { pipelinetest.Main(m) }

var version = time.Date(2026, 2, 3, 4, 5, 6, 789_012_000, time.UTC)

// bench is a broker and a registry with three dead letters: a person that fails validation, one whose bytes are cut,
// and one that a mended consumer would take.
type bench struct {
	cluster  *pipelinetest.Cluster
	registry string
	schema   int // its ID
	desk     *desk.Desk
}

func newBench(t *testing.T) *bench {
	t.Helper()
	cluster := pipelinetest.Kafka(t, 1, schemas.PeopleTopic, schemas.DLQTopic(schemas.PeopleTopic), schemas.DLQDecisionsTopic)
	b := &bench{cluster: cluster, registry: pipelinetest.Registry(t)}
	b.desk = desk.New(pipelinetest.Client(t, cluster, desk.Options()...), pipelinetest.Logger(t))

	registry, err := wire.NewRegistry(b.registry)
	require.NoError(t, err)
	schema, err := registry.Register(t.Context(), schemas.PeopleTopic, schemas.MustAvro(people.SchemaFile))
	require.NoError(t, err)
	b.schema = schema.ID
	letter := func(id int64, updated time.Time, cut int, reason string) consume.Poison {
		name := "Zebedee"
		p := &people.Person{PersonID: id, FirstName: &name, UpdatedAt: &updated}
		require.NoError(t, event.Seal(p, event.Upsert, version, version, "run"))
		value, err := wire.NewEncoder(people.Schema, schema.ID).Encode(p)
		require.NoError(t, err)
		rec := &kgo.Record{Topic: schemas.PeopleTopic, Offset: id, Timestamp: version, Key: []byte(p.Key()), Value: value[:len(value)-cut]}
		for _, h := range event.Headers(p, "/salesloft", "1") {
			rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: h.Key, Value: []byte(h.Value)})
		}
		return consume.Poison{Record: rec, Stage: consume.StageDecode, Reason: reason, Message: "a field is wrong", Failed: time.Now().Add(-2 * time.Hour)}
	}
	writer := deadletter.NewWriter(pipelinetest.Client(t, cluster, deadletter.Options()...), "people-consumer", "v1")
	_, err = writer.Write(t.Context(), []consume.Poison{
		letter(1, version.Add(time.Second), 0, wire.ReasonValidation), letter(2, version, 3, wire.ReasonCorrupt), letter(3, version, 0, wire.ReasonUnknownSchema),
	})
	require.NoError(t, err)
	return b
}

func (b *bench) run(t *testing.T, c command) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := c.run(t.Context(), b.desk, &out)
	return out.String(), err
}

func id(offset int64) desk.ID { return desk.ID{Topic: schemas.PeopleTopic, Offset: offset} }

func TestList(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	text, err := b.run(t, &listCommand{})
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(text), "\n")
	require.Len(t, lines, 5)
	require.Regexp(t, `^ID +AGE +REASON +STAGE +REPLAYS +KEY$`, lines[0])
	require.Regexp(t, `^revenue\.people\.v1/0/0 +2h +validation +decode +0 +salesloft:1$`, lines[1])
	require.Equal(t, strings.Index(lines[0], "KEY"), strings.Index(lines[1], "salesloft"))
	require.Equal(t, "3 open: corrupt_value=1 unknown_schema=1 validation=1", lines[4])

	text, err = b.run(t, &listCommand{JSON: true, filters: filters{Reasons: []string{wire.ReasonCorrupt}}})
	require.NoError(t, err)
	var got row
	require.NoError(t, json.Unmarshal([]byte(text), &got))
	require.Equal(t, []any{id(1), "open", "salesloft:2", wire.ReasonCorrupt}, []any{got.ID, got.State, got.Key, got.Reason})
	require.NotContains(t, text, "Zebedee")
}

func TestShow(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	text, err := b.run(t, &showCommand{ID: id(0), RegistryURL: secret.Ref(b.registry)})
	require.NoError(t, err)
	for _, want := range []string{"validation", "a field is wrong", "salesloft:1", "ce_specversion", `"first_name": "[masked]"`, `"updated_at": "2026-02-03T04:05:07.789012Z"`} {
		require.Contains(t, text, want)
	}
	require.NotContains(t, text, "Zebedee")
	text, err = b.run(t, &showCommand{ID: id(0), RegistryURL: secret.Ref(b.registry), Reveal: true})
	require.NoError(t, err)
	require.Contains(t, text, `"first_name": "Zebedee"`)

	// What cannot be decoded may hold a name at any byte.
	text, err = b.run(t, &showCommand{ID: id(1), RegistryURL: secret.Ref(b.registry)})
	require.NoError(t, err)
	require.Contains(t, text, "cannot be decoded: corrupt_value")
	require.Contains(t, text, fmt.Sprintf("00000000  % x ", binary.BigEndian.AppendUint32([]byte{0}, uint32(b.schema))))
	require.Contains(t, text, "--reveal shows them")
	require.NotContains(t, text, "Zeb")
	text, err = b.run(t, &showCommand{ID: id(1), RegistryURL: secret.Ref(b.registry), JSON: true, Reveal: true})
	require.NoError(t, err)
	require.Contains(t, text, fmt.Sprintf("%x", "Zebedee"))

	_, err = b.run(t, &showCommand{ID: id(9), RegistryURL: secret.Ref(b.registry)})
	require.ErrorIs(t, err, desk.ErrUnknownLetter)
	_, err = b.run(t, &showCommand{ID: id(0), RegistryURL: "http://127.0.0.1:1"})
	require.ErrorContains(t, err, "SCHEMA_REGISTRY_URL")
}

// TestWhatTheSourceSent is shown without what it says, and not replayed; the others are.
func TestWhatTheSourceSent(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	writer := deadletter.NewWriter(pipelinetest.Client(t, b.cluster, deadletter.Options()...), "", "v1")
	var letters []consume.Poison
	for _, raw := range []string{`{"id":7,"first_name":{"is":["Zebedee"]},"starred":true,"title":null}`, `{"first_name":"Zebedee`} {
		rec := &kgo.Record{Topic: schemas.PeopleTopic, Partition: -1, Offset: -1, Timestamp: version, Key: []byte("salesloft:7"), Value: []byte(raw)}
		letters = append(letters, consume.Poison{Record: rec, Stage: deadletter.StageProduce, Reason: "malformed", Message: "a field is wrong", Failed: version})
	}
	_, err := writer.Write(t.Context(), letters)
	require.NoError(t, err)

	text, err := b.run(t, &listCommand{filters: filters{Reasons: []string{"malformed"}}})
	require.NoError(t, err)
	require.Contains(t, text, "2 open: malformed=2")
	text, err = b.run(t, &showCommand{ID: id(3), RegistryURL: secret.Ref(b.registry)})
	require.NoError(t, err)
	for _, want := range []string{"was never an event", "Producer", "Meant for", "as the source sent it", `"id": "[masked]"`, `"starred": true`, `"title": null`} {
		require.Contains(t, text, want)
	}
	require.NotContains(t, text, "Zebedee")
	text, err = b.run(t, &showCommand{ID: id(3), RegistryURL: secret.Ref(b.registry), Reveal: true})
	require.NoError(t, err)
	require.Contains(t, text, "Zebedee")
	text, err = b.run(t, &showCommand{ID: id(4), RegistryURL: secret.Ref(b.registry), JSON: true})
	require.NoError(t, err)
	require.Contains(t, text, `"undecodable":"corrupt_value: it is not JSON"`)
	require.NotContains(t, text, `"hex"`)

	text, err = b.run(t, &replayCommand{Yes: true})
	require.ErrorContains(t, err, "2 of 5")
	require.Contains(t, text, "replayed=3 skipped=2 failed=0\n")
	require.Contains(t, text, "never an event")
}

func TestReplay(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	text, err := b.run(t, &replayCommand{})
	require.NoError(t, err)
	require.Equal(t, "would replay to revenue.people.v1: corrupt_value=1 unknown_schema=1 validation=1\n"+
		"dry run: would replay 3 and skip 0; nothing was written, --yes acts\n", text)
	require.Empty(t, pipelinetest.ReadAll(t, b.cluster, schemas.PeopleTopic))

	text, err = b.run(t, &replayCommand{Yes: true, Why: "registered", filters: filters{Reasons: []string{wire.ReasonUnknownSchema}}})
	require.NoError(t, err)
	require.Contains(t, text, "replayed=1 skipped=0 failed=0\n")
	text, err = b.run(t, &replayCommand{Yes: true, IDs: []desk.ID{id(1), id(2)}, JSON: true})
	require.ErrorContains(t, err, "1 of 2 selected letters were not replayed")
	var result outcome
	require.NoError(t, json.Unmarshal([]byte(text), &result))
	require.Equal(t, []setback{{"already replayed", 1, id(2)}}, result.Skips)
	require.Equal(t, 1, result.Replayed)

	text, err = b.run(t, &statsCommand{JSON: true})
	require.NoError(t, err)
	require.JSONEq(t, `{"open":1,"replayed":2,"other":0,"topics":{"revenue.people.v1":{
		"validation":{"open":1,"replayed":0,"other":0},"corrupt_value":{"open":0,"replayed":1,"other":0},"unknown_schema":{"open":0,"replayed":1,"other":0}}}}`, text)
	text, err = b.run(t, &listCommand{All: true})
	require.NoError(t, err)
	require.Regexp(t, `revenue\.people\.v1/0/2 .* replayed `, text)
	text, err = b.run(t, &showCommand{ID: id(2), RegistryURL: secret.Ref(b.registry)})
	require.NoError(t, err)
	require.Regexp(t, `Decided why +registered`, text)
}

// TestReplayWithAPatch: what failed validation gets through, as the same event.
func TestReplayWithAPatch(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	path := filepath.Join(t.TempDir(), "patch.json")
	require.NoError(t, os.WriteFile(path, []byte(`{"updated_at":"2026-02-03T04:05:06.789012Z"}`), 0o600))
	cmd := &replayCommand{Yes: true, Patch: path, RegistryURL: secret.Ref(b.registry), filters: filters{Topics: []string{schemas.PeopleTopic}}}
	text, err := b.run(t, cmd)
	require.ErrorContains(t, err, "1 of 3")
	require.Contains(t, text, "such as revenue.people.v1/0/1: cannot be decoded and so not be patched: corrupt_value")
	require.Contains(t, text, "replayed=2 skipped=1 failed=0\n")

	registry, err := wire.NewRegistry(b.registry)
	require.NoError(t, err)
	replayed := pipelinetest.ReadAll(t, b.cluster, schemas.PeopleTopic)
	require.Len(t, replayed, 2)
	for _, rec := range replayed {
		var p people.Person
		require.NoError(t, wire.NewDecoder(people.Schema, registry).Decode(t.Context(), rec.Value, &p))
		require.NoError(t, event.Check(&p, rec.Key))
		require.Contains(t, rec.Headers, kgo.RecordHeader{Key: event.HeaderID, Value: []byte(p.EventID.String())})
	}
	decision, exists, err := b.desk.Decision(t.Context(), id(0))
	require.NoError(t, err)
	require.True(t, exists)
	require.True(t, decision.Patched)
	require.NotEmpty(t, decision.By)
}

func TestWrongFlagsDoNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	one := filters{Topics: []string{schemas.PeopleTopic}}
	bad := filepath.Join(t.TempDir(), "patch.json")
	require.NoError(t, os.WriteFile(bad, []byte(`{"a":`), 0o600))
	for want, c := range map[string]replayCommand{
		"cannot be combined":       {IDs: []desk.ID{id(0)}, filters: one},
		"--limit":                  {filters: filters{Limit: -1}},
		"--rate":                   {Rate: -1},
		"--since must be before":   {filters: filters{Since: moment{version}, Until: moment{version}}},
		"letters of one topic":     {Patch: bad, RegistryURL: secret.Ref(b.registry)},
		"is required with --patch": {Patch: bad, filters: one},
		"no such file":             {Patch: bad + "x", RegistryURL: secret.Ref(b.registry), filters: one},
		"it ends too early":        {Patch: bad, RegistryURL: secret.Ref(b.registry), filters: one},
		"no dead letter there":     {IDs: []desk.ID{id(0), id(9)}},
		"revenue.x.dlq":            {filters: filters{Topics: []string{"revenue.x"}}},
	} {
		c.Yes = true
		_, err := b.run(t, &c)
		require.ErrorContains(t, err, want)
	}
	require.Empty(t, pipelinetest.ReadAll(t, b.cluster, schemas.PeopleTopic))
}

func TestMoments(t *testing.T) {
	t.Parallel()
	var m moment
	require.NoError(t, m.UnmarshalText([]byte("2026-02-03T04:05:06.789012Z")))
	require.Equal(t, version, m.Time)
	require.NoError(t, m.UnmarshalText([]byte("90m")))
	require.WithinDuration(t, time.Now().Add(-90*time.Minute), m.Time, time.Minute)
	for _, text := range []string{"", "yesterday", "-1h", "2026-02-03"} {
		require.ErrorContains(t, m.UnmarshalText([]byte(text)), "neither a time")
	}
}

// TestKeysCannotDriveATerminal: a key is anyone's to choose who may write to the topic.
func TestKeysCannotDriveATerminal(t *testing.T) {
	t.Parallel()
	require.Equal(t, `"a\x1b[2Jb"`, printable("a\x1b[2Jb"))
	require.Equal(t, "f|2026_Q1|TF:2026-01-05|7:00E|x|quota 李", printable("f|2026_Q1|TF:2026-01-05|7:00E|x|quota 李"))
	require.NotContains(t, printable("\xff\n"), "\n")
}
