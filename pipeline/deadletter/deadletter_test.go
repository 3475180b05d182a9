package deadletter_test

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/pipelinetest"
)

const topic = "events"

// original is a record whose every byte is unlike a default.
func original() *kgo.Record {
	return &kgo.Record{
		Topic: topic, Partition: 3, Offset: 1 << 40, Timestamp: time.UnixMilli(1_700_000_000_123),
		Key: []byte("\x00k\xff"), Value: []byte("\xff\x00v"),
		Headers: []kgo.RecordHeader{
			{Key: "ce_id", Value: []byte("an-id")}, {Key: "correlation-id", Value: []byte("a-run")},
			{Key: "traceparent", Value: []byte("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")}, // of who published it
			{Key: "twice", Value: []byte("1")}, {Key: "twice", Value: []byte("2")},
			{Key: "nil", Value: nil}, {Key: "empty", Value: []byte{}}, {Key: "", Value: []byte("\x00\xff")},
			{Key: "dlq", Value: []byte("not ours")},
		},
	}
}

var failed = time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC)

// write puts one letter on a broker and returns it as a reader sees it.
func write(t *testing.T, rec *kgo.Record) deadletter.Letter {
	t.Helper()
	cluster := pipelinetest.Kafka(t, 1, topic+deadletter.Suffix)
	w := deadletter.NewWriter(pipelinetest.Client(t, cluster, deadletter.Options()...), "group", "v1.2")
	left, err := w.Write(t.Context(), []consume.Poison{{Record: rec, Stage: consume.StageDecode, Reason: "corrupt_value", Message: "field x", Failed: failed}})
	require.NoError(t, err)
	require.Empty(t, left)
	letters := pipelinetest.ReadAll(t, cluster, topic+deadletter.Suffix)
	require.Len(t, letters, 1)
	letter, err := deadletter.Parse(letters[0])
	require.NoError(t, err)
	return letter
}

// TestALetterHoldsItsOriginalByteForByte, and says why it is there.
func TestALetterHoldsItsOriginalByteForByte(t *testing.T) {
	t.Parallel()
	rec := original()
	letter := write(t, rec)
	require.Equal(t, deadletter.Letter{
		Topic: topic, OriginalPartition: 3, OriginalOffset: 1 << 40, Timestamp: rec.Timestamp.UTC(),
		Key: rec.Key, Value: rec.Value, Headers: rec.Headers,
		Reason: "corrupt_value", Message: "field x", Stage: "decode", Group: "group", Version: "v1.2",
		Attempts: 1, FirstFailure: failed, LastFailure: failed, EventID: "an-id", CorrelationID: "a-run",
	}, letter)
}

// TestALetterIsTheRecordThatItWasReadFrom: an import puts it back as it was.
func TestALetterIsTheRecordThatItWasReadFrom(t *testing.T) {
	t.Parallel()
	for _, letter := range []deadletter.Letter{write(t, original()), {
		Topic: topic, Key: []byte{}, Reason: "r", OriginalPartition: -1, OriginalOffset: -1, Timestamp: failed, FirstFailure: failed, LastFailure: failed,
		Attempts: 4, Replays: 3, ReplayID: "a-run", ImportedFrom: "events.dlq/1/2",
	}} {
		rec := letter.Record()
		require.Equal(t, topic+deadletter.Suffix, rec.Topic)
		again, err := deadletter.Parse(rec)
		require.NoError(t, err)
		again.Partition, again.Offset = letter.Partition, letter.Offset
		require.Equal(t, letter, again)
	}
}

// TestHeadersInAnyOrder: another writer than ours may put its own between them.
func TestHeadersInAnyOrder(t *testing.T) {
	t.Parallel()
	rec := write(t, original()).Record()
	slices.Reverse(rec.Headers)
	rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: "last"})
	want := original().Headers
	slices.Reverse(want)
	letter, err := deadletter.Parse(rec)
	require.NoError(t, err)
	require.Equal(t, append(want, kgo.RecordHeader{Key: "last"}), letter.Headers)
	require.Equal(t, "corrupt_value", letter.Reason)
}

// TestNothingIsNotEmpty: a tombstone stays one, and a record without a key.
func TestNothingIsNotEmpty(t *testing.T) {
	t.Parallel()
	for _, rec := range []*kgo.Record{{Topic: topic}, {Topic: topic, Key: []byte{}, Value: []byte{}}} {
		letter := write(t, rec)
		require.Equal(t, rec.Key, letter.Key)
		require.Equal(t, rec.Value, letter.Value)
		require.Empty(t, letter.Headers)
	}
}

