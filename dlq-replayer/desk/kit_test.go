package desk

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/schemas"
)

func TestMain(m *testing.M) { pipelinetest.Main(m) }

var (
	peopleDLQ   = schemas.DLQTopic(schemas.PeopleTopic)
	forecastDLQ = schemas.DLQTopic(schemas.ForecastTopic)
	topics      = []string{schemas.PeopleTopic, peopleDLQ, schemas.ForecastTopic, forecastDLQ, schemas.DLQDecisionsTopic}
	failed      = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

func newDesk(t testing.TB, cluster *pipelinetest.Cluster, opts ...kgo.Opt) *Desk {
	t.Helper()
	return newDeskWith(t, cluster, Config{BatchLetters: 2}, opts...)
}

func newDeskWith(t testing.TB, cluster *pipelinetest.Cluster, cfg Config, opts ...kgo.Opt) *Desk {
	t.Helper()
	d := New(cfg, pipelinetest.Logger(t), pipelinetest.Client(t, cluster, opts...), func() (*kgo.Client, error) {
		return pipelinetest.Client(t, cluster, append(Options(), opts...)...), nil
	})
	t.Cleanup(d.Close)
	return d
}

// order is one to replay everything.
func order(with ...func(*Order)) Order {
	o := Order{Action: Replay, By: "ada", Why: "fixed in v2", From: "a test"}
	for _, f := range with {
		f(&o)
	}
	return o
}

// poison is the i-th of a topic, failing i minutes after failed.
func poison(topic string, i int, reason string) consume.Poison {
	return consume.Poison{
		Record: &kgo.Record{
			Topic: topic, Partition: int32(i % 2), Offset: int64(100 + i), Timestamp: failed.Add(-time.Hour),
			Key: fmt.Appendf(nil, "key-%d", i), Value: fmt.Appendf(nil, "value-%d", i),
			Headers: []kgo.RecordHeader{{Key: "ce_id", Value: fmt.Appendf(nil, "event-%d", i)}, {Key: "correlation-id", Value: []byte("run")}},
		},
		Stage: consume.StageDecode, Reason: reason, Message: "field x is not valid", Failed: failed.Add(time.Duration(i) * time.Minute),
	}
}

// write writes dead letters as a consumer does.
func write(t testing.TB, cluster *pipelinetest.Cluster, letters ...consume.Poison) {
	t.Helper()
	client := pipelinetest.Client(t, cluster, deadletter.Options()...)
	_, err := deadletter.NewWriter(client, "people-consumer", "v1").Write(t.Context(), letters)
	require.NoError(t, err)
}

func peopleLetters(n int) []consume.Poison {
	letters := make([]consume.Poison, n)
	for i := range letters {
		letters[i] = poison(schemas.PeopleTopic, i, "validation")
	}
	return letters
}

func entries(t testing.TB, d *Desk, selection Selection) []Entry {
	t.Helper()
	var all []Entry
	require.NoError(t, d.Letters(t.Context(), selection, func(e Entry) error { all = append(all, e); return nil }))
	return all
}

// runsOf reads the runs when the newest is in a state: Apache Kafka tells readers that a transaction was committed a moment after its writer.
func runsOf(t testing.TB, d *Desk, number int, newest string) (runs []deadletter.Run) {
	t.Helper()
	require.Eventually(t, func() bool {
		var err error
		runs, err = d.Runs(t.Context())
		return err == nil && len(runs) == number && runs[0].Status == newest
	}, 30*time.Second, 10*time.Millisecond)
	return runs
}

func keys(all []Entry) []string {
	var names []string
	for _, e := range all {
		names = append(names, string(e.Letter.Key))
	}
	return names
}

// decisions returns those of the topic by the letter's place, and the newest record of each run. No letter may have two,
// unless they are allowed.
func decisions(t testing.TB, cluster *pipelinetest.Cluster, again bool) (map[string]deadletter.Decision, map[string]deadletter.Run) {
	t.Helper()
	decided, runs := map[string]deadletter.Decision{}, map[string]deadletter.Run{}
	for _, rec := range pipelinetest.ReadAll(t, cluster, schemas.DLQDecisionsTopic) {
		fact, ok := newFact(rec)
		require.True(t, ok)
		if fact.Run != nil {
			runs[fact.Run.ID] = *fact.Run
			continue
		}
		if !again {
			require.NotContains(t, decided, string(rec.Key), "decided twice")
		}
		decided[string(rec.Key)] = *fact.Decision
	}
	return decided, runs
}

// requireEach asserts what must hold whatever happened before: each letter has one decision, a replayed one is on its
// topic once, in the same transaction, and the runs have counted them right.
func requireEach(t testing.TB, cluster *pipelinetest.Cluster, decision string, letters []consume.Poison) {
	t.Helper()
	want, got := map[string]string{}, map[string]string{}
	if decision == Replayed {
		for _, p := range letters {
			want[string(p.Record.Key)] = string(p.Record.Value)
		}
	}
	runIDs := map[string]string{} // by key
	for _, rec := range pipelinetest.ReadAll(t, cluster, schemas.PeopleTopic) {
		require.NotContains(t, got, string(rec.Key), "replayed twice")
		got[string(rec.Key)] = string(rec.Value)
		for _, h := range rec.Headers {
			if h.Key == "dlq-replay-id" {
				runIDs[string(rec.Key)] = string(h.Value)
			}
		}
	}
	require.Equal(t, want, got)

	decided, runs := decisions(t, cluster, false)
	require.Len(t, decided, len(letters))
	byRun := map[string]int{}
	for _, rec := range pipelinetest.ReadAll(t, cluster, peopleDLQ) {
		d := decided[fmt.Sprintf("%s/%d/%d", peopleDLQ, rec.Partition, rec.Offset)]
		require.Equal(t, decision, d.Decision)
		if decision == Replayed {
			require.Equal(t, runIDs[string(rec.Key)], d.RunID, "the record and its decision are of one transaction")
		}
		byRun[d.RunID]++
	}
	for id, run := range runs {
		require.Equal(t, byRun[id], run.Done, "the run's record counts what it did")
		delete(byRun, id)
	}
	require.Empty(t, byRun, "each decision is of a run")
}

// changer is a Changer.
type changer func(deadletter.Letter) (deadletter.Letter, string, error)

func (c changer) Change(_ context.Context, _ Change, l deadletter.Letter) (deadletter.Letter, string, error) {
	return c(l)
}

// must is for results that come with an error which there must not be.
func must(t testing.TB) func(Report, error) Report {
	t.Helper()
	return func(r Report, err error) Report {
		t.Helper()
		require.NoError(t, err)
		return r
	}
}
