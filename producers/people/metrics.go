package people

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type windowMetrics struct {
	published, unchanged, rejected prometheus.Counter
	windows                        *prometheus.CounterVec
	cursor, authFailed             prometheus.Gauge
}

func newWindowMetrics(reg prometheus.Registerer) (windowMetrics, error) {
	rows := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "revstream_people_rows_total", Help: "People that Salesloft's list handed over, by what became of them.",
	}, []string{"result"})
	m := windowMetrics{
		published: rows.WithLabelValues("published"),
		unchanged: rows.WithLabelValues("unchanged"),
		rejected:  rows.WithLabelValues("rejected"),
		windows: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "revstream_people_windows_total", Help: "Sync windows, by outcome.",
		}, []string{"outcome"}),
		cursor: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "revstream_people_cursor_timestamp_seconds", Help: "Newest updated_at that was published, in Unix seconds.",
		}),
		authFailed: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "revstream_salesloft_auth_failed", Help: "1 when the last sync window failed for its credentials.",
		}),
	}
	return m, errors.Join(reg.Register(rows), reg.Register(m.windows), reg.Register(m.cursor), reg.Register(m.authFailed))
}

// newWebhookMetrics returns the count of deliveries by result, which is a verdict's.
func newWebhookMetrics(reg prometheus.Registerer) (*prometheus.CounterVec, error) {
	deliveries := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "revstream_people_webhooks_total", Help: "Webhook deliveries, by what became of them.",
	}, []string{"result"})
	return deliveries, reg.Register(deliveries)
}
