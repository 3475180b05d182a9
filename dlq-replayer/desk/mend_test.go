package desk

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/schemas"
)

// TestALetterWhoseRecordKafkaLostIsOpenAgain: of the last transaction of a run whose process has died, the decisions were
// committed and the records of one partition were not.
func TestALetterWhoseRecordKafkaLostIsOpenAgain(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 2, topics...)
	letters := peopleLetters(12)
	write(t, cluster, letters...)
	client := pipelinetest.Client(t, cluster, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	at := time.Now().UTC()
	asked, err := json.Marshal(order())
	require.NoError(t, err)
	died := deadletter.Run{
		ID: "3c0ce1c6-1b5c-4b55-a4d4-4f6ec2f3a9d1", Action: deadletter.Replayed, Status: deadletter.Running, By: "bob", Why: "before",
		StartedAt: at.Add(-time.Minute), UpdatedAt: at.Add(-time.Minute), Done: len(letters), Order: asked, Spans: map[string]deadletter.Span{},
	}
	put := func(records ...*kgo.Record) {
		require.NoError(t, client.ProduceSync(t.Context(), records...).FirstErr())
	}
	var kept, lost []ID
	for _, e := range entries(t, newDesk(t, cluster), Selection{}) {
		decision := deadletter.Decision{Decision: Replayed, RunID: died.ID, At: at, By: died.By, Why: died.Why, Reason: e.Letter.Reason}
		early := e.ID.Partition == 1 && e.ID.Offset == 0 // of the transaction before: that one is not looked at
		if early {
			decision.At = at.Add(-time.Second)
		}
		decided, err := decision.Record(schemas.DLQDecisionsTopic, e.ID.place())
		require.NoError(t, err)
		put(decided)
		died.Spans[e.ID.log()] = deadletter.Span{Next: e.ID.Offset + 1, End: e.ID.Offset + 1}
		if e.ID.Partition == 1 {
			if !early {
				lost = append(lost, e.ID)
			}
			continue
		}
		kept = append(kept, e.ID)
		replayed := e.Letter.Replay(died.ID)
		replayed.Partition = e.ID.Partition
		put(replayed)
	}
	require.NotEmpty(t, kept)
	require.NotEmpty(t, lost)
	progress, err := died.Record(schemas.DLQDecisionsTopic)
	require.NoError(t, err)
	put(progress)

	d := newDesk(t, cluster)
	parked, err := d.Run(t.Context(), order(func(o *Order) { o.Action, o.Selection.IDs = Park, []ID{lost[0]} }), nil)
	require.NoError(t, err)
	require.Equal(t, 1, parked.Done, "a lost letter is open")
	require.Len(t, entries(t, d, Selection{}), len(lost)-1)
	_, runs := decisions(t, cluster, true)
	require.Equal(t, deadletter.Interrupted, runs[died.ID].Status)
	require.Equal(t, len(letters)-len(lost), runs[died.ID].Done)

	resumed, err := d.Resume(t.Context(), died.ID, order(), nil)
	require.NoError(t, err)
	require.Equal(t, len(lost)-1, resumed.Done)
	require.Len(t, pipelinetest.ReadAll(t, cluster, schemas.PeopleTopic), len(kept)+len(lost)-1)
	history, err := d.History(t.Context(), lost[1])
	require.NoError(t, err)
	require.Equal(t, deadletter.Unparked, history[1].Decision)
	require.Contains(t, history[1].Why, "it is on no topic")
}
