package reconcile_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/consumers"
	"github.com/revstream/revstream/consumers/reconcile"
	"github.com/revstream/revstream/schemas/event"
)

// BenchmarkReconcile reconciles a cycle of 200,000 events on 200,000 keys, all of which are there; heap-MB is what that has at its
// most beyond what it begins with.
func BenchmarkReconcile(b *testing.B) {
	const runs, users = 5, 40_000
	s := newStack(b)
	for period := range runs {
		name := fmt.Sprintf("2026_Q%d", period)
		events := make([]event.Event, users)
		for u := range users {
			events[u] = s.forecast("cycle", name, fmt.Sprint("280627:00E4M000001Rgq", u), 1)
		}
		s.publish(events...)
		s.publish(s.account("clari:"+name, "cycle", users, ofForecast(name)))
	}
	s.consumeStream(consumers.Forecast)
	s.consumeStream(consumers.ExportRuns)
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	most := before.HeapAlloc
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for tick := time.NewTicker(20 * time.Millisecond); ; {
			select {
			case <-tick.C:
				runtime.ReadMemStats(&now)
				most = max(most, now.HeapAlloc)
			case <-done:
				return
			}
		}
	}()
	for b.Loop() {
		report, err := s.reconcile(reconcile.Config{Listed: 10})
		require.NoError(b, err)
		require.Zero(b, report.Gap())
		require.Equal(b, int64(runs*users), report.Results[0].Stored)
	}
	close(done)
	<-ended
	b.ReportMetric(float64(most-before.HeapAlloc)/1e6, "heap-MB")
}
