package desk

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/pipeline/snapshot"
	"github.com/revstream/revstream/schemas"
)

func TestMain(m *testing.M) { pipelinetest.Main(m) }

var (
	peopleDLQ   = schemas.DLQTopic(schemas.PeopleTopic)
	forecastDLQ = schemas.DLQTopic(schemas.ForecastTopic)
	topics      = []string{schemas.PeopleTopic, peopleDLQ, schemas.ForecastTopic, forecastDLQ, schemas.DLQDecisionsTopic}
	failed      = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

func newDesk(t testing.TB, cluster *pipelinetest.Cluster, opts ...kgo.Opt) *Desk {
	t.Helper()
	opts = append(Options(), opts...)
	return New(pipelinetest.Client(t, cluster, opts...), pipelinetest.Logger(t))
}

// poison is the i-th of a topic, failing i minutes after failed.
func poison(topic string, i int, reason string) consume.Poison {
	return consume.Poison{
		Record: &kgo.Record{
			Topic: topic, Partition: int32(i % 2), Offset: int64(100 + i), Timestamp: failed.Add(-time.Hour),
			Key: fmt.Appendf(nil, "key-%d", i), Value: fmt.Appendf(nil, "value-%d", i),
			Headers: []kgo.RecordHeader{{Key: "ce_id", Value: fmt.Appendf(nil, "event-%d", i)}, {Key: "correlation-id", Value: []byte("run")}},
		},
		Stage: consume.StageDecode, Reason: reason, Message: "field x is not valid", Failed: failed.Add(time.Duration(i) * time.Minute),
	}
}

// write writes dead letters as a consumer does.
func write(t testing.TB, cluster *pipelinetest.Cluster, letters ...consume.Poison) {
	t.Helper()
	client := pipelinetest.Client(t, cluster, deadletter.Options()...)
	_, err := deadletter.NewWriter(client, "people-consumer", "v1").Write(t.Context(), letters)
	require.NoError(t, err)
}

func peopleLetters(n int) []consume.Poison {
	letters := make([]consume.Poison, n)
	for i := range letters {
		letters[i] = poison(schemas.PeopleTopic, i, "validation")
	}
	return letters
}

func entries(t testing.TB, d *Desk, selection Selection) []Entry {
	t.Helper()
	var all []Entry
	require.NoError(t, d.Letters(t.Context(), selection, func(e Entry) error { all = append(all, e); return nil }))
	return all
}

func keys(all []Entry) []string {
	var names []string
	for _, e := range all {
		names = append(names, string(e.Letter.Key))
	}
	return names
}

// requireEachReplayedOnce asserts what must hold whatever happened before: each letter is on its topic once, as far as
// it has a decision, and every one has.
func requireEachReplayedOnce(t testing.TB, cluster *pipelinetest.Cluster, letters []consume.Poison) {
	t.Helper()
	want, got := map[string]string{}, map[string]string{}
	for _, p := range letters {
		want[string(p.Record.Key)] = string(p.Record.Value)
	}
	replayIDs := map[string]string{} // by key
	for _, rec := range pipelinetest.ReadAll(t, cluster, schemas.PeopleTopic) {
		require.NotContains(t, got, string(rec.Key), "replayed twice")
		got[string(rec.Key)] = string(rec.Value)
		for _, h := range rec.Headers {
			if h.Key == "dlq-replay-id" {
				replayIDs[string(rec.Key)] = string(h.Value)
			}
		}
	}
	require.Equal(t, want, got)

	decisions := map[string]Decision{}
	for _, rec := range pipelinetest.ReadAll(t, cluster, schemas.DLQDecisionsTopic) {
		require.NotContains(t, decisions, string(rec.Key), "decided twice")
		var d Decision
		require.NoError(t, json.Unmarshal(rec.Value, &d))
		decisions[string(rec.Key)] = d
	}
	require.Len(t, decisions, len(letters))
	for _, rec := range pipelinetest.ReadAll(t, cluster, peopleDLQ) {
		d := decisions[fmt.Sprintf("%s/%d/%d", peopleDLQ, rec.Partition, rec.Offset)]
		require.Equal(t, Replayed, d.Decision)
		require.Equal(t, replayIDs[string(rec.Key)], d.ReplayID, "the record and its decision are of one transaction")
	}
}

func TestReplayPutsTheOriginalBack(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 2, topics...)
	letters := peopleLetters(7)
	write(t, cluster, letters...)
	d := newDesk(t, cluster)

	report, err := d.Replay(t.Context(), Order{By: "ada", Why: "fixed in v2"})
	require.NoError(t, err)
	require.NoError(t, report.Shortfall())
	require.Equal(t, map[string]map[string]int{schemas.PeopleTopic: {"validation": 7}}, report.Reasons)
	requireEachReplayedOnce(t, cluster, letters)

	for _, rec := range pipelinetest.ReadAll(t, cluster, schemas.PeopleTopic) {
		require.Equal(t, "ce_id", rec.Headers[0].Key)
		require.Equal(t, bytes.Replace(rec.Key, []byte("key"), []byte("event"), 1), rec.Headers[0].Value)
		require.Contains(t, rec.Headers, kgo.RecordHeader{Key: "dlq-replays", Value: []byte("1")})
		require.Contains(t, rec.Headers, kgo.RecordHeader{Key: "dlq-replay-id", Value: []byte(report.ReplayID)})
	}
	all := entries(t, d, Selection{All: true})
	require.Len(t, all, 7)
	decision, exists, err := d.Decision(t.Context(), all[0].ID)
	require.NoError(t, err)
	require.True(t, exists)
	require.WithinDuration(t, time.Now(), decision.At, time.Minute)
	decision.At = time.Time{}
	require.Equal(t, Decision{Decision: Replayed, ReplayID: report.ReplayID, By: "ada", Why: "fixed in v2"}, decision)

	require.Empty(t, entries(t, d, Selection{}), "nothing is open")
	again, err := d.Replay(t.Context(), Order{})
	require.NoError(t, err)
	require.Zero(t, again.Replayed)
	byID, err := d.Replay(t.Context(), Order{Selection: Selection{IDs: []ID{all[0].ID}}})
	require.NoError(t, err)
	require.Equal(t, &Cause{1, all[0].ID}, byID.Skipped.Why["already replayed"])
	require.Error(t, byID.Shortfall())
	requireEachReplayedOnce(t, cluster, letters)
}

