package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/pipeline/tracing"
)

// flushTimeout bounds what a process that stops waits for a collector.
const flushTimeout = 3 * time.Second

// startTracing installs the W3C propagator and, if OTEL_EXPORTER_OTLP_ENDPOINT is set, an exporter, which reads its
// other settings from the standard variables too. The returned function flushes it. A collector that is away fails and slows
// nothing: what does not fit the queue is dropped.
func startTracing(ctx context.Context, service string, logger *slog.Logger) (stop func(context.Context) error, err error) {
	otel.SetTextMapPropagator(propagation.TraceContext{})
	if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" {
		return func(context.Context) error { return nil }, nil
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_ENDPOINT: %w", err)
	}
	// OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES come last and win.
	res, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", service), attribute.String("service.version", Version())),
		resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		logger.Warn("exporting traces failed", "error", err)
	}))
	provider := newTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(res))
	otel.SetTracerProvider(provider)
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, flushTimeout)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			logger.WarnContext(ctx, "the last traces are lost", "error", err)
		}
		return nil
	}, nil
}

// newTracerProvider puts the correlation ID on every span, by which a run's traces are found like its log lines.
func newTracerProvider(opts ...sdktrace.TracerProviderOption) *sdktrace.TracerProvider {
	return sdktrace.NewTracerProvider(append(opts, sdktrace.WithSpanProcessor(correlatingSpans{}))...)
}

// correlatingSpans adds the correlation ID of the context that a span is started with.
type correlatingSpans struct{}

// OnStart implements sdktrace.SpanProcessor.
func (correlatingSpans) OnStart(parent context.Context, span sdktrace.ReadWriteSpan) {
	if id := resilience.CorrelationID(parent); id != "" {
		span.SetAttributes(attribute.String(tracing.CorrelationID, id))
	}
}

// OnEnd implements sdktrace.SpanProcessor.
func (correlatingSpans) OnEnd(sdktrace.ReadOnlySpan) {}

// Shutdown implements sdktrace.SpanProcessor.
func (correlatingSpans) Shutdown(context.Context) error { return nil }

// ForceFlush implements sdktrace.SpanProcessor.
func (correlatingSpans) ForceFlush(context.Context) error { return nil }
