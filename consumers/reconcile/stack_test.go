package reconcile_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/consumers"
	"github.com/revstream/revstream/consumers/migrations"
	"github.com/revstream/revstream/consumers/reconcile"
	"github.com/revstream/revstream/consumers/service"
	"github.com/revstream/revstream/pipeline/clickhousesink"
	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/exportrun"
	"github.com/revstream/revstream/schemas/forecast"
	"github.com/revstream/revstream/schemas/people"
	"github.com/revstream/revstream/schemas/wire"
)

func TestMain(m *testing.M) { pipelinetest.Main(m) }

// stack is what stands around a reconciliation: a broker, a registry, ClickHouse, and the consumers that bring events from one to the other.
type stack struct {
	t        testing.TB
	cluster  *pipelinetest.Cluster
	registry *wire.Registry
	client   *kgo.Client
	url      string
	encoders map[string]*wire.Encoder // by topic
	now      time.Time
}

func newStack(t testing.TB) *stack {
	t.Helper()
	topics := []string{schemas.DLQDecisionsTopic}
	for _, topic := range []string{schemas.ForecastTopic, schemas.PeopleTopic, schemas.ExportRunsTopic} {
		topics = append(topics, topic, schemas.DLQTopic(topic))
	}
	s := &stack{t: t, cluster: pipelinetest.Kafka(t, 2, topics...), url: pipelinetest.ClickHouse(t), now: time.Now().UTC().Truncate(time.Microsecond)}
	_, err := migrations.Up(t.Context(), s.url)
	require.NoError(t, err)
	s.registry, err = wire.NewRegistry(pipelinetest.Registry(t))
	require.NoError(t, err)
	s.client = pipelinetest.Client(t, s.cluster)
	forecasts, err := s.registry.Register(t.Context(), schemas.ForecastTopic, schemas.MustAvro(forecast.SchemaFile))
	require.NoError(t, err)
	persons, err := s.registry.Register(t.Context(), schemas.PeopleTopic, schemas.MustAvro(people.SchemaFile))
	require.NoError(t, err)
	runs, err := s.registry.Register(t.Context(), schemas.ExportRunsTopic, schemas.MustAvro(exportrun.SchemaFile))
	require.NoError(t, err)
	s.encoders = map[string]*wire.Encoder{
		schemas.ForecastTopic:   wire.NewEncoder(forecast.Schema, forecasts.ID),
		schemas.PeopleTopic:     wire.NewEncoder(people.Schema, persons.ID),
		schemas.ExportRunsTopic: wire.NewEncoder(exportrun.Schema, runs.ID),
	}
	return s
}

// forecast makes an event of a user in a period, as a run says.
func (s *stack) forecast(correlation, period, user string, version int) *forecast.Forecast {
	f := &forecast.Forecast{ForecastID: "net", TimePeriodID: period, TimeFrameID: "TF:2026-01-05", UserID: user, FieldID: "commit", Kind: forecast.KindQuota, JobID: "job"}
	at := s.now.Add(time.Duration(version) * time.Second)
	require.NoError(s.t, event.Seal(f, event.Upsert, at, at, correlation))
	return f
}

// person makes an event of a person.
func (s *stack) person(correlation string, id int64, version int, op event.Operation) *people.Person {
	p := &people.Person{PersonID: id}
	at := s.now.Add(time.Duration(version) * time.Second)
	require.NoError(s.t, event.Seal(p, op, at, at, correlation))
	return p
}

// account makes the account of a run that published so many rows.
func (s *stack) account(id, correlation string, published int64, change func(*exportrun.ExportRun)) *exportrun.ExportRun {
	r := &exportrun.ExportRun{
		RunID: id, Source: "salesloft", OfEntity: "people", Scope: "people", Kinds: []string{}, RequestedAt: s.now, CompletedAt: s.now,
		RowsExpected: published, RowsPublished: published, Outcome: exportrun.Succeeded,
	}
	if change != nil {
		change(r)
	}
	require.NoError(s.t, event.Seal(r, event.Upsert, s.now, s.now, correlation))
	return r
}

// ofForecast makes an account one of a forecast run.
func ofForecast(period string) func(*exportrun.ExportRun) {
	return func(r *exportrun.ExportRun) {
		r.Source, r.OfEntity, r.Scope, r.TimePeriodID = "clari", "forecast", "net", &period
	}
}

func (s *stack) record(topic string, e event.Event) *kgo.Record {
	value, err := s.encoders[topic].Encode(e)
	require.NoError(s.t, err)
	rec := &kgo.Record{Topic: topic, Key: []byte(e.Key()), Value: value}
	for _, h := range event.Headers(e, "/test", "1") {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: h.Key, Value: []byte(h.Value)})
	}
	return rec
}

