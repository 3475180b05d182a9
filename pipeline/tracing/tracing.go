// Package tracing owns how work becomes spans: one for each thing that is done, and never one for each record.
package tracing

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

const scope = "github.com/revstream/revstream/pipeline/tracing"

// Header is the record header that carries the context of the span which published the record.
const Header = "traceparent"

// Keys of attributes that spans of several packages have.
const (
	Source         = "revstream.source"          // system of origin, such as "clari"
	Entity         = "revstream.entity"          // what the records are of, such as "forecast"
	Outcome        = "revstream.outcome"         // of a run
	CorrelationID  = "revstream.correlation_id"  // of the run that a span belongs to
	CorrelationIDs = "revstream.correlation_ids" // of the runs that a batch has records of
	Topic          = "messaging.destination.name"
	Records        = "messaging.batch.message_count"
)

// Start starts a span below that of ctx, if there is one. Without a tracer, or left out of the sample, it records nothing.
func Start(ctx context.Context, name string, opts ...trace.SpanStartOption) (context.Context, trace.Span) {
	provider := otel.GetTracerProvider()
	if above := trace.SpanFromContext(ctx); above.SpanContext().IsValid() {
		provider = above.TracerProvider()
	}
	return provider.Tracer(scope).Start(ctx, name, opts...) //nolint:spancheck // the caller ends it
}

// With is an option of Start.
func With(attributes ...attribute.KeyValue) trace.SpanStartOption {
	return trace.WithAttributes(attributes...)
}

// End ends a span, as a failed one if there is an error.
func End(span trace.Span, err error) {
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}

// Traceparent is the value of Header for records that the span of ctx publishes; nil without a span.
func Traceparent(ctx context.Context) []byte {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	if value := carrier.Get(Header); value != "" {
		return []byte(value)
	}
	return nil
}

// Link is to the span that a Traceparent is of; false if it is of none.
func Link(traceparent []byte) (trace.Link, bool) {
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{Header: string(traceparent)}) //nolint:forbidigo // what is read is in the carrier alone
	span := trace.SpanContextFromContext(ctx)
	return trace.Link{SpanContext: span}, span.IsValid()
}
