package consume_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/revstream/revstream/pipeline/pipelinetest"
)

// TestRefusedRecordsAreReadAgainWhenKafkaIsBack: nothing is committed before, and the loop says what it waits for.
func TestRefusedRecordsAreReadAgainWhenKafkaIsBack(t *testing.T) {
	t.Parallel()
	pipelinetest.NeedKfake(t)
	cluster, seen := broker(t, 2)
	produce(t, cluster, 0, "good-0", "refused-1", "good-2", "refused-3")
	produce(t, cluster, 1, "refused-0")
	m := newMember(t, seen)
	m.cfg.BatchRows = 5
	var away *kfake.FaultHandle
	stored := make(chan struct{})
	m.onStore = func(context.Context, []kgo.Record) error {
		away = cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Topic: topic, Err: kerr.TopicAuthorizationFailed, Count: -1})
		close(stored)
		return nil
	}
	m.cfg.BatchAge = time.Hour
	m.start(cluster)
	<-stored
	until(t, func() bool { return errors.Is(m.check(), kerr.TopicAuthorizationFailed) }, "readiness notices")
	require.ErrorContains(t, m.check(), "reading refused records again unavailable since ")
	require.Empty(t, seen.committed())
	away.Remove()
	committedAre(t, seen, map[int32]int64{0: 4, 1: 1})
	until(t, func() bool { return m.check() == nil }, "readiness recovers")
	require.ElementsMatch(t, []at{{Partition: 0, Offset: 1}, {Partition: 0, Offset: 3}, {Partition: 1, Offset: 0}}, seen.letterPlaces())
	for _, letter := range seen.letters {
		require.Contains(t, string(letter.Record.Value), "refused")
	}
}

// TestARefusedRecordThatHasLeftTheTopicHoldsNothingUp: a restart would not find it either.
func TestARefusedRecordThatHasLeftTheTopicHoldsNothingUp(t *testing.T) {
	t.Parallel()
	cluster, seen := broker(t, 1)
	produce(t, cluster, 0, "good-0", "refused-1", "good-2", "refused-3")
	admin := kadm.NewClient(pipelinetest.Client(t, cluster))
	m := newMember(t, seen)
	m.onStore = func(ctx context.Context, _ []kgo.Record) error {
		seen.mu.Lock()
		defer seen.mu.Unlock()
		seen.settled[at{Partition: 0, Offset: 1}] = 1
		_, err := admin.DeleteRecords(ctx, kadm.Offsets{topic: {0: {Topic: topic, At: 2}}})
		return err
	}
	m.start(cluster)
	committedAre(t, seen, map[int32]int64{0: 4})
	require.Equal(t, []at{{Partition: 0, Offset: 3}}, seen.letterPlaces())
}

// TestABatchGrowsWhileTheOneBeforeIsStored, past its age: the slower the sink, the larger the batches.
func TestABatchGrowsWhileTheOneBeforeIsStored(t *testing.T) {
	t.Parallel()
	cluster, seen := broker(t, 1)
	m := newMember(t, seen)
	m.cfg.BatchRows, m.cfg.BatchAge = 100, time.Millisecond
	blocked := newGate()
	var decoded atomic.Int64
	m.onDecode = func(context.Context, *kgo.Record) error { decoded.Add(1); return nil }
	m.onStore = func(ctx context.Context, _ []kgo.Record) error { return blocked.wait(ctx) }
	m.start(cluster)
	produce(t, cluster, 0, "first")
	<-blocked.arrived
	for _, value := range []string{"a", "b", "c"} {
		before := decoded.Load()
		produce(t, cluster, 0, value)
		until(t, func() bool { return decoded.Load() > before }, "each comes in a fetch of its own")
	}
	close(blocked.open)
	committedAre(t, seen, map[int32]int64{0: 4})
	require.Equal(t, []int{1, 3}, seen.sizes())
}

// TestABatchOfPoisonIsBounded: of poison a batch holds whole records.
func TestABatchOfPoisonIsBounded(t *testing.T) {
	t.Parallel()
	cluster, seen := broker(t, 1)
	const most = 5000
	produce(t, cluster, 0, slices.Repeat([]string{"bad"}, most+1)...)
	m := newMember(t, seen)
	m.cfg.BatchRows, m.cfg.BatchAge = 1<<20, time.Hour
	m.start(cluster)
	committedAre(t, seen, map[int32]int64{0: most})
}
