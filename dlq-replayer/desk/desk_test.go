package desk

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/schemas"
)

func TestSelections(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 1, topics...)
	write(t, cluster, poison(schemas.PeopleTopic, 0, "validation"), poison(schemas.PeopleTopic, 1, "corrupt_value"), poison(schemas.PeopleTopic, 2, "validation"))
	write(t, cluster, poison(schemas.ForecastTopic, 3, "validation"))
	framed := poison(schemas.ForecastTopic, 4, "validation")
	framed.Record.Value = []byte("\x00\x00\x00\x00\x07rest")
	framed.Record.Headers = append(framed.Record.Headers, kgo.RecordHeader{Key: "dlq-replay-id", Value: []byte("a-run")}, kgo.RecordHeader{Key: "region", Value: []byte("emea")})
	write(t, cluster, framed)
	d := newDeskWith(t, cluster, Config{Compile: func(where string, reveal bool) (Match, error) {
		return func(_ context.Context, l deadletter.Letter) (bool, error) {
			return reveal && strings.Contains(string(l.Value), where), nil
		}, nil
	}})
	people := func(offset int64) ID { return ID{schemas.PeopleTopic, 0, offset} }
	must(t)(d.Run(t.Context(), order(func(o *Order) { o.Action, o.Selection.IDs = Park, []ID{people(1)} }), nil))
	minute := func(n int) time.Time { return failed.Add(time.Duration(n) * time.Minute) }
	for name, c := range map[string]struct {
		selection Selection
		want      []string
	}{
		"all that are open": {Selection{}, []string{"key-3", "key-4", "key-0", "key-2"}},
		"topic":             {Selection{Topics: []string{schemas.PeopleTopic}}, []string{"key-0", "key-2"}},
		"its own topic":     {Selection{Topics: []string{forecastDLQ}}, []string{"key-3", "key-4"}},
		"every state":       {Selection{Topics: []string{peopleDLQ}, States: AllStates}, []string{"key-0", "key-1", "key-2"}},
		"a state":           {Selection{States: []string{Parked}}, []string{"key-1"}},
		"reason":            {Selection{Reasons: []string{"corrupt_value"}, States: AllStates}, []string{"key-1"}},
		"keys":              {Selection{Keys: []string{"key-2", "key-3"}}, []string{"key-3", "key-2"}},
		"event IDs":         {Selection{EventIDs: []string{"event-2"}}, []string{"key-2"}},
		"group":             {Selection{Groups: []string{"no-consumer"}}, nil},
		"schema":            {Selection{Schemas: []int{7}}, []string{"key-4"}},
		"run":               {Selection{Replays: []string{"a-run"}}, []string{"key-4"}},
		"header":            {Selection{Headers: []Header{{"region", "emea"}, {"dlq-stage", "decode"}}}, []string{"key-4"}},
		"another value":     {Selection{Headers: []Header{{"region", "apac"}}}, nil},
		"since and until":   {Selection{Since: minute(1), Until: minute(4)}, []string{"key-3", "key-2"}},
		"offsets":           {Selection{Offsets: &Offsets{From: 1, To: 1}, States: AllStates}, []string{"key-4", "key-1"}},
		"open offsets":      {Selection{Offsets: &Offsets{From: 1, To: -1}}, []string{"key-4", "key-2"}},
		"partition":         {Selection{Partitions: []int32{3}}, nil},
		"where":             {Selection{Where: "-3", Reveal: true}, []string{"key-3"}},
		"where, masked":     {Selection{Where: "-3"}, nil},
		"combined":          {Selection{Topics: []string{schemas.PeopleTopic}, Reasons: []string{"validation"}, Since: minute(1)}, []string{"key-2"}},
		"limit":             {Selection{Limit: 3}, []string{"key-3", "key-4", "key-0"}},
		"IDs":               {Selection{IDs: []ID{people(2), {schemas.ForecastTopic, 0, 0}, people(1)}}, []string{"key-3", "key-1", "key-2"}},
		"IDs and a reason":  {Selection{IDs: []ID{people(2), people(1)}, Reasons: []string{"validation"}}, []string{"key-2"}},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, keys(entries(t, d, c.selection))) })
	}
	stop := errors.New("stop")
	require.Equal(t, stop, d.Letters(t.Context(), Selection{}, func(Entry) error { return stop }))
}

