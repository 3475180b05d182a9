package audit_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/consumers/audit"
	"github.com/revstream/revstream/consumers/migrations"
	"github.com/revstream/revstream/consumers/service"
	"github.com/revstream/revstream/pipeline/clickhousesink"
	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/schemas"
)

func TestMain(m *testing.M) { pipelinetest.Main(m) }

const topic = schemas.DLQDecisionsTopic

var (
	noon   = time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)
	letter = deadletter.Place{Topic: schemas.DLQTopic(schemas.PeopleTopic), Partition: 1, Offset: 17}
)

// stack is a broker with the topic of decisions, and ClickHouse with the tables.
type stack struct {
	t       *testing.T
	cluster *pipelinetest.Cluster
	url     string
}

func newStack(t *testing.T) stack {
	t.Helper()
	s := stack{t, pipelinetest.Kafka(t, 1, topic), pipelinetest.ClickHouse(t)}
	_, err := migrations.Up(t.Context(), s.url)
	require.NoError(t, err)
	return s
}

func (s stack) sql(statement string) string { return pipelinetest.SQL(s.t, s.url, statement) }

func (s stack) produce(client *kgo.Client, records ...*kgo.Record) {
	s.t.Helper()
	require.NoError(s.t, client.ProduceSync(s.t.Context(), records...).FirstErr())
}

// run reads the topic from its beginning to its end, as a group. Meanwhile may be nil.
func (s stack) run(group string, meanwhile func(service.Loop)) {
	s.t.Helper()
	conn, err := clickhousesink.Open(s.url)
	require.NoError(s.t, err)
	loop, err := audit.Of(group).Loop(service.Parts{
		Consume: consume.Config{
			BatchRows: 3, BatchBytes: 1 << 20, BatchAge: 20 * time.Millisecond, MaxValueBytes: 1, // which must not hold here
			StopTimeout: 10 * time.Second, SessionTimeout: 6 * time.Second, RetryMax: 20 * time.Millisecond,
			PoisonShare: 0.5, PoisonWindow: 10, PoisonMin: 1,
		},
		Sink: clickhousesink.Config{InsertTimeout: time.Minute}, Logger: pipelinetest.Logger(s.t),
		Metrics: prometheus.NewRegistry(), Conn: conn, Letters: pipelinetest.Client(s.t, s.cluster, deadletter.Options()...),
	})
	require.NoError(s.t, err)
	client := pipelinetest.Client(s.t, s.cluster, loop.Options()...)
	ctx, cancel := context.WithCancel(s.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- loop.Run(ctx, client) }()
	if meanwhile != nil {
		meanwhile(loop)
	}
	s.drained(group)
	cancel()
	require.NoError(s.t, <-ended)
	client.Close()
	require.NoError(s.t, conn.Close())
}

func (s stack) drained(group string) {
	s.t.Helper()
	admin := kadm.NewClient(pipelinetest.Client(s.t, s.cluster))
	require.Eventually(s.t, func() bool {
		ends, err := admin.ListCommittedOffsets(s.t.Context(), topic)
		require.NoError(s.t, err)
		end, _ := ends.Lookup(topic, 0)
		committed, err := admin.FetchOffsets(s.t.Context(), group)
		if err != nil {
			return false // the group is not there yet
		}
		at, ok := committed.Lookup(topic, 0)
		return ok && at.At >= end.Offset
	}, time.Minute, 20*time.Millisecond)
}

func (s stack) decision(place deadletter.Place, d deadletter.Decision) *kgo.Record {
	rec, err := d.Record(topic, place)
	require.NoError(s.t, err)
	return rec
}

func (s stack) progress(r deadletter.Run) *kgo.Record {
	rec, err := r.Record(topic)
	require.NoError(s.t, err)
	return rec
}

