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
		fill(ctx, conn, m.freshness, "freshness", "SELECT [source, entity], toFloat64(age_seconds) FROM freshness WHERE age_seconds IS NOT NULL"),
		fill(ctx, conn, m.rows, "the tables' rows", `SELECT [name], toFloat64(total_rows) FROM system.tables
			WHERE database = currentDatabase() AND engine LIKE '%MergeTree' AND total_rows IS NOT NULL`),
	)
}

// fill sets a vector to the rows of a query: labels and value. What the query no longer has is gone.
func fill(ctx context.Context, conn clickhouse.Conn, vec *prometheus.GaugeVec, what, query string) error {
	rows, err := conn.Query(ctx, query)
	if err != nil {
		return fmt.Errorf("reading %s: %w", what, err)
	}
	defer rows.Close()
	type sample struct {
		labels []string
		value  float64
	}
	var samples []sample
	for rows.Next() {
		var one sample
		if err := rows.Scan(&one.labels, &one.value); err != nil {
			return fmt.Errorf("reading %s: %w", what, err)
		}
		samples = append(samples, one)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("reading %s: %w", what, err)
	}
	vec.Reset()
	for _, one := range samples {
		vec.WithLabelValues(one.labels...).Set(one.value)
	}
	return nil
}
