package service_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/consumers"
	"github.com/revstream/revstream/consumers/migrations"
	"github.com/revstream/revstream/consumers/service"
	"github.com/revstream/revstream/pipeline/clickhousesink"
	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/forecast"
	"github.com/revstream/revstream/schemas/money"
	"github.com/revstream/revstream/schemas/people"
	"github.com/revstream/revstream/schemas/wire"
)

// stack is what a consumer needs around it, all of it real: a broker over
// TCP, a registry, and ClickHouse with the migrated tables.
type stack struct {
	t        testing.TB
	cluster  *pipelinetest.Cluster
	registry *wire.Registry
	// URLs of the registry and of the database in ClickHouse.
	registryURL, url string
	producer         *kgo.Client
	encoder          *wire.Encoder // of forecasts
	cfg              consume.Config
}

func newStack(t testing.TB) *stack {
	t.Helper()
	s := &stack{
		t:       t,
		cluster: pipelinetest.Kafka(t, 2, schemas.ForecastTopic, schemas.DLQTopic(schemas.ForecastTopic), schemas.PeopleTopic, schemas.DLQTopic(schemas.PeopleTopic)),
		url:     pipelinetest.ClickHouse(t),
		cfg: consume.Config{
			BatchRows: 100, BatchBytes: 1 << 20, BatchAge: 20 * time.Millisecond, MaxValueBytes: 64 << 10,
			StopTimeout: 10 * time.Second, SessionTimeout: 6 * time.Second, RetryMax: 20 * time.Millisecond,
			PoisonShare: 1, PoisonWindow: 1000, PoisonMin: 100,
		},
	}
	_, err := migrations.Up(t.Context(), s.url)
	require.NoError(t, err)
	s.registryURL = pipelinetest.Registry(t)
	s.registry, err = wire.NewRegistry(s.registryURL)
	require.NoError(t, err)
	registered, err := s.registry.Register(t.Context(), schemas.ForecastTopic, schemas.MustAvro(forecast.SchemaFile))
	require.NoError(t, err)
	s.encoder = wire.NewEncoder(forecast.Schema, registered.ID)
	s.producer = pipelinetest.Client(t, s.cluster)
	return s
}

// running is a stream at work.
type running struct {
	ended  chan error // how it ended
	cancel context.CancelFunc
}

// stop ends it gracefully.
func (r running) stop() error {
	r.cancel()
	err := <-r.ended
	r.ended <- err
	return err
}

// run starts a stream.
func (s *stack) run(stream service.Stream) running {
	s.t.Helper()
	conn, err := clickhousesink.Open(s.url)
	require.NoError(s.t, err)
	loop, err := stream.Loop(service.Parts{
		Consume: s.cfg, Sink: clickhousesink.Config{InsertTimeout: time.Minute}, Logger: pipelinetest.Logger(s.t),
		Metrics: prometheus.NewRegistry(), Registry: s.registry, Conn: conn,
		Letters: pipelinetest.Client(s.t, s.cluster, deadletter.Options()...),
	})
	require.NoError(s.t, err)
	client := pipelinetest.Client(s.t, s.cluster, loop.Options()...)
	ctx, cancel := context.WithCancel(s.t.Context())
	r := running{ended: make(chan error, 1), cancel: cancel}
	go func() {
		err := loop.Run(ctx, client)
		client.Close()
		r.ended <- err
	}()
	s.t.Cleanup(func() {
		_ = r.stop() // a test that cares has looked at it
		require.NoError(s.t, conn.Close())
	})
	return r
}

// forecast makes a sealed event: who says what, as of a version in microseconds.
func (s *stack) forecast(user, amount string, version int64) *forecast.Forecast {
	value, err := money.Parse(amount)
	require.NoError(s.t, err)
	f := &forecast.Forecast{
		ForecastID: "net", TimePeriodID: "2026_Q1", TimeFrameID: "TF:2026-01-05", UserID: user, FieldID: "commit",
		Kind: forecast.KindForecast, Value: &value, JobID: "job",
	}
	require.NoError(s.t, event.Seal(f, event.Upsert, time.UnixMicro(version), time.UnixMicro(version), "run"))
	return f
}

