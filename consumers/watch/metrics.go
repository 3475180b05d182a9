package watch

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	succeeded = "succeeded"
	failed    = "failed"
)

type metrics struct {
	runs    *prometheus.CounterVec
	last    *prometheus.GaugeVec
	seconds *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer, tasks []*task) (*metrics, error) {
	m := &metrics{
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "revstream_watch_runs_total", Help: "Runs of a task, by outcome: succeeded or failed. A failed one is tried again.",
		}, []string{"task", "outcome"}),
		last: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "revstream_watch_last_success_timestamp_seconds", Help: "When a task was last done, by this process or, where its results say when, by any. Absent until it was.",
		}, []string{"task"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "revstream_watch_run_seconds", Help: "Time that a run of a task takes, failed ones included.",
			Buckets: []float64{0.01, 0.05, 0.25, 1, 5, 15, 60, 300, 1800, 7200},
		}, []string{"task"}),
	}
	for _, t := range tasks {
		m.runs.WithLabelValues(t.Name, succeeded)
		m.runs.WithLabelValues(t.Name, failed)
		m.seconds.WithLabelValues(t.Name)
	}
	if err := errors.Join(reg.Register(m.runs), reg.Register(m.last), reg.Register(m.seconds)); err != nil {
		return nil, fmt.Errorf("registering the watch's metrics: %w", err)
	}
	return m, nil
}

func (m *metrics) took(task string, d time.Duration) {
	m.seconds.WithLabelValues(task).Observe(d.Seconds())
}

func (m *metrics) failed(task string) { m.runs.WithLabelValues(task, failed).Inc() }

func (m *metrics) ran(task string) {
	m.runs.WithLabelValues(task, succeeded).Inc()
	m.succeeded(task, time.Now())
}

func (m *metrics) succeeded(task string, at time.Time) {
	m.last.WithLabelValues(task).Set(float64(at.UnixNano()) / 1e9)
}
