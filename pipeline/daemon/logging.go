package daemon

import (
	"context"
	"io"
	"log/slog"

	"go.opentelemetry.io/otel/trace"

	"github.com/revstream/revstream/pipeline/resilience"
)

// newLogger logs JSON lines that carry the service's name and, where the context has them, the correlation ID and the span.
func newLogger(w io.Writer, service string, level slog.Level) *slog.Logger {
	handler := slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})
	return slog.New(correlating{handler}).With("service", service)
}

// correlating adds the correlation ID and the span of a record's context.
type correlating struct{ slog.Handler }

// Handle implements slog.Handler.
func (h correlating) Handle(ctx context.Context, record slog.Record) error {
	if id := resilience.CorrelationID(ctx); id != "" {
		record.AddAttrs(slog.String("correlation_id", id))
	}
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		record.AddAttrs(slog.String("trace_id", span.TraceID().String()), slog.String("span_id", span.SpanID().String()))
	}
	return h.Handler.Handle(ctx, record)
}

// WithAttrs implements slog.Handler.
func (h correlating) WithAttrs(attrs []slog.Attr) slog.Handler {
	return correlating{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h correlating) WithGroup(name string) slog.Handler {
	return correlating{h.Handler.WithGroup(name)}
}
