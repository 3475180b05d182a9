package desk

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/schemas"
)

// at is a changer that calls do once, before it leaves the n-th letter as it is.
func at(n int, do func()) changer {
	var seen atomic.Int64
	return func(l deadletter.Letter) (deadletter.Letter, string, error) {
		if int(seen.Add(1)) == n {
			do()
		}
		return l, "", nil
	}
}

// mended is an order to repair, letter by letter, what at changes.
func mended(o *Order) {
	o.Action, o.Change, o.Concurrency = Repair, &Change{Headers: map[string]string{"x": "y"}}, 1
}

// TestRunsOfOneProcessShareItsSession: what one has read another decides meanwhile, and it is left at that. One client
// serves both.
func TestRunsOfOneProcessShareItsSession(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 2, topics...)
	letters := peopleLetters(8)
	write(t, cluster, letters...)
	var d *Desk
	var second Report
	d = newDeskWith(t, cluster, Config{BatchLetters: 3, Changer: at(2, func() {
		second = must(t)(d.Run(t.Context(), order(), nil))
	})})
	var clients atomic.Int64
	writer := d.writer
	d.writer = func() (*kgo.Client, error) { clients.Add(1); return writer() }
	first := must(t)(d.Run(t.Context(), order(mended), nil))
	require.Equal(t, len(letters), first.Done+second.Done)
	require.NotZero(t, second.Done)
	require.NotZero(t, first.Skipped.Why["already replayed"].Letters)
	requireEach(t, cluster, Replayed, letters)
	require.EqualValues(t, 1, clients.Load())
	require.Nil(t, d.session, "the last run closed it")

	var group sync.WaitGroup
	write(t, cluster, peopleLetters(40)...)
	var done atomic.Int64
	for range 4 {
		group.Go(func() {
			report, err := d.Run(t.Context(), order(), nil)
			if err != nil {
				t.Error(err)
			}
			done.Add(int64(report.Done))
		})
	}
	group.Wait()
	require.EqualValues(t, 40, done.Load())
}

// TestAnotherProcessWaits for a run that is at work, or takes over: at once, or when nothing was heard of the run for a
// while. The run that was overtaken ends with what it has done, and can be resumed.
func TestAnotherProcessWaits(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		at       int // the letter before which the other comes
		takeOver bool
		later    time.Duration
	}{
		"told to, before the first batch":   {at: 1, takeOver: true},
		"told to, between two batches":      {at: 5, takeOver: true},
		"when the run is taken for dead":    {at: 5, later: 16 * time.Second},
		"when the run could still be there": {at: 5, later: 14 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := pipelinetest.Kafka(t, 2, topics...)
			letters := peopleLetters(8)
			write(t, cluster, letters...)
			overtaken := c.takeOver || c.later > 15*time.Second
			first := newDeskWith(t, cluster, Config{BatchLetters: 2, Changer: at(c.at, func() {
				second := newDesk(t, cluster)
				second.pace.now = func() time.Time { return time.Now().Add(c.later) }
				report, err := second.Run(t.Context(), order(func(o *Order) { o.TakeOver = c.takeOver }), nil)
				if overtaken {
					require.NoError(t, err)
					require.NotZero(t, report.Done)
					return
				}
				var busy *BusyError
				require.ErrorAs(t, err, &busy)
				require.ErrorContains(t, err, "repair "+busy.Run.ID+" by ada from a test is at work")
				require.ErrorContains(t, err, "--take-over")
			})})
			report, err := first.Run(t.Context(), order(mended), nil)
			if overtaken {
				require.ErrorIs(t, err, ErrOvertaken)
				require.ErrorContains(t, err, report.RunID+" ended early, and can be resumed")
				require.Less(t, report.Done, len(letters))
				resumed := must(t)(first.Resume(t.Context(), report.RunID, order(func(o *Order) { o.TakeOver = true }), nil))
				require.Zero(t, resumed.Done)
				require.Equal(t, deadletter.Done, resumed.Status)
			} else {
				require.NoError(t, err)
			}
			requireEach(t, cluster, Replayed, letters)
		})
	}
}

