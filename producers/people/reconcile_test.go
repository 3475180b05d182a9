package people

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/producers/publish"
	"github.com/revstream/revstream/producers/salesloft/salesloftest"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/exportrun"
	"github.com/revstream/revstream/schemas/people"
)

// reconciler starts a process that reconciles. change, if any, can put something between it and the source.
func (w *world) reconciler(cfg ReconcileConfig, change func(Directory) Directory) *Reconciler {
	w.t.Helper()
	p := w.start(nil)
	client, reg, logger := pipelinetest.Client(w.t, w.kafka, kgo.RequiredAcks(kgo.AllISRAcks())), prometheus.NewRegistry(), slog.New(slog.DiscardHandler)
	open := func(topic, schemaFile string) *publish.Publisher {
		publisher, err := publish.Open(w.t.Context(), publish.Config{Topic: topic, Source: EventSource, SchemaFile: schemaFile}, client, w.registry, reg, logger)
		require.NoError(w.t, err)
		return publisher
	}
	deps := ReconcileDeps{
		Source: p.source, Roster: NewRoster(client, w.registry), People: open(schemas.PeopleTopic, people.SchemaFile),
		Runs: open(schemas.ExportRunsTopic, exportrun.SchemaFile), State: p.state, Locks: p.state, Metrics: reg,
	}
	if change != nil {
		deps.Source = change(p.source)
	}
	r, err := NewReconciler(cfg, logger, deps)
	require.NoError(w.t, err)
	return r
}

// deleted returns the versions of the deletions on the topic, by person.
func (w *world) deleted() map[int64]time.Time {
	w.t.Helper()
	versions := map[int64]time.Time{}
	for _, e := range w.events() {
		if e.Operation == event.Delete {
			require.NotContains(w.t, versions, e.PersonID, "deleted twice")
			versions[e.PersonID] = e.SourceVersion
		}
	}
	return versions
}

func TestReconciliationFindsWhoIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{Seed: 30, People: 350})
	const fromTheFuture = 100_000_001
	ahead := time.Now().Add(48 * time.Hour).Truncate(time.Microsecond)
	w.update(salesloftest.Change{IDs: []int64{fromTheFuture}, UpdatedAt: ahead})
	p := w.start(nil)
	require.NoError(t, p.RunOnce(t.Context()))
	before := time.Now()
	gone, err := w.sim.Delete(salesloftest.Change{IDs: []int64{fromTheFuture, fromTheFuture + 7, fromTheFuture + 300}})
	require.NoError(t, err)
	require.NoError(t, p.RunOnce(t.Context()))
	require.Empty(t, w.deleted(), "no list shows a deletion")

	r := w.reconciler(ReconcileConfig{Interval: time.Hour}, nil)
	require.NoError(t, r.RunOnce(t.Context()))
	versions := w.deleted()
	require.Len(t, versions, len(gone))
	require.Equal(t, ahead.Add(time.Microsecond).UTC(), versions[fromTheFuture], "a deletion is newer than what it deletes")
	require.WithinRange(t, versions[fromTheFuture+7], before, time.Now())
	run := w.lastRun()
	require.Equal(t, []any{"reconciliation", exportrun.Succeeded, int64(350), int64(3), int64(347)},
		[]any{run.Scope, run.Outcome, run.RowsExpected, run.RowsPublished, run.RowsUnchanged})

	require.NoError(t, r.RunOnce(t.Context()))
	require.EqualValues(t, 347, w.lastRun().RowsExpected, "who is deleted is not asked for again")
	require.Zero(t, w.lastRun().RowsPublished)
	details, err := r.Check(t.Context())
	require.NoError(t, err)
	require.Contains(t, details, "last")
}

// TestManyMissingAreNotDeleted: credentials that see less than before would otherwise empty the warehouse.
func TestManyMissingAreNotDeleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{Seed: 31, People: 350})
	require.NoError(t, w.start(nil).RunOnce(t.Context()))
	_, err := w.sim.Delete(salesloftest.Change{Count: 101})
	require.NoError(t, err)
	r := w.reconciler(ReconcileConfig{Interval: time.Hour}, nil)
	require.ErrorIs(t, r.RunOnce(t.Context()), ErrTooManyMissing)
	require.Empty(t, w.deleted())
	require.Equal(t, exportrun.Failed, w.lastRun().Outcome)
	_, err = r.Check(t.Context())
	require.ErrorContains(t, err, "RECONCILE_MAX_DELETES")
	require.InDelta(t, 1, testutil.ToFloat64(r.metrics.blocked), 0)

	r.cfg.MaxDeletes = 101
	require.NoError(t, r.RunOnce(t.Context()))
	require.Len(t, w.deleted(), 101)
	require.Zero(t, testutil.ToFloat64(r.metrics.blocked))
	_, err = r.Check(t.Context())
	require.NoError(t, err)
}

// shortSighted is a source whose list leaves somebody out.
type shortSighted struct {
	Directory
	without int64
}

