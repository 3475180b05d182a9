package clickhousesink

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	stored, duplicates prometheus.Counter
	insertSeconds      *prometheus.HistogramVec
	errors             *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, entity string) *metrics {
	f := promauto.With(prometheus.WrapRegistererWith(prometheus.Labels{"entity": entity}, reg))
	return &metrics{
		stored: f.NewCounter(prometheus.CounterOpts{
			Name: "revstream_clickhousesink_events_stored_total", Help: "Events that were stored for the first time."}),
		duplicates: f.NewCounter(prometheus.CounterOpts{
			Name: "revstream_clickhousesink_duplicates_dropped_total", Help: "Events dropped because the batch or the ledger had them."}),
		insertSeconds: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "revstream_clickhousesink_insert_seconds", Help: "Time of an insert.", Buckets: prometheus.ExponentialBuckets(0.002, 2.5, 11)}, []string{"table"}),
		errors: f.NewCounterVec(prometheus.CounterOpts{
			Name: "revstream_clickhousesink_insert_errors_total", Help: "Inserts that failed, by ClickHouse error code."}, []string{"table", "code"}),
	}
}