// TestEachFactIsARow, whoever reads it how often, and only what was committed.
func TestEachFactIsARow(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	run := deadletter.Run{
		ID: "run-1", Action: deadletter.Replayed, Status: deadletter.Running, StartedAt: noon, UpdatedAt: noon,
		By: "ada", Why: "fixed in v2", From: "host", Order: json.RawMessage(`{"change":{"patch":{"a":1}}}`),
	}
	later := func(minutes int, status string, done int) deadletter.Run {
		r := run
		r.Status, r.Done, r.UpdatedAt = status, done, noon.Add(time.Duration(minutes)*time.Minute)
		return r
	}
	resumed := later(4, deadletter.Running, 30)
	resumed.By, resumed.Why = "eve", "after lunch"
	ended := later(5, deadletter.Stopped, 40)
	ended.Note, ended.Parked, ended.Skipped, ended.Failed, ended.Returned = "too many", 1, 2, 3, 4
	replayed := deadletter.Decision{
		Decision: deadletter.Replayed, RunID: "run-1", At: noon, By: "ada", Why: "fixed in v2", From: "host", Patched: true, Reason: "validation", EventID: "e-1",
	}
	seen := deadletter.Decision{Decision: deadletter.Revealed, At: noon.Add(time.Second), By: "bob", Why: "ticket 7", From: "10.0.0.1"}
	other := deadletter.Place{Topic: letter.Topic, Partition: 0, Offset: 3}
	client := pipelinetest.Client(t, s.cluster)
	s.produce(client,
		s.progress(run), s.decision(letter, replayed), s.decision(other, replayed),
		s.progress(later(2, deadletter.Running, 20)), s.progress(later(1, deadletter.Running, 10)), // as a redo from the middle has it
		s.progress(later(3, deadletter.Interrupted, 20)), s.progress(resumed), s.progress(ended),
		s.decision(letter, seen),
		&kgo.Record{Topic: topic, Key: []byte(other.String())}, // a tombstone
		&kgo.Record{Topic: topic, Key: []byte("run-1")},
		&kgo.Record{Topic: topic, Key: []byte(other.String()), Value: []byte(`{"decision":"replayed","replay_id":"old","at":"2026-01-02T03:04:05Z","by":"ada","patched":false}`)},
	)
	tx := pipelinetest.Client(t, s.cluster, kgo.TransactionalID("tx"))
	for _, end := range []kgo.TransactionEndTry{kgo.TryAbort, kgo.TryCommit} {
		require.NoError(t, tx.BeginTransaction())
		s.produce(tx, s.decision(deadletter.Place{Topic: letter.Topic, Offset: 1000}, deadletter.Decision{Decision: deadletter.Parked, At: noon, By: map[kgo.TransactionEndTry]string{kgo.TryCommit: "committed", kgo.TryAbort: "aborted"}[end]}))
		require.NoError(t, tx.EndTransaction(t.Context(), end))
	}

	const rows = "SELECT what, topic, partition, offset, run_id, by, why, from, reason, event_id, patched, action, status, note, done, parked, skipped, failed, returned, order, decision_offset FROM dlq_audit FINAL ORDER BY decision_offset"
	dlq := letter.Topic
	want := strings.Join([]string{
		"replayed\t" + dlq + "\t1\t17\trun-1\tada\tfixed in v2\thost\tvalidation\te-1\ttrue\t\t\t\t0\t0\t0\t0\t0\t\t1",
		"replayed\t" + dlq + "\t0\t3\trun-1\tada\tfixed in v2\thost\tvalidation\te-1\ttrue\t\t\t\t0\t0\t0\t0\t0\t\t2",
		"run running\t\\N\t\\N\t\\N\trun-1\tada\tfixed in v2\thost\t\t\tfalse\treplayed\trunning\t\t20\t0\t0\t0\t0\t" + string(run.Order) + "\t3",
		"run interrupted\t\\N\t\\N\t\\N\trun-1\tada\tfixed in v2\thost\t\t\tfalse\treplayed\tinterrupted\t\t20\t0\t0\t0\t0\t" + string(run.Order) + "\t5",
		"run running\t\\N\t\\N\t\\N\trun-1\teve\tafter lunch\thost\t\t\tfalse\treplayed\trunning\t\t30\t0\t0\t0\t0\t" + string(run.Order) + "\t6",
		"run stopped\t\\N\t\\N\t\\N\trun-1\tada\tfixed in v2\thost\t\t\tfalse\treplayed\tstopped\ttoo many\t40\t1\t2\t3\t4\t" + string(run.Order) + "\t7",
		"revealed\t" + dlq + "\t1\t17\t\tbob\tticket 7\t10.0.0.1\t\t\tfalse\t\t\t\t0\t0\t0\t0\t0\t\t8",
		"unparked\t" + dlq + "\t0\t3\t\t\t\t\t\t\tfalse\t\t\tthe decision was deleted from the topic\t0\t0\t0\t0\t0\t\t9",
		"replayed\t" + dlq + "\t0\t3\told\tada\t\t\t\t\tfalse\t\t\t\t0\t0\t0\t0\t0\t\t11",
		"parked\t" + dlq + "\t0\t1000\t\tcommitted\t\t\t\t\tfalse\t\t\t\t0\t0\t0\t0\t0\t\t14",
	}, "\n")
	for _, group := range []string{"first", "second"} { // the second one does it all again
		s.run(group, nil)
		require.Equal(t, want, s.sql(rows), group)
	}
	require.Equal(t, "2026-03-01 12:00:00.123456\t2026-03-01 12:02:00.123456", s.sql("SELECT at, updated_at FROM dlq_audit FINAL WHERE what = 'run running' AND by = 'ada'"))
	require.Equal(t, "2026-03-01 12:05:00.123456", s.sql("SELECT at FROM dlq_audit FINAL WHERE what = 'run stopped'"))
	require.Equal(t, "2026-01-02 03:04:05.000000", s.sql("SELECT at FROM dlq_audit FINAL WHERE run_id = 'old'"))
}

