package clickhousesink

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/pipeline/consume"
)

// timed is an item whose ID has this time in its first half.
func timed(at uint64, low byte) consume.Item {
	var id uuid.UUID
	binary.BigEndian.PutUint64(id[:8], at)
	id[15] = low
	return consume.Item{ID: id}
}

// TestRangesCoverTheBatchWithoutItsGaps, in any order of the items.
func TestRangesCoverTheBatchWithoutItsGaps(t *testing.T) {
	t.Parallel()
	batch := []consume.Item{timed(5, 0)} // a very old one
	for i := range uint64(50) {
		batch = append(batch, timed(1_000_000+i, 1), timed(9_000_000+i, 2), timed(9_000_000+i, 3))
	}
	random := rand.New(rand.NewPCG(3, 4))
	random.Shuffle(len(batch), func(i, j int) { batch[i], batch[j] = batch[j], batch[i] })
	got := rangesOf(batch)
	require.Len(t, got, maxRanges)
	in := func(id uuid.UUID) (n int) {
		for _, r := range got {
			if bytes.Compare(r.first[:], id[:]) <= 0 && bytes.Compare(id[:], r.last[:]) <= 0 {
				n++
			}
		}
		return n
	}
	for _, item := range batch {
		require.Equal(t, 1, in(item.ID))
	}
	for _, between := range []uint64{4, 6, 999_999, 1_000_050, 8_999_999, 9_000_050} {
		require.Zero(t, in(timed(between, 0).ID), between)
	}
	require.Equal(t, []span{{timed(7, 0).ID, timed(7, 0).ID}}, rangesOf([]consume.Item{timed(7, 0)}))
	require.Len(t, rangesOf([]consume.Item{timed(7, 0), timed(7, 1)}), 2)
}
