package desk

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/pipeline/snapshot"
	"github.com/revstream/revstream/schemas"
)

func TestReplayPutsTheOriginalBack(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 2, topics...)
	letters := peopleLetters(7)
	write(t, cluster, letters...)
	d := newDesk(t, cluster)

	var last Report
	report := must(t)(d.Run(t.Context(), order(), func(r Report) { last = r }))
	require.NoError(t, report.Shortfall())
	require.Equal(t, map[string]map[string]int{schemas.PeopleTopic: {"validation": 7}}, report.Reasons)
	require.Equal(t, deadletter.Done, report.Status)
	require.Equal(t, report.Done, last.Done)
	require.Equal(t, report.Status, last.Status)
	requireEach(t, cluster, Replayed, letters)

	for _, rec := range pipelinetest.ReadAll(t, cluster, schemas.PeopleTopic) {
		require.Equal(t, "ce_id", rec.Headers[0].Key)
		require.Equal(t, bytes.Replace(rec.Key, []byte("key"), []byte("event"), 1), rec.Headers[0].Value)
		require.Contains(t, rec.Headers, kgo.RecordHeader{Key: "dlq-replays", Value: []byte("1")})
		require.Contains(t, rec.Headers, kgo.RecordHeader{Key: "dlq-replay-id", Value: []byte(report.RunID)})
	}
	all := entries(t, d, Selection{States: AllStates})
	require.Len(t, all, 7)
	history, err := d.History(t.Context(), all[0].ID)
	require.NoError(t, err)
	require.Len(t, history, 1)
	require.WithinDuration(t, time.Now(), history[0].At, time.Minute)
	history[0].At = time.Time{}
	require.Equal(t, deadletter.Decision{
		Decision: Replayed, RunID: report.RunID, By: "ada", Why: "fixed in v2", From: "a test", Reason: "validation", EventID: all[0].Letter.EventID,
	}, history[0])

	require.Empty(t, entries(t, d, Selection{}), "nothing is open")
	require.Zero(t, must(t)(d.Run(t.Context(), order(), nil)).Done)
	byID := must(t)(d.Run(t.Context(), order(func(o *Order) { o.Selection.IDs = []ID{all[0].ID} }), nil))
	require.Equal(t, &Cause{1, all[0].ID}, byID.Skipped.Why["already replayed"])
	require.Error(t, byID.Shortfall())
	requireEach(t, cluster, Replayed, letters)
	runs := runsOf(t, d, 3, deadletter.Done)
	require.Equal(t, byID.RunID, runs[0].ID)
	require.Equal(t, deadletter.Done, runs[2].Status)
}

// TestPlanWritesNothing: not even a transaction marker, and no other replayer is disturbed. It says what a run would do.
func TestPlanWritesNothing(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 2, topics...)
	write(t, cluster, peopleLetters(4)...)
	admin := kadm.NewClient(pipelinetest.Client(t, cluster))
	ends := func() kadm.ListedOffsets {
		offsets, err := admin.ListEndOffsets(t.Context(), topics...)
		require.NoError(t, err)
		return offsets
	}
	before := ends()
	var reads, writes atomic.Int64
	watch := pipelinetest.Watch(func(req kmsg.Request) {
		switch kmsg.Key(req.Key()) {
		case kmsg.Fetch:
			reads.Add(1)
		case kmsg.Produce, kmsg.InitProducerID:
			writes.Add(1)
		}
	})
	o := order()
	o.Why = "" // a plan needs none
	report := must(t)(newDesk(t, cluster, watch).Plan(t.Context(), o, nil))
	require.Equal(t, 4, report.Done)
	require.Equal(t, 4, report.Total)
	require.Empty(t, report.Status)
	require.Equal(t, before, ends())
	require.Positive(t, reads.Load())
	require.Zero(t, writes.Load())
}