// topicOf is where an event goes.
func topicOf(e event.Event) string {
	switch e.(type) {
	case *forecast.Forecast:
		return schemas.ForecastTopic
	case *people.Person:
		return schemas.PeopleTopic
	default:
		return schemas.ExportRunsTopic
	}
}

func (s *stack) publish(events ...event.Event) {
	s.t.Helper()
	records := make([]*kgo.Record, len(events))
	for i, e := range events {
		records[i] = s.record(topicOf(e), e)
	}
	s.produce(records...)
}

func (s *stack) produce(records ...*kgo.Record) {
	s.t.Helper()
	require.NoError(s.t, s.client.ProduceSync(s.t.Context(), records...).FirstErr())
}

// consume brings all that is on the topics into the tables.
func (s *stack) consume() {
	s.t.Helper()
	for _, stream := range []service.Stream{consumers.Forecast, consumers.People, consumers.ExportRuns} {
		s.consumeStream(stream)
	}
}

func (s *stack) consumeStream(stream service.Stream) {
	s.t.Helper()
	conn, err := clickhousesink.Open(s.url)
	require.NoError(s.t, err)
	letters := pipelinetest.Client(s.t, s.cluster, deadletter.Options()...)
	loop, err := stream.Loop(service.Parts{
		Consume: consume.Config{
			BatchRows: 50_000, BatchBytes: 64 << 20, BatchAge: 20 * time.Millisecond, MaxValueBytes: 64 << 10, StopTimeout: 10 * time.Second,
			SessionTimeout: 6 * time.Second, RetryMax: 20 * time.Millisecond, PoisonShare: 1, PoisonWindow: 1000, PoisonMin: 100,
		},
		Sink: clickhousesink.Config{InsertTimeout: time.Minute}, Logger: pipelinetest.Logger(s.t),
		Metrics: prometheus.NewRegistry(), Registry: s.registry, Conn: conn, Letters: letters,
	})
	require.NoError(s.t, err)
	client := pipelinetest.Client(s.t, s.cluster, loop.Options()...)
	ctx, cancel := context.WithCancel(s.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- loop.Run(ctx, client) }()
	admin := kadm.NewClient(s.client)
	require.Eventually(s.t, func() bool {
		committed, err := admin.FetchOffsets(s.t.Context(), stream.Group)
		if err != nil {
			return false // the group is not there yet
		}
		ends, err := admin.ListCommittedOffsets(s.t.Context(), stream.Topic)
		require.NoError(s.t, err)
		left := false
		ends.Each(func(end kadm.ListedOffset) {
			at, ok := committed.Lookup(stream.Topic, end.Partition)
			left = left || end.Offset > 0 && (!ok || at.At < end.Offset)
		})
		return !left
	}, time.Minute, 20*time.Millisecond)
	cancel()
	require.NoError(s.t, <-ended)
	client.Close()
	letters.Close()
	require.NoError(s.t, conn.Close())
}

func (s *stack) sql(statement string) string {
	s.t.Helper()
	return pipelinetest.SQL(s.t, s.url, statement)
}

func (s *stack) reconcile(cfg reconcile.Config) (reconcile.Report, error) {
	s.t.Helper()
	conn, err := clickhousesink.Open(s.url)
	require.NoError(s.t, err)
	defer func() { require.NoError(s.t, conn.Close()) }()
	if cfg.Since == 0 {
		cfg.Since = time.Hour
	}
	r, err := reconcile.New(cfg, pipelinetest.Logger(s.t), s.client, conn)
	require.NoError(s.t, err)
	return r.Run(s.t.Context())
}

// results reconciles, and returns what is worth saying of each result: by run, or by entity for keys.
func (s *stack) results() (map[string]string, []reconcile.Missing) {
	s.t.Helper()
	report, err := s.reconcile(reconcile.Config{Listed: 1000})
	require.NoError(s.t, err)
	results := map[string]string{}
	for _, r := range report.Results {
		name := r.RunID
		if r.Subject == reconcile.SubjectKeys {
			name = r.Entity
		}
		results[name] = brief(s.t, r)
	}
	return results, report.Missing
}

// brief is what of a result is not zero.
func brief(t testing.TB, r reconcile.Result) string {
	t.Helper()
	raw, err := json.Marshal(r)
	require.NoError(t, err)
	all := map[string]any{}
	require.NoError(t, json.Unmarshal(raw, &all))
	text := ""
	for _, name := range []string{
		"on_topic", "compacted", "stored", "pending", "dead_lettered", "erased", "expired", "missing", "stale", "discarded", "lost", "untold",
		"unidentified", "rows_unaccounted", "gap",
	} {
		if all[name] != 0.0 {
			text += fmt.Sprintf("%s=%v ", name, all[name])
		}
	}
	if r.CountedElsewhere {
		text += "elsewhere "
	}
	return text
}
