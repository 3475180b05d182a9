package backfill

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/producers/people"
	"github.com/revstream/revstream/producers/salesloft"
	"github.com/revstream/revstream/producers/salesloft/salesloftest"
	"github.com/revstream/revstream/producers/state"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/exportrun"
	entity "github.com/revstream/revstream/schemas/people"
	"github.com/revstream/revstream/schemas/wire"
)

// crowd is so many people that a walk over them saves its place before its end.
const crowd = 5_600

func newSalesloft(t *testing.T, cfg salesloftest.Config) *salesloftest.Simulator {
	t.Helper()
	cfg.APIKeys = []string{testKey}
	if cfg.Budget == 0 {
		cfg.Budget = 1_000_000
	}
	sim, err := salesloftest.New(cfg)
	require.NoError(t, err)
	t.Cleanup(sim.Close)
	return sim
}

// persons is what a process reads people with.
func (w *world) persons(p *process, url string) *Persons {
	w.t.Helper()
	client, err := salesloft.New(salesloft.Config{
		BaseURL: url + "/v2", APIKey: func() string { return testKey },
		Budget: salesloft.BudgetConfig{PerMinute: 1_000_000, Share: 0.9}, // in the foreground: the real one takes minutes
	}, discard, &http.Client{Transport: resilience.NewTransport(resilience.TransportConfig{}, discard, w.pool)})
	require.NoError(w.t, err)
	w.t.Cleanup(func() { require.NoError(w.t, client.Close(context.WithoutCancel(w.t.Context()))) })
	store, err := state.Open(w.t.Context(), p.client, "people-producer")
	require.NoError(w.t, err)
	producer, err := people.New(people.Config{Interval: time.Minute}, discard, people.Deps{
		Source: client, People: w.publisher(p, people.EventSource, schemas.PeopleTopic, entity.SchemaFile), Runs: p.runs, State: store, Metrics: p.reg,
	})
	require.NoError(w.t, err)
	return &Persons{Producer: producer, Client: client, BaseURL: url, PointsPerMinute: 300}
}

// wanted returns the event of each person who was changed in the range.
func wanted(t *testing.T, sim *salesloftest.Simulator, from, until time.Time) map[uuid.UUID]bool {
	t.Helper()
	ids := map[uuid.UUID]bool{}
	for id, raw := range sim.People {
		person, err := salesloft.ParsePerson(raw)
		require.NoError(t, err)
		if person.UpdatedAt.Before(from) || !person.UpdatedAt.Before(until) {
			continue
		}
		eventID, err := event.NewID(entity.Entity, "salesloft:"+strconv.FormatInt(id, 10), person.UpdatedAt, event.Upsert)
		require.NoError(t, err)
		ids[eventID] = true
	}
	return ids
}

// persisted returns the people events on the topic, with their correlation IDs.
func (w *world) persisted() map[uuid.UUID]string {
	w.t.Helper()
	ids := map[uuid.UUID]string{}
	decoder := wire.NewDecoder(entity.Schema, w.registry)
	for _, record := range pipelinetest.ReadAll(w.t, w.kafka, schemas.PeopleTopic) {
		var person entity.Person
		require.NoError(w.t, decoder.Decode(w.t.Context(), record.Value, &person))
		ids[person.EventID] = person.CorrelationID
	}
	return ids
}

// middle is a range of the generated people that leaves some out at either end.
func middle(t *testing.T, sim *salesloftest.Simulator) (cfg Config, want map[uuid.UUID]bool) {
	t.Helper()
	var times []time.Time
	for _, raw := range sim.People {
		person, err := salesloft.ParsePerson(raw)
		require.NoError(t, err)
		times = append(times, person.UpdatedAt)
	}
	slices.SortFunc(times, time.Time.Compare)
	first, last := times[len(times)/50].UTC().Truncate(24*time.Hour), times[len(times)*49/50].UTC().Truncate(24*time.Hour)
	want = wanted(t, sim, first, last.AddDate(0, 0, 1))
	return Config{Entity: People, Start: Date{first}, End: Date{last}}, want
}

