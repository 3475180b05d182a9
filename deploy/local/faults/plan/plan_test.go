package plan_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/revstream/revstream/deploy/local/faults/plan"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/forecast"
	"github.com/revstream/revstream/schemas/people"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func planOf(seed uint64, events int) plan.Plan {
	return plan.Plan{
		Seed: seed, Events: events,
		Forecast: plan.SchemaIDs{Registered: 1, Evolved: 4}, People: plan.SchemaIDs{Registered: 2, Evolved: 5},
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	require.NoError(t, planOf(1, 10).Validate())
	require.ErrorContains(t, planOf(1, 0).Validate(), "events")
	twice := planOf(1, 10)
	twice.People.Evolved = twice.Forecast.Evolved
	require.ErrorContains(t, twice.Validate(), "schema IDs")
}

// content is an event without who observed it and when.
func content(e event.Event) event.Event {
	head := *e.Head()
	head.ObservedAt, head.CorrelationID = head.SourceVersion, ""
	switch e := e.(type) {
	case *forecast.Forecast:
		c := *e
		c.Envelope, c.JobID = head, ""
		return &c
	case *people.Person:
		c := *e
		c.Envelope = head
		return &c
	}
	return nil
}

// TestStepsAreAFunctionOfSeedAndNumber: three workers that start again somewhere publish what one that goes through says,
// and another seed says something else.
func TestStepsAreAFunctionOfSeedAndNumber(t *testing.T) {
	t.Parallel()
	p := planOf(7, 2000)
	whole := make([]plan.Step, 0, p.Events)
	for i, step := range p.Steps(0, 1, 0) {
		require.Equal(t, len(whole), i)
		whole = append(whole, step)
	}
	require.Len(t, whole, p.Events)
	const workers = 3
	for _, from := range []int{0, 1, 2, 3, 717, p.Events - 1, p.Events} {
		seen := 0
		for worker := range workers {
			for i, step := range p.Steps(worker, workers, from) {
				require.GreaterOrEqual(t, i, from)
				require.Equal(t, worker, i%workers)
				require.Equal(t, whole[i], step)
				seen++
			}
		}
		require.Equal(t, p.Events-from, seen, "from %d", from)
	}
	require.NotEqual(t, whole[0].Event, planOf(8, 5000).Step(0).Event)
}

// TestOneIDHasOneContent, and a duplicate is one byte for byte, while a re-export is of another run.
func TestOneIDHasOneContent(t *testing.T) {
	t.Parallel()
	for _, seed := range []uint64{1, 2} {
		contents := make(map[uuid.UUID]event.Event)
		seen := make(map[uuid.UUID][]event.Event)
		for i, step := range planOf(seed, 10_000).Steps(0, 1, 0) {
			e, id := step.Event, step.Event.Head().EventID
			require.NoError(t, event.Check(e, []byte(e.Key())), "step %d", i)
			if c, ok := contents[id]; ok {
				require.Equal(t, c, content(e), "step %d", i)
			}
			contents[id] = content(e)
			switch step.Role {
			case plan.Duplicate:
				require.Contains(t, seen[id], e, "step %d", i)
			case plan.Reexport:
				require.NotEmpty(t, seen[id], "step %d", i)
				require.NotContains(t, seen[id], e, "step %d", i)
			case plan.Poisoned:
				require.Empty(t, seen[id], "step %d", i)
				continue
			}
			seen[id] = append(seen[id], e)
		}
	}
}

func TestShares(t *testing.T) {
	t.Parallel()
	p := planOf(42, 50_000)
	m := p.Model()
	share := func(n int) float64 { return 100 * float64(n) / float64(p.Events) }
	require.InDelta(t, 1, share(m.Roles[plan.Poisoned]), 0.15)
	require.InDelta(t, 10, share(m.Roles[plan.Duplicate]), 0.5)
	require.InDelta(t, 10, share(m.Roles[plan.Late]), 0.5)
	require.InDelta(t, 3, share(m.Roles[plan.Twin]), 0.3)
	require.InDelta(t, 2, share(m.Roles[plan.Reexport]), 0.1)
	require.InDelta(t, 5, share(m.Deletes), 0.5)
	require.Greater(t, m.EqualVersions, p.Events/50)

	poison := float64(m.Roles[plan.Poisoned])
	require.InDelta(t, 0.5, float64(m.Poison[plan.Invalid])/poison, 0.06)
	require.InDelta(t, 0.25, float64(m.Poison[plan.UnknownSchema])/poison, 0.06)
	require.InDelta(t, 0.25, float64(m.Poison[plan.Corrupt])/poison, 0.06)

	byTopic, keys := make(map[string]int), make(map[string]map[string]bool)
	late, newest := 0, make(map[string]uuid.UUID)
	for i, step := range p.Steps(0, 1, 0) {
		byTopic[step.Topic]++
		if keys[step.Topic] == nil {
			keys[step.Topic] = make(map[string]bool)
		}
		key, id := step.Event.Key(), step.Event.Head().EventID
		keys[step.Topic][key] = true
		if step.Role == plan.Late {
			behind := p.Step(i).Event.Head().ObservedAt.Sub(step.Event.Head().SourceVersion)
			require.LessOrEqual(t, behind.Seconds(), 50_000*0.1+2)
		}
		if before := newest[key]; before.String() > id.String() {
			late++
		} else {
			newest[key] = id
		}
	}
	for i, share := range []float64{0.6, 0.4} {
		topic := plan.Topics()[i]
		require.InDelta(t, share, float64(byTopic[topic])/float64(p.Events), 0.02)
		require.InDelta(t, p.Events/20, len(keys[topic]), float64(p.Events)/1000)
	}
	require.Greater(t, late, p.Events/20, "versions that arrive after a newer one of their key")
}

// TestTwinsComeInBothOrders: the upsert after the delete is what must not win.
func TestTwinsComeInBothOrders(t *testing.T) {
	t.Parallel()
	orders := make(map[event.Operation]int)
	for _, step := range planOf(1, 10_000).Steps(0, 1, 0) {
		if step.Role == plan.Twin {
			orders[step.Event.Head().Operation]++
		}
	}
	require.Greater(t, orders[event.Upsert], 100)
	require.Greater(t, orders[event.Delete], 100)
}

func BenchmarkModelOfAMillion(b *testing.B) {
	for b.Loop() {
		require.Len(b, planOf(1, 1_000_000).Model().Topics, 2)
	}
	b.ReportAllocs()
}
