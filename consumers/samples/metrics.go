package samples

import (
	"context"
	"errors"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are what the warehouse says of itself.
type Metrics struct {
	freshness *prometheus.GaugeVec
	rows      *prometheus.GaugeVec
}

// NewMetrics registers them.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		freshness: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "revstream_freshness_seconds", Help: "Time since the last run that succeeded had ended, by source and entity.",
		}, []string{"source", "entity"}),
		rows: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "revstream_warehouse_rows", Help: "Rows that a table stores, superseded ones that are not merged away yet included.",
		}, []string{"table"}),
	}
	if err := errors.Join(reg.Register(m.freshness), reg.Register(m.rows)); err != nil {
		return nil, fmt.Errorf("registering the warehouse's metrics: %w", err)
	}
	return m, nil
}

// Observe sets them.
func (m *Metrics) Observe(ctx context.Context, conn clickhouse.Conn) error {
	return errors.Join(
		fill(ctx, conn, m.freshness, "freshness", "SELECT [source, entity] AS labels, toFloat64(age_seconds) AS value FROM freshness WHERE age_seconds IS NOT NULL"),
		fill(ctx, conn, m.rows, "the tables' rows", `SELECT [name] AS labels, toFloat64(total_rows) AS value FROM system.tables
			WHERE database = currentDatabase() AND engine LIKE '%MergeTree' AND total_rows IS NOT NULL`),
	)
}

// fill sets a vector to the rows of a query: labels and value. What the query no longer has is gone.
func fill(ctx context.Context, conn clickhouse.Conn, vec *prometheus.GaugeVec, what, query string) error {
	var samples []struct {
		Labels []string `ch:"labels"`
		Value  float64  `ch:"value"`
	}
	if err := conn.Select(ctx, &samples, query); err != nil {
		return fmt.Errorf("reading %s: %w", what, err)
	}
	vec.Reset()
	for _, one := range samples {
		vec.WithLabelValues(one.Labels...).Set(one.Value)
	}
	return nil
}