func (s *stack) record(f *forecast.Forecast) *kgo.Record {
	value, err := s.encoder.Encode(f)
	require.NoError(s.t, err)
	return &kgo.Record{Topic: schemas.ForecastTopic, Key: []byte(f.Key()), Value: value,
		Headers: []kgo.RecordHeader{{Key: "ce_id", Value: []byte(f.EventID.String())}, {Key: "correlation-id", Value: []byte("run")}}}
}

func (s *stack) produce(records ...*kgo.Record) {
	s.t.Helper()
	own := make([]*kgo.Record, len(records)) // the client writes into what it is given, and one may be given twice
	for i, rec := range records {
		clone := *rec
		own[i] = &clone
	}
	require.NoError(s.t, s.producer.ProduceSync(s.t.Context(), own...).FirstErr())
}

// drained waits until the group has committed the end of every partition.
func (s *stack) drained(topic, group string) {
	s.t.Helper()
	admin := kadm.NewClient(s.producer)
	require.Eventually(s.t, func() bool {
		committed, err := admin.FetchOffsets(s.t.Context(), group)
		if err != nil {
			return false // the group is not there yet
		}
		ends, err := admin.ListEndOffsets(s.t.Context(), topic)
		require.NoError(s.t, err)
		left := false
		ends.Each(func(end kadm.ListedOffset) {
			at, ok := committed.Lookup(topic, end.Partition)
			left = left || end.Offset > 0 && (!ok || at.At < end.Offset)
		})
		return !left
	}, time.Minute, 20*time.Millisecond)
}

func (s *stack) database() string { return s.url[strings.LastIndex(s.url, "/")+1:] }

func (s *stack) sql(statement string) string { return pipelinetest.SQL(s.t, s.url, statement) }

// TestBadInputIsDeadLetteredAndItsNeighboursLand: each kind of bad input ends
// on the DLQ with its reason and its original bytes, and the records around it
// are in ClickHouse.
func TestBadInputIsDeadLetteredAndItsNeighboursLand(t *testing.T) {
	t.Parallel()
	s := newStack(t)

	wrongType := strings.Replace(schemas.MustAvro(forecast.SchemaFile), `"name": "is_updated", "type": "boolean"`, `"name": "is_updated", "type": "string"`, 1)
	foreign, err := s.registry.Register(t.Context(), "somebody.elses", wrongType)
	require.NoError(t, err)

	good := s.record(s.forecast("good", "1.5", 10)).Value
	enum := append([]byte(nil), good...)
	enum[5+1+36+2] = 8 // the operation, behind the header, the ID and two times of a byte each
	invalid := s.forecast("invalid", "1", 10)
	invalid.TimePeriodStart, invalid.TimePeriodEnd = new(time.Unix(86400, 0)), new(time.Unix(0, 0))
	// As a DateTime64 or a Date32 these would be other times, silently.
	far := s.forecast("far", "1", 10)
	far.TimePeriodEnd = new(time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC))
	unsealed := s.forecast("unsealed", "1", 10)
	unsealed.SourceVersion = unsealed.SourceVersion.Add(time.Second)

	bad := []struct {
		name, reason, key string
		value             []byte
	}{
		{"corrupt", wire.ReasonCorrupt, "k", append(good[:5:5], "\xff\xff\xff garbage"...)},
		{"empty value", wire.ReasonTruncated, "k", []byte{}},
		{"truncated header", wire.ReasonTruncated, "k", good[:3]},
		{"truncated body", wire.ReasonCorrupt, "k", good[:len(good)-2]},
		{"bad magic", wire.ReasonMagic, "k", append([]byte("{"), good[1:]...)},
		{"unknown schema", wire.ReasonUnknownSchema, "k", append([]byte{0, 0, 1, 0, 0}, good[5:]...)},
		{"unknown enum", wire.ReasonCorrupt, "k", enum},
		{"wrong type", wire.ReasonIncompatible, "k", append(wire.AppendHeader(nil, foreign.ID), good[5:]...)},
		{"missing key", wire.ReasonValidation, "", good},
		{"foreign key", wire.ReasonValidation, "other", good},
		{"invalid content", wire.ReasonValidation, invalid.Key(), s.record(invalid).Value},
		{"a date out of range", wire.ReasonValidation, far.Key(), s.record(far).Value},
		{"foreign ID", wire.ReasonValidation, unsealed.Key(), s.record(unsealed).Value},
		{"too large", consume.ReasonTooLarge, "k", make([]byte, s.cfg.MaxValueBytes+1)},
	}
	want := map[string][]byte{}
	for i, b := range bad {
		rec := &kgo.Record{Topic: schemas.ForecastTopic, Value: b.value, Headers: []kgo.RecordHeader{{Key: "case", Value: []byte(b.name)}}}
		if b.key != "" {
			rec.Key = []byte(b.key)
		}
		want[b.name] = b.value
		s.produce(s.record(s.forecast(fmt.Sprint("before-", i), "1", 10)), rec, s.record(s.forecast(fmt.Sprint("after-", i), "1", 10)))
	}
	s.produce(&kgo.Record{Topic: schemas.ForecastTopic, Key: []byte("k")}) // a tombstone, which is none
	s.run(consumers.Forecast)
	s.drained(schemas.ForecastTopic, "revstream-forecast")

	require.Equal(t, fmt.Sprint(2*len(bad)), s.sql("SELECT count() FROM forecast"))
	letters := pipelinetest.ReadAll(t, s.cluster, schemas.DLQTopic(schemas.ForecastTopic))
	require.Len(t, letters, len(bad))
	for _, b := range bad {
		var letter deadletter.Letter
		for _, rec := range letters {
			l, err := deadletter.Parse(rec)
			require.NoError(t, err)
			if string(l.Headers[0].Value) == b.name {
				letter = l
			}
		}
		require.Equal(t, b.reason, letter.Reason, b.name)
		require.Equal(t, want[b.name], letter.Value, b.name)
		require.Equal(t, b.key, string(letter.Key), b.name)
		require.Equal(t, 1, letter.Attempts, b.name)
		require.NotEmpty(t, letter.Message, b.name)
	}
}

