package desk

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/schemas"
)

const benchLetters = 100_000

// fill writes benchLetters dead letters.
func fill(b *testing.B) *Desk {
	b.Helper()
	cluster := pipelinetest.Kafka(b, 6, topics...)
	letters := make([]consume.Poison, benchLetters)
	for i := range letters {
		letters[i] = poison(schemas.PeopleTopic, i, "validation")
		letters[i].Record.Value = fmt.Appendf(nil, "%0600d", i)
	}
	write(b, cluster, letters...)
	return newDeskWith(b, cluster, Config{})
}

func BenchmarkReplay(b *testing.B) {
	for range b.N {
		b.StopTimer()
		d := fill(b)
		b.StartTimer()
		require.Equal(b, benchLetters, must(b)(d.Run(b.Context(), order(), nil)).Done)
	}
	b.ReportMetric(float64(b.N)*benchLetters/b.Elapsed().Seconds(), "letters/s")
}

func BenchmarkLetters(b *testing.B) {
	d := fill(b)
	for b.Loop() {
		n := 0
		require.NoError(b, d.Letters(b.Context(), Selection{}, func(Entry) error { n++; return nil }))
		require.Equal(b, benchLetters, n)
	}
	b.ReportMetric(float64(b.N)*benchLetters/b.Elapsed().Seconds(), "letters/s")
}

// BenchmarkLedger reads the decisions on as many letters.
func BenchmarkLedger(b *testing.B) {
	d := fill(b)
	must(b)(d.Run(b.Context(), order(), nil))
	for b.Loop() {
		_, err := d.ledger(b.Context())
		require.NoError(b, err)
	}
	b.ReportMetric(float64(b.N)*benchLetters/b.Elapsed().Seconds(), "letters/s")
}
