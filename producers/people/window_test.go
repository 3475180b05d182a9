package people

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/producers/salesloft"
	"github.com/revstream/revstream/producers/salesloft/salesloftest"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/exportrun"
)

func TestEachPersonIsPublishedOnce(t *testing.T) {
	t.Parallel()
	const people = 3_000
	w := newWorld(t, salesloftest.Config{Seed: 1, People: people})
	p := w.start(nil)
	require.NoError(t, p.RunOnce(t.Context()))
	require.Len(t, w.events(), people)
	require.Len(t, w.counts(), people)
	w.requireNothingLost()
	first := w.lastRun()
	require.Equal(t, exportrun.Succeeded, first.Outcome)
	require.EqualValues(t, people, first.RowsExpected)
	require.EqualValues(t, people, first.RowsPublished)
	require.Nil(t, first.WindowStart)
	require.True(t, w.sim.Stats().MaxUpdatedAt.Equal(*first.WindowEnd))
	require.Nil(t, first.Error)

	require.NoError(t, p.RunOnce(t.Context()), "a quiet window")
	second := w.lastRun()
	require.Zero(t, second.RowsPublished)
	require.Equal(t, second.RowsExpected, second.RowsUnchanged)
	require.Equal(t, first.WindowEnd.Add(-5*time.Minute), *second.WindowStart)
	require.NotEqual(t, first.RunID, second.RunID)

	p = w.start(nil)
	require.NoError(t, p.RunOnce(t.Context()), "a quiet window after a restart")
	require.Zero(t, w.lastRun().RowsPublished)
	require.Len(t, w.events(), people)
	require.Len(t, w.runs(), 3)

	changed := w.update(salesloftest.Change{Count: 40})
	require.NoError(t, p.RunOnce(t.Context()))
	require.EqualValues(t, len(changed), w.lastRun().RowsPublished)
	w.requireNothingLost()
	require.Len(t, w.events(), people+len(changed))
	for _, e := range w.events()[:1] {
		require.Equal(t, first.CorrelationID, e.CorrelationID, "events carry the ID of their run")
	}
}

// TestTiesAndChangesDuringTheWalk: bulk updates larger than a page, while the source changes under each request.
func TestTiesAndChangesDuringTheWalk(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{Seed: 2, People: 160, TieRun: 45, ShuffleTies: true})
	left := 20
	p := w.start(func(_ *Config, api *salesloft.Config, deps *Deps) {
		api.PageSize = 20
		deps.Source = &meddlingSource{meddle: func(context.Context, int) error {
			if left--; left >= 0 {
				w.update(salesloftest.Change{Count: 5, SameInstant: left%2 == 0})
			}
			return nil
		}}
	})
	p.checkpointRows = 50
	require.NoError(t, p.RunOnce(t.Context()))
	require.Negative(t, left, "the walk ended before the changes did")
	w.requireNothingLost()
	for id, n := range w.counts() {
		require.Equal(t, 1, n, id)
	}
	w.update(salesloftest.Change{Count: 70, SameInstant: true})
	require.NoError(t, p.RunOnce(t.Context()))
	w.requireNothingLost()
	require.NoError(t, p.RunOnce(t.Context()))
	require.Zero(t, w.lastRun().RowsPublished)
}

func TestLateAndFutureTimestamps(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{Seed: 3, People: 50})
	p := w.start(nil)
	require.NoError(t, p.RunOnce(t.Context()))
	now := time.Now()
	w.update(salesloftest.Change{Count: 1, UpdatedAt: now})
	require.NoError(t, p.RunOnce(t.Context()))

	w.update(salesloftest.Change{Count: 3, UpdatedAt: now.Add(-4 * time.Minute)})
	require.NoError(t, p.RunOnce(t.Context()))
	require.EqualValues(t, 3, w.lastRun().RowsPublished, "changes that became visible late")
	w.requireNothingLost()

	w.update(salesloftest.Change{Count: 1, UpdatedAt: now.Add(24 * time.Hour)})
	require.NoError(t, p.RunOnce(t.Context()))
	w.update(salesloftest.Change{Count: 2, UpdatedAt: time.Now()})
	require.NoError(t, p.RunOnce(t.Context()))
	w.requireNothingLost()
	require.NoError(t, p.RunOnce(t.Context()))
	require.Zero(t, w.lastRun().RowsPublished)
}

