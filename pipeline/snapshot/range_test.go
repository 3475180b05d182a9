package snapshot_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/snapshot"
)

// TestARangeIsReadFromItsFirstOffsetToBeforeItsLast, as far as the topic still has it.
func TestARangeIsReadFromItsFirstOffsetToBeforeItsLast(t *testing.T) {
	t.Parallel()
	_, client := setup(t, 1)
	c := client()
	tx := client(kgo.TransactionalID("tx"))
	produce(t, c, "0", "1", "2")
	require.NoError(t, tx.BeginTransaction())
	produce(t, tx, "aborted")
	require.NoError(t, tx.EndTransaction(t.Context(), kgo.TryAbort))
	admin := kadm.NewClient(c)
	require.Eventually(t, func() bool { // Apache Kafka answers before it writes the marker
		ends, err := admin.ListCommittedOffsets(t.Context(), topic)
		require.NoError(t, err)
		end, _ := ends.Lookup(topic, 0)
		return end.Offset == 5
	}, 30*time.Second, 5*time.Millisecond)
	produce(t, c, "5", "6", "7")
	ranged := func(from, to int64) (values []string) {
		require.NoError(t, snapshot.ReadRange(t.Context(), c, topic, 0, from, to, func(r *kgo.Record) error {
			require.Equal(t, fmt.Sprint(r.Offset), string(r.Value))
			values = append(values, string(r.Value))
			return nil
		}))
		return values
	}
	require.Equal(t, []string{"1", "2", "5", "6"}, ranged(1, 7))
	require.Equal(t, []string{"7"}, ranged(7, 8))
	require.Empty(t, ranged(3, 5), "an aborted record and its marker")

	_, err := admin.DeleteRecords(t.Context(), kadm.Offsets{topic: {0: {Topic: topic, At: 6}}})
	require.NoError(t, err)
	require.Equal(t, []string{"6"}, ranged(1, 7))
	require.Empty(t, ranged(1, 3))
	require.ErrorIs(t, snapshot.ReadRange(t.Context(), c, "missing", 0, 0, 1, nil), snapshot.ErrNoTopic)
}

// TestReadingOnSeesWhatHasComeSince, in every partition, and tells a topic that is no longer the one that was read.
func TestReadingOnSeesWhatHasComeSince(t *testing.T) {
	t.Parallel()
	_, client := setup(t, 2)
	c := client()
	var position snapshot.Position
	on := func() (values []string, err error) {
		values = []string{}
		next, err := snapshot.ReadOn(t.Context(), c, topic, position, func(r *kgo.Record) error {
			values = append(values, string(r.Value))
			return nil
		})
		if err == nil {
			position = next
		}
		return values, err
	}
	batches := [][]string{{"1", "2", "3", "4"}, {}, {"5", "6", "7"}}
	for _, batch := range batches {
		produce(t, c, batch...)
		values, err := on()
		require.NoError(t, err)
		require.ElementsMatch(t, batch, values)
	}
	admin := kadm.NewClient(c)
	_, err := admin.DeleteTopic(t.Context(), topic)
	require.NoError(t, err)
	created, err := admin.CreateTopic(t.Context(), 2, 1, nil, topic)
	require.NoError(t, err)
	require.NoError(t, created.Err)
	_, err = on()
	require.ErrorIs(t, err, snapshot.ErrShrunk)
}

// TestBoundsAreOfWhatIsThereAndCommitted.
func TestBoundsAreOfWhatIsThereAndCommitted(t *testing.T) {
	t.Parallel()
	_, client := setup(t, 1)
	c, tx := client(), client(kgo.TransactionalID("tx"))
	produce(t, c, "0", "1", "2")
	_, err := kadm.NewClient(c).DeleteRecords(t.Context(), kadm.Offsets{topic: {0: {Topic: topic, At: 1}}})
	require.NoError(t, err)
	require.NoError(t, tx.BeginTransaction())
	produce(t, tx, "of an open transaction")
	starts, ends, err := snapshot.Bounds(t.Context(), c, topic)
	require.NoError(t, err)
	require.Equal(t, snapshot.Position{0: 1}, starts)
	require.Equal(t, snapshot.Position{0: 3}, ends)
	require.NoError(t, tx.EndTransaction(t.Context(), kgo.TryAbort))
	_, _, err = snapshot.Bounds(t.Context(), c, "missing")
	require.ErrorIs(t, err, snapshot.ErrNoTopic)
}