// TestACommitAfterAnotherHasAbortedIt is overtaken, whichever of its answers the broker has for that.
func TestACommitAfterAnotherHasAbortedIt(t *testing.T) {
	t.Parallel()
	for _, answer := range []*kerr.Error{kerr.ProducerFenced, kerr.InvalidProducerEpoch, kerr.InvalidTxnState} {
		t.Run(answer.Message, func(t *testing.T) {
			t.Parallel()
			pipelinetest.NeedKfake(t)
			cluster := pipelinetest.Kafka(t, 1, topics...)
			letters := peopleLetters(2)
			write(t, cluster, letters...)
			faults := cluster.Fault(kfake.Fault{Err: answer, Count: -1, TopLevel: true, When: func(req kmsg.Request) bool {
				_, commits := req.(*kmsg.EndTxnRequest)
				return commits
			}})
			_, err := newDesk(t, cluster).Run(t.Context(), order(), nil)
			require.ErrorIs(t, err, ErrOvertaken)
			faults.Remove()
			must(t)(newDesk(t, cluster).Run(t.Context(), order(func(o *Order) { o.TakeOver = true }), nil))
			requireEach(t, cluster, Replayed, letters)
		})
	}
}

// TestAnInterruptedRunIsResumed where it ended: its rate, its limit and its letters are those of the order, and a letter
// that came meanwhile is not one of them. While it waits it tells that it is at work.
func TestAnInterruptedRunIsResumed(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 1, topics...)
	letters := peopleLetters(5)
	write(t, cluster, letters...)
	d := newDesk(t, cluster)
	d.pace.tick, d.pace.heartbeat = 5*time.Millisecond, 20*time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	type result struct {
		report Report
		err    error
	}
	ended := make(chan result, 1)
	go func() {
		report, err := d.Run(ctx, order(func(o *Order) { o.Rate, o.Selection.Limit = 0.001, 2 }), nil)
		ended <- result{report, err}
	}()
	require.Eventually(t, func() bool {
		runs, err := newDesk(t, cluster).Runs(t.Context())
		return err == nil && len(runs) == 1 && runs[0].Done == 1 && recordsOf(t, cluster) > 4 && runs[0].Status == deadletter.Running
	}, 30*time.Second, 10*time.Millisecond)
	cancel()
	r := <-ended
	require.ErrorIs(t, r.err, context.Canceled)
	require.ErrorContains(t, r.err, "can be resumed")
	require.Equal(t, 1, r.report.Done)
	require.Zero(t, r.report.Failed.Letters)
	require.Equal(t, deadletter.Interrupted, r.report.Status)
	runs := runsOf(t, d, 1, deadletter.Interrupted)
	require.Equal(t, map[string]deadletter.Span{peopleDLQ + "/0": {Next: 1, End: 5}}, runs[0].Spans)

	write(t, cluster, poison(schemas.PeopleTopic, 0, "validation")) // the first came back
	other := newDesk(t, cluster)
	report := must(t)(other.Resume(t.Context(), r.report.RunID, Order{By: "bob", Why: "go on", From: "elsewhere"}, nil))
	require.Equal(t, 1, report.Done)
	require.Equal(t, []string{"key-2", "key-3", "key-4", "key-0"}, keys(entries(t, d, Selection{})))
	decided, run := decisions(t, cluster, false)
	require.Equal(t, "bob", decided[peopleDLQ+"/0/1"].By)
	require.Equal(t, 2, run[report.RunID].Done)
	require.Equal(t, deadletter.Done, run[report.RunID].Status)

	_, err := other.Resume(t.Context(), report.RunID, order(), nil)
	require.ErrorContains(t, err, "there is nothing to resume")
	_, err = other.Resume(t.Context(), "no-run", order(), nil)
	require.ErrorIs(t, err, ErrUnknownRun)
	_, err = other.Resume(t.Context(), report.RunID, Order{}, nil)
	require.ErrorIs(t, err, ErrNoWhy)
}