func TestUnreadableRecordsDoNotStopTheRest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{Seed: 4, People: 30})
	const firstPerson = 100_000_001
	bad := w.update(salesloftest.Change{IDs: []int64{firstPerson}, Fields: map[string]json.RawMessage{"first_name": json.RawMessage(`7`)}})
	w.update(salesloftest.Change{IDs: []int64{bad[0] + 1}, UpdatedAt: time.Date(1960, 1, 1, 0, 0, 0, 0, time.UTC)})
	huge := json.RawMessage(`{"essay":"` + strings.Repeat("x", 2<<20) + `"}`)
	w.update(salesloftest.Change{IDs: []int64{bad[0] + 2}, Fields: map[string]json.RawMessage{"custom_fields": huge}})
	p := w.start(nil)
	require.NoError(t, p.RunOnce(t.Context()))
	run := w.lastRun()
	require.Equal(t, exportrun.Partial, run.Outcome)
	require.EqualValues(t, 3, run.RowsRejected)
	require.EqualValues(t, 27, run.RowsPublished)
	require.EqualValues(t, 30, run.RowsExpected)
	require.Equal(t, "3 records were rejected", *run.Error)

	require.NoError(t, p.RunOnce(t.Context()))
	require.Equal(t, exportrun.Succeeded, w.lastRun().Outcome, "a record is rejected once")

	letters := w.letters()
	require.Len(t, letters, 3)
	id := func(n int64) string { return "salesloft:" + strconv.FormatInt(bad[0]+n, 10) }
	require.Equal(t, []string{"malformed", "produce"}, []string{letters[id(0)].Reason, letters[id(0)].Stage})
	require.JSONEq(t, string(maps.Collect(w.sim.People)[bad[0]]), string(letters[id(0)].Value))
	require.Contains(t, letters[id(0)].Message, "first_name")
	require.Equal(t, run.CorrelationID, letters[id(0)].CorrelationID)
	require.Equal(t, "invalid", letters[id(1)].Reason)
	require.Contains(t, string(letters[id(1)].Value), "1960-01-01")
	require.Empty(t, letters[id(2)].Value, "2 MB are too much for a topic")
	require.Contains(t, letters[id(2)].Message, "left out")
}

// TestARecordWithoutAnIdentityIsRejectedOnce: its bytes are all that it can be known by, in this process and the next.
func TestARecordWithoutAnIdentityIsRejectedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{Seed: 15, People: 20})
	for i, field := range []string{"id", "updated_at", "updated_at"} {
		w.update(salesloftest.Change{IDs: []int64{100_000_001 + int64(i)}, Fields: map[string]json.RawMessage{field: json.RawMessage(`"?"`)}})
	}
	for range 3 {
		require.NoError(t, w.start(nil).RunOnce(t.Context()))
		require.Len(t, pipelinetest.ReadAll(t, w.kafka, schemas.DLQTopic(schemas.PeopleTopic)), 3)
		w.update(salesloftest.Change{IDs: []int64{100_000_009}}) // so that the position is saved
	}
}

// TestASourceIsNotEmptiedIntoTheDeadLetters: above the cap nothing more goes there, however often it is tried, until the cap
// is raised.
func TestASourceIsNotEmptiedIntoTheDeadLetters(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{Seed: 14, People: 40})
	ids := make([]int64, 14)
	for i := range ids {
		ids[i] = 100_000_001 + int64(i)
	}
	w.update(salesloftest.Change{IDs: ids, Fields: map[string]json.RawMessage{"first_name": json.RawMessage(`7`)}})
	start := func(most int) *process {
		return w.start(func(cfg *Config, api *salesloft.Config, _ *Deps) { cfg.MaxRejected, api.PageSize = most, 5 })
	}
	p := start(10)
	for range 3 {
		err := p.RunOnce(t.Context())
		require.ErrorIs(t, err, ErrTooManyRejected)
		require.ErrorContains(t, err, "POLL_MAX_REJECTED")
		require.Equal(t, exportrun.Failed, w.lastRun().Outcome)
		require.LessOrEqual(t, len(w.letters()), 10)
	}
	require.Len(t, pipelinetest.ReadAll(t, w.kafka, schemas.DLQTopic(schemas.PeopleTopic)), len(w.letters()), "none twice")
	_, err := p.Check(t.Context())
	require.ErrorIs(t, err, ErrTooManyRejected)

	p = start(1000)
	require.NoError(t, p.RunOnce(t.Context()))
	require.Len(t, w.letters(), 14)
	require.Len(t, pipelinetest.ReadAll(t, w.kafka, schemas.DLQTopic(schemas.PeopleTopic)), 14)
	require.Len(t, w.events(), 26)

	p = start(5) // the count begins anew once a window has come to the end
	w.update(salesloftest.Change{IDs: ids[:5], Fields: map[string]json.RawMessage{"first_name": json.RawMessage(`8`)}})
	require.NoError(t, p.RunOnce(t.Context()))
}