// TestOnlyCommittedRecordsCount: neither a letter nor a decision of a transaction that was given up.
func TestOnlyCommittedRecordsCount(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 1, topics...)
	write(t, cluster, peopleLetters(1)...)
	other := pipelinetest.Client(t, cluster, kgo.TransactionalID("other"))
	require.NoError(t, other.BeginTransaction())
	decision, err := deadletter.Decision{Decision: Replayed}.Record(schemas.DLQDecisionsTopic, deadletter.Place{Topic: peopleDLQ})
	require.NoError(t, err)
	require.NoError(t, other.ProduceSync(t.Context(), decision,
		&kgo.Record{Topic: peopleDLQ, Key: []byte("phantom")}).FirstErr())
	require.NoError(t, other.EndTransaction(t.Context(), kgo.TryAbort))
	write(t, cluster, poison(schemas.PeopleTopic, 1, "validation"))
	require.Equal(t, []string{"key-0", "key-1"}, keys(entries(t, newDesk(t, cluster), Selection{})))
}

func TestIDs(t *testing.T) {
	t.Parallel()
	want := ID{Topic: schemas.PeopleTopic, Partition: 3, Offset: 17}
	for _, text := range []string{want.String(), peopleDLQ + "/3/17"} {
		got, err := ParseID(text)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, text := range []string{"", "x", "x/1", "/1/2", "x/-1/2", "x/1/-2", "x/1/2/3", "x/99999999999/1", "x/a/b"} {
		_, err := ParseID(text)
		require.ErrorContains(t, err, "is not the ID of a dead letter")
	}
}

// TestStatesAreOfTheNewestDecision: one that this version does not know closes a letter nevertheless, one to unpark and a
// tombstone open it again, and a revealed letter is as it was. Decisions of the first release have fewer fields.
func TestStatesAreOfTheNewestDecision(t *testing.T) {
	t.Parallel()
	s := newStates()
	log := s.log(peopleDLQ + "/1")
	for _, c := range []struct{ value, state string }{
		{`{"decision":"replayed","replay_id":"x","at":"2026-01-02T03:04:05Z","by":"ada","patched":false}`, Replayed},
		{`{"decision":"parked"}`, Parked}, {`{"decision":"unparked"}`, Open}, {`{"by":"x","decision":"discarded"}`, Discarded},
		{`{"decision":"shredded"}`, Undecipherable}, {`{"decision":"replayed"`, Undecipherable}, {`{`, Undecipherable}, {`{}`, Undecipherable}, {``, Open},
	} {
		s.put([]byte(peopleDLQ+"/1/5"), []byte(c.value))
		require.Equal(t, c.state, log.of(5), c.value)
	}
	for _, key := range []string{"no key of a letter", peopleDLQ + "/1/x", peopleDLQ + "/1/-5", peopleDLQ + "/1/5/revealed", "1f0c/"} {
		s.put([]byte(key), []byte(`{"decision":"replayed"}`))
	}
	require.Equal(t, Open, log.of(5))
	s.put([]byte(peopleDLQ+"/1/9223372036854775807"), []byte(`{"decision":"replayed"}`))
	require.Equal(t, Replayed, log.of(1<<63-1))
}

// TestWhatNeedNotBeReadIsPassedOver: letters at the ends of a partition that are in none of the wanted states.
func TestWhatNeedNotBeReadIsPassedOver(t *testing.T) {
	t.Parallel()
	s := newStates()
	log := s.log(peopleDLQ + "/0")
	for offset := range int64(2*pageLetters + 10) {
		log.mark(offset, Replayed)
	}
	log.mark(3*pageLetters+7, Parked)
	const end = 10 * pageLetters
	trim := func(from, to int64, wanted ...string) [2]int64 {
		from, to = log.trim(from, to, wanted)
		return [2]int64{from, to}
	}
	require.Equal(t, [2]int64{2*pageLetters + 10, end}, trim(0, end, Open))
	require.Equal(t, [2]int64{5, 2*pageLetters + 10}, trim(5, end, Replayed))
	require.Equal(t, [2]int64{3*pageLetters + 7, 3*pageLetters + 8}, trim(0, end, Parked))
	require.Equal(t, [2]int64{0, end}, trim(0, end, AllStates...))
	for _, none := range [][2]int64{trim(0, end, Discarded), trim(0, 2*pageLetters, Open), trim(7, 7, Open)} {
		require.GreaterOrEqual(t, none[0], none[1])
	}
}
