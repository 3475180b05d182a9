package anomaly

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/revstream/revstream/pipeline/clickhousesink"
)

// Metrics are what the tables say, whoever has written them.
type Metrics struct {
	open    *prometheus.GaugeVec
	lastRun prometheus.Gauge
}

// NewMetrics registers them.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		open:    prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "revstream_anomalies_open", Help: "Reviews of forecast amounts that are open, by scope: user, hierarchy or storm."}, []string{"scope"}),
		lastRun: prometheus.NewGauge(prometheus.GaugeOpts{Name: "revstream_anomalies_last_run_timestamp_seconds", Help: "When the last run ended that looked for anomalies; 0 if none has."}),
	}
	for _, scope := range []string{ScopeUser, ScopeHierarchy, ScopeStorm} {
		m.open.WithLabelValues(scope)
	}
	for _, c := range []prometheus.Collector{m.open, m.lastRun} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("registering the metrics of anomalies: %w", err)
		}
	}
	return m, nil
}

// Observe sets the metrics from the tables.
func (m *Metrics) Observe(ctx context.Context, conn clickhouse.Conn) error {
	var user, hierarchy, storm uint64
	err := conn.QueryRow(ctx, `SELECT countIf(scope = 'user'), countIf(scope = 'hierarchy'), countIf(scope = 'storm')
FROM forecast_anomalies FINAL WHERE state = 'open'`).Scan(&user, &hierarchy, &storm)
	if err != nil {
		return fmt.Errorf("counting reviews: %w", clickhousesink.Safe(err))
	}
	var ended *time.Time
	if err := conn.QueryRow(ctx, "SELECT maxOrNull(finished_at) FROM anomaly_runs").Scan(&ended); err != nil {
		return fmt.Errorf("finding the last look at anomalies: %w", clickhousesink.Safe(err))
	}
	m.open.WithLabelValues(ScopeUser).Set(float64(user))
	m.open.WithLabelValues(ScopeHierarchy).Set(float64(hierarchy))
	m.open.WithLabelValues(ScopeStorm).Set(float64(storm))
	if ended != nil {
		m.lastRun.Set(float64(ended.UnixMicro()) / 1e6)
	}
	return nil
}
