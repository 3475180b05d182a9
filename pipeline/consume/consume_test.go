package consume_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/pipelinetest"
)

// TestStoresThenDeadLettersThenCommits: in this order, batch by batch, and no
// further batch passes one that the sink holds, while one batch
// at most is decoded behind it.
func TestStoresThenDeadLettersThenCommits(t *testing.T) {
	t.Parallel()
	cluster, seen := broker(t, 1)
	values := numbered(40)
	values[2], values[5] = "bad", "refused"
	produce(t, cluster, 0, values...)

	m := newMember(t, seen)
	var decoded, settled atomic.Int64
	blocked := newGate()
	m.onDecode = func(context.Context, *kgo.Record) error {
		// Being filled and being stored: a batch each.
		if n := decoded.Add(1); n-settled.Load() > 2*int64(m.cfg.BatchRows) {
			t.Errorf("%d records are decoded and %d settled: more than two batches are in memory", n, settled.Load())
		}
		return nil
	}
	m.onStore = func(ctx context.Context, batch []kgo.Record) error {
		if batch[0].Offset == 4 {
			if err := blocked.wait(ctx); err != nil {
				return err
			}
		}
		settled.Add(int64(m.cfg.BatchRows))
		return nil
	}
	m.start(cluster)
	<-blocked.arrived
	until(t, func() bool { return decoded.Load() == 4+2*4 }, "the next batch is decoded while one is stored")
	require.Equal(t, map[int32]int64{0: 4}, seen.committed(), "nothing passes the batch in the sink")
	require.Equal(t, []int{3}, seen.sizes())
	close(blocked.open)
	committedAre(t, seen, map[int32]int64{0: 40})

	var ends []int64
	for _, c := range seen.commits {
		ends = append(ends, c.ends[0])
	}
	require.Equal(t, []int64{4, 8, 12, 16, 20, 24, 28, 32, 36, 40}, ends)
	require.Equal(t, []at{{0, 2}, {0, 5}}, seen.letterPlaces())
	require.Equal(t, []consume.Stage{consume.StageDecode, consume.StageSink}, []consume.Stage{seen.letters[0].Stage, seen.letters[1].Stage})
}

// TestFlushes: by rows, by bytes and by age, whichever comes first.
func TestFlushes(t *testing.T) {
	t.Parallel()
	wide := []string{strings.Repeat("a", 40), strings.Repeat("b", 40), strings.Repeat("c", 40), strings.Repeat("d", 500), strings.Repeat("e", 40)}
	for name, c := range map[string]struct {
		rows, bytes int
		values      []string
		want        []int
	}{
		"rows":  {4, 1 << 20, numbered(9), []int{4, 4, 1}},
		"bytes": {1000, 100, wide, []int{3, 1, 1}}, // full with the record that reaches the bound; a larger one still passes
		"age":   {1000, 1 << 20, numbered(9), []int{9}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster, seen := broker(t, 1)
			produce(t, cluster, 0, c.values...)
			m := newMember(t, seen)
			m.cfg.BatchRows, m.cfg.BatchBytes = c.rows, c.bytes
			m.start(cluster)
			committedAre(t, seen, map[int32]int64{0: int64(len(c.values))})
			require.Equal(t, c.want, seen.sizes())
		})
	}
}

// TestCommitsOnePastTheLastSettledOfEachPartition: also where a poll and a
// batch end within a partition; the ledger checks each commit.
func TestCommitsOnePastTheLastSettledOfEachPartition(t *testing.T) {
	t.Parallel()
	cluster, seen := broker(t, 3)
	produce(t, cluster, 0, numbered(17)...)
	produce(t, cluster, 2, numbered(5)...)
	m := newMember(t, seen)
	m.cfg.BatchRows = 3
	m.start(cluster)
	committedAre(t, seen, map[int32]int64{0: 17, 2: 5})
	produce(t, cluster, 1, "one")
	committedAre(t, seen, map[int32]int64{0: 17, 1: 1, 2: 5})
	m.stop()

	// A member that takes over begins there, not before and not behind.
	produce(t, cluster, 2, "two")
	second := newMember(t, seen).start(cluster)
	committedAre(t, seen, map[int32]int64{0: 17, 1: 1, 2: 6})
	second.stop()
	for place, times := range seen.settled {
		require.Equal(t, 1, times, place)
	}
}

