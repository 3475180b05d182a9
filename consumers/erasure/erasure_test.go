package erasure_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/consumers"
	"github.com/revstream/revstream/consumers/erasure"
	"github.com/revstream/revstream/consumers/migrations"
	"github.com/revstream/revstream/consumers/service"
	"github.com/revstream/revstream/pipeline/clickhousesink"
	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/people"
	"github.com/revstream/revstream/schemas/wire"
)

const canary = "Ottilie-canary"

// world is a topic of people, its consumer's tables, and an eraser.
type world struct {
	t        *testing.T
	cluster  *pipelinetest.Cluster
	producer *kgo.Client
	encoder  *wire.Encoder
	registry *wire.Registry
	url      string
	conn     clickhouse.Conn
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, cluster: pipelinetest.Kafka(t, 3, schemas.PeopleTopic, schemas.DLQTopic(schemas.PeopleTopic)), url: pipelinetest.ClickHouse(t)}
	_, err := migrations.Up(t.Context(), w.url)
	require.NoError(t, err)
	w.conn, err = clickhousesink.Open(w.url)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.conn.Close()) })
	w.registry, err = wire.NewRegistry(pipelinetest.Registry(t))
	require.NoError(t, err)
	registered, err := w.registry.Register(t.Context(), schemas.PeopleTopic, schemas.MustAvro(people.SchemaFile))
	require.NoError(t, err)
	w.encoder, w.producer = wire.NewEncoder(people.Schema, registered.ID), pipelinetest.Client(t, w.cluster)
	return w
}

func (w *world) eraser(conn clickhouse.Conn, producer erasure.Producer) *erasure.Eraser {
	w.t.Helper()
	e, err := erasure.New(pipelinetest.Logger(w.t), conn, producer)
	require.NoError(w.t, err)
	return e
}

// consume runs the consumer of people.
func (w *world) consume() {
	w.t.Helper()
	loop, err := consumers.People.Loop(service.Parts{
		Consume: consume.Config{
			BatchRows: 100, BatchBytes: 1 << 20, BatchAge: 20 * time.Millisecond, MaxValueBytes: 64 << 10,
			StopTimeout: 10 * time.Second, SessionTimeout: 6 * time.Second, RetryMax: 20 * time.Millisecond,
			PoisonShare: 1, PoisonWindow: 1000, PoisonMin: 100,
		},
		Sink: clickhousesink.Config{InsertTimeout: time.Minute}, Logger: pipelinetest.Logger(w.t), Metrics: prometheus.NewRegistry(),
		Registry: w.registry, Conn: w.conn, Letters: pipelinetest.Client(w.t, w.cluster, deadletter.Options()...),
	})
	require.NoError(w.t, err)
	client := pipelinetest.Client(w.t, w.cluster, loop.Options()...)
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- loop.Run(ctx, client) }()
	w.t.Cleanup(func() {
		cancel()
		require.NoError(w.t, <-ended)
		client.Close()
	})
}

// publish publishes versions of a person, and waits until they are in the history.
func (w *world) publish(id int64, op event.Operation, versions ...int64) {
	w.t.Helper()
	for _, version := range versions {
		p := &people.Person{PersonID: id, FirstName: new(canary), EmailAddress: new(canary + "@example.com"),
			Tags: []string{canary}, CustomFields: map[string]string{"nick": canary}}
		at := time.UnixMicro(version)
		require.NoError(w.t, event.Seal(p, op, at, at, "run"))
		value, err := w.encoder.Encode(p)
		require.NoError(w.t, err)
		require.NoError(w.t, w.producer.ProduceSync(w.t.Context(), &kgo.Record{Topic: schemas.PeopleTopic, Key: []byte(p.Key()), Value: value}).FirstErr())
		require.Eventually(w.t, func() bool {
			return w.sql("SELECT count() FROM people_ledger WHERE event_id = '"+p.EventID.String()+"'") == "1"
		}, time.Minute, 10*time.Millisecond)
	}
}

func (w *world) sql(statement string) string { return pipelinetest.SQL(w.t, w.url, statement) }