// TestLettersAreSetAside, taken up again, and discarded; each is skipped where that cannot be, and nothing reaches the
// topic.
func TestLettersAreSetAside(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 1, topics...)
	write(t, cluster, peopleLetters(4)...)
	d := newDesk(t, cluster)
	id := func(offsets ...int64) (ids []ID) {
		for _, offset := range offsets {
			ids = append(ids, ID{schemas.PeopleTopic, 0, offset})
		}
		return ids
	}
	do := func(action Action, s Selection) Report {
		return must(t)(d.Run(t.Context(), order(func(o *Order) { o.Action, o.Selection = action, s }), nil))
	}
	require.Equal(t, 3, do(Park, Selection{IDs: id(0, 1, 2)}).Done)
	require.Equal(t, []string{"key-3"}, keys(entries(t, d, Selection{})))
	require.Equal(t, 1, do(Unpark, Selection{Keys: []string{"key-0"}}).Done)
	require.Equal(t, map[string]*Cause{"it is not parked, but open": {2, id(0)[0]}}, do(Unpark, Selection{IDs: id(0, 3)}).Skipped.Why)
	require.Equal(t, 1, do(Discard, Selection{States: []string{Parked}, Keys: []string{"key-1"}}).Done)
	require.Equal(t, 1, do(Discard, Selection{Keys: []string{"key-3", "key-2"}}).Done, "what is parked is not meant by a filter alone")
	require.Equal(t, map[string]*Cause{"already discarded": {2, id(1)[0]}, "already parked": {1, id(2)[0]}}, do(Replay, Selection{IDs: id(1, 2, 3)}).Skipped.Why)
	require.Equal(t, map[string]*Cause{"it is not parked, but discarded": {1, id(1)[0]}}, do(Unpark, Selection{IDs: id(1)}).Skipped.Why)
	require.Empty(t, pipelinetest.ReadAll(t, cluster, schemas.PeopleTopic))
	require.Equal(t, 1, do(Replay, Selection{}).Done)
	states := map[string]string{}
	for _, e := range entries(t, d, Selection{States: AllStates}) {
		states[string(e.Letter.Key)] = e.State
	}
	require.Equal(t, map[string]string{"key-0": Replayed, "key-1": Discarded, "key-2": Parked, "key-3": Discarded}, states)
	history, err := d.History(t.Context(), id(0)[0])
	require.NoError(t, err)
	require.Equal(t, []string{Parked, deadletter.Unparked, Replayed}, []string{history[0].Decision, history[1].Decision, history[2].Decision})
}

// TestARepairReplaysWhatItHasChanged, and skips what the changer refuses. The change is kept with the run.
func TestARepairReplaysWhatItHasChanged(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 2, topics...)
	write(t, cluster, peopleLetters(3)...)
	d := newDeskWith(t, cluster, Config{Changer: changer(func(l deadletter.Letter) (deadletter.Letter, string, error) {
		if string(l.Key) == "key-1" {
			return l, "no such field", nil
		}
		l.Value = append(bytes.Clone(l.Value), "-mended"...)
		return l, "", nil
	})})
	change := Change{Patch: json.RawMessage(`{"x":1}`), Headers: map[string]string{"a": "b"}}
	report := must(t)(d.Run(t.Context(), order(func(o *Order) { o.Action, o.Change = Repair, &change }), nil))
	require.Equal(t, 2, report.Done)
	require.Equal(t, 1, report.Skipped.Why["no such field"].Letters)
	for _, rec := range pipelinetest.ReadAll(t, cluster, schemas.PeopleTopic) {
		require.Contains(t, string(rec.Value), "-mended")
	}
	decided, runs := decisions(t, cluster, false)
	require.Len(t, decided, 2)
	for _, decision := range decided {
		require.True(t, decision.Patched)
	}
	var kept Order
	require.NoError(t, json.Unmarshal(runs[report.RunID].Order, &kept))
	require.Equal(t, change, *kept.Change)
	require.Equal(t, 1, runs[report.RunID].Skipped)
}

