package daemon_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/pipeline/daemon"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/pipeline/tracing"
)

// spansOfARun are more than the exporter's queue takes.
const spansOfARun = 5000

// traceARun asks SOURCE_URL for something in a run, and then does many small things.
func traceARun(ctx context.Context, rt *daemon.Runtime) error {
	ctx = resilience.WithCorrelationID(ctx, "run-1")
	ctx, run := tracing.Start(ctx, "run")
	client := &http.Client{Transport: resilience.NewTransport(resilience.TransportConfig{}, rt.Logger, nil)}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, os.Getenv("SOURCE_URL"), nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil {
		return err
	}
	rt.Logger.WarnContext(ctx, "in the run")
	tracing.End(run, nil)
	for range spansOfARun {
		_, span := tracing.Start(ctx, "small")
		tracing.End(span, nil)
	}
	return nil
}

// Of one run, the requests to the source and the log lines carry its correlation ID and its trace.
func TestARunIsOneTraceWithItsLogLines(t *testing.T) {
	t.Parallel()
	traces := pipelinetest.NewCollector(t)
	p := start(t, "trace", "SOURCE_URL="+traces.URL, "OTEL_EXPORTER_OTLP_ENDPOINT="+traces.URL)
	line := p.line(t, "in the run")
	code, _, stderr := p.wait(t)
	require.Zero(t, code, stderr)

	runs, requests := traces.Named("run"), traces.Named("HTTP GET")
	require.Len(t, runs, 1)
	require.Len(t, requests, 1)
	require.Equal(t, "tester", runs[0].Service)
	require.Equal(t, runs[0].ID, requests[0].Parent)
	require.Equal(t, runs[0].Trace, requests[0].Trace)
	for _, span := range []pipelinetest.Span{runs[0], requests[0]} {
		require.Equal(t, "run-1", span.Attributes[tracing.CorrelationID])
	}
	require.Equal(t, []any{"run-1", runs[0].Trace, runs[0].ID}, []any{line["correlation_id"], line["trace_id"], line["span_id"]})
}

// A collector that is away, or takes the connection and says nothing, slows and fails nothing.
func TestACollectorThatIsAwayHarmsNothing(t *testing.T) {
	t.Parallel()
	source := pipelinetest.NewCollector(t) // which answers
	silent, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, silent.Close()) })
	gone, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, gone.Close())
	for name, addr := range map[string]string{"refuses": gone.Addr().String(), "says nothing": silent.Addr().String()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			code, _, stderr := start(t, "trace", "SOURCE_URL="+source.URL, "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+addr).wait(t)
			require.Zero(t, code, stderr)
			require.Regexp(t, "exporting traces failed|the last traces are lost", stderr)
			require.Less(t, time.Since(began), 10*time.Second, "SHUTDOWN_TIMEOUT is 30 s")

			p := start(t, "serve", "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+addr)
			p.line(t, "started")
			require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
			code, _, stderr = p.wait(t)
			require.Zero(t, code, stderr)
		})
	}
}
