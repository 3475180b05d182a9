package consume_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/pipelinetest"
)

// offset is what the group has of a partition.
func (w world) offset(t *testing.T, partition int32) kadm.OffsetResponse {
	t.Helper()
	offsets, err := kadm.NewClient(pipelinetest.Client(t, w.Cluster)).FetchOffsets(t.Context(), group)
	require.NoError(t, err)
	at, ok := offsets.Lookup(topic, partition)
	if !ok {
		at.At = -1
	}
	return at
}

// deleted takes the records before an offset away, so that nobody has to settle them any more.
func (w world) deleted(t *testing.T, partition int32, before int64) {
	t.Helper()
	_, err := kadm.NewClient(pipelinetest.Client(t, w.Cluster)).DeleteRecords(t.Context(), kadm.Offsets{topic: {partition: {Topic: topic, Partition: partition, At: before}}})
	require.NoError(t, err)
	w.seen.mu.Lock()
	defer w.seen.mu.Unlock()
	for offset := range before {
		w.seen.settled[at{Partition: partition, Offset: offset}]++
	}
}

// capped runs a member until its cap stops it.
func (w world) capped(t *testing.T) {
	t.Helper()
	m := w.member(t)
	m.cfg.PoisonShare = 0.5
	m.start(w.Cluster)
	<-m.ended
	var capped *consume.PoisonCapError
	require.ErrorAs(t, m.err, &capped)
	m.client.Close()
}

// TestACapLeavesANote with the offset, which stays where it is, until somebody passes it.
func TestACapLeavesANote(t *testing.T) {
	t.Parallel()
	onBothProtocols(t, 2, func(t *testing.T, w world) {
		produce(t, w.Cluster, 1, numbered(8)...)
		first := w.member(t).start(w.Cluster)
		committedAre(t, w.seen, map[int32]int64{1: 8})
		first.stop()
		before := w.offset(t, 1)
		produce(t, w.Cluster, 1, "gone", "value", "bad", "bad", "bad", "bad")
		w.deleted(t, 1, 9) // so that the first offset that is read is not the one that was committed
		w.capped(t)

		after := w.offset(t, 1)
		note, ok := consume.ParseCapNote(after.Metadata)
		require.True(t, ok, after.Metadata)
		require.WithinDuration(t, time.Now(), note.At, time.Minute)
		note.At = time.Time{}
		require.Equal(t, consume.CapNote{Reason: "corrupt", Poison: 3, Window: 4}, note)
		require.Equal(t, before.At, after.At)
		require.Equal(t, before.LeaderEpoch, after.LeaderEpoch)
		require.EqualValues(t, -1, w.offset(t, 0).At)

		w.capped(t) // one that comes to the same end says it again
		again, ok := consume.ParseCapNote(w.offset(t, 1).Metadata)
		require.True(t, ok)
		require.Greater(t, again.At, note.At)
		require.Equal(t, before.At, w.offset(t, 1).At)

		last := w.member(t).start(w.Cluster) // without a cap
		committedAre(t, w.seen, map[int32]int64{1: 14})
		last.stop()
		passed := w.offset(t, 1)
		require.EqualValues(t, 14, passed.At)
		_, ok = consume.ParseCapNote(passed.Metadata)
		require.False(t, ok, passed.Metadata)
	})
}

// TestANoteOnAPartitionThatWasNeverCommitted is at the offset that the next member begins with.
func TestANoteOnAPartitionThatWasNeverCommitted(t *testing.T) {
	t.Parallel()
	onBothProtocols(t, 1, func(t *testing.T, w world) {
		produce(t, w.Cluster, 0, append(numbered(5), "bad", "bad", "bad", "bad", "bad", "bad", "bad")...)
		w.deleted(t, 0, 5)
		w.capped(t)
		require.EqualValues(t, 5, w.offset(t, 0).At)
		_, ok := consume.ParseCapNote(w.offset(t, 0).Metadata)
		require.True(t, ok)
	})
}

// TestNoNoteOnAPartitionThatIsAnothers: the cap is reached by what was read before the partition went.
func TestNoNoteOnAPartitionThatIsAnothers(t *testing.T) {
	t.Parallel()
	onBothProtocols(t, 1, func(t *testing.T, w world) {
		produce(t, w.Cluster, 0, "value", "bad", "bad", "bad")
		m := w.member(t)
		m.cfg.PoisonShare = 0.5
		blocked := newGate()
		m.onStore = func(ctx context.Context, _ []kgo.Record) error { return blocked.wait(ctx) }
		m.start(w.Cluster)
		<-blocked.arrived
		id, _ := m.client.GroupMetadata()
		w.putOut(t, id)
		until(t, func() bool { now, _ := m.client.GroupMetadata(); return now != id && m.owns() == 1 }, "the member has joined again")
		close(blocked.open)
		<-m.ended
		var capped *consume.PoisonCapError
		require.ErrorAs(t, m.err, &capped)
		require.Empty(t, w.seen.notes)
		require.EqualValues(t, -1, w.offset(t, 0).At)
	})
}

// TestANoteIsTriedAgain, and a loop that cannot leave one ends as it would else.
func TestANoteIsTriedAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		refusals int
		noted    bool
	}{
		"refused twice": {2, true},
		"refused":       {-1, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pipelinetest.NeedKfake(t)
			cluster, seen := broker(t, 1)
			w := world{cluster, seen, consume.ProtocolClassic}
			produce(t, cluster, 0, slices.Repeat([]string{"bad"}, 4)...)
			refused := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Group: group, Err: kerr.GroupAuthorizationFailed, Count: c.refusals})
			w.capped(t)
			require.Positive(t, refused.Hits())
			_, ok := consume.ParseCapNote(w.offset(t, 0).Metadata)
			require.Equal(t, c.noted, ok)
		})
	}
}

// TestOnlyANoteIsANote: other clients leave other metadata, ours the member's ID.
func TestOnlyANoteIsANote(t *testing.T) {
	t.Parallel()
	for _, metadata := range []string{"", "kgo-1", "null", "{}", `"x"`, "17", `{"reason":"corrupt"}`, `{"stopped_by_cap_at":"yesterday"}`} {
		_, ok := consume.ParseCapNote(metadata)
		require.False(t, ok, metadata)
	}
}
