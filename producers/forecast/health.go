package forecast

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/revstream/revstream/schemas/exportrun"
)

// health is how the cycles go.
type health struct {
	interval time.Duration
	mu       sync.Mutex // guards all below: the cycle's goroutine writes, Check reads
	since    time.Time  // of the start, or the end of the last cycle
	runs     int
	err      error // of the last cycle
}

func newHealth(interval time.Duration) health { return health{interval: interval, since: time.Now()} }

func (h *health) finished(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.since, h.err = time.Now(), err
	h.runs++
}

// Check is a readiness check: an error if the last cycle failed, or if none has ended for two intervals.
func (e *Exporter) Check(context.Context) (map[string]any, error) {
	h := &e.health
	h.mu.Lock()
	defer h.mu.Unlock()
	details := map[string]any{"cycles": h.runs}
	if h.runs > 0 {
		details["last_cycle"] = h.since.UTC().Format(time.RFC3339)
	}
	switch idle := time.Since(h.since); {
	case h.err != nil:
		return details, fmt.Errorf("the last cycle failed: %w", h.err)
	case idle > 2*h.interval:
		return details, fmt.Errorf("no cycle has ended for %s", idle.Round(time.Second))
	default:
		return details, nil
	}
}

// metrics of the export cycle.
type metrics struct {
	values *prometheus.CounterVec
	jobs   *prometheus.CounterVec
	keys   prometheus.Gauge
	skip   prometheus.Gauge
	last   prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		values: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "revstream_forecast_values_total", Help: "Values that exports held: published, unchanged or rejected.",
		}, []string{"outcome"}),
		jobs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "revstream_forecast_jobs_total", Help: "Export jobs that are over, by outcome.",
		}, []string{"outcome"}),
		keys: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "revstream_forecast_known_keys", Help: "Keys whose newest content is known.",
		}),
		skip: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "revstream_forecast_known_skipped_records", Help: "Records of the topic that are no valid event.",
		}),
		last: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "revstream_forecast_last_job_timestamp_seconds", Help: "When a job last succeeded, entirely or in part.",
		}),
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.values, m.jobs, m.keys, m.skip, m.last} {
		errs = append(errs, reg.Register(c))
	}
	return m, errors.Join(errs...)
}

func (m *metrics) known(k *Known) {
	m.keys.Set(float64(k.Len()))
	m.skip.Set(float64(k.skipped))
}

func (m *metrics) ended(outcome exportrun.Outcome, t tally) {
	m.jobs.WithLabelValues(string(outcome)).Inc()
	m.values.WithLabelValues("published").Add(float64(t.published))
	m.values.WithLabelValues("unchanged").Add(float64(t.unchanged))
	m.values.WithLabelValues("rejected").Add(float64(t.rejected))
	if outcome == exportrun.Succeeded || outcome == exportrun.Partial {
		m.last.SetToCurrentTime()
	}
}