// TestAReplayThatFailsAgainKeepsItsHistory, and the original's bytes.
func TestAReplayThatFailsAgainKeepsItsHistory(t *testing.T) {
	t.Parallel()
	letter := write(t, original())
	for replays := 1; replays <= 3; replays++ {
		rec := letter.Replay("replay-" + strings.Repeat("x", replays))
		require.Equal(t, topic, rec.Topic)
		again := write(t, rec)
		require.Equal(t, replays, again.Replays)
		require.Equal(t, replays+1, again.Attempts)
		require.Equal(t, "replay-"+strings.Repeat("x", replays), again.ReplayID)
		require.Equal(t, failed, again.FirstFailure)
		require.Equal(t, original().Headers, again.Headers)
		require.Equal(t, original().Value, again.Value)
		letter = again
	}
}

// TestALetterCanAlwaysBeRead, whatever its original claims: a foreign
// producer's dlq-* headers and a timestamp beyond the year 9999.
func TestALetterCanAlwaysBeRead(t *testing.T) {
	t.Parallel()
	for _, replays := range []string{"", "x", "-5", "99999999999", "2147483647"} {
		for _, at := range []time.Time{time.UnixMilli(math.MaxInt64), time.UnixMilli(-1), time.UnixMilli(math.MinInt64 / 2)} {
			rec := original()
			rec.Timestamp = at
			rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: "dlq-replays", Value: []byte(replays)},
				kgo.RecordHeader{Key: "dlq-first-failure", Value: []byte("yesterday")}, kgo.RecordHeader{Key: "dlq-offset", Value: []byte("x")})
			letter := write(t, rec)
			require.Equal(t, 0, letter.Replays)
			require.Equal(t, 1, letter.Attempts)
			require.Equal(t, failed, letter.FirstFailure)
			require.EqualValues(t, 1<<40, letter.OriginalOffset)
		}
	}
}

// TestWhatIsNoLetterSaysSo.
func TestWhatIsNoLetterSaysSo(t *testing.T) {
	t.Parallel()
	_, err := deadletter.Parse(original())
	require.ErrorIs(t, err, deadletter.ErrNotALetter)
	valid := map[string]string{"dlq-reason": "r", "dlq-topic": "t", "dlq-partition": "1", "dlq-offset": "2", "dlq-attempts": "1", "dlq-replays": "0",
		"dlq-timestamp": "2026-01-02T03:04:05Z", "dlq-first-failure": "2026-01-02T03:04:05Z", "dlq-last-failure": "2026-01-02T03:04:05Z"}
	rec := func(but, value string) *kgo.Record {
		r := &kgo.Record{Partition: 7, Offset: 8}
		for k, v := range valid {
			if k == but {
				v = value
			}
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: k, Value: []byte(v)})
		}
		return r
	}
	_, err = deadletter.Parse(rec("", ""))
	require.NoError(t, err)
	for name := range valid {
		_, err := deadletter.Parse(rec(name, ""))
		require.ErrorContains(t, err, "partition 7 offset 8", name)
		if !slices.Contains([]string{"dlq-reason", "dlq-topic"}, name) {
			_, err = deadletter.Parse(rec(name, "secret"))
			require.ErrorContains(t, err, "header "+name)
			require.NotContains(t, err.Error(), "secret")
		}
	}
}

// TestALetterThatTheTopicDoesNotTake is an error that names the topic and the
// way out; the letters beside it are written and not left.
func TestALetterThatTheTopicDoesNotTake(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 2)
	client := pipelinetest.Client(t, cluster, append(deadletter.Options(), kgo.RecordPartitioner(kgo.BasicConsistentPartitioner(func(string) func(*kgo.Record, int) int {
		return func(r *kgo.Record, _ int) int { return len(r.Value) / 4000 } // a batch fails whole
	})), kgo.ProducerBatchCompression(kgo.NoCompression()))...)
	limit := "2000"
	_, err := kadm.NewClient(client).CreateTopic(t.Context(), 2, -1, map[string]*string{"max.message.bytes": &limit}, topic+deadletter.Suffix)
	require.NoError(t, err)
	large, small := original(), original()
	large.Value = make([]byte, 4000)
	w := deadletter.NewWriter(client, "group", "v1")
	poison := []consume.Poison{{Record: large, Reason: "r", Failed: failed}, {Record: small, Reason: "r", Failed: failed}}
	left, err := w.Write(t.Context(), poison)
	require.ErrorIs(t, err, kerr.MessageTooLarge)
	require.ErrorContains(t, err, topic+".dlq")
	require.ErrorContains(t, err, "max.message.bytes")
	require.Equal(t, poison[:1], left)
	var fatal *consume.FatalError
	require.NotErrorAs(t, err, &fatal, "the consumer waits for an operator")

	limit = "100000"
	_, err = kadm.NewClient(client).AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Name: "max.message.bytes", Value: &limit}}, topic+deadletter.Suffix)
	require.NoError(t, err)
	require.Eventually(t, func() bool { // the leader hears of it a moment later
		left, err = w.Write(t.Context(), left)
		return err == nil
	}, 30*time.Second, 10*time.Millisecond)
	require.Empty(t, left)
	require.Len(t, pipelinetest.ReadAll(t, cluster, topic+deadletter.Suffix), 2, "none is lost, none written twice")
}

