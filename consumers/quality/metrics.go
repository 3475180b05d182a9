package quality

import (
	"context"
	"errors"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/revstream/revstream/pipeline/clickhousesink"
)

// Metrics are what the newest analysis found.
type Metrics struct {
	findings *prometheus.GaugeVec
	last     prometheus.Gauge
}

// NewMetrics registers them.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		findings: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "revstream_quality_findings", Help: "Columns in which the newest analysis found something, by check and severity: info, warning or critical.",
		}, []string{"check", "severity"}),
		last: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "revstream_quality_last_timestamp_seconds", Help: "When the newest analysis began; 0 before the first.",
		}),
	}
	if err := errors.Join(reg.Register(m.findings), reg.Register(m.last)); err != nil {
		return nil, fmt.Errorf("registering the metrics of data quality: %w", err)
	}
	m.reset()
	return m, nil
}

func (m *Metrics) reset() {
	for _, check := range Checks {
		for _, severity := range []Severity{Info, Warning, Critical} {
			m.findings.WithLabelValues(check, string(severity)).Set(0)
		}
	}
}

// Observe sets them.
func (m *Metrics) Observe(ctx context.Context, conn clickhouse.Conn) error {
	var last float64
	if err := conn.QueryRow(ctx, "SELECT toUnixTimestamp64Micro(max(checked_at)) / 1e6 FROM data_quality_analyses").Scan(&last); err != nil {
		return fmt.Errorf("reading the newest analysis: %w", clickhousesink.Safe(err))
	}
	var found []struct {
		Check    string  `ch:"check"`
		Severity string  `ch:"severity"`
		N        float64 `ch:"n"`
	}
	if err := conn.Select(ctx, &found, "SELECT check, severity, toFloat64(count()) AS n FROM data_quality GROUP BY check, severity"); err != nil {
		return fmt.Errorf("reading the newest findings: %w", clickhousesink.Safe(err))
	}
	m.last.Set(max(last, 0))
	m.reset()
	for _, f := range found {
		m.findings.WithLabelValues(f.Check, f.Severity).Set(f.N)
	}
	return nil
}
