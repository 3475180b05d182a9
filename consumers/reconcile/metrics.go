package reconcile

import (
	"context"
	"errors"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/revstream/revstream/pipeline/clickhousesink"
)

// Metrics are what the newest complete reconciliation found.
type Metrics struct{ missing, gap, last *prometheus.GaugeVec }

// NewMetrics registers them.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	labels := []string{"source", "entity"}
	m := &Metrics{
		missing: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "revstream_reconciliation_missing_rows", Help: "Events on the topic that consumers have passed and that are nowhere: of runs in the history, and of keys in the current table.",
		}, labels),
		gap: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "revstream_reconciliation_gap_rows", Help: "Rows that should be there and are not: the missing ones, those that never came onto the topic, and those that a run does not account for.",
		}, labels),
		last: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "revstream_reconciliation_last_timestamp_seconds", Help: "When the newest complete reconciliation began.",
		}, labels),
	}
	if err := errors.Join(reg.Register(m.missing), reg.Register(m.gap), reg.Register(m.last)); err != nil {
		return nil, fmt.Errorf("registering the metrics of reconciliations: %w", err)
	}
	return m, nil
}

// Observe sets them.
func (m *Metrics) Observe(ctx context.Context, conn clickhouse.Conn) error {
	var found []struct {
		Source  string  `ch:"source"`
		Entity  string  `ch:"entity"`
		Missing float64 `ch:"missing_rows"`
		Gap     float64 `ch:"gap_rows"`
		Last    float64 `ch:"last"`
	}
	if err := conn.Select(ctx, &found, `SELECT source, entity, toFloat64(sumIf(missing, NOT counted_elsewhere)) AS missing_rows,
			toFloat64(sumIf(gap, NOT counted_elsewhere)) AS gap_rows, toUnixTimestamp64Micro(max(checked_at)) / 1e6 AS last
		FROM reconciliations FINAL
		WHERE reconciliation_id GLOBAL IN (SELECT argMax(reconciliation_id, checked_at) FROM reconciliations WHERE complete)
		GROUP BY source, entity`); err != nil {
		return fmt.Errorf("reading the newest reconciliation: %w", clickhousesink.Safe(err))
	}
	for _, f := range found {
		m.missing.WithLabelValues(f.Source, f.Entity).Set(f.Missing)
		m.gap.WithLabelValues(f.Source, f.Entity).Set(f.Gap)
		m.last.WithLabelValues(f.Source, f.Entity).Set(f.Last)
	}
	return nil
}
