package meter_test

import (
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/revstream/revstream/deploy/local/bench/meter"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestASeriesKnowsItsMiddleAndItsEnds(t *testing.T) {
	t.Parallel()
	var s meter.Series
	for _, want := range []struct{ add, min, median, max float64 }{{3, 3, 3, 3}, {1, 1, 2, 3}, {2, 1, 2, 3}, {10, 1, 2.5, 10}, {-1, -1, 2, 10}} {
		s.Add(want.add)
		require.Equal(t, [3]float64{want.min, want.median, want.max}, [3]float64{s.Min, s.Median, s.Max})
	}
	raw, err := json.Marshal(s)
	require.NoError(t, err)
	require.JSONEq(t, `{"rounds": [3, 1, 2, 10, -1], "min": -1, "median": 2, "max": 10}`, string(raw))
}

func TestQuantilesAreValuesThatWereThere(t *testing.T) {
	t.Parallel()
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(100 - i)
	}
	for q, want := range map[float64]float64{0: 1, 0.5: 50, 0.99: 99, 0.991: 100, 1: 100} {
		require.InDelta(t, want, meter.Quantile(hundred, q), 0, q)
	}
	require.InDelta(t, 7, meter.Quantile([]float64{7}, 0.01), 0)
	require.True(t, math.IsNaN(meter.Quantile(nil, 0.5)))
}

const served = `# HELP revstream_consume_records_total Records read.
# TYPE revstream_consume_records_total counter
revstream_consume_records_total{topic="revenue.export-runs.v1"} 3
revstream_consume_records_total{topic="revenue.forecast.v1"} 1.04e+06
revstream_consume_records_total_more{topic="revenue.forecast.v1"} 7
revstream_clickhousesink_insert_seconds_count{entity="forecast",table="forecast_current"} 50
revstream_clickhousesink_insert_seconds_count{entity="forecast",table="forecast_ledger"} 52
revstream_clickhousesink_insert_seconds_count{entity="export_run",table="forecast_like"} 1
go_memstats_mallocs_total 12345
`

func TestSumAddsUpWhatALabelNames(t *testing.T) {
	t.Parallel()
	m := meter.Metrics(served)
	require.InDelta(t, 1_040_000, m.Sum("revstream_consume_records_total", `topic="revenue.forecast.v1"`), 0)
	require.InDelta(t, 1_040_003, m.Sum("revstream_consume_records_total"), 0)
	require.InDelta(t, 102, m.Sum("revstream_clickhousesink_insert_seconds_count", `entity="forecast"`), 0)
	require.InDelta(t, 52, m.Sum("revstream_clickhousesink_insert_seconds_count", `entity="forecast"`, `table="forecast_ledger"`), 0)
	require.InDelta(t, 12345, m.Sum("go_memstats_mallocs_total"), 0)
	require.Zero(t, m.Sum("revstream_consume_records"))
	require.Zero(t, m.Sum("go_memstats_mallocs_total", `topic="x"`))
}

func TestAScraperReadsUncompressed(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metrics" || r.Header.Get("Accept-Encoding") != "" {
			w.WriteHeader(http.StatusTeapot)
		}
		_, _ = w.Write([]byte(served))
	}))
	defer server.Close()
	s := meter.NewScraper()
	defer s.Close()
	m, err := s.Scrape(t.Context(), strings.TrimPrefix(server.URL, "http://"))
	require.NoError(t, err)
	require.Equal(t, served, string(m))
	_, err = s.Scrape(t.Context(), "127.0.0.1:1")
	require.ErrorContains(t, err, "reading metrics")
}

func TestCPUIsThatOfTheProcess(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("there is no /proc")
	}
	deadline := time.Now().Add(time.Minute)
	for busy := 0; ; busy++ {
		used, err := meter.CPU(os.Getpid())
		require.NoError(t, err)
		if used > 0 {
			break
		}
		require.True(t, time.Now().Before(deadline), "no processor time after a minute, %d looks", busy)
	}
	_, err := meter.CPU(1 << 30)
	require.ErrorIs(t, err, os.ErrNotExist)
}