// TestDryRunWritesNothing: not even a transaction marker, and no other replayer is disturbed.
func TestDryRunWritesNothing(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 2, topics...)
	write(t, cluster, peopleLetters(4)...)
	admin := kadm.NewClient(pipelinetest.Client(t, cluster))
	ends := func() kadm.ListedOffsets {
		offsets, err := admin.ListEndOffsets(t.Context(), topics...)
		require.NoError(t, err)
		return offsets
	}
	before := ends()
	var reads, writes atomic.Int64
	watch := pipelinetest.Watch(func(req kmsg.Request) {
		switch kmsg.Key(req.Key()) {
		case kmsg.Fetch:
			reads.Add(1)
		case kmsg.Produce, kmsg.InitProducerID:
			writes.Add(1)
		}
	})
	report, err := newDesk(t, cluster, watch).Replay(t.Context(), Order{DryRun: true})
	require.NoError(t, err)
	require.Equal(t, 4, report.Replayed)
	require.Equal(t, before, ends())
	require.Positive(t, reads.Load())
	require.Zero(t, writes.Load())
}

func TestSelections(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 1, topics...)
	write(t, cluster, poison(schemas.PeopleTopic, 0, "validation"), poison(schemas.PeopleTopic, 1, "corrupt_value"), poison(schemas.PeopleTopic, 2, "validation"))
	write(t, cluster, poison(schemas.ForecastTopic, 3, "validation"))
	d := newDesk(t, cluster)
	minute := func(n int) time.Time { return failed.Add(time.Duration(n) * time.Minute) }
	for name, c := range map[string]struct {
		selection Selection
		want      []string
	}{
		"all":             {Selection{}, []string{"key-3", "key-0", "key-1", "key-2"}},
		"topic":           {Selection{Topics: []string{schemas.PeopleTopic}}, []string{"key-0", "key-1", "key-2"}},
		"its own topic":   {Selection{Topics: []string{forecastDLQ}}, []string{"key-3"}},
		"reason":          {Selection{Reasons: []string{"corrupt_value"}}, []string{"key-1"}},
		"keys":            {Selection{Keys: []string{"key-2", "key-3"}}, []string{"key-3", "key-2"}},
		"since and until": {Selection{Since: minute(1), Until: minute(3)}, []string{"key-1", "key-2"}},
		"combined":        {Selection{Topics: []string{schemas.PeopleTopic}, Reasons: []string{"validation"}, Since: minute(1)}, []string{"key-2"}},
		"limit":           {Selection{Limit: 2}, []string{"key-3", "key-0"}},
		"IDs":             {Selection{IDs: []ID{{schemas.PeopleTopic, 0, 2}, {schemas.ForecastTopic, 0, 0}}}, []string{"key-3", "key-2"}},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, keys(entries(t, d, c.selection))) })
	}
}

