package snapshot_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/pipeline/snapshot"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const topic = "t"

func setup(t *testing.T, partitions int32) (*pipelinetest.Cluster, func(...kgo.Opt) *kgo.Client) {
	t.Helper()
	cluster := pipelinetest.Kafka(t, partitions, topic)
	return cluster, func(opts ...kgo.Opt) *kgo.Client { return pipelinetest.Client(t, cluster, opts...) }
}

func produce(t *testing.T, client *kgo.Client, values ...string) {
	t.Helper()
	for _, v := range values {
		require.NoError(t, client.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Key: []byte(v), Value: []byte(v)}).FirstErr())
	}
}

func read(t *testing.T, client *kgo.Client) []string {
	t.Helper()
	values := []string{}
	require.NoError(t, snapshot.Read(t.Context(), client, topic, func(r *kgo.Record) error {
		values = append(values, string(r.Value))
		return nil
	}))
	return values
}

func TestEmptyTopic(t *testing.T) {
	t.Parallel()
	_, client := setup(t, 3)
	require.Empty(t, read(t, client()))
}

func TestEveryRecordOfEveryPartition(t *testing.T) {
	t.Parallel()
	_, client := setup(t, 4)
	var want []string
	for n := range 100 {
		want = append(want, fmt.Sprint(n))
	}
	produce(t, client(), want...)
	require.ElementsMatch(t, want, read(t, client()))
}

// TestTransactions: an aborted record is none, and neither its marker nor an open transaction at the end is waited for.
func TestTransactions(t *testing.T) {
	t.Parallel()
	_, client := setup(t, 1)
	tx := client(kgo.TransactionalID("tx"))
	for i, end := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort} {
		require.NoError(t, tx.BeginTransaction())
		produce(t, tx, fmt.Sprint("tx", i))
		require.NoError(t, tx.EndTransaction(t.Context(), end))
	}
	require.Equal(t, []string{"tx0"}, read(t, client()))
	produce(t, client(), "plain")
	require.Equal(t, []string{"tx0", "plain"}, read(t, client()))
	require.NoError(t, tx.BeginTransaction())
	produce(t, tx, "open")
	require.Equal(t, []string{"tx0", "plain"}, read(t, client()))
	require.NoError(t, tx.EndTransaction(t.Context(), kgo.TryAbort))
}

// TestWhatArrivesMeanwhileIsNotRead: else a busy topic would never end.
func TestWhatArrivesMeanwhileIsNotRead(t *testing.T) {
	t.Parallel()
	_, client := setup(t, 1)
	c := client()
	produce(t, c, "1", "2")
	var values []string
	require.NoError(t, snapshot.Read(t.Context(), c, topic, func(r *kgo.Record) error {
		produce(t, c, "later")
		values = append(values, string(r.Value))
		return nil
	}))
	require.Equal(t, []string{"1", "2"}, values)
}

// TestHoleAtTheEnd: a broker that has nothing between here and the end, as compaction has taken it, says so by answering
// with nothing.
func TestHoleAtTheEnd(t *testing.T) {
	t.Parallel()
	cluster, client := setup(t, 1)
	c := client()
	produce(t, c, "1", "2", "3")
	cluster.ControlKey(int16(kmsg.ListOffsets), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		req := kreq.(*kmsg.ListOffsetsRequest)
		offset := int64(0)
		if req.Topics[0].Partitions[0].Timestamp == -1 {
			offset = 5
		}
		resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
		rt, rp := kmsg.NewListOffsetsResponseTopic(), kmsg.NewListOffsetsResponseTopicPartition()
		rt.Topic, rp.Offset = topic, offset
		rt.Partitions = append(rt.Partitions, rp)
		resp.Topics = append(resp.Topics, rt)
		return resp, nil, true
	})
	cluster.ControlKey(int16(kmsg.Fetch), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		req := kreq.(*kmsg.FetchRequest)
		if req.Topics[0].Partitions[0].FetchOffset < 3 {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.FetchResponse)
		rt, rp := kmsg.NewFetchResponseTopic(), kmsg.NewFetchResponseTopicPartition()
		rt.Topic, rt.TopicID, rp.HighWatermark, rp.LastStableOffset = topic, req.Topics[0].TopicID, 5, 5
		rt.Partitions = append(rt.Partitions, rp)
		resp.Topics = append(resp.Topics, rt)
		return resp, nil, true
	})
	require.Equal(t, []string{"1", "2", "3"}, read(t, c))
}

// fail answers the first n fetches with an error.
func fail(cluster *pipelinetest.Cluster, n int64, code int16) *atomic.Int64 {
	var seen atomic.Int64
	cluster.ControlKey(int16(kmsg.Fetch), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if seen.Add(1) > n {
			return nil, nil, false
		}
		req := kreq.(*kmsg.FetchRequest)
		resp := req.ResponseKind().(*kmsg.FetchResponse)
		rt, rp := kmsg.NewFetchResponseTopic(), kmsg.NewFetchResponseTopicPartition()
		rt.Topic, rt.TopicID, rp.ErrorCode = topic, req.Topics[0].TopicID, code
		rt.Partitions = append(rt.Partitions, rp)
		resp.Topics = append(resp.Topics, rt)
		return resp, nil, true
	})
	return &seen
}