// places are the tables in which the canary is.
func (w *world) places() (places []string) {
	w.t.Helper()
	for table := range strings.SplitSeq(w.sql("SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree' ORDER BY name"), "\n") {
		if strings.Contains(w.sql("SELECT * FROM "+table+" FORMAT JSONEachRow"), canary) {
			places = append(places, table)
		}
	}
	return places
}

// lastOnTopic is the value of a key's last record.
func (w *world) lastOnTopic(key string) (value []byte, partitions map[int32]bool) {
	w.t.Helper()
	partitions = map[int32]bool{}
	for _, rec := range pipelinetest.ReadAll(w.t, w.cluster, schemas.PeopleTopic) {
		if string(rec.Key) == key {
			value = rec.Value
			partitions[rec.Partition] = true
		}
	}
	return value, partitions
}

// TestAnErasedPersonIsNowhereAndDoesNotComeBack, with the consumer at work: not with a late event either, but with a new one.
func TestAnErasedPersonIsNowhereAndDoesNotComeBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.consume()
	w.publish(1, event.Upsert, 20, 30)
	w.publish(1, event.Delete, 40)
	require.Equal(t, []string{"people_current", "people_history"}, w.places())
	e := w.eraser(w.conn, w.producer)
	found, err := e.Erase(t.Context(), erasure.Order{Key: "salesloft:1", By: "ops", Why: "asked to"})
	require.NoError(t, err)
	require.EqualValues(t, 3, found.Rows["people_history"])
	require.Empty(t, w.places())
	value, partitions := w.lastOnTopic("salesloft:1")
	require.Nil(t, value)
	require.Len(t, partitions, 1, "the tombstone is where the records are")
	require.Equal(t, "salesloft:1\tops\tasked to\tfalse\t3\t1", w.sql("SELECT key, by, why, forced, rows['people_history'], finished_at IS NOT NULL FROM erasures FINAL"))

	// A replayed dead letter, that no consumer had stored before.
	w.publish(1, event.Upsert, 10)
	w.publish(2, event.Upsert, 10)
	require.Equal(t, "2", w.sql("SELECT person_id FROM people"), "what is late is hidden at once")
	require.Contains(t, w.places(), "people_history")
	again, err := e.Again(t.Context())
	require.NoError(t, err)
	require.Len(t, again.Returned, 1)
	require.EqualValues(t, 1, again.Returned[0].Rows["people_history"])
	_, err = e.Run(t.Context())
	require.NoError(t, err)
	require.Equal(t, "2", w.sql("SELECT DISTINCT person_id FROM people_history"))
	require.Equal(t, "2", w.sql("SELECT DISTINCT person_id FROM people_current WHERE first_name IS NOT NULL"))
	value, _ = w.lastOnTopic("salesloft:1")
	require.Nil(t, value)
	require.Equal(t, "4", w.sql("SELECT rows['people_history'] FROM erasures FINAL"))

	// Whom the source has again, it has again.
	w.publish(1, event.Upsert, 50)
	again, err = e.Run(t.Context())
	require.NoError(t, err)
	require.Equal(t, erasure.Report{Erasures: 1, Interrupted: []string{}, Returned: []erasure.Found{}}, again)
	require.Equal(t, "1\n2", w.sql("SELECT person_id FROM people ORDER BY person_id"))
}