// TestCrashAtEveryStep ends the process before and after each thing that has an effect, starts another one, and looks.
func TestCrashAtEveryStep(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{Seed: 5, People: 20})
	steps := 0
	for at := 1; ; at++ {
		crashed := w.crashAt(at)
		p := w.start(nil)
		require.NoError(t, p.RunOnce(t.Context()), "after a crash at step %d", at)
		w.requireNothingLost()
		if !crashed {
			break
		}
		steps++
		w.update(salesloftest.Change{Count: 8})
	}
	require.Greater(t, steps, 20)
}

func (w *world) crashAt(step int) bool {
	w.t.Helper()
	c := &crash{left: step}
	p := w.start(func(_ *Config, api *salesloft.Config, deps *Deps) {
		api.PageSize = 5
		deps.Source = &meddlingSource{meddle: func(context.Context, int) error { return c.step() }}
		deps.People = &crashingPublisher{Topic: deps.People, crash: c, lazy: step%2 == 0}
		deps.Runs = &crashingPublisher{Topic: deps.Runs.(Topic), crash: c}
		deps.State = crashingState{deps.State, c}
	})
	p.checkpointRows = 5
	err := p.RunOnce(w.t.Context())
	if c.crashed() {
		require.ErrorIs(w.t, err, errCrash)
	} else {
		require.NoError(w.t, err)
	}
	return c.crashed()
}

// TestAStoppedWindowSavesWhatItHas: after an orderly stop nothing is published again.
func TestAStoppedWindowSavesWhatItHas(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{Seed: 6, People: 600})
	ctx, stop := context.WithCancel(t.Context())
	p := w.start(func(_ *Config, _ *salesloft.Config, deps *Deps) {
		deps.Source = &meddlingSource{meddle: func(ctx context.Context, batch int) error {
			if batch == 4 {
				stop()
			}
			return ctx.Err()
		}}
	})
	require.ErrorIs(t, p.RunOnce(ctx), context.Canceled)
	run := w.lastRun()
	require.Equal(t, exportrun.Cancelled, run.Outcome)
	require.EqualValues(t, len(w.events()), run.RowsPublished)
	require.Greater(t, run.RowsPublished, int64(300))

	require.NoError(t, w.start(nil).RunOnce(t.Context()))
	w.requireNothingLost()
	require.Len(t, w.events(), 600)
}

func TestAFailedWindowIsMadeUpFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{Seed: 7, People: 500})
	p := w.start(func(_ *Config, _ *salesloft.Config, deps *Deps) {
		deps.Source = &meddlingSource{meddle: func(_ context.Context, batch int) error {
			if batch == 2 {
				w.sim.FailNext(3, http.StatusBadGateway)
			}
			return nil
		}}
	})
	require.ErrorContains(t, p.RunOnce(t.Context()), "answered 502")
	_, err := p.Check(t.Context())
	require.ErrorContains(t, err, "the last sync window failed")
	run := w.lastRun()
	require.Equal(t, exportrun.Failed, run.Outcome)
	require.EqualValues(t, len(w.events()), run.RowsPublished)
	require.Greater(t, run.RowsPublished, int64(200))
	require.Contains(t, *run.Error, "answered 502")

	w.sim.FailNext(2, http.StatusServiceUnavailable)
	p = w.start(nil)
	require.NoError(t, p.RunOnce(t.Context()), "two failures are what retries are for")
	_, err = p.Check(t.Context())
	require.NoError(t, err)
	require.Len(t, w.events(), 500)
	w.requireNothingLost()
}

// correlated notes the correlation IDs that errors are logged with.
type correlated struct {
	slog.Handler
	ids map[string][]string // by message
}

func (c correlated) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelError
}

func (c correlated) Handle(ctx context.Context, r slog.Record) error {
	c.ids[r.Message] = append(c.ids[r.Message], resilience.CorrelationID(ctx))
	return nil
}

