package consume_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/revstream/revstream/pipeline/pipelinetest"
)

// produceTraced appends n records, each published by another span, and all of one run.
func produceTraced(t *testing.T, cluster *pipelinetest.Cluster, n int) {
	t.Helper()
	records := make([]*kgo.Record, n)
	for i := range records {
		records[i] = &kgo.Record{Topic: topic, Value: []byte("value"), Headers: []kgo.RecordHeader{
			{Key: "correlation-id", Value: []byte("run-1")},
			{Key: "traceparent", Value: fmt.Appendf(nil, "00-%032x-%016x-01", i+1, i+1)},
		}}
	}
	require.NoError(t, pipelinetest.Client(t, cluster).ProduceSync(t.Context(), records...).FirstErr())
}

// tracedBy is a member whose loop is traced by a provider, with a sampler.
func tracedBy(t *testing.T, seen *ledger, sampler sdktrace.Sampler) (*member, *tracetest.InMemoryExporter) {
	t.Helper()
	spans := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans), sdktrace.WithSampler(sampler))
	m := newMember(t, seen)
	m.ctx, _ = provider.Tracer("test").Start(t.Context(), "process") //nolint:spancheck // it lives as long as the test
	return m, spans
}

func attributesOf(span tracetest.SpanStub) map[string]string {
	all := map[string]string{}
	for _, a := range span.Attributes {
		all[string(a.Key)] = a.Value.String()
	}
	return all
}

// A batch is one trace, with links to who has published its records, and a span for each thing that is done with it.
func TestABatchIsOneTraceWithLinksToItsOrigins(t *testing.T) {
	t.Parallel()
	cluster, seen := broker(t, 1)
	produce(t, cluster, 0, "value", "bad", "refused")
	produceTraced(t, cluster, 200)
	m, spans := tracedBy(t, seen, sdktrace.AlwaysSample())
	m.cfg.BatchRows = 203
	m.start(cluster)
	committedAre(t, seen, map[int32]int64{0: 203})
	m.stop()

	byName := map[string][]tracetest.SpanStub{}
	for _, span := range spans.GetSpans() {
		byName[span.Name] = append(byName[span.Name], span)
	}
	batches := byName["events process"]
	require.LessOrEqual(t, len(batches), len(seen.sizes()), "one for each batch, whatever it has of records")
	records, links, unlinked, poison := 0, 0, 0, 0
	for _, batch := range batches {
		require.False(t, batch.Parent.IsValid(), "a batch has many origins")
		got := attributesOf(batch)
		records, unlinked, poison = records+number(t, got["messaging.batch.message_count"]), unlinked+number(t, got["revstream.unlinked_records"]), poison+number(t, got["revstream.poison"])
		links += len(batch.Links)
		require.LessOrEqual(t, len(batch.Links), 128)
		require.Equal(t, "events", got["messaging.destination.name"])
	}
	require.Equal(t, []int{203, 200, 2}, []int{records, links + unlinked, poison})
	require.Positive(t, links)
	last := batches[len(batches)-1]
	require.Equal(t, []string{"run-1"}, correlations(last))
	require.Contains(t, attributesOf(last)["revstream.offsets"], `-202"`)
	for _, child := range []string{"dead letters", "commit"} {
		require.NotEmpty(t, byName[child])
		for _, span := range byName[child] {
			require.True(t, slices.ContainsFunc(batches, func(b tracetest.SpanStub) bool {
				return b.SpanContext.SpanID() == span.Parent.SpanID() && b.SpanContext.TraceID() == span.SpanContext.TraceID()
			}), "%s is below its batch", child)
		}
	}
}

func number(t *testing.T, text string) (n int) {
	t.Helper()
	_, err := fmt.Sscan(text, &n)
	require.NoError(t, err, "%q", text)
	return n
}

func correlations(span tracetest.SpanStub) []string {
	set := attribute.NewSet(span.Attributes...)
	value, _ := set.Value("revstream.correlation_ids")
	return value.AsStringSlice()
}

// What is left out of the sample is not looked at.
func TestABatchThatIsNotSampledFollowsNothing(t *testing.T) {
	t.Parallel()
	cluster, seen := broker(t, 1)
	produceTraced(t, cluster, 50)
	m, spans := tracedBy(t, seen, sdktrace.NeverSample())
	m.start(cluster)
	committedAre(t, seen, map[int32]int64{0: 50})
	m.stop()
	require.Empty(t, spans.GetSpans())
}

// Each stage of each batch is measured, those that need the events' own times only where the sink knows them.
func TestStagesAreMeasuredForEachBatch(t *testing.T) {
	t.Parallel()
	for name, dated := range map[string]bool{"events without times": false, "events with times": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster, seen := broker(t, 1)
			produce(t, cluster, 0, "value", "bad", "value", "value", "value")
			m := newMember(t, seen)
			if dated { // the producer's clock is ahead of Kafka's
				m.happened, m.observed = time.Now(), time.Now().Add(time.Hour)
			}
			var failed atomic.Bool
			m.onStore = func(context.Context, []kgo.Record) error {
				if !failed.Swap(true) {
					return errors.New("away")
				}
				return nil
			}
			m.start(cluster)
			committedAre(t, seen, map[int32]int64{0: 5})
			m.stop()
			batches := uint64(len(seen.sizes()))
			want := map[string]uint64{"observe": 0, "publish": 0, "wait": batches, "decode": batches, "store": batches, "dead_letter": 1, "commit": batches}
			if dated {
				want["observe"], want["publish"] = batches, batches
			}
			counts, sums := stageTimes(t, m.reg)
			require.Equal(t, want, counts)
			require.InDelta(t, 3600*float64(want["observe"]), sums["observe"], 1)
			require.InDelta(t, 0, sums["publish"], 0, "less than nothing is nothing")
		})
	}
}

func stageTimes(t *testing.T, reg *prometheus.Registry) (counts map[string]uint64, sums map[string]float64) {
	t.Helper()
	families, err := reg.Gather()
	require.NoError(t, err)
	counts, sums = map[string]uint64{}, map[string]float64{}
	for _, family := range families {
		if family.GetName() != "revstream_consume_stage_seconds" {
			continue
		}
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				if label.GetName() == "stage" {
					counts[label.GetValue()], sums[label.GetValue()] = metric.GetHistogram().GetSampleCount(), metric.GetHistogram().GetSampleSum()
				}
			}
		}
	}
	return counts, sums
}
