package endtoend

import (
	"bytes"
	"context"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/deploy/local/stack"
	"github.com/revstream/revstream/deploy/local/status"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/pipeline/tracing"
	"github.com/revstream/revstream/schemas"
)

// tracedProgram is a program of the stack whose traces go to a collector.
func tracedProgram(t *testing.T, s *stack.Stack, traces *pipelinetest.Collector, args ...string) (cmd *exec.Cmd, log *bytes.Buffer) {
	t.Helper()
	cmd, log = exec.CommandContext(context.WithoutCancel(t.Context()), filepath.Join(binDir, args[0]), args[1:]...), &bytes.Buffer{}
	cmd.Env = append(s.Config().Environment(), "HTTP_ADDR=", "OTEL_EXPORTER_OTLP_ENDPOINT="+traces.URL, "OTEL_BSP_SCHEDULE_DELAY=100")
	cmd.Stderr = log
	return cmd, log
}

// messages sums up how many records the spans of a name were of.
func messages(t *testing.T, spans []pipelinetest.Span) (sum int) {
	t.Helper()
	for _, span := range spans {
		n, err := strconv.Atoi(span.Attributes[tracing.Records])
		require.NoError(t, err, "%v", span)
		sum += n
	}
	return sum
}

// TestARowsTraceIsFound: from the correlation ID of a row in ClickHouse to the calls of the source, the publishing, and the
// inserts; with a span for each thing that is done, and none for each record.
func TestARowsTraceIsFound(t *testing.T) {
	t.Parallel()
	s := newStack(t, stack.Sources{Seed: 5, People: "400", Users: 6})
	_, err := s.Start(t.Context(), stack.Surroundings...)
	require.NoError(t, err)
	require.NoError(t, s.Prepare(t.Context()))
	traces := pipelinetest.NewCollector(t)

	exporter, exporterLog := tracedProgram(t, s, traces, stack.ForecastProducer, "--once")
	require.NoError(t, exporter.Run(), "%s", exporterLog)
	poller, pollerLog := tracedProgram(t, s, traces, stack.PeopleProducer, "--once")
	require.NoError(t, poller.Run(), "%s", pollerLog)
	const forecasts, people = schemas.ForecastTopic, schemas.PeopleTopic
	for _, consumer := range []string{stack.ForecastConsumer, stack.PeopleConsumer} {
		cmd, log := tracedProgram(t, s, traces, consumer)
		require.NoError(t, cmd.Start())
		t.Cleanup(func() {
			require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
			require.NoError(t, cmd.Wait(), "%s", log)
		})
	}
	for _, topic := range []string{forecasts, people} {
		published := messages(t, traces.Named(topic+" publish"))
		require.Greater(t, published, 300)
		require.Eventually(t, func() bool { return messages(t, traces.Named(topic+" process")) == published }, time.Minute, 50*time.Millisecond, topic)
	}

	for topic, c := range map[string]struct{ table, run, log string }{
		forecasts: {"forecast", "forecast export", exporterLog.String()}, people: {"people", "people window", pollerLog.String()},
	} {
		row, err := status.Query(t.Context(), s.Config().ClickHouseURL(), "SELECT correlation_id FROM "+c.table+"_history LIMIT 1")
		require.NoError(t, err)
		id := strings.TrimSpace(row)
		runs := having(traces.Named(c.run), func(span pipelinetest.Span) bool { return span.Attributes[tracing.CorrelationID] == id })
		require.NotEmpty(t, runs, "of %s", id)
		require.Contains(t, c.log, `"trace_id":"`+runs[0].Trace+`"`, "the log lines name the trace")
		publishes := having(traces.Named(topic+" publish"), func(span pipelinetest.Span) bool { return span.Parent == runs[0].ID })
		require.NotEmpty(t, publishes)
		requests := having(traces.Named("HTTP GET"), func(span pipelinetest.Span) bool { return span.Parent == runs[0].ID })
		require.NotEmpty(t, requests)
		for _, span := range append(publishes, requests...) {
			require.Equal(t, runs[0].Trace, span.Trace)
		}
		batches := having(traces.Named(topic+" process"), func(span pipelinetest.Span) bool {
			return slices.Contains(span.Links, publishes[0].ID) && strings.Contains(span.Attributes[tracing.CorrelationIDs], id)
		})
		require.NotEmpty(t, batches)
		for _, name := range []string{"look up " + c.table + "_ledger", "insert " + c.table + "_current", "insert " + c.table + "_history", "insert " + c.table + "_ledger", "commit"} {
			require.NotEmpty(t, having(traces.Named(name), func(span pipelinetest.Span) bool {
				return span.Parent == batches[0].ID && span.Trace == batches[0].Trace && !span.Failed
			}), name)
		}
	}
	records, batches := 0, 0
	for _, topic := range []string{forecasts, people, schemas.ExportRunsTopic} {
		processed := traces.Named(topic + " process")
		records, batches = records+messages(t, processed), batches+len(processed)
	}
	consumed := having(traces.Spans(), func(span pipelinetest.Span) bool { return strings.HasSuffix(span.Service, "-consumer") })
	t.Logf("%d records, %d batches: %d spans of consumers, %d in all", records, batches, len(consumed), len(traces.Spans()))
	require.LessOrEqual(t, len(consumed), 6*batches, "a batch has a look-up, three inserts and a commit")
	require.Less(t, len(traces.Spans()), records/4)
	require.NotContains(t, dump(t, traces.Spans()), "local-", "credentials of the stack")
	require.NotContains(t, dump(t, traces.Spans()), "@", "personal data")
}

func having(spans []pipelinetest.Span, is func(pipelinetest.Span) bool) []pipelinetest.Span {
	return slices.DeleteFunc(slices.Clone(spans), func(span pipelinetest.Span) bool { return !is(span) })
}

func dump(t *testing.T, spans []pipelinetest.Span) string {
	t.Helper()
	raw, err := json.Marshal(spans)
	require.NoError(t, err)
	return string(raw)
}