// TestWriteEndsWithItsContext even where the client holds on to the record,
// as its fate is unknown: a consumer could else not stop while the broker hangs.
func TestWriteEndsWithItsContext(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 1, topic+deadletter.Suffix)
	arrived, release := make(chan struct{}), make(chan struct{})
	cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		close(arrived)
		cluster.SleepControl(func() { <-release })
		return nil, nil, false
	})
	w := deadletter.NewWriter(pipelinetest.Client(t, cluster, deadletter.Options()...), "group", "v1")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		left, err := w.Write(ctx, []consume.Poison{{Record: original(), Reason: "r", Failed: failed}})
		if len(left) == 1 {
			ended <- err
		}
	}()
	<-arrived
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	close(release)
}

// FuzzParse: whatever lies on a dead-letter topic is a letter or an error, and
// what is a letter can be replayed and parsed again.
func FuzzParse(f *testing.F) {
	f.Add([]byte("k"), []byte("v"), "dlq-reason", "r", "dlq-topic", "t")
	f.Add([]byte(nil), []byte(nil), "dlq-replays", "-1", "dlq-first-failure", "0000-01-01T00:00:00Z")
	f.Add([]byte("\xff"), []byte("\x00"), "dlq-attempts", "2147483648", "dlq-timestamp", "9999-12-31T23:59:60Z")
	f.Fuzz(func(t *testing.T, key, value []byte, name1, value1, name2, value2 string) {
		headers := []kgo.RecordHeader{}
		for _, h := range [][2]string{{"dlq-reason", "r"}, {"dlq-topic", "t"}, {"dlq-partition", "1"}, {"dlq-offset", "2"}, {"dlq-attempts", "1"}, {"dlq-replays", "0"},
			{"dlq-timestamp", "2026-01-02T03:04:05Z"}, {"dlq-first-failure", "2026-01-02T03:04:05Z"}, {"dlq-last-failure", "2026-01-02T03:04:05Z"}, {name1, value1}, {name2, value2}} {
			headers = append(headers, kgo.RecordHeader{Key: h[0], Value: []byte(h[1])})
		}
		letter, err := deadletter.Parse(&kgo.Record{Key: key, Value: value, Headers: headers})
		if err != nil {
			return
		}
		replay := letter.Replay("id")
		require.Equal(t, key, replay.Key)
		require.Equal(t, value, replay.Value)
		for _, h := range letter.Headers {
			require.False(t, strings.HasPrefix(h.Key, "dlq-"))
		}
	})
}

// TestALetterThatWasCompressedFitsItsTopic: a producer of somebody else's may
// compress megabytes below its topic's limit. Their letter was refused by our
// own client, before it compressed it, and blocked its partition for ever.
func TestALetterThatWasCompressedFitsItsTopic(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 1, topic+deadletter.Suffix)
	client := pipelinetest.Client(t, cluster, append(deadletter.Options(), kgo.ProducerBatchCompression(kgo.ZstdCompression()))...)
	large, small := original(), original()
	large.Value = make([]byte, 5<<20)
	poison := []consume.Poison{{Record: small, Reason: "r", Failed: failed}, {Record: large, Reason: "r", Failed: failed}, {Record: small, Reason: "r", Failed: failed}}
	left, err := deadletter.NewWriter(client, "group", "v1").Write(t.Context(), poison)
	require.NoError(t, err)
	require.Empty(t, left)
	letters := pipelinetest.ReadAll(t, cluster, topic+deadletter.Suffix)
	require.Len(t, letters, 3)
	require.Equal(t, large.Value, letters[1].Value)
}