func TestWrongOrdersDoNothing(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 1, peopleDLQ, forecastDLQ, schemas.PeopleTopic, schemas.DLQDecisionsTopic)
	write(t, cluster, peopleLetters(1)...)
	write(t, cluster, poison(schemas.ForecastTopic, 0, "validation"))
	d := newDeskWith(t, cluster, Config{Compile: func(string, bool) (Match, error) { return nil, fmt.Errorf("unexpected token at 1:3") }})
	one := ID{schemas.PeopleTopic, 0, 0}
	for text, o := range map[string]func(*Order){
		schemas.PeopleTopic + "/0/1: no dead letter there": func(o *Order) { o.Selection.IDs = []ID{one, {schemas.PeopleTopic, 0, 1}} },
		schemas.PeopleTopic + "/7/0: no dead letter there": func(o *Order) { o.Selection.IDs = []ID{one, {schemas.PeopleTopic, 7, 0}} },
		"revenue.pepole.v1.dlq: topic does not exist":      func(o *Order) { o.Selection.Topics = []string{"revenue.pepole.v1"} },
		schemas.ForecastTopic + ": topic does not exist: create it with `provision`": func(o *Order) {
			o.Selection.Topics = []string{schemas.PeopleTopic, schemas.ForecastTopic} // the original is gone
		},
		"unexpected token at 1:3":            func(o *Order) { o.Selection.Where = "a +" },
		"a reason is required":               func(o *Order) { o.Why = " " },
		`"burn" is not what can be done`:     func(o *Order) { o.Action = "burn" },
		"a repair needs a patch":             func(o *Order) { o.Action = Repair },
		"only a repair changes":              func(o *Order) { o.Change = &Change{} },
		"letters cannot be repaired here":    func(o *Order) { o.Action, o.Change = Repair, &Change{Patch: json.RawMessage(`{}`)} },
		"the rate must be":                   func(o *Order) { o.Rate = -1 },
		"the concurrency must not":           func(o *Order) { o.Concurrency = -1 },
		"the most replays":                   func(o *Order) { o.MaxReplays = -1 },
		"the share of failed letters":        func(o *Order) { o.StopShare = 1.1 },
		"letters to judge before stopping":   func(o *Order) { o.StopAfter = -1 },
		"the limit must not":                 func(o *Order) { o.Selection.Limit = -1 },
		"since must be before until":         func(o *Order) { o.Selection.Since, o.Selection.Until = failed, failed },
		"the first offset must not":          func(o *Order) { o.Selection.Offsets = &Offsets{From: -1, To: -1} },
		"the last offset, 1, is before":      func(o *Order) { o.Selection.Offsets = &Offsets{From: 2, To: 1} },
		"there is no partition -1":           func(o *Order) { o.Selection.Partitions = []int32{-1} },
		`"opened" is not a state`:            func(o *Order) { o.Selection.States = []string{"opened"} },
		"a header to select by needs a name": func(o *Order) { o.Selection.Headers = []Header{{Value: "x"}} },
	} {
		_, err := d.Run(t.Context(), order(o), nil)
		require.ErrorContains(t, err, text)
	}
	require.Empty(t, pipelinetest.ReadAll(t, cluster, schemas.PeopleTopic))
	require.Empty(t, pipelinetest.ReadAll(t, cluster, schemas.DLQDecisionsTopic))
	require.Equal(t, 1, must(t)(d.Run(t.Context(), order(func(o *Order) {
		o.Action, o.Selection.Topics = Park, []string{schemas.ForecastTopic}
	}), nil)).Done, "what is not replayed needs no original topic")
}

// TestMissingTopics: neither those that hold the letters nor that of decisions are made up.
func TestMissingTopics(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 1, peopleDLQ, schemas.PeopleTopic)
	write(t, cluster, peopleLetters(1)...)
	d := newDesk(t, cluster)
	_, err := d.Run(t.Context(), order(), nil)
	require.ErrorIs(t, err, snapshot.ErrNoTopic)
	require.ErrorContains(t, err, schemas.DLQDecisionsTopic)
	_, err = d.Plan(t.Context(), order(), nil)
	require.ErrorIs(t, err, snapshot.ErrNoTopic)
	require.ErrorIs(t, d.Letters(t.Context(), Selection{}, nil), snapshot.ErrNoTopic)
	require.Empty(t, pipelinetest.ReadAll(t, cluster, schemas.PeopleTopic))
}

// TestFlawedLettersAreSkipped: what is no dead letter, what would write to another topic than its own, and what was
// never an event. The others of their batch get through.
func TestFlawedLettersAreSkipped(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 1, topics...)
	write(t, cluster, poison(schemas.ForecastTopic, 0, "validation"))
	source := poison(schemas.PeopleTopic, 1, "malformed")
	source.Stage, source.Record.Partition, source.Record.Offset = deadletter.StageProduce, -1, -1
	write(t, cluster, source, poison(schemas.PeopleTopic, 2, "validation"))
	misled := pipelinetest.ReadAll(t, cluster, forecastDLQ)[0]
	misled.Topic = peopleDLQ
	require.NoError(t, pipelinetest.Client(t, cluster).ProduceSync(t.Context(), misled,
		&kgo.Record{Topic: peopleDLQ, Key: []byte("stray"), Value: []byte("x")}).FirstErr())
	d := newDesk(t, cluster)
	ofPeople := func(o *Order) { o.Selection.Topics = []string{schemas.PeopleTopic} }
	plan := must(t)(d.Plan(t.Context(), order(ofPeople), nil))
	report := must(t)(d.Run(t.Context(), order(ofPeople), nil))
	require.Equal(t, 3, report.Skipped.Letters)
	require.Equal(t, plan.Skipped, report.Skipped)
	require.Contains(t, report.Skipped.Why, "it is what the source sent and was never an event: the source's next change brings it anew")
	require.Equal(t, []string{"stray"}, keys(entries(t, d, Selection{Reasons: []string{ReasonNotALetter}})))
	require.Empty(t, pipelinetest.ReadAll(t, cluster, schemas.ForecastTopic))
	replayed := pipelinetest.ReadAll(t, cluster, schemas.PeopleTopic)
	require.Len(t, replayed, 1)
	require.Equal(t, "key-2", string(replayed[0].Key))
	require.Equal(t, 3, must(t)(d.Run(t.Context(), order(ofPeople, func(o *Order) { o.Action = Discard }), nil)).Done, "they can be discarded")
}