// TestAnOutageOfTheRegistryWaits: it dead-letters nothing, says that the loop
// is degraded, and passes.
func TestAnOutageOfTheRegistryWaits(t *testing.T) {
	t.Parallel()
	cluster, seen := broker(t, 1)
	produce(t, cluster, 0, append(numbered(5), "bad")...)
	m := newMember(t, seen)
	var back atomic.Bool
	m.onDecode = func(context.Context, *kgo.Record) error {
		if back.Load() {
			return nil
		}
		return errAway
	}
	m.start(cluster)
	until(t, func() bool { return m.check() != nil }, "readiness notices")
	require.ErrorIs(t, m.check(), errAway)
	require.ErrorContains(t, m.check(), "decoding unavailable since ")
	require.Empty(t, seen.committed())
	back.Store(true)
	committedAre(t, seen, map[int32]int64{0: 6})
	until(t, func() bool { return m.check() == nil }, "readiness recovers")
	require.Equal(t, []at{{0, 5}}, seen.letterPlaces())
}

// TestAnOutageThatTurnsOutPoisonIsOver: a value that cannot be judged at
// first, and then is poison, leaves the loop ready.
func TestAnOutageThatTurnsOutPoisonIsOver(t *testing.T) {
	t.Parallel()
	cluster, seen := broker(t, 1)
	produce(t, cluster, 0, "bad")
	m := newMember(t, seen)
	var tries atomic.Int64
	m.onDecode = func(context.Context, *kgo.Record) error {
		if tries.Add(1) < 3 {
			return errAway
		}
		return nil
	}
	m.start(cluster)
	committedAre(t, seen, map[int32]int64{0: 1})
	require.NoError(t, m.check())
	require.Equal(t, []at{{0, 0}}, seen.letterPlaces())
}

// TestAnOutageOfTheSinkWaits, and one of the dead letters likewise.
func TestAnOutageOfTheSinkWaits(t *testing.T) {
	t.Parallel()
	cluster, seen := broker(t, 1)
	produce(t, cluster, 0, "value", "bad")
	m := newMember(t, seen)
	var sinkBack, lettersBack atomic.Bool
	m.onStore = func(context.Context, []kgo.Record) error {
		if sinkBack.Load() {
			return nil
		}
		return errAway
	}
	m.onWrite = func(_ context.Context, poison []consume.Poison) ([]consume.Poison, error) {
		if lettersBack.Load() {
			return nil, nil
		}
		return poison, errAway
	}
	m.start(cluster)
	until(t, func() bool {
		return m.check() != nil && strings.HasPrefix(m.check().Error(), "sink unavailable since ")
	}, "the sink is away")
	sinkBack.Store(true)
	until(t, func() bool {
		return m.check() != nil && strings.HasPrefix(m.check().Error(), "dead letters unavailable since ")
	}, "the dead letters are away")
	require.Empty(t, seen.committed())
	lettersBack.Store(true)
	committedAre(t, seen, map[int32]int64{0: 2})
	until(t, func() bool { return m.check() == nil }, "all is back")
}

// TestLettersThatAreWrittenAreNotWrittenAgain: one letter that the topic does
// not take would else fill it with copies of its neighbours, try by try.
func TestLettersThatAreWrittenAreNotWrittenAgain(t *testing.T) {
	t.Parallel()
	cluster, seen := broker(t, 1)
	produce(t, cluster, 0, "bad-0", "bad-1", "bad-2")
	m := newMember(t, seen)
	var tries atomic.Int64
	m.onWrite = func(_ context.Context, poison []consume.Poison) ([]consume.Poison, error) {
		if tries.Add(1) < 5 {
			return slices.DeleteFunc(slices.Clone(poison), func(p consume.Poison) bool { return p.Record.Offset != 1 }), errAway
		}
		return nil, nil
	}
	m.start(cluster)
	committedAre(t, seen, map[int32]int64{0: 3})
	require.Equal(t, []at{{0, 0}, {0, 2}, {0, 1}}, seen.letterPlaces())
}

