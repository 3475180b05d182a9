package forecast

import (
	"bufio"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/kafkaclient"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/producers/clari"
	"github.com/revstream/revstream/producers/clari/claritest"
	"github.com/revstream/revstream/producers/publish"
	"github.com/revstream/revstream/schemas"
	entity "github.com/revstream/revstream/schemas/forecast"
	"github.com/revstream/revstream/schemas/wire"
)

// BenchmarkPublish takes a results document of 100,000 entries from the answer's first byte to the acknowledgement of its last
// event: spool file, entries, join, compare, seal, encode, produce. Every value of it is news. The broker is the embedded one in
// a process of its own, with its log on disk and synced. CPU and bytes on the wire are per event.
func BenchmarkPublish(b *testing.B) {
	ctx := b.Context()
	broker := startBroker(b)
	written := new(wireBytes)
	client, err := kafkaclient.New(kafkaclient.Config{Brokers: []string{broker.addr}}, slog.New(slog.DiscardHandler), prometheus.NewRegistry(),
		publish.ClientOption(), kgo.WithHooks(written))
	require.NoError(b, err)
	defer client.Close()
	created, err := kadm.NewClient(client).CreateTopic(ctx, 6, 1, nil, schemas.ForecastTopic)
	require.NoError(b, err)
	require.NoError(b, created.Err)
	registry, err := wire.NewRegistry(pipelinetest.Registry(b))
	require.NoError(b, err)
	publisher, err := publish.Open(ctx, publish.Config{Topic: schemas.ForecastTopic, Source: "/clari", SchemaFile: entity.SchemaFile, Register: true},
		client, registry, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	require.NoError(b, err)
	source := documentSource(b)
	e := &Exporter{logger: slog.New(slog.DiscardHandler), deps: Deps{Clari: source, Forecasts: publisher}}

	var events int64
	usage := cpuTime(b)
	b.ReportAllocs()
	for b.Loop() {
		export, err := source.Results(ctx, "job")
		require.NoError(b, err)
		e.known = newKnown()
		counts, err := e.publish(ctx, job{ForecastID: "forecast", ID: "62a7b2c0e4b0d1a2b3c4d5e6"}, clari.Job{StartTime: time.Now()}, export)
		require.NoError(b, err)
		require.Equal(b, counts.total(), counts.published)
		require.NoError(b, export.Close())
		events += counts.published
	}
	usage = cpuTime(b) - usage
	b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(events)/float64(b.N), "events/op")
	b.ReportMetric(float64(usage.Microseconds())/float64(events), "producer-µs/event")
	b.ReportMetric(float64(broker.stop().Microseconds())/float64(events), "broker-µs/event")
	b.ReportMetric(float64(written.Load())/float64(events), "wire-B/event")
}

// wireBytes counts the bytes of the batches that were written, compressed as they were.
type wireBytes struct{ atomic.Int64 }

func (w *wireBytes) OnProduceBatchWritten(_ kgo.BrokerMetadata, _ string, _ int32, m kgo.ProduceBatchMetrics) {
	w.Add(int64(m.CompressedBytes))
}

// documentSource is a client of a source that answers with one document, made beforehand.
func documentSource(b *testing.B) *clari.Client {
	b.Helper()
	now := time.Date(2026, 3, 30, 9, 0, 0, 0, time.UTC)
	sim, err := claritest.New(claritest.Config{
		Seed: 1, APIKey: testKey, Users: 100_000 / (13 * 5), Fields: 5,
		ScheduledFor: 1, StartedFor: 1, Now: func() time.Time { now = now.Add(time.Second); return now },
	})
	require.NoError(b, err)
	call := func(method, path, body string) *httptest.ResponseRecorder {
		req := httptest.NewRequest(method, "/v4"+path, strings.NewReader(body))
		req.Header.Set("apikey", testKey)
		answer := httptest.NewRecorder()
		sim.ServeHTTP(answer, req)
		require.Equal(b, http.StatusOK, answer.Code, path)
		return answer
	}
	started := call(http.MethodPost, "/export/forecast/forecast", `{"includeHistorical":true,"typesToExport":["forecast","quota","adjustment","crm_total","crm_closed"]}`)
	id := regexp.MustCompile(`"jobId":"([^"]+)"`).FindStringSubmatch(started.Body.String())
	require.NotNil(b, id)
	path := filepath.Join(b.TempDir(), "results.json")
	require.NoError(b, os.WriteFile(path, call(http.MethodGet, "/export/jobs/"+id[1]+"/results", "").Body.Bytes(), 0o600))
	source, err := clari.New(clari.Config{APIKey: func() string { return testKey }, SpoolDir: b.TempDir()}, slog.New(slog.DiscardHandler), &http.Client{Transport: file(path)})
	require.NoError(b, err)
	return source
}

// file is a network on which every answer is one file.
type file string

func (f file) RoundTrip(*http.Request) (*http.Response, error) {
	body, err := os.Open(string(f))
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: http.StatusOK, Body: body, Header: http.Header{}}, nil
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// brokerProcess is an embedded broker.
type brokerProcess struct {
	addr string
	stop func() time.Duration // ends it and tells the CPU time that it took
}

func startBroker(b *testing.B) brokerProcess {
	b.Helper()
	program := filepath.Join(b.TempDir(), "embedded")
	out, err := exec.CommandContext(b.Context(), "go", "build", "-o", program, "github.com/revstream/revstream/deploy/embedded/cmd/embedded").CombinedOutput()
	require.NoError(b, err, string(out))
	cmd := exec.Command(program, "broker", "--until-stdin-ends", "--addr=127.0.0.1:0", "--data-dir="+b.TempDir())
	stdin, err := cmd.StdinPipe()
	require.NoError(b, err)
	log, err := cmd.StderrPipe()
	require.NoError(b, err)
	require.NoError(b, cmd.Start())
	lines := bufio.NewReader(log)
	line, err := lines.ReadString('\n')
	require.NoError(b, err)
	addr := regexp.MustCompile(`"addr":"([^"]+)"`).FindStringSubmatch(line)
	require.NotNil(b, addr, line)
	go func() { _, _ = io.Copy(io.Discard, lines) }() // ends with the process
	return brokerProcess{addr[1], func() time.Duration {
		require.NoError(b, stdin.Close())
		require.NoError(b, cmd.Wait())
		return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}}
}
