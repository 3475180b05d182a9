package resilience_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/pipeline/resilience"
)

// sourceMetrics are what was counted, without what stands at 0.
func sourceMetrics(t *testing.T, reg prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	require.NoError(t, err)
	counted := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			name := strings.TrimPrefix(family.GetName(), "revstream_source_")
			for _, label := range metric.GetLabel() {
				name += " " + label.GetValue()
			}
			value := metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + float64(metric.GetHistogram().GetSampleCount())
			if value != 0 {
				counted[name] = value
			}
		}
	}
	return counted
}

// Each try is counted once, whatever it ends as.
func TestEveryTryIsCounted(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]map[string]float64{
		"refused":      {"requests_total network read salesloft": 3, "request_seconds read salesloft": 3},
		"no answer":    {"requests_total timeout read salesloft": 3, "request_seconds read salesloft": 3},
		"stalled body": {"requests_total timeout read salesloft": 1, "request_seconds read salesloft": 1},
		"cut body":     {"requests_total network read salesloft": 1, "request_seconds read salesloft": 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				reg := prometheus.NewPedanticRegistry()
				metrics, err := resilience.NewMetrics(reg, "salesloft")
				require.NoError(t, err)
				cfg := resilience.TransportConfig{Metrics: metrics}
				client := &http.Client{Transport: resilience.NewTransport(cfg, quiet, &network{answer: outages[name]})}
				require.Error(t, fetch(t.Context(), client))
				require.Equal(t, want, sourceMetrics(t, reg))
			})
		})
	}
}

func TestRequestsAreCountedByKindAndCode(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewPedanticRegistry()
	metrics, err := resilience.NewMetrics(reg, "clari")
	require.NoError(t, err)
	zeros, err := testutil.GatherAndCount(reg, "revstream_source_requests_total")
	require.NoError(t, err)
	require.Equal(t, 22, zeros, "the first failure of a kind is to be an increase")
	cfg := fast
	cfg.Metrics, cfg.BreakerFailures, cfg.BreakerDelay = metrics, 2, time.Hour
	s := newSource(t, cfg, status(429), status(200), status(201), status(200), status(500), status(503))

	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodHead} {
		resp, err := s.do(t, t.Context(), method, "")
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
	}
	require.Equal(t, map[string]float64{
		"requests_total 429 read clari": 1, "requests_total 200 read clari": 2, "requests_total 201 write clari": 1,
		"request_seconds read clari": 3, "request_seconds write clari": 1,
	}, sourceMetrics(t, reg))

	for range 2 { // the second one at the latest is not sent
		_, err = s.do(t, t.Context(), http.MethodGet, "")
	}
	require.ErrorIs(t, err, resilience.ErrCircuitOpen)
	counted := sourceMetrics(t, reg)
	require.InDelta(t, 1, counted["circuit_open clari"], 0)
	require.InDelta(t, 2, counted["requests_total circuit_open read clari"], 0, "the third try of the first, and the second")
	require.InDelta(t, 1, counted["requests_total 500 read clari"], 0)
	require.InDelta(t, 1, counted["requests_total 503 read clari"], 0)
}

// What the caller gives up tells nothing of the source.
func TestATryThatIsGivenUpIsNotCounted(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewPedanticRegistry()
	metrics, err := resilience.NewMetrics(reg, "clari")
	require.NoError(t, err)
	cfg := fast
	cfg.Metrics = metrics
	ctx, cancel := context.WithCancel(t.Context())
	s := newSource(t, cfg, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	_, err = s.do(t, ctx, http.MethodGet, "")
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, sourceMetrics(t, reg))
}
