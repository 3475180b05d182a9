package forecast

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/producers/clari"
	"github.com/revstream/revstream/producers/clari/claritest"
	"github.com/revstream/revstream/producers/publish"
	"github.com/revstream/revstream/producers/state"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/exportrun"
	entity "github.com/revstream/revstream/schemas/forecast"
	"github.com/revstream/revstream/schemas/wire"
)

func TestMain(m *testing.M) { pipelinetest.Main(m) }

const testKey = "test-api-key"

// world is what is outside of a producer.
type world struct {
	t        *testing.T
	sim      *claritest.Simulator
	api      *httptest.Server
	pool     *http.Transport
	kafka    *pipelinetest.Cluster
	registry *wire.Registry
	ahead    atomic.Int64 // what the source's clock has been moved on by
}

// newWorld begins in the first quarter of 2026, with little data.
func newWorld(t *testing.T, cfg claritest.Config) *world {
	t.Helper()
	w := &world{t: t, pool: &http.Transport{}}
	base, started := time.Date(2026, 2, 11, 9, 0, 0, 0, time.UTC), time.Now()
	cfg.APIKey = testKey
	cfg.Now = func() time.Time { return base.Add(time.Since(started) + time.Duration(w.ahead.Load())) }
	cfg.ScheduledFor, cfg.StartedFor = 1, 1
	if cfg.Users == 0 {
		cfg.Users, cfg.Fields, cfg.Weeks = 4, 3, 2
	}
	var err error
	w.sim, err = claritest.New(cfg)
	require.NoError(t, err)
	w.api = httptest.NewServer(w.sim)
	t.Cleanup(w.api.Close)
	t.Cleanup(w.pool.CloseIdleConnections)
	w.registry, err = wire.NewRegistry(pipelinetest.Registry(t))
	require.NoError(t, err)
	w.kafka = pipelinetest.Kafka(t, 3, schemas.ForecastTopic, schemas.ExportRunsTopic, schemas.ProducerStateTopic, schemas.DLQTopic(schemas.ForecastTopic))
	return w
}

// options are what one process differs by from another.
type options struct {
	cfg    func(*Config)
	http   http.RoundTripper
	logger *slog.Logger
}

// start starts a producer as a process of its own would: nothing of another one is in it but what is on topics.
func (w *world) start(o options) *Exporter {
	w.t.Helper()
	t, ctx := w.t, w.t.Context()
	if o.logger == nil {
		o.logger = slog.New(slog.DiscardHandler)
	}
	if o.http == nil {
		o.http = w.pool
	}
	client := pipelinetest.Client(t, w.kafka, kgo.ProducerLinger(0))
	reg := prometheus.NewRegistry()
	open := func(topic, schemaFile string) *publish.Publisher {
		cfg := publish.Config{Topic: topic, Source: "/clari", SchemaFile: schemaFile, Register: true}
		publisher, err := publish.Open(ctx, cfg, client, w.registry, reg, o.logger)
		require.NoError(t, err)
		return publisher
	}
	store, err := state.Open(ctx, client, "forecast-producer")
	require.NoError(t, err)
	source, err := clari.New(clari.Config{
		BaseURL: w.api.URL + "/v4", APIKey: func() string { return testKey }, CorrelationID: resilience.CorrelationID, SpoolDir: t.TempDir(),
		Repeat:   resilience.RepeatConfig{Backoff: resilience.Backoff{Base: time.Millisecond, Jitter: -1}},
		RenewKey: func(_ context.Context, refused string) string { return refused },
	}, o.logger, &http.Client{Transport: o.http})
	require.NoError(t, err)
	cfg := Config{
		ForecastIDs: []string{"forecast"}, Quarters: 5, Historical: true,
		Types:    []string{"forecast", "quota", "forecast_updated", "adjustment", "crm_total", "crm_closed"},
		Interval: time.Hour, PollInterval: time.Millisecond, JobTimeout: time.Minute,
		QuotaReserve: 0.1, ConcurrencyReserve: 1, Publish: PublishChanged,
	}
	if o.cfg != nil {
		o.cfg(&cfg)
	}
	exporter, err := New(cfg, o.logger, Deps{
		Clari: source, State: store, Kafka: client, Schemas: w.registry, Metrics: reg,
		Forecasts: open(schemas.ForecastTopic, entity.SchemaFile), Runs: open(schemas.ExportRunsTopic, exportrun.SchemaFile),
	})
	require.NoError(t, err)
	return exporter
}

// events returns what is on the forecast topic, in order within each key.
func (w *world) events() []entity.Forecast {
	w.t.Helper()
	decoder := wire.NewDecoder(entity.Schema, w.registry)
	var all []entity.Forecast
	for _, record := range pipelinetest.ReadAll(w.t, w.kafka, schemas.ForecastTopic) {
		var f entity.Forecast
		require.NoError(w.t, decoder.Decode(w.t.Context(), record.Value, &f))
		require.NoError(w.t, event.Check(&f, record.Key))
		all = append(all, f)
	}
	return all
}