func TestLeaderThatMovesIsFollowed(t *testing.T) {
	t.Parallel()
	cluster, client := setup(t, 1)
	c := client()
	produce(t, c, "1")
	fail(cluster, 2, kerr.NotLeaderForPartition.Code)
	require.Equal(t, []string{"1"}, read(t, c))
}

// TestLeadersThatDoNotLeadYet: brokers are told of a leader a moment before it is. The client asks the first that says so
// again, and not the second, so a producer that started then ended.
func TestLeadersThatDoNotLeadYet(t *testing.T) {
	t.Parallel()
	for name, timestamp := range map[string]int64{"the beginning": -2, "the end": -1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := pipelinetest.Kfake(t, kfake.NumBrokers(3), kfake.SeedTopics(3, topic))
			c := pipelinetest.Client(t, cluster)
			produce(t, c, "1")
			refused := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Topic: topic, Err: kerr.NotLeaderForPartition, Count: 3,
				When: func(req kmsg.Request) bool {
					return req.(*kmsg.ListOffsetsRequest).Topics[0].Partitions[0].Timestamp == timestamp
				}})
			require.Equal(t, []string{"1"}, read(t, c))
			require.Equal(t, 3, refused.Hits())
		})
	}
}

func TestErrorThatStays(t *testing.T) {
	t.Parallel()
	cluster, client := setup(t, 1)
	c := client()
	produce(t, c, "1")
	seen := fail(cluster, 100, kerr.TopicAuthorizationFailed.Code)
	err := snapshot.Read(t.Context(), c, topic, func(*kgo.Record) error { return nil })
	require.ErrorIs(t, err, kerr.TopicAuthorizationFailed)
	require.EqualValues(t, 1, seen.Load())
}

func TestCallersErrorAndContextEndIt(t *testing.T) {
	t.Parallel()
	_, client := setup(t, 1)
	c := client()
	produce(t, c, "1", "2")
	enough := errors.New("enough")
	calls := 0
	err := snapshot.Read(t.Context(), c, topic, func(*kgo.Record) error { calls++; return enough })
	require.Equal(t, enough, err)
	require.Equal(t, 1, calls)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, snapshot.Read(ctx, c, topic, func(*kgo.Record) error { return nil }), context.Canceled)
}

func TestMissingTopic(t *testing.T) {
	t.Parallel()
	_, client := setup(t, 1)
	require.ErrorIs(t, snapshot.Exists(t.Context(), client(), "missing"), snapshot.ErrNoTopic)
	require.NoError(t, snapshot.Exists(t.Context(), client(), topic))
	require.ErrorIs(t, snapshot.Read(t.Context(), client(), "missing", nil), snapshot.ErrNoTopic)
}

// TestALeaderThatDoesNotShowEverythingYet: a leader that has just been elected knows less than was listed, and answers with
// nothing for a while. That was taken for a hole, and the records were missing.
func TestALeaderThatDoesNotShowEverythingYet(t *testing.T) {
	t.Parallel()
	cluster, client := setup(t, 1)
	c := client()
	produce(t, c, "1", "2", "3")
	var seen atomic.Int64
	cluster.ControlKey(int16(kmsg.Fetch), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if seen.Add(1) > 2 {
			return nil, nil, false
		}
		req := kreq.(*kmsg.FetchRequest)
		resp := req.ResponseKind().(*kmsg.FetchResponse)
		rt, rp := kmsg.NewFetchResponseTopic(), kmsg.NewFetchResponseTopicPartition()
		rt.Topic, rt.TopicID = topic, req.Topics[0].TopicID
		rp.HighWatermark, rp.LastStableOffset = 0, 0
		rt.Partitions = append(rt.Partitions, rp)
		resp.Topics = append(resp.Topics, rt)
		return resp, nil, true
	})
	require.Equal(t, []string{"1", "2", "3"}, read(t, c))
}

// TestALargeAbortedTransactionIsNotRead, though an answer holds only a part of it.
func TestALargeAbortedTransactionIsNotRead(t *testing.T) {
	t.Parallel()
	_, client := setup(t, 1)
	tx := client(kgo.TransactionalID("tx"), kgo.ProducerBatchCompression(kgo.NoCompression()))
	large := strings.Repeat("x", 100<<10)
	for i := range 3 {
		require.NoError(t, tx.BeginTransaction())
		for range 8 {
			produce(t, tx, large) // each a batch
		}
		end := kgo.TryAbort
		if i == 1 {
			end = kgo.TryCommit
		}
		require.NoError(t, tx.EndTransaction(t.Context(), end))
	}
	require.Eventually(t, func() bool { // Apache Kafka answers before it writes the marker
		_, ends, err := snapshot.Bounds(t.Context(), tx, topic)
		require.NoError(t, err)
		return ends[0] == 27
	}, 30*time.Second, 5*time.Millisecond)
	var offsets []int64
	require.NoError(t, snapshot.Read(t.Context(), client(), topic, func(r *kgo.Record) error {
		offsets = append(offsets, r.Offset)
		return nil
	}))
	require.Equal(t, []int64{9, 10, 11, 12, 13, 14, 15, 16}, offsets)
}
