package daemon_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/revstream/revstream/pipeline/daemon"
	"github.com/revstream/revstream/pipeline/kafkaclient"
	"github.com/revstream/revstream/pipeline/resilience"
)

// Of one run, the request to the source and the record in Kafka carry one correlation ID; what no run does carries none.
// It installs the process's tracer provider, and so cannot run in parallel.
func TestSpansOfARunCarryItsCorrelationID(t *testing.T) { //nolint:paralleltest // the tracer provider is the process's
	spans := tracetest.NewInMemoryExporter()
	otel.SetTracerProvider(daemon.NewTracerProvider(sdktrace.WithSyncer(spans)))

	source := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(source.Close)
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "events"))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	logger := slog.New(slog.DiscardHandler)
	kafka, err := kafkaclient.New(kafkaclient.Config{Brokers: cluster.ListenAddrs(), ClientID: "test"}, logger, nil)
	require.NoError(t, err)
	t.Cleanup(kafka.Close)
	client := &http.Client{Transport: resilience.NewTransport(resilience.TransportConfig{}, logger, source.Client().Transport)}

	run := func(id string) map[string]int {
		t.Helper()
		spans.Reset()
		ctx := t.Context()
		if id != "" {
			ctx = resilience.WithCorrelationID(ctx, id)
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, source.URL, nil)
		require.NoError(t, err)
		resp, err := client.Do(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.NoError(t, kafka.ProduceSync(ctx, &kgo.Record{Topic: "events", Value: []byte("x")}).FirstErr())
		named := map[string]int{}
		for _, span := range spans.GetSpans() {
			attributes := attribute.NewSet(span.Attributes...)
			if got, ok := attributes.Value("revstream.correlation_id"); ok {
				require.Equal(t, id, got.AsString())
				named[span.Name]++
			}
		}
		return named
	}
	require.Equal(t, map[string]int{"HTTP GET": 1, "events publish": 1}, run("run-1"))
	require.Equal(t, map[string]int{"HTTP GET": 1, "events publish": 1}, run("run-2"))
	require.Empty(t, run(""))
}
