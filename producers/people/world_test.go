package people

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/producers/publish"
	"github.com/revstream/revstream/producers/salesloft"
	"github.com/revstream/revstream/producers/salesloft/salesloftest"
	"github.com/revstream/revstream/producers/state"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/exportrun"
	"github.com/revstream/revstream/schemas/people"
	"github.com/revstream/revstream/schemas/wire"
)

func TestMain(m *testing.M) { pipelinetest.Main(m) }

const testKey = "test-api-key"

// world is what is outside of a producer.
type world struct {
	t        *testing.T
	sim      *salesloftest.Simulator
	api      *httptest.Server
	kafka    *pipelinetest.Cluster
	registry *wire.Registry
	logs     io.Writer // of the processes, down to debug
}

func newWorld(t *testing.T, cfg salesloftest.Config) *world {
	t.Helper()
	if cfg.ClientID == "" {
		cfg.APIKeys = []string{testKey}
	}
	if cfg.Budget == 0 {
		cfg.Budget = 1_000_000
	}
	sim, err := salesloftest.New(cfg)
	require.NoError(t, err)
	t.Cleanup(sim.Close)
	api := httptest.NewServer(sim)
	t.Cleanup(api.Close)
	registry, err := wire.NewRegistry(pipelinetest.Registry(t))
	require.NoError(t, err)
	kafka := pipelinetest.Kafka(t, 3, schemas.PeopleTopic, schemas.DLQTopic(schemas.PeopleTopic), schemas.ExportRunsTopic, schemas.ProducerStateTopic)
	return &world{t: t, sim: sim, api: api, kafka: kafka, registry: registry}
}

// process is a producer as one process would have it: nothing of another one is in it but what is on topics.
type process struct {
	*Producer
	receiver *Receiver
	source   *salesloft.Client
	state    *state.Store
	reg      *prometheus.Registry
}

const webhookSecret = "s3cr3t-callback-token"

