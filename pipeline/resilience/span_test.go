package resilience_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

func TestEveryTryHasASpanWithoutCredentials(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	ctx, run := provider.Tracer("test").Start(t.Context(), "run")
	s := newSource(t, fast, status(500))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/results?X-Amz-Signature=hunter2", nil)
	require.NoError(t, err)
	req.Header.Set("apikey", "hunter2")
	req.SetBasicAuth("user", "hunter2")
	resp, err := s.client.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	run.End()

	got := spans.GetSpans()
	require.Len(t, got, 3)
	for i, want := range []codes.Code{codes.Error, codes.Unset} {
		require.Equal(t, trace.SpanKindClient, got[i].SpanKind)
		require.Equal(t, run.SpanContext().SpanID(), got[i].Parent.SpanID())
		require.Equal(t, want, got[i].Status.Code)
		text := fmt.Sprint(got[i].Attributes)
		require.Contains(t, text, s.URL+"/results")
		require.NotContains(t, text, "hunter2")
	}
}