// TestFetchErrorsShowInReadiness, and clear.
func TestFetchErrorsShowInReadiness(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]kfake.Fault{
		"fetching": {Keys: []kmsg.Key{kmsg.Fetch}, Topic: topic, Err: kerr.TopicAuthorizationFailed, Count: -1},
		"joining":  {Keys: []kmsg.Key{kmsg.JoinGroup}, Group: group, Err: kerr.GroupAuthorizationFailed, Count: -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster, seen := broker(t, 1)
			produce(t, cluster, 0, "value")
			refused := cluster.Fault(fault)
			m := newMember(t, seen)
			m.start(cluster)
			until(t, func() bool { return errors.Is(m.check(), fault.Err) }, "readiness notices")
			refused.Remove()
			committedAre(t, seen, map[int32]int64{0: 1})
			until(t, func() bool { return m.check() == nil }, "readiness recovers")
		})
	}
}

// TestAFailedCommitIsTriedAgain: on a topic that has gone quiet no later
// commit would make up for it, and the group would show lag for ever.
func TestAFailedCommitIsTriedAgain(t *testing.T) {
	t.Parallel()
	cluster, seen := broker(t, 1)
	produce(t, cluster, 0, "value")
	refused := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Group: group, Err: kerr.UnknownServerError, Count: -1})
	m := newMember(t, seen).start(cluster)
	until(t, func() bool { return errors.Is(m.check(), kerr.UnknownServerError) }, "readiness notices")
	require.Equal(t, 1, seen.settled[at{Partition: 0, Offset: 0}])
	refused.Remove()
	until(t, func() bool { return m.check() == nil }, "readiness recovers")
	m.stop()

	produce(t, cluster, 0, "next")
	second := newMember(t, seen).start(cluster)
	committedAre(t, seen, map[int32]int64{0: 2})
	second.stop()
	require.Equal(t, 1, seen.settled[at{Partition: 0, Offset: 0}], "the commit stands, so nothing is read again")
}

// TestReadinessDoesNotWaitForACommit that hangs.
func TestReadinessDoesNotWaitForACommit(t *testing.T) {
	t.Parallel()
	cluster, seen := broker(t, 1)
	produce(t, cluster, 0, "value")
	hanging := newGate()
	cluster.ControlKey(int16(kmsg.OffsetCommit), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.SleepControl(func() { _ = hanging.wait(t.Context()) })
		return nil, nil, false
	})
	m := newMember(t, seen).start(cluster)
	<-hanging.arrived
	checked := make(chan error, 1)
	go func() { checked <- m.check() }()
	select {
	case err := <-checked:
		require.NoError(t, err)
	case <-time.After(5 * time.Second):
		require.Fail(t, "readiness waits for the commit")
	}
	close(hanging.open)
	committedAre(t, seen, map[int32]int64{0: 1})
}

// TestTheLagOfALostPartitionIsNoLongerShown: the one that lost a partition no longer shows
// a lag of it, which nothing would ever bring down.
func TestTheLagOfALostPartitionIsNoLongerShown(t *testing.T) {
	t.Parallel()
	cluster, seen := broker(t, 1)
	produce(t, cluster, 0, "value")
	m := newMember(t, seen)
	reg := prometheus.NewRegistry()
	loop, err := consume.New(m.cfg, pipelinetest.Logger(t), reg, m, m)
	require.NoError(t, err)
	client := pipelinetest.Client(t, cluster, append(loop.Options(), pipelinetest.Watch(seen.committing))...)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- loop.Run(ctx, client) }()
	lags := func() int {
		families, err := reg.Gather()
		require.NoError(t, err)
		for _, f := range families {
			if f.GetName() == "revstream_consume_lag_records" {
				return len(f.GetMetric())
			}
		}
		return 0
	}
	committedAre(t, seen, map[int32]int64{0: 1})
	require.Equal(t, 1, lags())
	cancel()
	require.NoError(t, <-ended)
	client.Close() // leaves the group
	require.Equal(t, 0, lags())
}

