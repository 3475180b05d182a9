package consume

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/revstream/revstream/pipeline/tracing"
)

// What a batch's span names of what its records come from, at most.
const (
	maxLinks        = 128
	maxCorrelations = 32
	maxOffsets      = 64 // partitions
)

// headerCorrelation is the record header with the ID of the run that the record comes from.
const headerCorrelation = "correlation-id"

// trail is the span of a batch, and what it tells of where the batch comes from. While the span records nothing, neither
// does the trail: then a record costs a look at one bool.
type trail struct {
	span      trace.Span
	recording bool

	linked       map[string]struct{} // traceparents
	correlations map[string]struct{}
	unlinked     int // records with a traceparent that is not linked
}

// begin starts the span of a batch, with its first record. It is a trace of its own: a batch has many origins.
func (b *batch) begin(ctx context.Context, cfg Config) {
	_, b.trail.span = tracing.Start(ctx, cfg.Topic+" process", trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindConsumer), tracing.With(
		attribute.String("messaging.system", "kafka"), attribute.String("messaging.operation.type", "process"),
		attribute.String(tracing.Topic, cfg.Topic), attribute.String("messaging.consumer.group.name", cfg.Group)))
	if b.trail.recording = b.trail.span.IsRecording(); b.trail.recording {
		b.trail.linked, b.trail.correlations = make(map[string]struct{}), make(map[string]struct{})
	}
}

// follow links the span that published a record. To look a text up allocates nothing, to keep it does, once.
func (t *trail) follow(rec *kgo.Record) {
	for _, h := range rec.Headers {
		switch h.Key {
		case tracing.Header:
			if _, known := t.linked[string(h.Value)]; !known {
				t.link(h.Value)
			}
		case headerCorrelation:
			if _, known := t.correlations[string(h.Value)]; !known && len(t.correlations) < maxCorrelations {
				t.correlations[string(h.Value)] = struct{}{}
			}
		}
	}
}

func (t *trail) link(traceparent []byte) {
	link, ok := trace.Link{}, false
	if len(t.linked) < maxLinks {
		link, ok = tracing.Link(traceparent)
	}
	if !ok {
		t.unlinked++
		return
	}
	t.linked[string(traceparent)] = struct{}{}
	t.span.AddLink(link)
}

// end ends the span of a batch that is settled, or left to the next member because of an error.
func (b *batch) end(poison int, err error) {
	if b.trail.recording {
		b.trail.span.SetAttributes(b.describe(poison)...)
	}
	tracing.End(b.trail.span, err)
}

func (b *batch) describe(poison int) []attribute.KeyValue {
	partitions, offsets := []int{}, []string{}
	for _, s := range b.shares {
		partitions = append(partitions, int(s.lease.partition))
		if len(offsets) < maxOffsets {
			offsets = append(offsets, fmt.Sprintf("%d: %d-%d", s.lease.partition, s.begin.Offset, s.end.Offset-1))
		}
	}
	correlations := make([]string, 0, len(b.trail.correlations))
	for id := range b.trail.correlations {
		correlations = append(correlations, id)
	}
	slices.Sort(correlations)
	return []attribute.KeyValue{
		attribute.Int(tracing.Records, len(b.records)), attribute.Int("revstream.poison", poison),
		attribute.IntSlice("revstream.partitions", partitions), attribute.StringSlice("revstream.offsets", offsets),
		attribute.StringSlice(tracing.CorrelationIDs, correlations), attribute.Int("revstream.unlinked_records", b.trail.unlinked),
	}
}