// TestEachEventIsVisibleOnceAndTheNewestWins: duplicates in a batch, across
// batches and across restarts; versions in any order; a delete at the version
// of an update; all read without FINAL by the reader.
func TestEachEventIsVisibleOnceAndTheNewestWins(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	old, newest := s.record(s.forecast("u1", "1", 100)), s.record(s.forecast("u1", "3.000000000000000001", 300))
	s.produce(newest, old, old, newest)
	r := s.run(consumers.Forecast)
	s.drained(schemas.ForecastTopic, "revstream-forecast")
	require.NoError(t, r.stop())
	s.produce(old, s.record(s.forecast("u1", "2", 200)), old, newest, s.record(s.forecast("u2", "-7.5", 50)))
	s.run(consumers.Forecast)
	s.drained(schemas.ForecastTopic, "revstream-forecast")

	require.Equal(t, "u1\t3.000000000000000001\nu2\t-7.5", s.sql("SELECT user_id, value FROM forecast ORDER BY user_id"))
	// Without FINAL: what the ledger let through, not what merging hides.
	require.Equal(t, "4\t4", s.sql("SELECT count(), uniqExact(event_id) FROM forecast_history"))
	require.Equal(t, "4\t4", s.sql("SELECT count(), uniqExact(event_id) FROM forecast_ledger"))
}

// TestDeletesHideAPersonUntilANewerVersion.
func TestDeletesHideAPersonUntilANewerVersion(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	registered, err := s.registry.Register(t.Context(), schemas.PeopleTopic, schemas.MustAvro(people.SchemaFile))
	require.NoError(t, err)
	encoder := wire.NewEncoder(people.Schema, registered.ID)
	person := func(id, version int64, op event.Operation) *kgo.Record {
		p := &people.Person{PersonID: id, Tags: []string{"a"}, CustomFields: map[string]string{"k": "v"}}
		require.NoError(t, event.Seal(p, op, time.UnixMicro(version), time.UnixMicro(version), "run"))
		value, err := encoder.Encode(p)
		require.NoError(t, err)
		return &kgo.Record{Topic: schemas.PeopleTopic, Key: []byte(p.Key()), Value: value}
	}
	s.run(consumers.People)
	s.produce(person(1, 10, event.Delete), person(1, 10, event.Upsert), person(2, 10, event.Upsert), person(3, 20, event.Upsert), person(3, 10, event.Delete))
	s.drained(schemas.PeopleTopic, "revstream-people")
	require.Equal(t, "2\n3", s.sql("SELECT person_id FROM people ORDER BY person_id"), "at one version the delete wins; an older delete does not")
	s.produce(person(1, 11, event.Upsert), person(2, 12, event.Delete))
	s.drained(schemas.PeopleTopic, "revstream-people")
	require.Equal(t, "1\n3", s.sql("SELECT person_id FROM people ORDER BY person_id"))
}