// TestOnlyWhoIsGoneAtTheSourceIsErased, unless it is forced.
func TestOnlyWhoIsGoneAtTheSourceIsErased(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.consume()
	w.publish(1, event.Delete, 10)
	w.publish(1, event.Upsert, 20)
	e := w.eraser(w.conn, w.producer)
	order := erasure.Order{Key: "salesloft:1", By: "ops", Why: "asked to"}
	_, err := e.Erase(t.Context(), order)
	require.ErrorIs(t, err, erasure.ErrAlive)
	order.Key = "salesloft:2"
	_, err = e.Erase(t.Context(), order)
	require.ErrorIs(t, err, erasure.ErrUnknown)
	for _, key := range []string{"2", "salesloft:02", "salesloft:0", "clari:2"} {
		_, err = e.Look(t.Context(), key)
		require.ErrorContains(t, err, "--person")
	}
	require.Equal(t, "0", w.sql("SELECT count() FROM erasures"))
	require.Equal(t, "1", w.sql("SELECT count() FROM people"))

	for _, key := range []string{"salesloft:1", "salesloft:2"} {
		_, err = e.Erase(t.Context(), erasure.Order{Key: key, By: "ops", Why: "asked to", Force: true})
		require.NoError(t, err)
	}
	require.Empty(t, w.places())
	require.Equal(t, "0", w.sql("SELECT count() FROM people"))
	require.Equal(t, "salesloft:1\ttrue\nsalesloft:2\ttrue", w.sql("SELECT key, forced FROM erasures FINAL ORDER BY key"))
	found, err := e.Look(t.Context(), "salesloft:1")
	require.NoError(t, err)
	require.NotNil(t, found.Erased)
	require.Equal(t, map[string]uint64{"people_current": 0, "people_history": 0}, found.Rows)
}

var errInjected = errors.New("injected")

// faulty fails one of the acts that change something: before it, or after it with the answer lost.
type faulty struct {
	clickhouse.Conn
	erasure.Producer

	acts, failing int
	lost          bool
}

func (f *faulty) act(do func() error) error {
	f.acts++
	if f.acts-1 != f.failing {
		return do()
	}
	if f.lost {
		if err := do(); err != nil {
			return err
		}
	}
	return errInjected
}

func (f *faulty) Exec(ctx context.Context, query string, args ...any) error {
	return f.act(func() error { return f.Conn.Exec(ctx, query, args...) })
}

func (f *faulty) ProduceSync(ctx context.Context, records ...*kgo.Record) (results kgo.ProduceResults) {
	err := f.act(func() error {
		results = f.Producer.ProduceSync(ctx, records...)
		return results.FirstErr()
	})
	if err != nil {
		return kgo.ProduceResults{{Record: records[0], Err: err}}
	}
	return results
}

// TestEachStepMayFail: done again, by the person who asked or by the next sweep, all is as if nothing had failed.
func TestEachStepMayFail(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const steps = 6
	id := int64(0)
	for failing := range steps {
		for _, lost := range []bool{false, true} {
			for _, sweep := range []bool{false, true} {
				id++
				name := fmt.Sprintf("step %d, answer lost %t, by a sweep %t", failing, lost, sweep)
				for _, table := range []string{"people_current", "people_history"} {
					w.sql(fmt.Sprintf("INSERT INTO %s (person_id, first_name, event_id, is_deleted, source_version) VALUES (%d, '%s', '00000000-0000-8001-8000-000000000001', 0, 1), (%d, '%s', '00000000-0000-8002-8000-000000000001', 1, 0.000002)",
						table, id, canary, id, canary))
				}
				f := &faulty{Conn: w.conn, Producer: w.producer, failing: failing, lost: lost}
				order := erasure.Order{Key: fmt.Sprint("salesloft:", id), By: "ops", Why: "asked to"}
				_, err := w.eraser(f, f).Erase(t.Context(), order)
				require.ErrorIs(t, err, errInjected, name)
				e := w.eraser(w.conn, w.producer)
				if began := failing > 0 || lost; sweep && began {
					_, err = e.Run(t.Context())
				} else {
					_, err = e.Erase(t.Context(), order)
				}
				require.NoError(t, err, name)
				require.Empty(t, w.places(), name)
				value, partitions := w.lastOnTopic(order.Key)
				require.Nil(t, value, name)
				require.NotEmpty(t, partitions, name)
				require.Equal(t, "1\t2\t1", w.sql("SELECT rows['people_current'], rows['people_history'], finished_at IS NOT NULL FROM erasures FINAL WHERE key = '"+order.Key+"'"), name)
			}
		}
	}
	f := &faulty{Conn: w.conn, Producer: w.producer, failing: steps}
	_, err := w.eraser(f, f).Erase(t.Context(), erasure.Order{Key: "salesloft:1", By: "ops", Why: "asked to"})
	require.NoError(t, err)
	require.Equal(t, steps, f.acts, "each step was tried")
}
