package salesloft

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	points, waits prometheus.Counter
	remaining     prometheus.Gauge
}

// newMetrics registers them, unless there is no registry.
func newMetrics(reg prometheus.Registerer) (metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := metrics{
		points: counter("revstream_salesloft_points_total", "Cost points that this process has spent."),
		waits:  counter("revstream_salesloft_budget_wait_seconds_total", "Time for which requests waited for the cost budget."),
		remaining: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "revstream_salesloft_budget_remaining", Help: "Cost points that the last answer left the team for its minute.",
		}),
	}
	if reg == nil {
		return m, nil
	}
	err := errors.Join(reg.Register(m.points), reg.Register(m.waits), reg.Register(m.remaining))
	if err != nil {
		return metrics{}, fmt.Errorf("registering salesloft metrics: %w", err)
	}
	return m, nil
}

// tokenAge is a collector of a token's age, which it reads when it is asked.
type tokenAge struct{ of *oauth }

var tokenAgeDesc = prometheus.NewDesc("revstream_salesloft_token_age_seconds",
	"Since the access token in use was issued. Absent with an API key, and before the first token.", nil, nil)

// Describe implements prometheus.Collector.
func (tokenAge) Describe(descs chan<- *prometheus.Desc) { descs <- tokenAgeDesc }

// Collect implements prometheus.Collector.
func (a tokenAge) Collect(metrics chan<- prometheus.Metric) {
	if age, known := a.of.age(); known {
		metrics <- prometheus.MustNewConstMetric(tokenAgeDesc, prometheus.GaugeValue, max(age, 0).Seconds())
	}
}
