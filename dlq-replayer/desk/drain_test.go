package desk

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/schemas"
)

// drainer is a desk in a hurry.
func drainer(t *testing.T, cluster *pipelinetest.Cluster) *Desk {
	t.Helper()
	d := newDesk(t, cluster)
	d.pace.tick, d.pace.judge = 5*time.Millisecond, 20*time.Millisecond
	return d
}

// replays says how often a record was replayed.
func replays(rec *kgo.Record) string {
	i := slices.IndexFunc(rec.Headers, func(h kgo.RecordHeader) bool { return h.Key == "dlq-replays" })
	return string(rec.Headers[i].Value)
}

// TestADrainGoesOnUntilNothingIsOpen: what comes back is replayed again, until it succeeds or is parked.
func TestADrainGoesOnUntilNothingIsOpen(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 2, topics...)
	write(t, cluster, peopleLetters(10)...)
	require.NoError(t, pipelinetest.Client(t, cluster).ProduceSync(t.Context(), &kgo.Record{Topic: peopleDLQ, Key: []byte("no letter")}).FirstErr())
	consumeAll(t.Context(), t, cluster, func(rec *kgo.Record) bool {
		return string(rec.Key) == "key-0" || string(rec.Key) == "key-1" && replays(rec) == "1"
	})
	d := drainer(t, cluster)
	var last Report
	drained, err := d.Drain(t.Context(), order(), time.Minute, func(r Report) { last = r })
	require.NoError(t, err)
	require.Len(t, slices.Compact(slices.Sorted(slices.Values(drained.Runs))), 4)
	drained.Runs = nil
	require.Equal(t, Drained{Rounds: 4, Replayed: 10 + 2 + 1, Parked: 1, Unreplayable: 1}, drained)
	require.Equal(t, 1, last.Parked)
	parked := entries(t, d, Selection{States: []string{Parked}})
	require.Equal(t, []string{"key-0"}, keys(parked))
	require.Equal(t, 3, parked[0].Letter.Replays)
	require.Equal(t, []string{"no letter"}, keys(entries(t, d, Selection{})))

	again, err := d.Drain(t.Context(), order(), time.Minute, nil)
	require.NoError(t, err)
	require.Equal(t, Drained{Unreplayable: 1}, again)
}

// TestADrainDoesNotWaitForNobody, nor longer than it may for those who do not come on.
func TestADrainDoesNotWaitForNobody(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		hangs bool
		wait  time.Duration
	}{
		"no members":      {false, time.Hour},
		"a hanging group": {true, 50 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := pipelinetest.Kafka(t, 1, topics...)
			write(t, cluster, peopleLetters(3)...)
			if c.hangs {
				joined, release := make(chan struct{}), make(chan struct{})
				require.NoError(t, pipelinetest.Client(t, cluster).ProduceSync(t.Context(), &kgo.Record{Topic: schemas.PeopleTopic}).FirstErr())
				consumeAll(t.Context(), t, cluster, func(*kgo.Record) bool {
					select {
					case <-joined:
					default:
						close(joined)
					}
					<-release
					return false
				})
				t.Cleanup(func() { close(release) })
				<-joined
			}
			drained, err := drainer(t, cluster).Drain(t.Context(), order(), c.wait, nil)
			require.NoError(t, err)
			drained.Runs = nil
			require.Equal(t, Drained{Rounds: 1, Replayed: 3, Unjudged: 3}, drained)
		})
	}
}

// TestADrainEnds although new letters keep coming.
func TestADrainEnds(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 1, topics...)
	write(t, cluster, peopleLetters(1)...)
	d := drainer(t, cluster)
	runs, fresh := map[string]bool{}, 0
	drained, err := d.Drain(t.Context(), order(func(o *Order) { o.MaxReplays = 2 }), time.Minute, func(r Report) {
		if r.Status == deadletter.Done && !runs[r.RunID] {
			runs[r.RunID] = true
			fresh++
			write(t, cluster, poison(schemas.PeopleTopic, fresh, "validation"))
		}
	})
	require.NoError(t, err)
	require.Len(t, drained.Runs, 3)
	drained.Runs = nil
	require.Equal(t, Drained{Rounds: 3, Replayed: 3, Open: 1, Unjudged: 3}, drained)
}

// TestADrainThatIsStoppedTellsWhatIsLeft: by its context, or by itself.
func TestADrainThatIsStoppedTellsWhatIsLeft(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 1, topics...)
	write(t, cluster, peopleLetters(5)...)
	require.NoError(t, pipelinetest.Client(t, cluster).ProduceSync(t.Context(), &kgo.Record{Topic: schemas.PeopleTopic}).FirstErr())
	consumeAll(t.Context(), t, cluster, func(rec *kgo.Record) bool { return rec.Value != nil })
	d := drainer(t, cluster)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	drained, err := d.Drain(ctx, order(), time.Minute, func(r Report) {
		if r.Done > 0 {
			cancel()
		}
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 1, drained.Rounds)
	require.Equal(t, 5, drained.Replayed+drained.Open)

	// What was replayed comes back. By its rate the next round lasts until the first of its letters have come back again.
	require.Eventually(t, func() bool { return len(entries(t, d, Selection{})) == 5 }, time.Minute, 10*time.Millisecond)
	drained, err = d.Drain(t.Context(), order(func(o *Order) { o.StopAfter, o.StopShare, o.Rate = 1, 0.5, 2 }), time.Minute, nil)
	require.ErrorIs(t, err, ErrStopped)
	require.Equal(t, len(entries(t, d, Selection{})), drained.Open)
	require.Positive(t, drained.Open)
}

// TestWhatADrainIsNotFor is said before anything is done.
func TestWhatADrainIsNotFor(t *testing.T) {
	t.Parallel()
	d := drainer(t, pipelinetest.Kafka(t, 1, topics...))
	for want, with := range map[string]func(*Order){
		"it cannot park them": func(o *Order) { o.Action = Park },
		"it has no limit":     func(o *Order) { o.Selection.Limit = 1 },
		"takes open letters":  func(o *Order) { o.Selection.States = []string{Open, Parked} },
		ErrNoWhy.Error():      func(o *Order) { o.Why = "" },
	} {
		drained, err := d.Drain(t.Context(), order(with), time.Minute, nil)
		require.ErrorContains(t, err, want)
		require.Equal(t, Drained{}, drained)
	}
	drained, err := d.Drain(t.Context(), order(func(o *Order) { o.Selection.States = []string{Open} }), time.Minute, nil)
	require.NoError(t, err)
	require.Equal(t, Drained{}, drained)
}
