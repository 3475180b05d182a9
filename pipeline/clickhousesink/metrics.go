package clickhousesink

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	stored, duplicates prometheus.Counter
	insertSeconds      *prometheus.HistogramVec
	errors             *prometheus.CounterVec
	lookupSeconds      prometheus.Histogram
	lookupErrors       *prometheus.CounterVec
}

// codeConnection labels an error that is none of ClickHouse's own.
const codeConnection = "connection"

func newMetrics(reg prometheus.Registerer, entity string) *metrics {
	f := promauto.With(prometheus.WrapRegistererWith(prometheus.Labels{"entity": entity}, reg))
	m := &metrics{
		stored: f.NewCounter(prometheus.CounterOpts{
			Name: "revstream_clickhousesink_events_stored_total", Help: "Events that were stored for the first time."}),
		duplicates: f.NewCounter(prometheus.CounterOpts{
			Name: "revstream_clickhousesink_duplicates_dropped_total", Help: "Events dropped because the batch or the ledger had them."}),
		insertSeconds: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "revstream_clickhousesink_insert_seconds", Help: "Time of an insert.", Buckets: prometheus.ExponentialBuckets(0.002, 2.5, 11)}, []string{"table"}),
		errors: f.NewCounterVec(prometheus.CounterOpts{
			Name: "revstream_clickhousesink_insert_errors_total", Help: "Inserts that failed, by ClickHouse error code."}, []string{"table", "code"}),
		lookupSeconds: f.NewHistogram(prometheus.HistogramOpts{
			Name: "revstream_clickhousesink_lookup_seconds", Help: "Time of looking a batch up in the ledger.", Buckets: prometheus.ExponentialBuckets(0.002, 2.5, 11)}),
		lookupErrors: f.NewCounterVec(prometheus.CounterOpts{
			Name: "revstream_clickhousesink_lookup_errors_total", Help: "Look-ups in the ledger that failed, by ClickHouse error code."}, []string{"code"}),
	}
	for _, table := range []string{"_current", "_history", "_ledger"} {
		m.insertSeconds.WithLabelValues(entity + table)
		m.errors.WithLabelValues(entity+table, codeConnection)
	}
	m.lookupErrors.WithLabelValues(codeConnection)
	return m
}
