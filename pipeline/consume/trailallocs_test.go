package consume

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/sdk/trace"
)

// A record costs a trail no allocation: neither where nobody traces, nor where the batch is left out of the sample, nor where
// its origin is linked already.
//
//nolint:paralleltest // allocations are the whole process's
func TestATrailAllocatesNothingForEachRecord(t *testing.T) {
	traced := func(sampler trace.Sampler) context.Context {
		ctx, _ := trace.NewTracerProvider(trace.WithSampler(sampler)).Tracer("test").Start(t.Context(), "process") //nolint:spancheck // it lives as long as the test
		return ctx
	}
	records := make([]*kgo.Record, 10) // of other origins, in turn
	for i := range records {
		records[i] = &kgo.Record{Headers: []kgo.RecordHeader{
			{Key: "ce_id", Value: []byte("id")}, {Key: headerCorrelation, Value: fmt.Appendf(nil, "run-%d", i/5)},
			{Key: "traceparent", Value: fmt.Appendf(nil, "00-%032x-%016x-01", 1+i/5, 1+i/5)},
		}}
	}
	for name, ctx := range map[string]context.Context{"no tracer": t.Context(), "not sampled": traced(trace.NeverSample()), "sampled": traced(trace.AlwaysSample())} {
		b, held := &batch{records: make([]entry, 0, 1<<16)}, &lease{}
		b.begin(ctx, Config{Topic: "events"})
		require.Zero(t, testing.AllocsPerRun(1000, func() {
			for _, rec := range records {
				b.add(held, rec)
			}
		}), name)
		require.Equal(t, name == "sampled", len(b.trail.linked) == 2, name)
	}
}
