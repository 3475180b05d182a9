package desk

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/schemas"
)

// consumeAll is a consumer of people that dead-letters the records that fails says, and commits all, until ctx ends.
func consumeAll(ctx context.Context, t *testing.T, cluster *pipelinetest.Cluster, fails func(*kgo.Record) bool) {
	t.Helper()
	client := pipelinetest.Client(t, cluster, kgo.ConsumerGroup("people-consumer"), kgo.ConsumeTopics(schemas.PeopleTopic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.DisableAutoCommit())
	letters := deadletter.NewWriter(pipelinetest.Client(t, cluster, deadletter.Options()...), "people-consumer", "v2")
	ended := make(chan struct{})
	ctx, cancel := context.WithCancel(ctx)
	t.Cleanup(func() { cancel(); <-ended })
	go func() {
		defer close(ended)
		for {
			fetches := client.PollFetches(ctx)
			if ctx.Err() != nil {
				return
			}
			var poison []consume.Poison
			for rec := range fetches.RecordsAll() {
				if fails(rec) {
					poison = append(poison, consume.Poison{Record: rec, Stage: consume.StageDecode, Reason: "validation", Failed: time.Now()})
				}
			}
			if _, err := letters.Write(ctx, poison); err != nil {
				return
			}
			_ = client.CommitUncommittedOffsets(ctx) // the next one commits what this one could not
		}
	}()
}

// TestARunStopsWhenItsLettersComeBack, as what made them fail has not been mended. It can be resumed, and takes the
// letters that are left.
func TestARunStopsWhenItsLettersComeBack(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 1, topics...)
	write(t, cluster, peopleLetters(40)...)
	consumeAll(t.Context(), t, cluster, func(rec *kgo.Record) bool { return rec.Offset%4 != 0 })
	d := newDesk(t, cluster)
	d.pace.tick, d.pace.judge = 5*time.Millisecond, 20*time.Millisecond
	slow := order(func(o *Order) { o.Rate, o.StopAfter, o.StopShare = 5, 4, 0.4 })
	report, err := d.Run(t.Context(), slow, nil)
	require.ErrorIs(t, err, ErrStopped)
	require.Equal(t, deadletter.Stopped, report.Status)
	require.GreaterOrEqual(t, report.Judged, 4)
	require.Greater(t, float64(report.Returned), 0.4*float64(report.Judged))
	require.Less(t, report.Done, 40)
	_, runs := decisions(t, cluster, false)
	require.Equal(t, deadletter.Stopped, runs[report.RunID].Status)
	require.Contains(t, runs[report.RunID].Note, "fail again")
	require.Equal(t, report.Returned, runs[report.RunID].Returned)

	again := must(t)(d.Run(t.Context(), order(func(o *Order) { o.StopShare = 1 }), nil))
	require.Equal(t, deadletter.Done, again.Status, "a share of 1 never stops a run")
	require.NotZero(t, again.Done)
}

// TestARunThatMayNotLookEnds: it could not stop by itself. It says how to go without.
func TestARunThatMayNotLookEnds(t *testing.T) {
	t.Parallel()
	pipelinetest.NeedKfake(t)
	cluster := pipelinetest.Kafka(t, 1, topics...)
	write(t, cluster, peopleLetters(3)...)
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetFetch}, Err: kerr.GroupAuthorizationFailed, Count: -1})
	d := newDesk(t, cluster)
	_, err := d.Run(t.Context(), order(), nil)
	require.ErrorIs(t, err, kerr.GroupAuthorizationFailed)
	require.ErrorContains(t, err, "which needs DESCRIBE on their groups (a run that never stops by itself does not look)")
	must(t)(d.Run(t.Context(), order(func(o *Order) { o.StopShare = 1 }), nil))
}
