package consume_test

import (
	"context"
	"maps"
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

	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/pipelinetest"
)

// world is a broker whose group is of one protocol.
type world struct {
	*pipelinetest.Cluster
	seen     *ledger
	protocol string
}

// onBothProtocols runs a test on a broker of its own for each of the group's protocols.
func onBothProtocols(t *testing.T, partitions int32, test func(*testing.T, world)) {
	t.Helper()
	for _, protocol := range []string{consume.ProtocolClassic, consume.ProtocolConsumer} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			cluster, seen := broker(t, partitions)
			if !pipelinetest.Apache() {
				// With the consumer protocol the pace of the heartbeats is the broker's.
				_, err := kadm.NewClient(pipelinetest.Client(t, cluster)).AlterBrokerConfigs(t.Context(),
					[]kadm.AlterConfig{{Name: "group.consumer.heartbeat.interval.ms", Value: new("100")}})
				require.NoError(t, err)
			}
			test(t, world{cluster, seen, protocol})
		})
	}
}

func (w world) member(t *testing.T) *member {
	t.Helper()
	m := newMember(t, w.seen)
	m.cfg.GroupProtocol = w.protocol
	return m
}

// heartbeat is the request by which a member hears of its group.
func (w world) heartbeat() kmsg.Key {
	if w.protocol == consume.ProtocolConsumer {
		return kmsg.ConsumerGroupHeartbeat
	}
	return kmsg.Heartbeat
}

// putOut ends a membership, as the end of its session would.
func (w world) putOut(t *testing.T, id string) {
	t.Helper()
	client := pipelinetest.Client(t, w.Cluster)
	if w.protocol == consume.ProtocolConsumer {
		leave := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		leave.Group, leave.MemberID, leave.MemberEpoch = group, id, -1
		resp, err := leave.RequestWith(t.Context(), client)
		require.NoError(t, err)
		require.NoError(t, kerr.ErrorForCode(resp.ErrorCode))
		return
	}
	member := kmsg.NewLeaveGroupRequestMember()
	member.MemberID = id
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Group, leave.Members = group, []kmsg.LeaveGroupRequestMember{member}
	resp, err := leave.RequestWith(t.Context(), client)
	require.NoError(t, err)
	require.NoError(t, kerr.ErrorForCode(resp.Members[0].ErrorCode))
}

// TestARevokedPartitionIsNeverCommittedByItsOldOwner: a rebalance takes a
// partition away whose records are in the sink.
func TestARevokedPartitionIsNeverCommittedByItsOldOwner(t *testing.T) {
	t.Parallel()
	onBothProtocols(t, 2, func(t *testing.T, w world) {
		produce(t, w.Cluster, 0, numbered(3)...)
		produce(t, w.Cluster, 1, numbered(3)...)

		old := w.member(t)
		old.cfg.BatchRows = 6
		blocked := newGate()
		old.onStore = func(ctx context.Context, _ []kgo.Record) error { return blocked.wait(ctx) }
		old.start(w.Cluster)
		<-blocked.arrived
		require.EqualValues(t, 2, old.owns())
		oldID, _ := old.client.GroupMetadata()

		heir := w.member(t).start(w.Cluster)
		until(t, func() bool { return old.owns() == 1 && heir.owns() == 1 }, "the group is balanced")
		until(t, func() bool { return len(w.seen.committed()) == 1 }, "the heir commits what it got")
		moved := slices.Collect(maps.Keys(w.seen.committed()))[0]
		close(blocked.open)
		committedAre(t, w.seen, map[int32]int64{0: 3, 1: 3})
		for _, c := range w.seen.commits {
			if c.member == oldID {
				require.NotContains(t, c.ends, moved, "the old owner commits what is another's")
			}
		}
		require.Len(t, w.seen.settled, 6, "nothing is lost")
		require.NotEmpty(t, oldID)
		heir.stop()
		old.stop()
	})
}

// TestTheProtocolIsTheOneAskedFor, or the tests of both would test one twice.
func TestTheProtocolIsTheOneAskedFor(t *testing.T) {
	t.Parallel()
	onBothProtocols(t, 1, func(t *testing.T, w world) {
		m := w.member(t).start(w.Cluster)
		until(t, func() bool { return m.owns() == 1 && w.seen.hasAsked(w.heartbeat()) }, "the member has its partition")
		require.Equal(t, w.protocol == consume.ProtocolClassic, w.seen.hasAsked(kmsg.JoinGroup))
		m.stop()
	})
}