func (s shortSighted) Present(ctx context.Context, ids []int64) (map[int64]time.Time, error) {
	present, err := s.Directory.Present(ctx, ids)
	delete(present, s.without)
	return present, err
}

func TestWhoIsFoundAloneIsNotDeleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{Seed: 32, People: 20})
	require.NoError(t, w.start(nil).RunOnce(t.Context()))
	r := w.reconciler(ReconcileConfig{Interval: time.Hour}, func(d Directory) Directory { return shortSighted{d, 100_000_003} })
	require.NoError(t, r.RunOnce(t.Context()))
	require.Empty(t, w.deleted())
	require.EqualValues(t, 20, w.lastRun().RowsUnchanged)
}

// TestReconciliationBringsWhatWasMissed: a change that became visible too late for the look-back.
func TestReconciliationBringsWhatWasMissed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{Seed: 33, People: 20})
	w.update(salesloftest.Change{IDs: []int64{100_000_001}, UpdatedAt: time.Now()})
	p := w.start(nil)
	require.NoError(t, p.RunOnce(t.Context()))
	w.update(salesloftest.Change{IDs: []int64{100_000_002}, UpdatedAt: time.Now().Add(-time.Hour)})
	w.update(salesloftest.Change{IDs: []int64{100_000_003}, UpdatedAt: time.Now().Add(-7 * time.Minute)})
	require.NoError(t, p.RunOnce(t.Context()))
	require.Zero(t, w.lastRun().RowsPublished)

	r := w.reconciler(ReconcileConfig{Interval: time.Hour}, nil)
	require.NoError(t, r.RunOnce(t.Context()))
	require.EqualValues(t, 1, w.lastRun().RowsPublished, "what is young the polling may still bring")
	r.now = func() time.Time { return time.Now().Add(time.Hour) }
	require.NoError(t, r.RunOnce(t.Context()))
	w.requireNothingLost()
	require.InDelta(t, 2, testutil.ToFloat64(r.metrics.repaired), 0)
}

// TestOneProcessReconciles, however many there are and however often they start.
func TestOneProcessReconciles(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{Seed: 34, People: 20})
	require.NoError(t, w.start(nil).RunOnce(t.Context()))
	r := w.reconciler(ReconcileConfig{Interval: time.Hour}, nil)
	wait, err := r.turn(t.Context())
	require.NoError(t, err)
	require.Equal(t, time.Hour, wait)
	runs := len(w.runs())

	other := w.reconciler(ReconcileConfig{Interval: time.Hour}, nil)
	wait, err = other.turn(t.Context())
	require.NoError(t, err)
	require.InDelta(t, time.Hour, wait, float64(time.Minute))
	require.Len(t, w.runs(), runs)
	other.now = func() time.Time { return time.Now().Add(time.Hour) }
	_, err = other.turn(t.Context())
	require.NoError(t, err)
	require.Len(t, w.runs(), runs+1)
}

// TestRosterKeepsTheNewest of each, in little memory, in whatever order they come.
// TestATombstoneEndsWhoIsOnTheTopic, until there is something of the person again.
func TestATombstoneEndsWhoIsOnTheTopic(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{Seed: 33, People: 5})
	require.NoError(t, w.start(nil).RunOnce(t.Context()))
	client := pipelinetest.Client(t, w.kafka)
	const erased, back = 100_000_001, 100_000_003
	bury := func(keys ...string) {
		for _, key := range keys {
			require.NoError(t, client.ProduceSync(t.Context(), &kgo.Record{Topic: schemas.PeopleTopic, Key: []byte(key)}).FirstErr())
		}
	}
	bury("salesloft:100000001", "salesloft:100000003", "salesloft:0100000002", "somebody")
	w.update(salesloftest.Change{IDs: []int64{back}, UpdatedAt: time.Now().Add(-time.Second).Truncate(time.Microsecond)})
	require.NoError(t, w.start(nil).RunOnce(t.Context()))

	alive, err := NewRoster(client, w.registry).alive(t.Context())
	require.NoError(t, err)
	ids := make([]int64, len(alive))
	for i, m := range alive {
		ids[i] = m.id
	}
	require.NotContains(t, ids, int64(erased))
	require.Contains(t, ids, int64(back))
	require.Len(t, ids, 4)
}

func TestRosterKeepsTheNewest(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	want := map[int64]int64{}
	var r roster
	for range 1_000_000 {
		m := member{rng.Int64N(50_000) + 1, rng.Int64N(1 << 40)}
		want[m.id] = max(want[m.id], m.order)
		r.add(m)
		require.LessOrEqual(t, len(r.members), 2*max(rosterSlack, 50_000)+1)
	}
	r.settle()
	require.Len(t, r.members, len(want))
	for _, m := range r.members {
		require.Equal(t, want[m.id], m.order)
	}
	require.False(t, member{1, 3}.alive())
	require.Equal(t, time.UnixMicro(1).UTC(), member{1, 3}.version())
}