// TestARunLeavesWhatComesMeanwhile: else a letter that fails again at once would go round and round.
func TestARunLeavesWhatComesMeanwhile(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 1, topics...)
	letters := peopleLetters(4)
	write(t, cluster, letters...)
	d := newDeskWith(t, cluster, Config{BatchLetters: 1, Changer: at(2, func() { write(t, cluster, poison(schemas.PeopleTopic, 9, "validation")) })})
	require.Equal(t, 4, must(t)(d.Run(t.Context(), order(mended), nil)).Done)
	require.Equal(t, []string{"key-9"}, keys(entries(t, d, Selection{})))

	broken := newDeskWith(t, cluster, Config{BatchLetters: 1, Changer: changer(func(l deadletter.Letter) (deadletter.Letter, string, error) {
		return l, "", errors.New("the registry is away")
	})})
	report, err := broken.Run(t.Context(), order(mended), nil)
	require.ErrorContains(t, err, "the registry is away")
	write(t, cluster, poison(schemas.PeopleTopic, 8, "validation"))
	require.Equal(t, 1, must(t)(d.Resume(t.Context(), report.RunID, order(), nil)).Done)
	require.Equal(t, []string{"key-8"}, keys(entries(t, d, Selection{})), "nor does a run that is resumed take it")
}

// TestWhatIsCommittedWhileAProcessTakesOver is known to it: the other may commit until it is fenced.
func TestWhatIsCommittedWhileAProcessTakesOver(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 2, topics...)
	letters := peopleLetters(6)
	write(t, cluster, letters...)
	first, second := newDesk(t, cluster), newDesk(t, cluster)
	writer := second.writer
	second.writer = func() (*kgo.Client, error) { // the decisions have been read, and nobody is fenced
		require.Equal(t, 6, must(t)(first.Run(t.Context(), order(), nil)).Done)
		return writer()
	}
	require.Zero(t, must(t)(second.Run(t.Context(), order(), nil)).Done)
	requireEach(t, cluster, Replayed, letters)
}

// TestARunAtWorkIsNotResumed in the same process.
func TestARunAtWorkIsNotResumed(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 1, topics...)
	write(t, cluster, peopleLetters(3)...)
	var d *Desk
	d = newDeskWith(t, cluster, Config{Changer: at(1, func() {
		runs := runsOf(t, d, 1, deadletter.Running)
		_, err := d.Resume(t.Context(), runs[0].ID, order(func(o *Order) { o.TakeOver = true }), nil)
		require.ErrorAs(t, err, new(*BusyError))
	})})
	require.Equal(t, 3, must(t)(d.Run(t.Context(), order(mended), nil)).Done)
}

// TestALetterIsNotKeptByItsFetch: what is kept of one must not be all that came with it.
func TestALetterIsNotKeptByItsFetch(t *testing.T) {
	t.Parallel()
	fetched := []byte("key|value|header")
	e := Entry{State: Open, Letter: deadletter.Letter{Key: fetched[0:3], Value: fetched[4:9], Headers: []kgo.RecordHeader{{Key: "h", Value: fetched[10:]}, {Key: "nil"}}}}
	it, err := (&reader{work: &work{order: order().withDefaults()}}).item(t.Context(), e)
	require.NoError(t, err)
	clear(fetched)
	require.Equal(t, deadletter.Letter{Key: []byte("key"), Value: []byte("value"), Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("header")}, {Key: "nil"}}}, it.entry.Letter)
	tombstone := Entry{Letter: deadletter.Letter{Key: []byte("k")}}
	tombstone.detach()
	require.Nil(t, tombstone.Letter.Value)
}

