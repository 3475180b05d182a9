package consume_test

import (
	"context"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/pipelinetest"
)

// TestTombstonesArePassedOver: they are committed, also where nothing else comes, and neither stored nor dead-lettered, nor do
// they count for or against the cap.
func TestTombstonesArePassedOver(t *testing.T) {
	t.Parallel()
	cluster, seen := broker(t, 1)
	client := pipelinetest.Client(t, cluster)
	for range 7 {
		require.NoError(t, client.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Key: []byte("k")}).FirstErr())
		seen.settled[at{Offset: int64(len(seen.settled))}] = 1 // for the ledger's look at the commits
	}
	m := newMember(t, seen)
	m.cfg.PoisonShare, m.cfg.PoisonMin = 0.5, 1
	m.onDecode = func(_ context.Context, rec *kgo.Record) error {
		if rec.Value == nil {
			return consume.ErrTombstone
		}
		return nil
	}
	m.start(cluster)
	committedAre(t, seen, map[int32]int64{0: 7})
	produce(t, cluster, 0, "good")
	committedAre(t, seen, map[int32]int64{0: 8})
	require.Empty(t, seen.letterPlaces())
	require.Equal(t, []int{1}, seen.sizes())
	require.NoError(t, testutil.GatherAndCompare(m.reg, strings.NewReader(`
# HELP revstream_consume_tombstones_total Records without a value read and passed over: they tell the topic that a key is gone.
# TYPE revstream_consume_tombstones_total counter
revstream_consume_tombstones_total{topic="events"} 7
`), "revstream_consume_tombstones_total"))
}
