package forecast

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/revstream/revstream/schemas/exportrun"
)

// metrics of the export cycle.
type metrics struct {
	values *prometheus.CounterVec
	jobs   *prometheus.CounterVec
	took   *prometheus.HistogramVec
	keys   prometheus.Gauge
	skip   prometheus.Gauge
	last   prometheus.Gauge
	lastAt time.Time // what last shows; the cycle's goroutine alone uses it

	quality     *prometheus.CounterVec
	requeued    prometheus.Counter
	quota       prometheus.Gauge
	concurrency prometheus.Gauge
	waiting     prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		values: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "revstream_forecast_values_total", Help: "Values that exports held: published, unchanged or rejected.",
		}, []string{"outcome"}),
		jobs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "revstream_forecast_jobs_total", Help: "Export runs that are over, by outcome.",
		}, []string{"outcome"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "revstream_forecast_job_seconds", Help: "From asking Clari for a run's first export job to the run's end, by outcome.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 13),
		}, []string{"outcome"}),
		keys: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "revstream_forecast_known_keys", Help: "Keys whose newest content is known.",
		}),
		skip: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "revstream_forecast_known_skipped_records", Help: "Records of the topic that are no valid event.",
		}),
		last: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "revstream_forecast_last_job_timestamp_seconds", Help: "When a run last succeeded, entirely or in part, of this process or another.",
		}),
		quality: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "revstream_forecast_quality_total", Help: "Runs whose data is doubtful, by what about it is.",
		}, []string{"issue"}),
		requeued: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "revstream_forecast_requeued_jobs_total", Help: "Export jobs that failed or took too long, in whose place another was asked for.",
		}),
		quota: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "revstream_clari_quota_available", Help: "Export jobs left of Clari's monthly quota, those reserved for people included.",
		}),
		concurrency: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "revstream_clari_concurrency_available", Help: "Export jobs that Clari would run now beside those that it runs.",
		}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "revstream_clari_quota_waiting", Help: "1 while an export waits for Clari's quota or concurrency.",
		}),
	}
	for _, label := range issueLabels {
		m.quality.WithLabelValues(label) // so that the first one is an increase
	}
	for _, outcome := range exportrun.Outcomes() {
		m.jobs.WithLabelValues(string(outcome))
		m.took.WithLabelValues(string(outcome))
	}
	for _, outcome := range []string{"published", "unchanged", "rejected"} {
		m.values.WithLabelValues(outcome)
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.values, m.jobs, m.took, m.keys, m.skip, m.last, m.quality, m.requeued, m.quota, m.concurrency, m.waiting} {
		errs = append(errs, reg.Register(c))
	}
	return m, errors.Join(errs...)
}

func (m *metrics) known(k *Known) {
	m.keys.Set(float64(k.Len()))
	m.skip.Set(float64(k.skipped))
}

func (m *metrics) ended(run *exportrun.ExportRun, t tally) {
	m.jobs.WithLabelValues(string(run.Outcome)).Inc()
	m.took.WithLabelValues(string(run.Outcome)).Observe(run.CompletedAt.Sub(run.RequestedAt).Seconds())
	for _, i := range issuesOf(run) {
		m.quality.WithLabelValues(i.label).Inc()
	}
	m.values.WithLabelValues("published").Add(float64(t.published))
	m.values.WithLabelValues("unchanged").Add(float64(t.unchanged))
	m.values.WithLabelValues("rejected").Add(float64(t.rejected))
	if run.Outcome == exportrun.Succeeded || run.Outcome == exportrun.Partial {
		m.succeeded(time.Now())
	}
}

// succeeded takes note of a run, which may be another process's.
func (m *metrics) succeeded(at time.Time) {
	if at.After(m.lastAt) {
		m.lastAt = at
		m.last.Set(float64(at.UnixMilli()) / 1000)
	}
}
