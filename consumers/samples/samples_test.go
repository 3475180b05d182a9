package samples_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/consumers/migrations"
	"github.com/revstream/revstream/consumers/samples"
	"github.com/revstream/revstream/pipeline/clickhousesink"
	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/schemas"
)

func TestMain(m *testing.M) { pipelinetest.Main(m) }

var (
	topics = []string{schemas.ForecastTopic, schemas.PeopleTopic, schemas.ExportRunsTopic}
	noon   = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

// stack is a broker with the topics, and ClickHouse with the tables.
type stack struct {
	t       *testing.T
	cluster *pipelinetest.Cluster
	client  *kgo.Client
	admin   *kadm.Client
	url     string
}

func newStack(t *testing.T) stack {
	t.Helper()
	names := []string{"others.v1"}
	for _, topic := range topics {
		names = append(names, topic, schemas.DLQTopic(topic))
	}
	s := stack{t: t, cluster: pipelinetest.Kafka(t, 2, names...), url: pipelinetest.ClickHouse(t)}
	_, err := migrations.Up(t.Context(), s.url)
	require.NoError(t, err)
	s.client = pipelinetest.Client(t, s.cluster, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	s.admin = kadm.NewClient(s.client)
	return s
}

func (s stack) sampler() *samples.Sampler {
	s.t.Helper()
	conn, err := clickhousesink.Open(s.url)
	require.NoError(s.t, err)
	s.t.Cleanup(func() { require.NoError(s.t, conn.Close()) })
	sampler, err := samples.New(clickhousesink.Config{InsertTimeout: time.Minute}, pipelinetest.Logger(s.t), pipelinetest.Client(s.t, s.cluster), conn)
	require.NoError(s.t, err)
	return sampler
}

func (s stack) sql(statement string) string { return pipelinetest.SQL(s.t, s.url, statement) }

func (s stack) produce(records ...*kgo.Record) {
	s.t.Helper()
	require.NoError(s.t, s.client.ProduceSync(s.t.Context(), records...).FirstErr())
}

func (s stack) letter(topic string, partition int32, reason string) *kgo.Record {
	rec := deadletter.Letter{
		Topic: topic, OriginalPartition: 1, OriginalOffset: 7, Timestamp: noon, Reason: reason, Message: "field e_mail: canary@example.com", Stage: "decode",
		Group: "revstream-people", FirstFailure: noon, LastFailure: noon.Add(time.Minute), EventID: "019c21ac-0000-800c-9900-1ea1961f0dc3",
		Key: []byte("canary-key"), Value: []byte("canary-value"), Attempts: 2, Replays: 1,
	}.Record()
	rec.Partition = partition
	return rec
}

// TestLagIsWhatAGroupHasBeforeIt, on the topics of the catalogue alone, once for each minute.
func TestLagIsWhatAGroupHasBeforeIt(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	for i := range 5 {
		s.produce(&kgo.Record{Topic: schemas.PeopleTopic, Partition: int32(i % 2)}, &kgo.Record{Topic: "others.v1"})
	}
	commit := func(group, topic string, at map[int32]int64) {
		offsets := kadm.Offsets{}
		for partition, offset := range at {
			offsets.AddOffset(topic, partition, offset, -1)
		}
		require.NoError(t, s.admin.CommitAllOffsets(t.Context(), group, offsets))
	}
	commit("ours", schemas.PeopleTopic, map[int32]int64{0: 2})
	commit("theirs", schemas.PeopleTopic, map[int32]int64{0: 3, 1: 2})
	commit("theirs", "others.v1", map[int32]int64{0: 1})
	commit("confused", schemas.PeopleTopic, map[int32]int64{0: 99, 1: 0})
	sampler := s.sampler()
	require.NoError(t, sampler.Lag(t.Context()))
	require.NoError(t, sampler.Lag(t.Context()))
	const latest = "SELECT consumer_group, topic, partitions, committed_offset, end_offset, lag FROM consumer_lag WHERE (consumer_group, at) IN (SELECT consumer_group, max(at) FROM consumer_lag GROUP BY consumer_group) ORDER BY consumer_group"
	require.Equal(t, "confused\trevenue.people.v1\t2\t3\t5\t2\nours\trevenue.people.v1\t2\t2\t5\t3\ntheirs\trevenue.people.v1\t2\t5\t5\t0", s.sql(latest))
	require.Equal(t, "0", s.sql("SELECT count() - uniqExact(consumer_group, topic, at) FROM consumer_lag"))
	require.Equal(t, "0", s.sql("SELECT countIf(at != toStartOfMinute(at)) FROM consumer_lag"))
}

// TestLettersAreCopiedOnce: what comes is added, whoever copies again adds nothing, and nothing of what is in a letter is copied.
func TestLettersAreCopiedOnce(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	sampler := s.sampler()
	require.NoError(t, sampler.Letters(t.Context()))
	require.Equal(t, "0", s.sql("SELECT count() FROM dead_letters"))
	for i := range 10_100 { // more than are held in memory at a time
		s.client.Produce(t.Context(), s.letter(schemas.PeopleTopic, int32(i%100/99), []string{"validation", "bad_magic"}[i%2]), nil)
	}
	require.NoError(t, s.client.Flush(t.Context()))
	odd := &kgo.Record{Topic: schemas.DLQTopic(schemas.ForecastTopic), Value: []byte("canary-value")}
	s.produce(odd)
	require.NoError(t, sampler.Letters(t.Context()))
	const counts = "SELECT original_topic, reason, letters, oldest_failure, newest_failure, returned FROM dead_letters_open ORDER BY ALL"
	before := s.sql(counts)
	require.Equal(t, "\tunreadable\t1\t"+odd.Timestamp.UTC().Format("2006-01-02 15:04:05.000000")+"\t"+odd.Timestamp.UTC().Format("2006-01-02 15:04:05.000000")+"\t0\n"+
		"revenue.people.v1\tbad_magic\t5050\t2026-03-01 12:00:00.000000\t2026-03-01 12:01:00.000000\t5050\n"+
		"revenue.people.v1\tvalidation\t5050\t2026-03-01 12:00:00.000000\t2026-03-01 12:01:00.000000\t5050", before)
	stored := s.sql("SELECT count() FROM dead_letters")
	require.NoError(t, sampler.Letters(t.Context()))
	require.Equal(t, stored, s.sql("SELECT count() FROM dead_letters"), "nothing is read again")

	s.sql("TRUNCATE TABLE dead_letter_positions") // as after a crash before they were written, or beside another one
	require.NoError(t, s.sampler().Letters(t.Context()))
	require.Equal(t, before, s.sql(counts))

	s.produce(s.letter(schemas.ForecastTopic, 1, "too_large"))
	require.NoError(t, sampler.Letters(t.Context()))
	require.Equal(t, "too_large\tdecode\trevstream-people\t019c21ac-0000-800c-9900-1ea1961f0dc3\t1\t7\t2\t1\topen\t\\N",
		s.sql("SELECT reason, stage, consumer_group, event_id, original_partition, original_offset, attempts, replays, state, decided_at FROM dead_letter_states WHERE original_topic = 'revenue.forecast.v1'"))
	require.Equal(t, "0", s.sql("SELECT countIf(toString(tuple(*)) LIKE '%canary%') FROM dead_letters"))
}

// TestStatesFollowTheDecisions: the newest one of each letter counts, and what the topic has let go of is not open.
func TestStatesFollowTheDecisions(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	const letters = 7
	for range letters {
		s.produce(s.letter(schemas.PeopleTopic, 0, "validation"))
	}
	dlq := schemas.DLQTopic(schemas.PeopleTopic)
	decide := func(offset, order int, what string) {
		s.sql(fmt.Sprintf("INSERT INTO dlq_audit (at, what, topic, partition, offset, decision_offset, updated_at) VALUES ('2026-03-01 12:00:%02d', '%s', '%s', 0, %d, %d, now())", order, what, dlq, offset, order))
	}
	decide(0, 1, "replayed")
	decide(1, 2, "parked")
	decide(1, 3, "unparked")
	decide(2, 4, "discarded")
	decide(2, 5, "revealed")
	decide(3, 6, "parked")
	decide(3, 6, "parked")
	_, err := s.admin.DeleteRecords(t.Context(), kadm.Offsets{dlq: {0: {Topic: dlq, At: 1}}})
	require.NoError(t, err)
	sampler := s.sampler()
	require.NoError(t, sampler.Letters(t.Context()))
	require.Equal(t, "1\topen\n2\tdiscarded\n3\tparked\n4\topen\n5\topen\n6\topen", s.sql("SELECT offset, state FROM dead_letter_states ORDER BY offset"))
	_, err = s.admin.DeleteRecords(t.Context(), kadm.Offsets{dlq: {0: {Topic: dlq, At: 6}}})
	require.NoError(t, err)
	require.NoError(t, sampler.Letters(t.Context()))
	require.Equal(t, "1\texpired\n2\tdiscarded\n3\tparked\n4\texpired\n5\texpired\n6\topen", s.sql("SELECT offset, state FROM dead_letter_states ORDER BY offset"))
}

// TestATopicThatWasMadeAnew is copied from its beginning, and what is left of the one before it is not open.
func TestATopicThatWasMadeAnew(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	sampler := s.sampler()
	s.produce(s.letter(schemas.PeopleTopic, 0, "validation"), s.letter(schemas.PeopleTopic, 0, "validation"))
	require.NoError(t, sampler.Letters(t.Context()))
	dlq := schemas.DLQTopic(schemas.PeopleTopic)
	_, err := s.admin.DeleteTopic(t.Context(), dlq)
	require.NoError(t, err)
	require.ErrorContains(t, sampler.Letters(t.Context()), dlq)
	require.Eventually(t, func() bool { // Apache Kafka deletes it a moment later
		created, err := s.admin.CreateTopic(t.Context(), 2, -1, nil, dlq)
		return err == nil && created.Err == nil
	}, time.Minute, 20*time.Millisecond)
	fresh := pipelinetest.Client(t, s.cluster, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for range 3 { // more than there were before
		require.NoError(t, fresh.ProduceSync(t.Context(), s.letter(schemas.PeopleTopic, 0, "bad_magic")).FirstErr())
	}
	require.Eventually(t, func() bool { return sampler.Letters(t.Context()) == nil }, time.Minute, 20*time.Millisecond, "the client remembers for a while that there was no topic")
	require.Equal(t, "bad_magic\t3", s.sql("SELECT reason, letters FROM dead_letters_open"))
}

// TestRowsAndAgesAreMetrics.
func TestRowsAndAgesAreMetrics(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.produce(s.letter(schemas.PeopleTopic, 0, "validation"))
	require.NoError(t, s.sampler().Letters(t.Context()))
	s.sql("INSERT INTO export_runs_current (run_id, source, entity, scope, outcome, completed_at) VALUES ('clari:1', 'clari', 'forecast', 'f', 'SUCCEEDED', now64(6) - INTERVAL 1 HOUR)")
	conn, err := clickhousesink.Open(s.url)
	require.NoError(t, err)
	defer conn.Close()
	reg := prometheus.NewRegistry()
	metrics, err := samples.NewMetrics(reg)
	require.NoError(t, err)
	require.NoError(t, metrics.Observe(t.Context(), conn))
	families, err := reg.Gather()
	require.NoError(t, err)
	values := map[string]float64{}
	for _, family := range families {
		for _, m := range family.Metric {
			values[family.GetName()+"/"+m.Label[0].GetValue()] = m.Gauge.GetValue()
		}
	}
	require.InDelta(t, 1, values["revstream_warehouse_rows/dead_letters"], 0)
	require.Contains(t, values, "revstream_warehouse_rows/people_current")
	require.NotContains(t, values, "revstream_warehouse_rows/people")
	require.InDelta(t, 3600, values["revstream_freshness_seconds/forecast"], 60)
	require.NotContains(t, values, "revstream_freshness_seconds/people", "which was never read")
}