// TestWhatIsOfNoKnownFormIsARowThatSaysSo, at the record's own time, and stops nothing.
func TestWhatIsOfNoKnownFormIsARowThatSaysSo(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	var records []*kgo.Record
	for i, value := range []string{"\xff", "{", "[]", "17", `{"decision":"forgiven"}`, `{"by":7}`, `{}`} {
		for _, key := range []string{letter.String(), "run-1", ""} {
			records = append(records, &kgo.Record{Topic: topic, Key: []byte(key), Value: []byte(value), Timestamp: noon.Add(time.Duration(i/2) * time.Second)})
		}
	}
	records = append(records,
		&kgo.Record{Topic: topic, Key: []byte("a/b"), Value: []byte(`{"run_id":"another"}`), Timestamp: noon.Add(time.Minute)},
		&kgo.Record{Topic: topic, Timestamp: noon}, // nothing at all
		s.decision(letter, deadletter.Decision{Decision: deadletter.Parked, At: noon.AddDate(7000, 0, 0), By: "far"}),
	)
	records[len(records)-1].Timestamp = noon
	s.produce(pipelinetest.Client(t, s.cluster), records...)
	s.run("first", nil)
	s.run("second", nil)
	require.Equal(t, "\t\\N\t7\t2026-03-01 12:00:00.123000\na/b\t\\N\t1\t2026-03-01 12:01:00.123000\nrun-1\t\\N\t7\t2026-03-01 12:00:00.123000\n\t17\t7\t2026-03-01 12:00:00.123000",
		s.sql("SELECT run_id, offset, countIf(note != ''), min(at) FROM dlq_audit FINAL WHERE what = 'undecipherable' GROUP BY run_id, offset ORDER BY offset NULLS FIRST, run_id"))
	require.Equal(t, "parked\t2026-03-01 12:00:00.123000", s.sql("SELECT what, at FROM dlq_audit FINAL WHERE by = 'far'"))
}

// TestATopicThatWasMadeAnew hides nothing of the one before it, though its offsets are the same.
func TestATopicThatWasMadeAnew(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	decide := func(by string, at time.Time) {
		s.produce(pipelinetest.Client(t, s.cluster), s.decision(letter, deadletter.Decision{Decision: deadletter.Parked, At: at, By: by}))
	}
	decide("ada", noon)
	s.run("first", nil)
	admin := kadm.NewClient(pipelinetest.Client(t, s.cluster))
	_, err := admin.DeleteTopic(t.Context(), topic)
	require.NoError(t, err)
	require.Eventually(t, func() bool { // Apache Kafka deletes it a moment later
		created, err := admin.CreateTopic(t.Context(), 1, -1, nil, topic)
		return err == nil && created.Err == nil
	}, time.Minute, 20*time.Millisecond)
	decide("eve", noon.AddDate(0, 0, 1))
	s.run("second", nil)
	require.Equal(t, "ada\t0\neve\t0", s.sql("SELECT by, decision_offset FROM dlq_audit FINAL ORDER BY at"))
}

// TestWhileClickHouseIsAwayItWaits, and dead-letters nothing.
func TestWhileClickHouseIsAwayItWaits(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.sql("RENAME TABLE dlq_audit TO away")
	s.produce(pipelinetest.Client(t, s.cluster), s.decision(letter, deadletter.Decision{Decision: deadletter.Discarded, At: noon, By: "ada"}))
	s.run("first", func(loop service.Loop) {
		require.Eventually(t, func() bool { _, err := loop.Check(t.Context()); return err != nil }, time.Minute, 5*time.Millisecond)
		_, err := loop.Check(t.Context())
		require.ErrorContains(t, err, "inserting 1 rows into dlq_audit: ClickHouse error 60 UNKNOWN_TABLE")
		s.sql("RENAME TABLE away TO dlq_audit")
	})
	require.Equal(t, "ada", s.sql("SELECT by FROM dlq_audit"))
}

// TestColumnsMatchTheTable, name by name and type by type.
func TestColumnsMatchTheTable(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	var want []string
	for _, c := range audit.Columns {
		want = append(want, c.Name+" "+c.Type)
	}
	const columns = "FROM system.columns WHERE database = currentDatabase() AND table = 'dlq_audit'"
	require.Equal(t, strings.Join(want, "\n"), s.sql("SELECT name || ' ' || type "+columns+" AND name != 'ingested_at' ORDER BY position FORMAT TSVRaw"))
	require.Empty(t, s.sql("SELECT name "+columns+" AND comment = ''"))
}
