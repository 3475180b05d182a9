package clickhousesink

import (
	"encoding/binary"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// timed makes events whose IDs have these times in their first halves.
func timed(times ...uint64) map[uuid.UUID]struct{} {
	events := make(map[uuid.UUID]struct{})
	for i, at := range times {
		var id uuid.UUID
		binary.BigEndian.PutUint64(id[:8], at)
		id[15] = byte(i)
		events[id] = struct{}{}
	}
	return events
}

// TestRangesCoverTheBatchWithoutItsGaps.
func TestRangesCoverTheBatchWithoutItsGaps(t *testing.T) {
	t.Parallel()
	times := []uint64{5} // a very old one
	for i := range uint64(50) {
		times = append(times, 1_000_000+i, 9_000_000+i, 9_000_000+i)
	}
	got := rangesOf(timed(times...))
	require.Len(t, got, maxRanges)
	in := func(at uint64) (n int) {
		for _, r := range got {
			if r.first <= at && at <= r.last {
				n++
			}
		}
		return n
	}
	for _, at := range times {
		require.Equal(t, 1, in(at))
	}
	for _, between := range []uint64{4, 6, 999_999, 1_000_050, 8_999_999, 9_000_050} {
		require.Zero(t, in(between), between)
	}
	require.Equal(t, []span{{7, 7}}, rangesOf(timed(7)))
	require.Equal(t, []span{{7, 7}, {9, 9}}, rangesOf(timed(7, 9)))
}