func TestWrongSelectionsDoNothing(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 1, peopleDLQ, forecastDLQ, schemas.PeopleTopic, schemas.DLQDecisionsTopic)
	write(t, cluster, peopleLetters(1)...)
	d := newDesk(t, cluster)
	one := ID{schemas.PeopleTopic, 0, 0}
	for _, c := range []struct {
		selection Selection
		want      error
		text      string
	}{
		{Selection{IDs: []ID{one, {schemas.PeopleTopic, 0, 1}}}, ErrUnknownLetter, schemas.PeopleTopic + "/0/1"},
		{Selection{IDs: []ID{one, {schemas.PeopleTopic, 7, 0}}}, ErrUnknownLetter, schemas.PeopleTopic + "/7/0"},
		{Selection{Topics: []string{"revenue.pepole.v1"}}, snapshot.ErrNoTopic, "revenue.pepole.v1.dlq"},
		{Selection{Topics: []string{schemas.PeopleTopic, schemas.ForecastTopic}}, snapshot.ErrNoTopic, schemas.ForecastTopic + ":"}, // the original is gone
	} {
		_, err := d.Replay(t.Context(), Order{Selection: c.selection})
		require.ErrorIs(t, err, c.want)
		require.ErrorContains(t, err, c.text)
	}
	require.Empty(t, pipelinetest.ReadAll(t, cluster, schemas.PeopleTopic))
	require.Empty(t, pipelinetest.ReadAll(t, cluster, schemas.DLQDecisionsTopic))
}

// TestOnlyCommittedRecordsCount: neither a letter nor a decision of a transaction that was given up.
func TestOnlyCommittedRecordsCount(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 1, topics...)
	write(t, cluster, peopleLetters(1)...)
	other := pipelinetest.Client(t, cluster, kgo.TransactionalID("other"))
	require.NoError(t, other.BeginTransaction())
	decision, err := Decision{Decision: Replayed}.record(ID{schemas.PeopleTopic, 0, 0})
	require.NoError(t, err)
	require.NoError(t, other.ProduceSync(t.Context(), decision,
		&kgo.Record{Topic: peopleDLQ, Key: []byte("phantom")}).FirstErr())
	require.NoError(t, other.EndTransaction(t.Context(), kgo.TryAbort))
	write(t, cluster, poison(schemas.PeopleTopic, 1, "validation"))
	require.Equal(t, []string{"key-0", "key-1"}, keys(entries(t, newDesk(t, cluster), Selection{})))
}

// TestFlawedLettersAreSkipped: what is no dead letter, what would write to another topic than its own, and what was
// never an event. The others of their batch get through.
func TestFlawedLettersAreSkipped(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 1, topics...)
	write(t, cluster, poison(schemas.ForecastTopic, 0, "validation"))
	source := poison(schemas.PeopleTopic, 1, "malformed")
	source.Stage, source.Record.Partition, source.Record.Offset = deadletter.StageProduce, -1, -1
	write(t, cluster, source, poison(schemas.PeopleTopic, 2, "validation"))
	misled := pipelinetest.ReadAll(t, cluster, forecastDLQ)[0]
	misled.Topic = peopleDLQ
	require.NoError(t, pipelinetest.Client(t, cluster).ProduceSync(t.Context(), misled,
		&kgo.Record{Topic: peopleDLQ, Key: []byte("stray"), Value: []byte("x")}).FirstErr())
	d := newDesk(t, cluster)
	report, err := d.Replay(t.Context(), Order{Selection: Selection{Topics: []string{schemas.PeopleTopic}}})
	require.NoError(t, err)
	require.Equal(t, 3, report.Skipped.Letters)
	require.Contains(t, report.Skipped.Why, "it is what the source sent and was never an event: the source's next change brings it anew")
	require.Equal(t, []string{"stray"}, keys(entries(t, d, Selection{Reasons: []string{ReasonNotALetter}})))
	require.Empty(t, pipelinetest.ReadAll(t, cluster, schemas.ForecastTopic))
	replayed := pipelinetest.ReadAll(t, cluster, schemas.PeopleTopic)
	require.Len(t, replayed, 1)
	require.Equal(t, "key-2", string(replayed[0].Key))
}

