package contracts

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics tell how the contracts of this build stand, whoever has checked them.
type Metrics struct {
	names      []string
	violations *prometheus.GaugeVec
	last       *prometheus.GaugeVec
	freshness  *prometheus.GaugeVec
}

// NewMetrics registers them.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	promised, err := Promised()
	if err != nil {
		return nil, err
	}
	m := &Metrics{
		violations: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "revstream_contract_violations", Help: "What broke a rule of a contract in its last check: rows, columns, or 1; 0 where it held.",
		}, []string{"contract", "rule"}),
		last: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "revstream_contract_last_check_timestamp_seconds", Help: "When a contract was last checked; 0 where it never was.",
		}, []string{"contract"}),
		freshness: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "revstream_contract_freshness_p95_seconds", Help: "Time from the source to the warehouse, for 95 of 100 rows of the 24 hours before the last check; absent where nothing came.",
		}, []string{"contract"}),
	}
	for _, c := range promised {
		m.names = append(m.names, c.Name)
		m.last.WithLabelValues(c.Name)
	}
	if err := errors.Join(reg.Register(m.violations), reg.Register(m.last), reg.Register(m.freshness)); err != nil {
		return nil, fmt.Errorf("registering the contracts' metrics: %w", err)
	}
	return m, nil
}

// Observe sets them from contract_checks.
func (m *Metrics) Observe(ctx context.Context, conn clickhouse.Conn) error {
	var rows []struct {
		Contract   string    `ch:"contract"`
		Rule       string    `ch:"rule"`
		CheckedAt  time.Time `ch:"checked_at"`
		Violations uint64    `ch:"violations"`
		Measured   *float64  `ch:"measured"`
	}
	err := conn.Select(ctx, &rows, `SELECT contract, rule, checked_at, violations, measured FROM contract_checks FINAL
		WHERE (contract, checked_at) GLOBAL IN (SELECT contract, max(checked_at) FROM contract_checks WHERE contract IN (`+literals(m.names)+`) GROUP BY contract)`)
	if err != nil {
		return fmt.Errorf("reading the contracts' checks: %w", err)
	}
	m.violations.Reset()
	m.freshness.Reset()
	for _, row := range rows {
		m.violations.WithLabelValues(row.Contract, row.Rule).Set(float64(row.Violations))
		m.last.WithLabelValues(row.Contract).Set(float64(row.CheckedAt.UnixMilli()) / 1000)
		if row.Rule == "freshness_p95" && row.Measured != nil {
			m.freshness.WithLabelValues(row.Contract).Set(*row.Measured)
		}
	}
	return nil
}