// runs returns the export runs, of each event the first as a consumer keeps it, in the order of their requests.
func (w *world) runs() []exportrun.ExportRun {
	w.t.Helper()
	decoder := wire.NewDecoder(exportrun.Schema, w.registry)
	seen := map[uuid.UUID]bool{}
	var all []exportrun.ExportRun
	for _, record := range pipelinetest.ReadAll(w.t, w.kafka, schemas.ExportRunsTopic) {
		var run exportrun.ExportRun
		require.NoError(w.t, decoder.Decode(w.t.Context(), record.Value, &run))
		require.NoError(w.t, event.Check(&run, record.Key))
		if !seen[run.EventID] {
			all = append(all, run)
		}
		seen[run.EventID] = true
	}
	slices.SortFunc(all, func(a, b exportrun.ExportRun) int { return a.RequestedAt.Compare(b.RequestedAt) })
	return all
}

func (w *world) outcomes() map[exportrun.Outcome]int {
	n := map[exportrun.Outcome]int{}
	for _, run := range w.runs() {
		n[run.Outcome]++
	}
	return n
}

// jobs is how many the source has made.
func (w *world) jobs() (n int) {
	for _, count := range w.sim.Stats(claritest.Scope{}).Jobs {
		n += count
	}
	return n
}

// current folds events into what a consumer ends up with: of each key the newest version.
func current(events []entity.Forecast) map[string]entity.Forecast {
	newest := map[string]entity.Forecast{}
	for _, f := range events {
		have, ok := newest[f.Key()]
		if !ok || bytes.Compare(f.EventID[:], have.EventID[:]) > 0 {
			newest[f.Key()] = f
		}
	}
	return newest
}

// call asks the source as a client of no relation to ours would.
func (w *world) call(method, path, body string, into any) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.api.URL+"/v4"+path, strings.NewReader(body))
	require.NoError(w.t, err)
	req.Header.Set("apikey", testKey)
	resp, err := (&http.Client{Transport: w.pool}).Do(req)
	require.NoError(w.t, err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(w.t, err)
	require.Equal(w.t, 200, resp.StatusCode, string(raw))
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	require.NoError(w.t, decoder.Decode(into))
}

// document is the source's answer about a time period, read without any of our code.
func (w *world) document(period string) map[string][]map[string]any {
	w.t.Helper()
	var started struct{ JobID string }
	w.call("POST", "/export/forecast/forecast", `{"timePeriod":"`+period+`","includeHistorical":true,`+
		`"typesToExport":["forecast","quota","forecast_updated","adjustment","crm_total","crm_closed"]}`, &started)
	var doc map[string][]map[string]any
	w.call("GET", "/export/jobs/"+started.JobID+"/results", "", &doc)
	return doc
}

var valueKinds = map[string]string{
	"forecastValue": "forecast", "quotaValue": "quota", "forecastUpdatedValue": "forecast_updated",
	"adjustmentValue": "adjustment", "crmTotalValue": "crm_total", "crmClosedValue": "crm_closed",
}

// truth is what the source holds of time periods: values by key.
func (w *world) truth(periods ...string) map[string]decimal.Decimal {
	w.t.Helper()
	values := map[string]decimal.Decimal{}
	for _, period := range periods {
		for _, e := range w.document(period)["entries"] {
			for name, kind := range valueKinds {
				digits, ok := e[name].(json.Number)
				if !ok {
					continue
				}
				key := strings.Join([]string{
					"forecast", e["timePeriodId"].(string), e["timeFrameId"].(string), e["userId"].(string), e["fieldId"].(string), kind,
				}, "|")
				values[key] = decimal.RequireFromString(digits.String())
			}
		}
	}
	require.NotEmpty(w.t, values)
	return values
}

var fiveQuarters = []string{"2026_Q1", "2025_Q4", "2025_Q3", "2025_Q2", "2025_Q1"}

// requireComplete asserts that readers end up with exactly what the source holds.
func (w *world) requireComplete(periods ...string) {
	w.t.Helper()
	want, have := w.truth(periods...), current(w.events())
	require.Len(w.t, have, len(want))
	for key, value := range want {
		require.Contains(w.t, have, key)
		require.True(w.t, value.Equal(have[key].Value.Decimal()), "%s: want %s, have %s", key, value, have[key].Value)
	}
}

// logs keeps what was logged.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logs) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// requireTimed checks how many times a histogram has.
func requireTimed(t *testing.T, of prometheus.Observer, want uint64) {
	t.Helper()
	var m dto.Metric
	require.NoError(t, of.(prometheus.Metric).Write(&m))
	require.Equal(t, want, m.GetHistogram().GetSampleCount())
	require.Equal(t, want > 0, m.GetHistogram().GetSampleSum() > 0)
}
