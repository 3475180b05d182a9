package claritest

import (
	"bufio"
	"testing"

	"github.com/stretchr/testify/require"
)

// counter takes bytes and keeps none.
type counter int64

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}

// BenchmarkResults holds the simulator to being faster than any client of it: the document of a job is generated while it is sent.
func BenchmarkResults(b *testing.B) {
	s, err := New(Config{Seed: 1, APIKey: "k", Users: 2000, Fields: 10})
	require.NoError(b, err)
	now := wednesday
	snap := s.snapshotOf("forecast", s.quarterOf(now), now, exportRequest{Types: allTypes, Currency: "USD", IncludeHistorical: true})
	var n counter
	b.ReportAllocs()
	for b.Loop() {
		n = 0
		out := bufio.NewWriterSize(&n, 1<<16)
		require.NoError(b, s.write(out, snap))
	}
	b.SetBytes(int64(n))
}