// TestConfigNamesWhatIsWrong, all of it at once.
func TestConfigNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	_, err := consume.New(consume.Config{PoisonShare: 2, GroupProtocol: "eager"}, pipelinetest.Logger(t), prometheus.NewRegistry(), nil, nil)
	for _, name := range []string{"topic", "group", "GROUP_PROTOCOL", "BATCH_ROWS", "BATCH_BYTES", "BATCH_AGE", "MAX_VALUE_BYTES", "STOP_TIMEOUT", "SESSION_TIMEOUT", "RETRY_MAX", "POISON_SHARE", "POISON_WINDOW", "POISON_MIN"} {
		require.ErrorContains(t, err, name)
	}
}

// TestTheCapIsHeldPerPartitionInTheOrderOfTheLog.
func TestTheCapIsHeldPerPartitionInTheOrderOfTheLog(t *testing.T) {
	t.Parallel()
	good, bad := "value", "bad"
	for name, c := range map[string]struct {
		share float64
		first []string // of partition 0
		other []string // of partition 1
		want  *consume.PoisonCapError
	}{
		"below the minimum":        {0.5, []string{bad, bad}, nil, nil},
		"all of it":                {0.5, []string{bad, bad, bad, good}, nil, &consume.PoisonCapError{Topic: topic, Poison: 3, Window: 3, Reason: "corrupt"}},
		"half of it is not above":  {0.5, []string{good, bad, good, bad, good, bad, good, bad}, nil, nil},
		"in order, not in sum":     {0.5, []string{bad, bad, bad, good, good, good, good, good}, nil, &consume.PoisonCapError{Topic: topic, Poison: 3, Window: 3, Reason: "corrupt"}},
		"by the sink as well":      {0.5, []string{"refused", bad, "refused", good}, nil, &consume.PoisonCapError{Topic: topic, Poison: 3, Window: 3, Reason: "refused"}},
		"spread over partitions":   {0.5, []string{bad, bad}, []string{bad, bad}, nil},
		"hidden by another":        {0.5, []string{bad, bad, bad}, slices.Repeat([]string{good}, 50), &consume.PoisonCapError{Topic: topic, Poison: 3, Window: 3, Reason: "corrupt"}},
		"out of the window again":  {0.2, append(append([]string{good, good, good, good, good, good, good, good, bad, bad}, slices.Repeat([]string{good}, 9)...), bad), nil, nil},
		"a window of the last ten": {0.2, append(slices.Repeat([]string{good}, 30), bad, bad, bad), nil, &consume.PoisonCapError{Topic: topic, Poison: 3, Window: 10, Reason: "corrupt"}},
		"share 1 never stops":      {1, slices.Repeat([]string{bad}, 30), nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster, seen := broker(t, 2)
			ends := map[int32]int64{0: int64(len(c.first))}
			if len(c.other) > 0 {
				ends[1] = int64(len(c.other))
				produce(t, cluster, 1, c.other...)
			}
			produce(t, cluster, 0, c.first...)
			m := newMember(t, seen)
			m.cfg.PoisonShare = c.share
			m.start(cluster)
			if c.want == nil {
				committedAre(t, seen, ends)
				m.stop()
				return
			}
			<-m.ended
			var capped *consume.PoisonCapError
			require.ErrorAs(t, m.err, &capped)
			require.Equal(t, c.want, capped)
			require.ErrorContains(t, m.err, "POISON_SHARE=1")
			require.Less(t, seen.committed()[0], int64(len(c.first)))
			require.Less(t, len(seen.letterPlaces()), c.want.Poison, "nothing of the batch over the cap is dead-lettered")
		})
	}
}