// TestAnOutageOfClickHouseDeadLettersNothing: the consumer waits, says so, and
// goes on where it was.
func TestAnOutageOfClickHouseDeadLettersNothing(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.sql("RENAME TABLE forecast_history TO forecast_away") // UNKNOWN_TABLE looks permanent, and is an operator's to mend
	r := s.run(consumers.Forecast)
	s.produce(s.record(s.forecast("u", "1", 1)))
	require.Eventually(t, func() bool { return s.sql("SELECT count() FROM forecast_current") != "0" }, time.Minute, 10*time.Millisecond,
		"the batch is tried")
	s.sql("RENAME TABLE forecast_away TO forecast_history")
	s.drained(schemas.ForecastTopic, "revstream-forecast")
	require.NoError(t, r.stop())
	require.Equal(t, "1", s.sql("SELECT count() FROM forecast_history"))
	require.Empty(t, pipelinetest.ReadAll(t, s.cluster, schemas.DLQTopic(schemas.ForecastTopic)))
}

// TestRowsThatClickHouseRefusesAreSplitOut: a constraint refuses two rows of a
// batch; they are dead-lettered and the others go in.
func TestRowsThatClickHouseRefusesAreSplitOut(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.sql("ALTER TABLE forecast_current ADD CONSTRAINT refuse CHECK user_id NOT LIKE 'bad%'")
	var records []*kgo.Record
	for i := range 90 {
		records = append(records, s.record(s.forecast(fmt.Sprint("good-", i), "1", 1)))
	}
	records = append(records, s.record(s.forecast("bad-1", "1", 1)), s.record(s.forecast("bad-2", "1", 1)))
	s.produce(records...)
	s.run(consumers.Forecast)
	s.drained(schemas.ForecastTopic, "revstream-forecast")
	require.Equal(t, "90\t90", s.sql("SELECT (SELECT count() FROM forecast), (SELECT count() FROM forecast_ledger)"))
	letters := pipelinetest.ReadAll(t, s.cluster, schemas.DLQTopic(schemas.ForecastTopic))
	require.Len(t, letters, 2)
	for _, rec := range letters {
		letter, err := deadletter.Parse(rec)
		require.NoError(t, err)
		require.Equal(t, clickhousesink.ReasonRejected, letter.Reason)
		require.Contains(t, letter.Message, "VIOLATED_CONSTRAINT")
		require.NotContains(t, letter.Message, "bad-", "messages hold no values")
	}
}

// TestTheCapStopsAMisconfiguredConsumer: a topic that looks like poison
// throughout is not emptied into its DLQ.
func TestTheCapStopsAMisconfiguredConsumer(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.cfg.PoisonShare, s.cfg.PoisonMin = 0.5, 10
	var records []*kgo.Record
	for i := range 200 {
		records = append(records, &kgo.Record{Topic: schemas.ForecastTopic, Key: []byte(fmt.Sprint(i)), Value: []byte("not avro")})
	}
	s.produce(records...)
	r := s.run(consumers.Forecast)
	err := <-r.ended
	r.ended <- err
	var capped *consume.PoisonCapError
	require.ErrorAs(t, err, &capped)
	require.Equal(t, wire.ReasonMagic, capped.Reason)
	require.Less(t, len(pipelinetest.ReadAll(t, s.cluster, schemas.DLQTopic(schemas.ForecastTopic))), 20)
}

// TestRatiosOfAmountsAreRight: ClickHouse divides a Decimal(38, 18) by another
// with a silent overflow, and a quota's attainment came out as 0.
func TestRatiosOfAmountsAreRight(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.produce(s.record(s.forecast("forecast", "134218948.78", 1)), s.record(s.forecast("quota", "44300291.01", 1)))
	s.run(consumers.Forecast)
	s.drained(schemas.ForecastTopic, "revstream-forecast")
	require.Equal(t, "302.98", s.sql("SELECT round(100 * sumIf(value, user_id = 'forecast') / sumIf(value, user_id = 'quota'), 2) FROM forecast"))
}