// TestAStaticMemberRestartsWithoutARebalance: the group stays as it is, the
// other member keeps what it has, and the new process has its partitions at once.
func TestAStaticMemberRestartsWithoutARebalance(t *testing.T) {
	t.Parallel()
	onBothProtocols(t, 4, func(t *testing.T, w world) {
		start := func(id string) *member {
			m := w.member(t)
			m.cfg.InstanceID = id
			return m.start(w.Cluster)
		}
		restarted, other := start("a"), start("b")
		balanced := func() bool { return restarted.owns() == 2 && other.owns() == 2 }
		until(t, balanced, "the group is balanced")
		// Once before: kfake, unlike Kafka, forms a classic group anew where a
		// member did not join with the same partitions the last time.
		restarted.stop()
		restarted = start("a")
		until(t, balanced, "the group is balanced")
		// Who has what shows in who commits it.
		everywhere := func() {
			for p := range int32(4) {
				produce(t, w.Cluster, p, "value")
			}
		}
		everywhere()
		committedAre(t, w.seen, map[int32]int64{0: 1, 1: 1, 2: 1, 3: 1})
		otherID, generation := other.client.GroupMetadata()
		before := w.seen.committedBy(otherID)
		require.Len(t, before, 2)

		restarted.stop()
		began := time.Now()
		restarted = start("a")
		until(t, balanced, "the new process has its partitions")
		require.Less(t, time.Since(began), 2*time.Second)
		everywhere()
		committedAre(t, w.seen, map[int32]int64{0: 2, 1: 2, 2: 2, 3: 2})
		_, after := other.client.GroupMetadata()
		require.Equal(t, generation, after, "the group was formed anew")
		require.Equal(t, before, w.seen.committedBy(otherID))
		require.EqualValues(t, 2, other.owns())
		restarted.stop()
		other.stop()
	})
}

// committedBy returns the partitions that a member has committed.
func (l *ledger) committedBy(id string) map[int32]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	parts := make(map[int32]bool)
	for _, c := range l.commits {
		for p := range c.ends {
			if c.member == id {
				parts[p] = true
			}
		}
	}
	return parts
}

// TestACommitOfAStaleEpochIsMadeAgain: before Kafka 4.3 the brokers refuse a
// commit whose member has not heard yet that its epoch is another, and the
// client gives it up.
func TestACommitOfAStaleEpochIsMadeAgain(t *testing.T) {
	t.Parallel()
	onBothProtocols(t, 1, func(t *testing.T, w world) {
		stale := kerr.StaleMemberEpoch
		if w.protocol == consume.ProtocolClassic {
			stale = kerr.IllegalGeneration
		}
		refused := w.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Group: group, Err: stale, Count: 2})
		produce(t, w.Cluster, 0, "value")
		m := w.member(t).start(w.Cluster)
		until(t, func() bool { return refused.Hits() == 2 && m.check() == nil }, "the commit passes")
		m.stop()

		produce(t, w.Cluster, 0, "next")
		second := w.member(t).start(w.Cluster)
		committedAre(t, w.seen, map[int32]int64{0: 2})
		second.stop()
		require.Equal(t, 1, w.seen.settled[at{Partition: 0, Offset: 0}], "the commit stands, so nothing is read again")
	})
}

// TestAMemberThatWasPutOutBeginsAnew: what it had in hand is not committed
// under its new membership, but read again.
func TestAMemberThatWasPutOutBeginsAnew(t *testing.T) {
	t.Parallel()
	onBothProtocols(t, 1, func(t *testing.T, w world) {
		produce(t, w.Cluster, 0, numbered(3)...)
		m := w.member(t)
		m.cfg.BatchRows = 3
		blocked := newGate()
		var stored atomic.Int64
		m.onStore = func(ctx context.Context, _ []kgo.Record) error {
			if stored.Add(1) == 1 {
				return blocked.wait(ctx)
			}
			return nil
		}
		m.start(w.Cluster)
		<-blocked.arrived
		first, _ := m.client.GroupMetadata()
		w.putOut(t, first)
		until(t, func() bool { id, _ := m.client.GroupMetadata(); return id != first && m.owns() == 1 }, "the member has joined again")
		require.Empty(t, w.seen.committed())
		close(blocked.open)
		committedAre(t, w.seen, map[int32]int64{0: 3})
		require.Empty(t, w.seen.committedBy(first))
		require.Equal(t, 2, w.seen.settled[at{Partition: 0, Offset: 0}], "the batch in hand was another membership's")
		m.stop()
	})
}

// TestMembersComeAndGo while records flow: each is stored, and every commit was
// the owner's to make, as the broker would refuse it else.
func TestMembersComeAndGo(t *testing.T) {
	t.Parallel()
	onBothProtocols(t, 6, func(t *testing.T, w world) {
		stays := w.member(t).start(w.Cluster)
		const rounds, each = 6, 20
		for round := range rounds {
			comes := w.member(t).start(w.Cluster)
			for p := range int32(6) {
				produce(t, w.Cluster, p, numbered(each)...)
			}
			if round%2 == 0 { // else it goes while it joins
				until(t, func() bool { return comes.owns() > 0 }, "the newcomer has a share")
			}
			comes.stop()
		}
		ends := map[int32]int64{}
		for p := range int32(6) {
			ends[p] = rounds * each
		}
		committedAre(t, w.seen, ends)
		require.Len(t, w.seen.settled, 6*rounds*each)
		until(t, func() bool { return stays.check() == nil }, "the one that stayed is well")
		stays.stop()
	})
}

// TestALongSessionDoesNotSlowTheHeartbeat: at Kafka's own session timeout of
// 45 s a member heard of a rebalance only after the group had put it out, joined
// anew, and so put out the others, without end.
func TestALongSessionDoesNotSlowTheHeartbeat(t *testing.T) {
	t.Parallel()
	cluster, seen := broker(t, 1)
	m := newMember(t, seen)
	m.cfg.SessionTimeout = 45 * time.Second
	m.start(cluster)
	heartbeat := m.client.OptValue(kgo.HeartbeatInterval).(time.Duration)
	rebalance := m.client.OptValue(kgo.RebalanceTimeout).(time.Duration)
	require.LessOrEqual(t, 3*heartbeat, rebalance)
	m.stop()
}
