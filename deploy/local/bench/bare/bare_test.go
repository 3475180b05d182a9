package bare_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/revstream/revstream/deploy/local/bench/bare"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// table takes note of the batches that writers put in.
type table struct {
	mu      sync.Mutex
	batches [][2]int
	refuses error
}

func (t *table) Insert(_ context.Context, from, to int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.batches = append(t.batches, [2]int{from, to})
	return t.refuses
}

func TestEveryRowGoesInOnce(t *testing.T) {
	t.Parallel()
	for _, writers := range []int{1, 2, 5} {
		into := new(table)
		took, err := bare.Run(t.Context(), 45, 20, slices.Repeat([]bare.Inserter{into}, writers))
		require.NoError(t, err)
		require.Positive(t, took)
		slices.SortFunc(into.batches, func(a, b [2]int) int { return a[0] - b[0] })
		require.Equal(t, [][2]int{{0, 20}, {20, 40}, {40, 45}}, into.batches)
	}
	full := &table{refuses: errors.New("the disk is full")}
	_, err := bare.Run(t.Context(), 1000, 20, []bare.Inserter{full})
	require.ErrorIs(t, err, full.refuses)
	require.Len(t, full.batches, 1)
}

func TestWaysHaveNamesOfTheirOwn(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	for _, way := range bare.Ways() {
		names[way.String()] = true
	}
	require.Len(t, names, 8)
	require.Contains(t, names, "product_50k_2w")
}
