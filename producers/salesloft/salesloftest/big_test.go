package salesloftest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/producers/salesloft/salesloftest"
)

// BenchmarkMillion says what the requests of a full sync of a million people cost: 25,000 of them tie on one updated_at.
func BenchmarkMillion(b *testing.B) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	begun := time.Now()
	sim, err := salesloftest.New(salesloftest.Config{Seed: 1, People: 1_000_000, APIKeys: []string{key}, Budget: 1 << 40})
	require.NoError(b, err)
	took := time.Since(begun)
	tie := time.Date(2024, 12, 1, 0, 0, 0, 0, time.UTC)
	ids, err := sim.Update(salesloftest.Change{Count: 25_000, UpdatedAt: tie})
	require.NoError(b, err)
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.Logf("a million people: %v, %d MiB", took.Round(time.Millisecond), (after.HeapAlloc-before.HeapAlloc)>>20)
	hundred := ""
	for _, id := range ids[:100] {
		hundred += fmt.Sprintf("&ids[]=%d", id)
	}
	at := tie.Format(time.RFC3339)
	for name, query := range map[string]string{
		"window":  "updated_at[gte]=2024-10-01T00:00:00Z",
		"count":   "include_paging_counts=true&updated_at[gte]=2024-08-01T00:00:00Z&updated_at[lt]=2024-12-01T00:00:00Z",
		"ties":    "sort_by=created_at&updated_at[gte]=" + at + "&updated_at[lte]=" + at + "&created_at[gte]=2024-06-01T00:00:00Z",
		"present": hundred,
	} {
		request := httptest.NewRequest(http.MethodGet, "/v2/people?per_page=100&sort_direction=ASC&"+query, nil)
		request.Header.Set("Authorization", "Bearer "+key)
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				w := httptest.NewRecorder()
				if sim.ServeHTTP(w, request); w.Code != http.StatusOK {
					b.Fatal(w.Body.String())
				}
			}
		})
	}
	runtime.KeepAlive(sim)
}
