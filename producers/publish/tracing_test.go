package publish_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/pipeline/tracing"
	"github.com/revstream/revstream/producers/publish"
	"github.com/revstream/revstream/schemas"
)

func traceparents(records []*kgo.Record) []string {
	var all []string
	for _, rec := range records {
		for _, h := range rec.Headers {
			if h.Key == tracing.Header {
				all = append(all, string(h.Value))
			}
		}
	}
	return all
}

// What goes out between two flushes has one span, below the run's, and every record of it names that span.
func TestAFlushHasOneSpan(t *testing.T) {
	t.Parallel()
	const events = 100
	spans := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	cluster := pipelinetest.Kafka(t, 1, schemas.ExportRunsTopic, schemas.DLQTopic(schemas.ExportRunsTopic))
	p, _, _, err := open(t, cluster, true)
	require.NoError(t, err)
	ctx, above := provider.Tracer("test").Start(t.Context(), "run")
	for i := range events {
		require.NoError(t, p.Publish(ctx, run(t, fmt.Sprint("clari:", i))))
	}
	require.NoError(t, p.Reject(ctx, publish.Rejection{Reason: "malformed", Err: errors.New("cut off")}))
	require.NoError(t, p.Flush(ctx))
	require.NoError(t, p.Flush(ctx), "of nothing")

	got := spans.GetSpans()
	require.Len(t, got, 1)
	require.Equal(t, schemas.ExportRunsTopic+" publish", got[0].Name)
	require.Equal(t, above.SpanContext().SpanID(), got[0].Parent.SpanID())
	require.Contains(t, got[0].Attributes, attribute.Int(tracing.Records, events+1))
	want := fmt.Sprintf("00-%s-%s-01", got[0].SpanContext.TraceID(), got[0].SpanContext.SpanID())
	named := traceparents(append(pipelinetest.ReadAll(t, cluster, schemas.ExportRunsTopic), pipelinetest.ReadAll(t, cluster, schemas.DLQTopic(schemas.ExportRunsTopic))...))
	require.Len(t, named, events+1)
	for _, traceparent := range named {
		require.Equal(t, want, traceparent)
	}

	answered := make(chan error, 1)
	require.NoError(t, p.PublishFunc(ctx, run(t, "clari:alone"), func(err error) { answered <- err }))
	require.NoError(t, <-answered)
	require.Len(t, spans.GetSpans(), 2, "an event by itself has its own")
}
