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