// TestReplayedLettersDoNotStopTheConsumer: a bulk replay of letters that are
// bad still filled the empty window of a lease, and stopped the consumer again
// at every start.
func TestReplayedLettersDoNotStopTheConsumer(t *testing.T) {
	t.Parallel()
	cluster, seen := broker(t, 1)
	client := pipelinetest.Client(t, cluster)
	for range 20 {
		require.NoError(t, client.ProduceSync(t.Context(), &kgo.Record{
			Topic: topic, Value: []byte("bad"), Headers: []kgo.RecordHeader{{Key: "replayed"}},
		}).FirstErr())
	}
	m := newMember(t, seen)
	m.cfg.PoisonShare = 0.5
	m.start(cluster)
	committedAre(t, seen, map[int32]int64{0: 20})
	m.stop()
	require.Len(t, seen.letterPlaces(), 20)
}

// TestAValueOverTheSizeIsPoison, unread.
func TestAValueOverTheSizeIsPoison(t *testing.T) {
	t.Parallel()
	cluster, seen := broker(t, 1)
	m := newMember(t, seen)
	produce(t, cluster, 0, strings.Repeat("x", m.cfg.MaxValueBytes), strings.Repeat("y", m.cfg.MaxValueBytes+1))
	m.start(cluster)
	committedAre(t, seen, map[int32]int64{0: 2})
	require.Equal(t, []at{{0, 1}}, seen.letterPlaces())
	require.Equal(t, consume.ReasonTooLarge, seen.letters[0].Reason)
	require.Contains(t, seen.letters[0].Message, fmt.Sprint(m.cfg.MaxValueBytes))
}

// TestALetterHasTheRecordsHeaders, whether it is poison when it is read or when it is stored.
func TestALetterHasTheRecordsHeaders(t *testing.T) {
	t.Parallel()
	cluster, seen := broker(t, 1)
	client := pipelinetest.Client(t, cluster)
	for _, value := range []string{"bad", "refused", "good-0", "good-1", "good-2", "good-3", "good-4", "good-5", "good-6", "good-7"} {
		rec := &kgo.Record{Topic: topic, Key: []byte("key of " + value), Value: []byte(value), Headers: []kgo.RecordHeader{{Key: "of", Value: []byte(value)}, {Key: "null"}}}
		require.NoError(t, client.ProduceSync(t.Context(), rec).FirstErr())
	}
	newMember(t, seen).start(cluster)
	committedAre(t, seen, map[int32]int64{0: 10})
	require.Len(t, seen.letters, 2)
	for i, value := range []string{"bad", "refused"} {
		rec := seen.letters[i].Record
		require.Equal(t, value, string(rec.Value))
		require.Equal(t, "key of "+value, string(rec.Key))
		require.Equal(t, []kgo.RecordHeader{{Key: "of", Value: []byte(value)}, {Key: "null"}}, rec.Headers)
	}
}

// TestPartitionsAreReadEvenly: in a fetch session kfake answers first with what moved in the fetch before, and the partitions
// that had no room in that answer had none until the others were read to their ends.
func TestPartitionsAreReadEvenly(t *testing.T) {
	t.Parallel()
	pipelinetest.NeedKfake(t) // how an answer is filled is the broker's matter
	const partitions, each = 6, 20
	cluster, seen := broker(t, partitions)
	random := rand.NewChaCha8([32]byte{5})
	for i := range each * partitions {
		value := make([]byte, 100_000) // as it does not compress, one answer has no room for all partitions
		_, _ = random.Read(value)      // which cannot fail
		produce(t, cluster, int32(i%partitions), "v"+string(value))
	}
	m := newMember(t, seen)
	m.cfg.MaxValueBytes = 1 << 20
	read := make([]int, partitions)
	least := -1 // of the others, when the first partition was through
	m.onDecode = func(_ context.Context, rec *kgo.Record) error {
		if read[rec.Partition]++; read[rec.Partition] == each && least < 0 {
			least = slices.Min(read)
		}
		return nil
	}
	m.start(cluster)
	committedAre(t, seen, map[int32]int64{0: each, 1: each, 2: each, 3: each, 4: each, 5: each})
	m.stop()
	require.Positive(t, least)
}
