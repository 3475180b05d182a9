package backfill

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/producers/clari"
	"github.com/revstream/revstream/producers/clari/claritest"
	"github.com/revstream/revstream/producers/forecast"
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

// errKilled stands for a kill -9: nothing runs after it.
var errKilled = errors.New("killed")

// world is what is outside of a process.
type world struct {
	t        *testing.T
	clari    *claritest.Simulator
	url      string
	pool     *http.Transport
	kafka    *pipelinetest.Cluster
	registry *wire.Registry
	file     string
	now      time.Time // in the sources, where it stands still but for what passes
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, pool: &http.Transport{}, file: filepath.Join(t.TempDir(), "state.json")}
	w.now = time.Date(2026, 2, 11, 9, 0, 0, 0, time.UTC)
	t.Cleanup(w.pool.CloseIdleConnections)
	var err error
	w.registry, err = wire.NewRegistry(pipelinetest.Registry(t))
	require.NoError(t, err)
	w.kafka = pipelinetest.Kafka(t, 3, schemas.ForecastTopic, schemas.PeopleTopic, schemas.ExportRunsTopic, schemas.ProducerStateTopic)
	return w
}

// withClari begins in the first quarter of 2026, with little data.
func (w *world) withClari(cfg claritest.Config) {
	w.t.Helper()
	started := time.Now()
	cfg.APIKey, cfg.Users, cfg.Fields, cfg.Weeks = testKey, 3, 2, 2
	cfg.ScheduledFor, cfg.StartedFor = 1, 1
	cfg.Now = func() time.Time { return w.now.Add(time.Since(started)) }
	var err error
	w.clari, err = claritest.New(cfg)
	require.NoError(w.t, err)
	w.url = w.serve(w.clari) + "/v4"
}

func (w *world) serve(handler http.Handler) string {
	server := httptest.NewServer(handler)
	w.t.Cleanup(server.Close)
	return server.URL
}

// process is what one process has of its own.
type process struct {
	client *kgo.Client
	reg    *prometheus.Registry
	runs   *publish.Publisher
	out    bytes.Buffer
	mu     sync.Mutex // guards writes to out
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

func (w *world) start() *process {
	w.t.Helper()
	p := &process{client: pipelinetest.Client(w.t, w.kafka, kgo.ProducerLinger(0)), reg: prometheus.NewRegistry()}
	p.runs = w.publisher(p, "/backfill", schemas.ExportRunsTopic, exportrun.SchemaFile)
	return p
}

var discard = slog.New(slog.DiscardHandler)

func (w *world) publisher(p *process, source, topic, schema string) *publish.Publisher {
	w.t.Helper()
	cfg := publish.Config{Topic: topic, Source: source, SchemaFile: schema, Register: true}
	publisher, err := publish.Open(w.t.Context(), cfg, p.client, w.registry, p.reg, discard)
	require.NoError(w.t, err)
	return publisher
}

// forecasts is what a process reads forecasts with.
func (w *world) forecasts(p *process) *Forecasts {
	w.t.Helper()
	cfg := forecast.Config{
		ForecastIDs: []string{"forecast"}, Quarters: 1, Historical: true, Types: clari.Types(), Publish: forecast.PublishChanged,
		Interval: time.Hour, PollInterval: time.Millisecond, JobTimeout: time.Minute, QuotaReserve: 0.1, ConcurrencyReserve: 1,
	}
	client, err := clari.New(clari.Config{
		BaseURL: w.url, APIKey: func() string { return testKey }, CorrelationID: resilience.CorrelationID, SpoolDir: w.t.TempDir(),
	}, discard, &http.Client{Transport: w.pool})
	require.NoError(w.t, err)
	store, err := state.Open(w.t.Context(), p.client, "forecast-producer")
	require.NoError(w.t, err)
	exporter, err := forecast.New(cfg, discard, forecast.Deps{
		Clari: client, State: store, Kafka: p.client, Schemas: w.registry, Metrics: p.reg, Runs: p.runs,
		Forecasts: w.publisher(p, "/clari", schemas.ForecastTopic, entity.SchemaFile),
	})
	require.NoError(w.t, err)
	return &Forecasts{Exporter: exporter, Clari: client, Accounts: Accounts{p.client, w.registry}, Config: cfg, BaseURL: w.url}
}

// day is a Date.
func day(text string) Date {
	var d Date
	if err := d.UnmarshalText([]byte(text)); err != nil {
		panic(err)
	}
	return d
}

// backfill is a process's, whose sources are at w.now.
func (w *world) backfill(p *process, source Source, cfg Config) *Backfill {
	w.t.Helper()
	cfg.StateFile = w.file
	b, err := New(cfg, discard, Deps{Source: source, Runs: p.runs, Out: p})
	require.NoError(w.t, err)
	b.now = func() time.Time { return w.now }
	return b
}

// killedAfter makes a backfill die after the n-th write of its state file, from 1.
func killedAfter(b *Backfill, n int) *Backfill {
	b.saved = func() error {
		if n--; n == 0 {
			return errKilled
		}
		return nil
	}
	return b
}

// summaries returns the backfills' accounts, each event once.
func (w *world) summaries() []exportrun.ExportRun {
	w.t.Helper()
	var all []exportrun.ExportRun
	seen := map[uuid.UUID]bool{}
	for _, run := range w.runs() {
		if run.Scope == scope && !seen[run.EventID] {
			all = append(all, run)
		}
		seen[run.EventID] = true
	}
	return all
}

func (w *world) runs() []exportrun.ExportRun {
	w.t.Helper()
	var all []exportrun.ExportRun
	decoder := wire.NewDecoder(exportrun.Schema, w.registry)
	for _, record := range pipelinetest.ReadAll(w.t, w.kafka, schemas.ExportRunsTopic) {
		var run exportrun.ExportRun
		require.NoError(w.t, decoder.Decode(w.t.Context(), record.Value, &run))
		require.NoError(w.t, event.Check(&run, record.Key))
		all = append(all, run)
	}
	return all
}

// published returns how often each event is on the forecast topic, and of which quarter it is.
func (w *world) published() (events map[uuid.UUID]int, periods map[string]int) {
	w.t.Helper()
	events, periods = map[uuid.UUID]int{}, map[string]int{}
	decoder := wire.NewDecoder(entity.Schema, w.registry)
	for _, record := range pipelinetest.ReadAll(w.t, w.kafka, schemas.ForecastTopic) {
		var f entity.Forecast
		require.NoError(w.t, decoder.Decode(w.t.Context(), record.Value, &f))
		events[f.EventID]++
		periods[f.TimePeriodID]++
	}
	return events, periods
}

// state is the state file.
func (w *world) state() record {
	w.t.Helper()
	raw, err := os.ReadFile(w.file)
	require.NoError(w.t, err)
	var r record
	require.NoError(w.t, json.Unmarshal(raw, &r))
	return r
}

func correlated(t *testing.T, sim *claritest.Simulator) map[string]bool {
	t.Helper()
	ids := map[string]bool{}
	for _, request := range sim.Stats(claritest.Scope{}).Recent {
		if strings.HasPrefix(request.Path, "/v4/export") {
			ids[request.CorrelationID] = true
		}
	}
	return ids
}

func jobs(sim *claritest.Simulator) int {
	n := 0
	for _, count := range sim.Stats(claritest.Scope{}).Jobs {
		n += count
	}
	return n
}