func TestFailureIsLoggedWithItsCorrelationID(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{Seed: 13, People: 5})
	p := w.start(nil)
	log := correlated{slog.DiscardHandler, map[string][]string{}}
	p.logger = slog.New(log)
	w.sim.FailNext(3, http.StatusBadGateway)
	require.Error(t, p.RunOnce(t.Context()))
	require.Equal(t, []string{w.lastRun().CorrelationID}, log.ids["sync window failed"])
}

// kafkaAway has the broker drop the connection of whoever produces, until back is called.
func (w *world) kafkaAway() (back func()) {
	var away atomic.Bool
	away.Store(true)
	w.kafka.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		w.kafka.KeepControl()
		return nil, errors.New("away"), away.Load()
	})
	return func() { away.Store(false) }
}

func TestKafkaAwayHoldsTheWindowUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{Seed: 8, People: 300})
	p := w.start(nil)
	back := w.kafkaAway()
	done := make(chan error, 1)
	go func() { done <- p.RunOnce(t.Context()) }()
	require.Eventually(t, func() bool { return w.sim.Stats().Requests >= 3 }, 10*time.Second, time.Millisecond)
	require.Empty(t, done, "the window waits")
	back()
	require.NoError(t, <-done)
	w.requireNothingLost()
	require.Len(t, w.events(), 300)
}

func TestCheckFindsAStandstill(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{Seed: 9, People: 5})
	p := w.start(nil)
	_, err := p.Check(t.Context())
	require.NoError(t, err)
	require.NoError(t, p.RunOnce(t.Context()))
	p.now = func() time.Time { return time.Now().Add(4*time.Minute + time.Second) }
	_, err = p.Check(t.Context())
	require.ErrorContains(t, err, "no sync window has got on for 4m")
}

func TestRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{Seed: 10, People: 20})
	p := w.start(func(cfg *Config, _ *salesloft.Config, _ *Deps) { cfg.Interval = time.Millisecond })
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	require.Eventually(t, func() bool { return len(w.events()) == 20 }, 10*time.Second, 10*time.Millisecond)
	w.update(salesloftest.Change{Count: 3})
	require.Eventually(t, func() bool { return len(w.events()) == 23 }, 10*time.Second, 10*time.Millisecond)
	stop()
	require.NoError(t, <-done)
}

func TestNewRefusesWrongSettings(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{})
	p := w.start(nil)
	_, err := New(Config{Interval: 0, Overlap: -1}, p.logger, p.deps)
	require.ErrorContains(t, err, "--interval")
	require.ErrorContains(t, err, "--overlap")
}

func TestOneChangeIsOneEvent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{Seed: 12, People: 100, DuplicateEvery: 3, SwapEvery: 4, WebhookRetryInterval: time.Millisecond})
	p := w.start(nil)
	require.NoError(t, p.RunOnce(t.Context()))
	w.subscribe(p)
	changed := w.update(salesloftest.Change{Count: 20})
	w.webhooksSettled()
	require.NoError(t, p.RunOnce(t.Context()))

	require.Len(t, w.counts(), 100+len(changed), "a poll and a webhook of one change have one ID")
	twice := 0
	for _, n := range w.counts() {
		if n > 1 {
			twice++
		}
	}
	require.Equal(t, len(changed), twice)
	w.requireNothingLost()

	gone, err := w.sim.Delete(salesloftest.Change{Count: 2})
	require.NoError(t, err)
	w.webhooksSettled()
	deletes := map[int64]int{}
	for _, e := range w.events() {
		if e.Operation == event.Delete {
			deletes[e.PersonID]++
			require.NotNil(t, e.UpdatedAt)
			require.True(t, e.UpdatedAt.Equal(e.SourceVersion))
		}
	}
	require.Len(t, deletes, len(gone))
	for _, id := range gone {
		require.Contains(t, deletes, id)
	}
}

// TestAPersonFromTheFarFutureFailsNoWindow: a time that no event can carry is
// the source's; the account of the window is ours, and went with it.
func TestAPersonFromTheFarFutureFailsNoWindow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{Seed: 1, People: 20})
	w.update(salesloftest.Change{Count: 1, UpdatedAt: time.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC)})
	p := w.start(nil)
	for range 3 {
		require.NoError(t, p.RunOnce(t.Context()))
	}
	require.Len(t, w.runs(), 3)
}