// TestPeopleOfARangeGoOnAfterKills kills each process after one write of the state file more than the one before it.
func TestPeopleOfARangeGoOnAfterKills(t *testing.T) {
	t.Parallel()
	sim := newSalesloft(t, salesloftest.Config{People: crowd})
	cfg, want := middle(t, sim)
	require.Greater(t, len(want), crowd/2)
	w := newWorld(t)
	w.now = time.Now()
	url := w.serve(sim)
	err, correlationID, kills := errKilled, "", 0
	var cursors []time.Time
	for n := 1; err != nil; n++ {
		require.ErrorIs(t, err, errKilled)
		p := w.start()
		err = killedAfter(w.backfill(p, w.persons(p, url), cfg), n).Run(t.Context())
		r := w.state()
		if n == 1 {
			correlationID = r.CorrelationID
		}
		require.Equal(t, correlationID, r.CorrelationID)
		if r.Cursor != nil {
			cursors = append(cursors, *r.Cursor)
		}
		kills = n
	}
	require.Greater(t, kills, 3, "it was never killed in the middle")
	require.True(t, slices.IsSortedFunc(cursors, time.Time.Compare))
	require.True(t, cursors[0].Before(cursors[len(cursors)-1]), "the second process began at the end")

	have := w.persisted()
	require.Len(t, have, len(want))
	for id := range want {
		require.Equal(t, correlationID, have[id])
	}
	summaries := w.summaries()
	require.Len(t, summaries, 1)
	require.Len(t, w.runs(), 1, "the steps of a backfill have no accounts of their own")
	require.Equal(t, exportrun.Succeeded, summaries[0].Outcome)
	require.InDelta(t, len(want), summaries[0].RowsPublished, float64(kills), "those at the cursor come again, and no others")
}

// TestPeopleBesideALiveProducer: people change while they are read, and both processes publish.
func TestPeopleBesideALiveProducer(t *testing.T) {
	t.Parallel()
	sim := newSalesloft(t, salesloftest.Config{People: 600})
	w := newWorld(t)
	w.now = time.Now()
	url := w.serve(sim)
	live := w.persons(w.start(), url)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var producing sync.WaitGroup
	producing.Go(func() {
		for ctx.Err() == nil {
			_ = live.Producer.RunOnce(ctx) // ends in the middle of one
			_, _ = sim.Update(salesloftest.Change{Count: 20})
		}
	})
	p := w.start()
	require.NoError(t, w.backfill(p, w.persons(p, url), Config{Entity: People, Start: day("2020-01-01")}).Run(t.Context()))
	cancel()
	producing.Wait()
	require.NoError(t, w.persons(w.start(), url).Producer.RunOnce(t.Context()))
	have := w.persisted()
	for id := range wanted(t, sim, time.Time{}, time.Now().Add(time.Hour)) {
		require.Contains(t, have, id)
	}
	require.Len(t, slices.DeleteFunc(w.summaries(), func(r exportrun.ExportRun) bool { return r.Scope != scope }), 1)
}

func TestDryRunOfPeopleAsksForACount(t *testing.T) {
	t.Parallel()
	sim := newSalesloft(t, salesloftest.Config{People: 250})
	w := newWorld(t)
	w.now = time.Now()
	p := w.start()
	require.NoError(t, w.backfill(p, w.persons(p, w.serve(sim)), Config{Entity: People, Start: day("2000-01-01"), DryRun: true}).Run(t.Context()))
	require.Contains(t, p.out.String(), "would read 250 people, in 3 requests for 3 points of the team's budget: at least 1s at 300 points a minute\n")
	require.Equal(t, 1, sim.Stats().Requests)
	require.Empty(t, w.persisted())
	require.Empty(t, w.runs())
	require.NoFileExists(t, w.file)
}
