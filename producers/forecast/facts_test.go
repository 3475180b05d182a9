package forecast

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFactsAreAMap, to the last bit of what they keep.
func TestFactsAreAMap(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	var table facts
	want := map[keyHash]fact{}
	var keys []keyHash
	for i := range 200_000 {
		key := keyHash{rng.Uint64N(64) << (64 - shardBits), rng.Uint64N(1 << keyBits)} // full shards
		if i%3 == 0 && len(keys) > 0 {
			key = keys[rng.IntN(len(keys))]
		}
		f := fact{version: rng.Int64N(1 << versionBits), content: contentHash(rng.Uint64N(1 << contentBits)), seen: rng.IntN(2) == 0}
		_, known := want[key]
		have, ok := table.get(key)
		require.Equal(t, known, ok)
		require.Equal(t, want[key], have)
		table.put(key, f)
		want[key] = f
		keys = append(keys, key)
	}
	require.Equal(t, len(want), table.n)
	table.forget()
	for key, f := range want {
		f.seen = false
		have, ok := table.get(key)
		require.True(t, ok)
		require.Equal(t, f, have)
	}
}

// BenchmarkFacts puts as many keys as a document of 500 MB has, and finds them.
func BenchmarkFacts(b *testing.B) {
	const n = 2_500_000
	bytes := 0
	for b.Loop() {
		var table facts
		rng := rand.New(rand.NewPCG(1, 2))
		for range n {
			table.put(keyHash{rng.Uint64(), rng.Uint64() >> (64 - keyBits)}, fact{version: 1, content: 1})
		}
		bytes = 0
		for i := range table.shards {
			bytes += 20 * cap(table.shards[i])
		}
	}
	b.ReportMetric(float64(bytes)/n, "B/key")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/n/float64(b.N), "ns/key")
}