// start starts a process. change, if any, can put faults between its parts.
func (w *world) start(change func(*Config, *salesloft.Config, *Deps)) *process {
	w.t.Helper()
	if change == nil {
		change = func(*Config, *salesloft.Config, *Deps) {}
	}
	t, ctx, logger := w.t, w.t.Context(), slog.New(slog.DiscardHandler)
	if w.logs != nil {
		logger = slog.New(slog.NewJSONHandler(w.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	client := pipelinetest.Client(t, w.kafka, kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerLinger(0))
	reg := prometheus.NewRegistry()
	open := func(topic, schemaFile string) *publish.Publisher {
		cfg := publish.Config{Topic: topic, Source: EventSource, SchemaFile: schemaFile, Register: true}
		publisher, err := publish.Open(ctx, cfg, client, w.registry, reg, logger)
		require.NoError(t, err)
		return publisher
	}
	store, err := state.Open(ctx, client, "people-producer")
	require.NoError(t, err)
	cfg := Config{Interval: time.Minute, Overlap: 5 * time.Minute, MaxRejected: 1000}
	peopleTopic := open(schemas.PeopleTopic, people.SchemaFile)
	deps := Deps{
		People: peopleTopic, Runs: open(schemas.ExportRunsTopic, exportrun.SchemaFile),
		State: store, Locks: store, Metrics: reg,
	}
	api := salesloft.Config{
		BaseURL: w.api.URL + "/v2", TokenURL: w.api.URL + "/oauth/token",
		Budget: salesloft.BudgetConfig{PerMinute: 1_000_000, Share: 1}, // these minutes are real
	}
	change(&cfg, &api, &deps)
	if api.ClientID == "" {
		api.APIKey = func() string { return testKey }
	}
	patience := resilience.TransportConfig{
		Backoff: resilience.Backoff{Base: time.Millisecond, Max: 2 * time.Millisecond, Jitter: -1}, BreakerFailures: 1000,
		HeaderTimeout: time.Second, StallTimeout: time.Second,
	}
	pool := &http.Transport{}
	t.Cleanup(pool.CloseIdleConnections)
	source, err := salesloft.New(api, logger, &http.Client{Transport: resilience.NewTransport(patience, logger, pool)})
	require.NoError(t, err)
	if deps.Source == nil {
		deps.Source = source
	} else if wrapper, ok := deps.Source.(interface{ wrap(Source) }); ok {
		wrapper.wrap(source)
	}
	producer, err := New(cfg, logger, deps)
	require.NoError(t, err)
	receiver, err := NewReceiver(ReceiverConfig{AckTimeout: 30 * time.Second}, logger, peopleTopic, func() []string { return []string{webhookSecret} }, reg)
	require.NoError(t, err)
	return &process{Producer: producer, receiver: receiver, source: source, state: store, reg: reg}
}

// events returns what is on the people topic, in order within each key.
func (w *world) events() []people.Person {
	w.t.Helper()
	decoder := wire.NewDecoder(people.Schema, w.registry)
	var all []people.Person
	for _, record := range pipelinetest.ReadAll(w.t, w.kafka, schemas.PeopleTopic) {
		var e people.Person
		require.NoError(w.t, decoder.Decode(w.t.Context(), record.Value, &e))
		require.NoError(w.t, event.Check(&e, record.Key))
		all = append(all, e)
	}
	return all
}

// letters returns the dead letters of people, by key.
func (w *world) letters() map[string]deadletter.Letter {
	w.t.Helper()
	letters := map[string]deadletter.Letter{}
	for _, record := range pipelinetest.ReadAll(w.t, w.kafka, schemas.DLQTopic(schemas.PeopleTopic)) {
		letter, err := deadletter.Parse(record)
		require.NoError(w.t, err)
		letters[string(letter.Key)] = letter
	}
	return letters
}

// counts returns how often each event is on the people topic.
func (w *world) counts() map[uuid.UUID]int {
	w.t.Helper()
	counts := map[uuid.UUID]int{}
	for _, e := range w.events() {
		counts[e.EventID]++
	}
	return counts
}

// runs returns the export runs, oldest first.
func (w *world) runs() []exportrun.ExportRun {
	w.t.Helper()
	decoder := wire.NewDecoder(exportrun.Schema, w.registry)
	byTime := map[int64]exportrun.ExportRun{}
	var times []int64
	for _, record := range pipelinetest.ReadAll(w.t, w.kafka, schemas.ExportRunsTopic) {
		var run exportrun.ExportRun
		require.NoError(w.t, decoder.Decode(w.t.Context(), record.Value, &run))
		require.NoError(w.t, event.Check(&run, record.Key))
		at := run.CompletedAt.UnixMicro()
		byTime[at] = run
		times = append(times, at)
	}
	sorted := make([]exportrun.ExportRun, 0, len(times))
	for _, at := range slices.Sorted(slices.Values(times)) {
		sorted = append(sorted, byTime[at])
	}
	return sorted
}

func (w *world) lastRun() exportrun.ExportRun {
	w.t.Helper()
	runs := w.runs()
	require.NotEmpty(w.t, runs)
	return runs[len(runs)-1]
}

// present returns the ID of the event of each person's present version.
func (w *world) present() map[uuid.UUID]int64 {
	w.t.Helper()
	ids := map[uuid.UUID]int64{}
	for id, record := range w.sim.People {
		person, err := salesloft.ParsePerson(record)
		require.NoError(w.t, err)
		eventID, err := event.NewID(people.Entity, "salesloft:"+strconv.FormatInt(id, 10), person.UpdatedAt, event.Upsert)
		require.NoError(w.t, err)
		ids[eventID] = id
	}
	return ids
}

// versions returns each person's present updated_at, in order.
func (w *world) versions() []time.Time {
	w.t.Helper()
	var all []time.Time
	for _, record := range w.sim.People {
		person, err := salesloft.ParsePerson(record)
		require.NoError(w.t, err)
		all = append(all, person.UpdatedAt.UTC())
	}
	slices.SortFunc(all, time.Time.Compare)
	return all
}

// requireNothingLost checks that each person's present version is on the topic.
func (w *world) requireNothingLost() {
	w.t.Helper()
	counts := w.counts()
	for eventID, id := range w.present() {
		require.Positive(w.t, counts[eventID], "person %d is not on the topic as it is now", id)
	}
}

func (w *world) update(change salesloftest.Change) []int64 {
	w.t.Helper()
	ids, err := w.sim.Update(change)
	require.NoError(w.t, err)
	return ids
}