// TestALetterThatItsTopicRefusesStandsAlone: the others of its batch get through.
func TestALetterThatItsTopicRefusesStandsAlone(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 2, peopleDLQ, schemas.DLQDecisionsTopic)
	_, err := kadm.NewClient(pipelinetest.Client(t, cluster)).CreateTopic(t.Context(), 2, -1, map[string]*string{"max.message.bytes": new("4000")}, schemas.PeopleTopic)
	require.NoError(t, err)
	letters := peopleLetters(9)
	large := poison(schemas.PeopleTopic, 9, "too_large")
	large.Record.Value = make([]byte, 8000)
	for i := range large.Record.Value { // incompressible
		large.Record.Value[i] = byte(i*i>>3 ^ i*7)
	}
	write(t, cluster, append(letters[:4:4], large)...)
	write(t, cluster, letters[4:]...)
	d := newDesk(t, cluster, kgo.ProducerBatchCompression(kgo.NoCompression()))
	report, err := d.Replay(t.Context(), Order{})
	require.NoError(t, err)
	require.Equal(t, 9, report.Replayed)
	require.Equal(t, 1, report.Failed.Letters)
	require.Error(t, report.Shortfall())
	require.Equal(t, []string{"key-9"}, keys(entries(t, d, Selection{})), "it is still open")
	require.Len(t, pipelinetest.ReadAll(t, cluster, schemas.PeopleTopic), 9)
}

// TestTwoReplayersDoNoHarm: the second overtakes the first between its reading the decisions and its first transaction,
// and between two of its transactions.
func TestTwoReplayersDoNoHarm(t *testing.T) {
	t.Parallel()
	for _, at := range []int{0, 4} {
		t.Run(fmt.Sprint("at letter ", at), func(t *testing.T) {
			t.Parallel()
			cluster := pipelinetest.Kafka(t, 2, topics...)
			letters := peopleLetters(8)
			write(t, cluster, letters...)
			first, second := newDesk(t, cluster), newDesk(t, cluster)
			first.batch = 2
			seen := 0
			report, err := first.Replay(t.Context(), Order{Patch: func(ctx context.Context, l deadletter.Letter) ([]byte, string, error) {
				if seen == at {
					_, err := second.Replay(ctx, Order{})
					require.NoError(t, err)
				}
				seen++
				return l.Value, "", nil
			}})
			require.ErrorContains(t, err, "another replayer has taken over")
			require.Less(t, report.Replayed, len(letters))
			requireEachReplayedOnce(t, cluster, letters)
		})
	}
}

func TestRateBoundsTheLettersPerSecond(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 1, topics...)
	write(t, cluster, peopleLetters(30)...)
	start := time.Now()
	report, err := newDesk(t, cluster).Replay(t.Context(), Order{Rate: 20})
	require.NoError(t, err)
	require.Equal(t, 30, report.Replayed)
	require.GreaterOrEqual(t, time.Since(start), 450*time.Millisecond) // ten letters above the burst of a second's
}

func TestIDs(t *testing.T) {
	t.Parallel()
	want := ID{Topic: schemas.PeopleTopic, Partition: 3, Offset: 17}
	for _, text := range []string{want.String(), peopleDLQ + "/3/17"} {
		got, err := ParseID(text)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, text := range []string{"", "x", "x/1", "/1/2", "x/-1/2", "x/1/-2", "x/1/2/3", "x/99999999999/1", "x/a/b"} {
		_, err := ParseID(text)
		require.ErrorContains(t, err, "is not the ID of a dead letter")
	}
}

// TestDecisionsOfOtherVersions: a decision that this version does not know closes a letter nevertheless, a tombstone
// opens it again.
func TestDecisionsOfOtherVersions(t *testing.T) {
	t.Parallel()
	id := ID{Topic: schemas.PeopleTopic, Partition: 1, Offset: 5}
	s := make(decided)
	for _, c := range []struct{ value, state string }{
		{`{"decision":"replayed"}`, Replayed}, {`{"decision":"parked"}`, "parked"}, {`{`, Undecipherable}, {`{}`, Undecipherable}, {``, Open},
	} {
		s.put(peopleDLQ+"/1/5", []byte(c.value))
		require.Equal(t, c.state, s.of(id))
	}
	s.put("no key of a letter", []byte(`{"decision":"replayed"}`))
	s.put(peopleDLQ+"/1/x", []byte(`{"decision":"replayed"}`))
	require.Equal(t, Open, s.of(id))
}
