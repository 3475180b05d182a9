package people

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/revstream/revstream/schemas/exportrun"
)

type windowMetrics struct {
	published, unchanged, rejected prometheus.Counter
	windows                        *prometheus.CounterVec
	took                           *prometheus.HistogramVec
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
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "revstream_people_window_seconds", Help: "Time of a sync window, by outcome.", Buckets: prometheus.ExponentialBuckets(0.1, 3, 11),
		}, []string{"outcome"}),
		cursor: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "revstream_people_cursor_timestamp_seconds", Help: "Newest updated_at that was published, in Unix seconds.",
		}),
		authFailed: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "revstream_salesloft_auth_failed", Help: "1 when the last sync window failed for its credentials.",
		}),
	}
	for _, outcome := range exportrun.Outcomes() { // so that the first one is an increase
		m.windows.WithLabelValues(string(outcome))
		m.took.WithLabelValues(string(outcome))
	}
	return m, errors.Join(reg.Register(rows), reg.Register(m.windows), reg.Register(m.took), reg.Register(m.cursor), reg.Register(m.authFailed))
}

// newWebhookMetrics returns the count of deliveries by result, which is a verdict's.
func newWebhookMetrics(reg prometheus.Registerer) (*prometheus.CounterVec, error) {
	deliveries := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "revstream_people_webhooks_total", Help: "Webhook deliveries, by what became of them.",
	}, []string{"result"})
	for _, v := range verdicts {
		deliveries.WithLabelValues(v.result)
	}
	return deliveries, reg.Register(deliveries)
}

type reconcileMetrics struct {
	runs                   *prometheus.CounterVec
	deleted, repaired      prometheus.Counter
	missing, blocked, last prometheus.Gauge
}

func newReconcileMetrics(reg prometheus.Registerer) (reconcileMetrics, error) {
	published := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "revstream_people_reconciled_total", Help: "People that a reconciliation published, as deleted or as missed.",
	}, []string{"result"})
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	m := reconcileMetrics{
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "revstream_people_reconciliations_total", Help: "Reconciliations, by outcome.",
		}, []string{"outcome"}),
		deleted:  published.WithLabelValues("deleted"),
		repaired: published.WithLabelValues("repaired"),
		missing:  gauge("revstream_people_reconcile_missing", "People of the topic whom the last reconciliation did not find in the source's list."),
		blocked:  gauge("revstream_people_reconcile_blocked", "1 while too many people are missing for their deletions to be published."),
		last:     gauge("revstream_people_reconcile_last_timestamp_seconds", "When a reconciliation that ended well last began, in Unix seconds."),
	}
	for _, outcome := range exportrun.Outcomes() {
		m.runs.WithLabelValues(string(outcome))
	}
	return m, errors.Join(reg.Register(published), reg.Register(m.runs), reg.Register(m.missing), reg.Register(m.blocked), reg.Register(m.last))
}