// TestALetterThatItsTopicRefusesStandsAlone: the others of its batch get through.
func TestALetterThatItsTopicRefusesStandsAlone(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 2, peopleDLQ, schemas.DLQDecisionsTopic)
	_, err := kadm.NewClient(pipelinetest.Client(t, cluster)).CreateTopic(t.Context(), 2, -1, map[string]*string{"max.message.bytes": new("4000")}, schemas.PeopleTopic)
	require.NoError(t, err)
	letters := peopleLetters(9)
	large := poison(schemas.PeopleTopic, 9, "too_large")
	large.Record.Value = make([]byte, 8000)
	for i := range large.Record.Value { // incompressible
		large.Record.Value[i] = byte(i*i>>3 ^ i*7)
	}
	write(t, cluster, append(letters[:4:4], large)...)
	write(t, cluster, letters[4:]...)
	d := newDeskWith(t, cluster, Config{}, kgo.ProducerBatchCompression(kgo.NoCompression()))
	report := must(t)(d.Run(t.Context(), order(), nil))
	require.Equal(t, 9, report.Done)
	require.Equal(t, 1, report.Failed.Letters)
	require.Error(t, report.Shortfall())
	require.Equal(t, []string{"key-9"}, keys(entries(t, d, Selection{})), "it is still open")
	require.Len(t, pipelinetest.ReadAll(t, cluster, schemas.PeopleTopic), 9)
	_, runs := decisions(t, cluster, false)
	require.Equal(t, 9, runs[report.RunID].Done)
	require.Equal(t, 1, runs[report.RunID].Failed)
}

func TestRateBoundsTheLettersPerSecond(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 1, topics...)
	write(t, cluster, peopleLetters(30)...)
	start := time.Now()
	report := must(t)(newDeskWith(t, cluster, Config{}).Run(t.Context(), order(func(o *Order) { o.Rate = 20 }), nil))
	require.Equal(t, 30, report.Done)
	require.GreaterOrEqual(t, time.Since(start), 450*time.Millisecond) // ten letters above the burst of a second's
}

// TestTheFirstLettersAreTakenAtALimit: those that a list with the same limit shows.
func TestTheFirstLettersAreTakenAtALimit(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 6, topics...)
	write(t, cluster, peopleLetters(20)...)
	d := newDesk(t, cluster)
	first := Selection{Limit: 7}
	require.Equal(t, 1, Order{Selection: first, Concurrency: 8}.withDefaults().Concurrency, "no partition overtakes another")
	want := keys(entries(t, d, first))
	limited := func(o *Order) { o.Selection = first }
	require.Equal(t, 7, must(t)(d.Plan(t.Context(), order(limited), nil)).Done)
	require.Equal(t, 7, must(t)(d.Run(t.Context(), order(limited), nil)).Done)
	require.ElementsMatch(t, want, keys(entries(t, d, Selection{States: []string{Replayed}})))
}

// TestALetterThatWasReplayedTooOftenIsParked, by a replay and by a repair, so that nothing loops.
func TestALetterThatWasReplayedTooOftenIsParked(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 1, topics...)
	letters := peopleLetters(3)
	letters[1].Record.Headers = append(letters[1].Record.Headers, kgo.RecordHeader{Key: "dlq-replays", Value: []byte("2")})
	write(t, cluster, letters...)
	d := newDesk(t, cluster)
	twice := order(func(o *Order) { o.MaxReplays = 2 })
	plan := must(t)(d.Plan(t.Context(), twice, nil))
	require.Equal(t, []int{2, 1}, []int{plan.Done, plan.Parked})
	report := must(t)(d.Run(t.Context(), twice, nil))
	require.Equal(t, []int{2, 1}, []int{report.Done, report.Parked})
	require.NoError(t, report.Shortfall())
	history, err := d.History(t.Context(), ID{schemas.PeopleTopic, 0, 1})
	require.NoError(t, err)
	require.Len(t, history, 1)
	require.Equal(t, Parked, history[0].Decision)
	require.Equal(t, "replayed 2 times: fixed in v2", history[0].Why)
	require.Len(t, pipelinetest.ReadAll(t, cluster, schemas.PeopleTopic), 2)
}
