package plan_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/deploy/local/faults/plan"
	"github.com/revstream/revstream/dlq-replayer/payload"
	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/forecast"
	"github.com/revstream/revstream/schemas/people"
	"github.com/revstream/revstream/schemas/wire"
)

// registry knows these schema IDs.
type registry map[int]string

func (r registry) SchemaText(_ context.Context, id int) (string, error) {
	if text, ok := r[id]; ok {
		return text, nil
	}
	return "", &wire.InvalidError{Class: wire.ReasonUnknownSchema, Message: "unknown"}
}

// consumer makes of values what the consumers of a topic do.
func consumer(ctx context.Context, source wire.SchemaSource, topic string) func(key, value []byte) (event.Event, error) {
	if topic == schemas.ForecastTopic {
		dec := wire.NewDecoder(forecast.Schema, source)
		return func(key, value []byte) (event.Event, error) {
			e := new(forecast.Forecast)
			if err := dec.Decode(ctx, value, e); err != nil {
				return nil, err
			}
			return e, event.Check(e, key)
		}
	}
	dec := wire.NewDecoder(people.Schema, source)
	return func(key, value []byte) (event.Event, error) {
		e := new(people.Person)
		if err := dec.Decode(ctx, value, e); err != nil {
			return nil, err
		}
		return e, event.Check(e, key)
	}
}

// world is the plan as a consumer without faults would see it.
type world struct {
	valid  map[string]map[uuid.UUID]bool
	newest map[string]map[string]event.Event
}

func newWorld() world {
	return world{map[string]map[uuid.UUID]bool{}, map[string]map[string]event.Event{}}
}

func (w world) store(topic string, e event.Event) {
	if w.valid[topic] == nil {
		w.valid[topic], w.newest[topic] = map[uuid.UUID]bool{}, map[string]event.Event{}
	}
	w.valid[topic][e.Head().EventID] = true
	old := w.newest[topic][e.Key()]
	if old == nil || old.Head().SourceVersion.Before(e.Head().SourceVersion) ||
		old.Head().SourceVersion.Equal(e.Head().SourceVersion) && e.Head().Operation == event.Delete {
		w.newest[topic][e.Key()] = e
	}
}

// TestModelIsWhatConsumersMakeOfThePlan: every value is decoded as a consumer does, before and after the repairs, which
// are the replayer's own.
func TestModelIsWhatConsumersMakeOfThePlan(t *testing.T) {
	t.Parallel()
	for _, seed := range []uint64{1, 2} {
		p := planOf(seed, 10_000)
		before := registry{1: schemas.MustAvro(forecast.SchemaFile), 2: schemas.MustAvro(people.SchemaFile)}
		after := registry{1: before[1], 2: before[2], 4: plan.EvolvedSchema(schemas.ForecastTopic), 5: plan.EvolvedSchema(schemas.PeopleTopic)}
		plain, repaired := newWorld(), newWorld()
		reader := payload.NewReader(after)
		m := p.Model()
		poison := make(map[plan.PoisonKind]int)
		for i, step := range p.Steps(0, 1, 0) {
			if step.Poison == nil {
				plain.store(step.Topic, step.Event)
				repaired.store(step.Topic, step.Event)
				continue
			}
			key, value := []byte(step.Event.Key()), step.Poison.Value
			require.Equal(t, step.Poison.Kind, m.Topics[step.Topic].Poison[plan.Print(key, value)].Kind, "step %d", i)
			poison[step.Poison.Kind]++
			_, err := consumer(t.Context(), before, step.Topic)(key, value)
			require.Error(t, err, "step %d is poison", i)
			patch := json.RawMessage(plan.Patch(step.Topic))
			switch step.Poison.Kind {
			case plan.Invalid:
				_, err := consumer(t.Context(), after, step.Topic)(key, value)
				require.Error(t, err, "step %d stays poison without the patch", i)
				changed, refusal, err := reader.Repair(t.Context(), patch, nil, deadletter.Letter{Topic: step.Topic, Key: key, Value: value})
				require.NoError(t, err)
				require.Empty(t, refusal, "step %d", i)
				value = changed.Value
			case plan.Corrupt:
				_, refusal, err := reader.Repair(t.Context(), patch, nil, deadletter.Letter{Topic: step.Topic, Key: key, Value: value})
				require.NoError(t, err)
				require.NotEmpty(t, refusal, "step %d", i)
				continue
			}
			e, err := consumer(t.Context(), after, step.Topic)(key, value)
			require.NoError(t, err, "step %d", i)
			require.Equal(t, content(step.Event), content(e), "step %d", i)
			repaired.store(step.Topic, e)
		}
		require.Equal(t, poison, m.Poison)
		compare(t, m, plain, false)
		compare(t, m, repaired, true)
	}
}

func compare(t *testing.T, m *plan.Model, w world, repaired bool) {
	t.Helper()
	for _, topic := range plan.Topics() {
		model, facts := m.Topics[topic], 0
		for i, f := range model.Facts {
			at, found := model.Find(f.ID)
			require.True(t, found)
			require.Equal(t, i, at)
			if f.Kind == plan.Sound || repaired {
				require.True(t, w.valid[topic][f.ID])
				facts++
			}
		}
		require.Len(t, w.valid[topic], facts)
		visible := 0
		for key, e := range w.newest[topic] {
			at, seen := model.Newest(key, repaired)
			require.Equal(t, e.Head().Operation == event.Upsert, seen)
			if seen {
				require.Equal(t, content(e), content(model.Event(at)))
				visible++
			}
		}
		require.Len(t, model.Visible(repaired), visible)
		_, found := model.Find(uuid.New())
		require.False(t, found)
		_, seen := model.Newest("nobody", repaired)
		require.False(t, seen)
	}
}

// TestEvolvedSchemaIsCompatible in both directions, and all else stays.
func TestEvolvedSchemaIsCompatible(t *testing.T) {
	t.Parallel()
	for topic, file := range map[string]string{schemas.ForecastTopic: forecast.SchemaFile, schemas.PeopleTopic: people.SchemaFile} {
		var old, evolved struct{ Fields []any }
		require.NoError(t, json.Unmarshal([]byte(schemas.MustAvro(file)), &old))
		require.NoError(t, json.Unmarshal([]byte(plan.EvolvedSchema(topic)), &evolved))
		require.Equal(t, old.Fields, evolved.Fields[:len(old.Fields)])
		require.Len(t, evolved.Fields, len(old.Fields)+1)
	}
}

// TestPrintTellsNullFromEmpty, as Kafka does, and a key from a value.
func TestPrintTellsNullFromEmpty(t *testing.T) {
	t.Parallel()
	require.NotEqual(t, plan.Print([]byte("k"), nil), plan.Print([]byte("k"), []byte{}))
	require.NotEqual(t, plan.Print([]byte("k"), []byte("v")), plan.Print([]byte("kv"), []byte{}))
}