// TestMissingRightsAreNamed: what on what. Nothing is half done.
func TestMissingRightsAreNamed(t *testing.T) {
	t.Parallel()
	pipelinetest.NeedKfake(t)
	for text, fault := range map[string]kfake.Fault{
		"WRITE and DESCRIBE on the transactional ID revstream-dlq-replayer": {Keys: []kmsg.Key{kmsg.InitProducerID}, Err: kerr.TransactionalIDAuthorizationFailed, TopLevel: true},
		"WRITE and DESCRIBE on topic " + schemas.PeopleTopic:                {Keys: []kmsg.Key{kmsg.Produce}, Topic: schemas.PeopleTopic, Err: kerr.TopicAuthorizationFailed},
		"WRITE and DESCRIBE on topic " + schemas.DLQDecisionsTopic:          {Keys: []kmsg.Key{kmsg.Produce}, Topic: schemas.DLQDecisionsTopic, Err: kerr.TopicAuthorizationFailed},
		"READ and DESCRIBE on topic " + peopleDLQ:                           {Keys: []kmsg.Key{kmsg.ListOffsets}, Topic: peopleDLQ, Err: kerr.TopicAuthorizationFailed},
		"READ and DESCRIBE on topic " + schemas.DLQDecisionsTopic:           {Keys: []kmsg.Key{kmsg.ListOffsets}, Topic: schemas.DLQDecisionsTopic, Err: kerr.TopicAuthorizationFailed},
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			cluster := pipelinetest.Kafka(t, 1, topics...)
			write(t, cluster, peopleLetters(3)...)
			fault.Count = -1
			faults := cluster.Fault(fault)
			_, err := newDesk(t, cluster).Run(t.Context(), order(), nil)
			require.ErrorContains(t, err, text)
			require.ErrorIs(t, err, fault.Err)
			faults.Remove()
			require.Empty(t, pipelinetest.ReadAll(t, cluster, schemas.PeopleTopic))
			decided, _ := decisions(t, cluster, false)
			require.Empty(t, decided)
		})
	}
}

// TestRecordsThatOvertookEachOtherAreSentAgain: after a lost connection the broker may see the second request first.
func TestRecordsThatOvertookEachOtherAreSentAgain(t *testing.T) {
	t.Parallel()
	pipelinetest.NeedKfake(t)
	for _, topic := range []string{schemas.PeopleTopic, schemas.DLQDecisionsTopic} {
		cluster := pipelinetest.Kafka(t, 2, topics...)
		letters := peopleLetters(6)
		write(t, cluster, letters...)
		faults := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: kerr.OutOfOrderSequenceNumber})
		must(t)(newDesk(t, cluster).Run(t.Context(), order(), nil))
		require.Equal(t, 1, faults.Hits())
		requireEach(t, cluster, Replayed, letters)
	}
}

// TestWhoSeesPersonalDataIsWrittenDown, while a run is at work too, and decides nothing about the letter.
func TestWhoSeesPersonalDataIsWrittenDown(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 1, topics...)
	write(t, cluster, peopleLetters(2)...)
	id := ID{schemas.PeopleTopic, 0, 1}
	other := newDesk(t, cluster)
	d := newDeskWith(t, cluster, Config{Changer: at(1, func() {
		require.NoError(t, other.Reveal(t.Context(), []ID{id}, Order{By: "eve", Why: "a call", From: "there"}))
		require.NoError(t, other.Record(t.Context(), deadletter.Run{ID: "an-export", Action: deadletter.Exported, Status: deadletter.Done, By: "eve", Order: json.RawMessage(`{}`)}))
	})})
	require.Equal(t, 2, must(t)(d.Run(t.Context(), order(mended), nil)).Done)
	history, err := d.History(t.Context(), id)
	require.NoError(t, err)
	require.Len(t, history, 2)
	require.ElementsMatch(t, []string{deadletter.Revealed, Replayed}, []string{history[0].Decision, history[1].Decision})
	require.Len(t, entries(t, d, Selection{States: []string{Replayed}}), 2)
	require.ErrorIs(t, d.Reveal(t.Context(), []ID{id}, Order{By: "eve"}), ErrNoWhy)
	require.ErrorContains(t, func() error { _, err := d.Resume(t.Context(), "an-export", order(), nil); return err }(), "export again")
}
