package consume

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/kafkaclient"
	"github.com/revstream/revstream/pipeline/resilience"
)

// metrics are one loop's; the topic is a label, so that the loops of one
// binary share a registerer.
type metrics struct {
	records      prometheus.Counter
	poison       *prometheus.CounterVec
	tombstones   prometheus.Counter
	batchRows    prometheus.Histogram
	storeSeconds prometheus.Histogram
	visible      prometheus.Histogram
	stageSeconds *prometheus.HistogramVec
	letterErrors prometheus.Counter
	commitErrors prometheus.Counter
	lag          *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer, topic string) *metrics {
	f := promauto.With(prometheus.WrapRegistererWith(prometheus.Labels{"topic": topic}, reg))
	m := &metrics{
		records: f.NewCounter(prometheus.CounterOpts{
			Name: "revstream_consume_records_total", Help: "Records read, decoded and settled: stored, dropped as duplicates, or dead-lettered."}),
		poison: f.NewCounterVec(prometheus.CounterOpts{
			Name: "revstream_consume_poison_total", Help: "Records dead-lettered, by stage and reason."}, []string{"stage", "reason"}),
		tombstones: f.NewCounter(prometheus.CounterOpts{
			Name: "revstream_consume_tombstones_total", Help: "Records without a value read and passed over: they tell the topic that a key is gone."}),
		batchRows: f.NewHistogram(prometheus.HistogramOpts{
			Name: "revstream_consume_batch_records", Help: "Records of a batch.", Buckets: prometheus.ExponentialBuckets(1, 4, 9)}),
		storeSeconds: f.NewHistogram(prometheus.HistogramOpts{
			Name: "revstream_consume_store_seconds", Help: "Time from taking a batch to its commit.", Buckets: prometheus.ExponentialBuckets(0.001, 2.5, 12)}),
		visible: f.NewHistogram(prometheus.HistogramOpts{
			Name: "revstream_consume_visible_seconds", Help: "Age of a batch's oldest record, by its Kafka timestamp, when the batch was settled.", Buckets: prometheus.ExponentialBuckets(0.01, 3, 12)}),
		stageSeconds: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "revstream_consume_stage_seconds",
			Help:    "Time of each stage of a batch's way. Of its first event: observe (from the source's version to the producer's seeing it), publish (from then to the Kafka timestamp), wait (from then to the poll). Of the whole batch: decode, store (dedupe and inserts), dead_letter, commit.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 14)}, []string{"stage"}),
		letterErrors: f.NewCounter(prometheus.CounterOpts{
			Name: "revstream_consume_dead_letter_errors_total", Help: "Tries of writing a batch's dead letters that failed."}),
		commitErrors: f.NewCounter(prometheus.CounterOpts{
			Name: "revstream_consume_commit_errors_total", Help: "Tries of a commit that failed."}),
		lag: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "revstream_consume_lag_records", Help: "Records between the last one polled and the end of the partition."}, []string{"partition"}),
	}
	for _, stage := range stages {
		m.stageSeconds.WithLabelValues(stage)
	}
	return m
}

func (m *metrics) polled(p kgo.FetchTopicPartition) {
	if n := len(p.Records); n > 0 {
		m.lag.WithLabelValues(strconv.Itoa(int(p.Partition))).Set(float64(p.HighWatermark - p.Records[n-1].Offset - 1))
	}
}

func (m *metrics) ended(partitions []int32) {
	for _, p := range partitions {
		m.lag.DeleteLabelValues(strconv.Itoa(int(p)))
	}
}

func (m *metrics) settled(rows int, oldest time.Time, took time.Duration, poison []Poison) {
	m.records.Add(float64(rows))
	m.batchRows.Observe(float64(rows))
	m.storeSeconds.Observe(took.Seconds())
	m.visible.Observe(time.Since(oldest).Seconds())
	for _, p := range poison {
		m.poison.WithLabelValues(string(p.Stage), p.Reason).Inc()
	}
}

// outages is a collector of what holds a loop up, which it reads when it is asked.
type outages []*resilience.Availability

var outageSince = prometheus.NewDesc("revstream_consume_outage_timestamp_seconds",
	"When the outage began that holds the consumer up, by what is away and by what ends it: passes (by itself), operator, or unknown (an answer that no table has).",
	[]string{"what", "class"}, nil)

// Describe implements prometheus.Collector.
func (outages) Describe(descs chan<- *prometheus.Desc) { descs <- outageSince }

// Collect implements prometheus.Collector.
func (o outages) Collect(metrics chan<- prometheus.Metric) {
	for _, each := range o {
		if outage := each.Outage(); outage.Err != nil {
			metrics <- prometheus.MustNewConstMetric(outageSince, prometheus.GaugeValue,
				float64(outage.Since.Unix()), outage.What, string(kafkaclient.ClassOf(outage.Err)))
		}
	}
}
