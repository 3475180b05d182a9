package board

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/dlq-replayer/desk"
	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/schemas"
)

func TestMain(m *testing.M) { pipelinetest.Main(m) }

var (
	peopleDLQ   = schemas.DLQTopic(schemas.PeopleTopic)
	forecastDLQ = schemas.DLQTopic(schemas.ForecastTopic)
	failed      = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

// bench is a board over a broker with letters.
type bench struct {
	t       *testing.T
	cluster *pipelinetest.Cluster
	client  *kgo.Client
	desk    *desk.Desk
	board   *Board
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, cluster: pipelinetest.Kafka(t, 2, schemas.PeopleTopic, peopleDLQ, schemas.ForecastTopic, forecastDLQ)}
	b.client = pipelinetest.Client(t, b.cluster)
	_, err := kadm.NewClient(b.client).CreateTopic(t.Context(), 1, 1, nil, schemas.DLQDecisionsTopic)
	require.NoError(t, err)
	b.desk = desk.New(desk.Config{}, pipelinetest.Logger(t), b.client, func() (*kgo.Client, error) {
		return kgo.NewClient(append(desk.Options(), kgo.SeedBrokers(b.cluster.ListenAddrs()...))...)
	})
	t.Cleanup(b.desk.Close)
	b.board = New(Config{Compile: compile}, pipelinetest.Logger(t), b.client, b.desk)
	return b
}

// compile knows one expression: that a key ends with a text.
func compile(where string, _ bool) (desk.Match, error) {
	return func(_ context.Context, l deadletter.Letter) (bool, error) {
		return strings.HasSuffix(string(l.Key), where), nil
	}, nil
}

// poison is the i-th of a topic. Its failures are not in the order of i.
func poison(topic string, i int) consume.Poison {
	reasons := []string{"validation", "corrupt_value", "unknown_schema"}
	return consume.Poison{
		Record: &kgo.Record{
			Topic: topic, Partition: int32(i % 2), Offset: int64(100 + i), Timestamp: failed, Key: fmt.Appendf(nil, "key-%d", i), Value: fmt.Appendf(nil, "\x00\x00\x00\x00%c%d", 1+i%2, i),
			Headers: []kgo.RecordHeader{{Key: "ce_id", Value: fmt.Appendf(nil, "00000000-0000-8000-8000-%012d", i/2)}, {Key: "correlation-id", Value: fmt.Appendf(nil, "run %d", i)}, {Key: "parity", Value: fmt.Append(nil, i%2)}},
		},
		Stage: consume.StageDecode, Reason: reasons[i%3], Message: "field x is not valid", Failed: failed.Add(time.Duration(i*37%101) * time.Minute),
	}
}

func (b *bench) write(group string, letters ...consume.Poison) {
	b.t.Helper()
	_, err := deadletter.NewWriter(pipelinetest.Client(b.t, b.cluster, deadletter.Options()...), group, "v1").Write(b.t.Context(), letters)
	require.NoError(b.t, err)
	require.NoError(b.t, b.board.Refresh(b.t.Context()))
}

func poisons(topic string, n int) []consume.Poison {
	letters := make([]consume.Poison, n)
	for i := range letters {
		letters[i] = poison(topic, i)
	}
	return letters
}

// walk returns all letters of a selection, page by page.
func (b *bench) walk(q Query) (ids []desk.ID, total int) {
	b.t.Helper()
	for {
		page, err := b.board.Page(b.t.Context(), q)
		require.NoError(b.t, err)
		total = page.Total
		for _, row := range page.Rows {
			ids = append(ids, row.ID)
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			return ids, total
		}
		require.Len(b.t, page.Rows, q.Limit)
	}
}

// TestPagesAreWhatTheDeskSelects: for each filter, the letters are those that the desk reads, each once, in order.
func TestPagesAreWhatTheDeskSelects(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("people-consumer", poisons(schemas.PeopleTopic, 150)...)
	b.write("forecast-consumer", poisons(schemas.ForecastTopic, 50)...)
	_, err := b.desk.Run(t.Context(), desk.Order{Action: desk.Park, Selection: desk.Selection{Reasons: []string{"validation"}, Limit: 20}, By: "ada", Why: "x"}, nil)
	require.NoError(t, err)
	require.NoError(t, b.board.Refresh(t.Context()))
	some := b.row(desk.ID{Topic: schemas.PeopleTopic, Partition: 1, Offset: 7})

	for name, s := range map[string]desk.Selection{
		"open":      {},
		"all":       {States: desk.AllStates},
		"parked":    {States: []string{desk.Parked}},
		"topic":     {Topics: []string{schemas.ForecastTopic}},
		"dlq topic": {Topics: []string{peopleDLQ}},
		"reason":    {Reasons: []string{"corrupt_value", "unknown_schema"}},
		"key":       {Keys: []string{"key-7", "key-8"}},
		"event":     {EventIDs: []string{some.EventID}},
		"group":     {Groups: []string{"forecast-consumer"}},
		"schema":    {Schemas: []int{2}},
		"partition": {Partitions: []int32{1}},
		"offsets":   {Offsets: &desk.Offsets{From: 5, To: 9}},
		"offset on": {Offsets: &desk.Offsets{From: 20, To: -1}},
		"time":      {Since: failed.Add(10 * time.Minute), Until: failed.Add(20 * time.Minute)},
		"replay":    {Replays: []string{"none"}},
		"ids":       {IDs: []desk.ID{some.ID}, States: desk.AllStates},
		"together":  {Topics: []string{schemas.PeopleTopic}, Reasons: []string{"validation"}, Partitions: []int32{0}, States: desk.AllStates},
	} {
		var want []desk.ID
		err := b.desk.Letters(t.Context(), s, func(e desk.Entry) error { want = append(want, e.ID); return nil })
		require.NoError(t, err, name)
		for _, oldest := range []bool{true, false} {
			got, total := b.walk(Query{Selection: s, Oldest: oldest, Limit: 7})
			require.ElementsMatch(t, want, got, name)
			require.Equal(t, len(want), total, name)
			require.Equal(t, len(want), b.board.Total(s), name)
			require.True(t, slices.IsSortedFunc(got, func(x, y desk.ID) int {
				before, after := b.row(x).LastFailure, b.row(y).LastFailure
				if oldest {
					return before.Compare(after)
				}
				return after.Compare(before)
			}), name)
		}
	}
}

func (b *bench) row(id desk.ID) Row {
	b.t.Helper()
	row, err := b.board.Find(id)
	require.NoError(b.t, err)
	return row
}

// TestARowIsTheLetter, but for the parts of its times that are not kept.
func TestARowIsTheLetter(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	again := poison(schemas.PeopleTopic, 3)
	again.Record.Headers = append(again.Record.Headers,
		kgo.RecordHeader{Key: "dlq-replays", Value: []byte("2")}, kgo.RecordHeader{Key: "dlq-replay-id", Value: []byte("the run")},
		kgo.RecordHeader{Key: "dlq-first-failure", Value: []byte(failed.Add(-time.Hour).Format(time.RFC3339Nano))})
	b.write("people-consumer", poison(schemas.PeopleTopic, 1), again)
	require.NoError(t, b.client.ProduceSync(t.Context(), &kgo.Record{Topic: peopleDLQ, Key: []byte("stray"), Value: []byte("x")}).FirstErr())
	require.NoError(t, b.board.Refresh(t.Context()))
	n := 0
	require.NoError(t, b.desk.Letters(t.Context(), desk.Selection{}, func(e desk.Entry) error {
		want, got := NewRow(e), b.row(e.ID)
		want.LastFailure = want.LastFailure.Truncate(time.Microsecond).UTC()
		require.WithinDuration(t, want.FirstFailure, got.FirstFailure, time.Second)
		want.FirstFailure = got.FirstFailure
		require.Equal(t, want, got)
		n++
		return nil
	}))
	require.Equal(t, 3, n)
}

// TestContentIsReadFromTheLetters, in order and page by page.
func TestContentIsReadFromTheLetters(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("people-consumer", poisons(schemas.PeopleTopic, 120)...)
	s := desk.Selection{Headers: []desk.Header{{Name: "parity", Value: "1"}}, Where: "1"}
	got, total := b.walk(Query{Selection: s, Limit: 5})
	require.Len(t, got, 12) // 1, 11, 21, … 111
	require.Equal(t, 12, total)
	page, err := b.board.Page(t.Context(), Query{Selection: s, Limit: 5})
	require.NoError(t, err)
	require.Equal(t, 12, page.Total)
	require.False(t, page.Partial)
	h, err := b.board.Histogram(t.Context(), s, 3)
	require.NoError(t, err)
	require.Len(t, h.Reasons, 3)

	// Time is up at once: nothing was found, and there is more to look at.
	b.board.cfg.ScanFor = time.Nanosecond
	page, err = b.board.Page(t.Context(), Query{Selection: s, Limit: 5})
	require.NoError(t, err)
	require.True(t, page.Partial)
	b.board.scans <- struct{}{}
	b.board.scans <- struct{}{}
	_, err = b.board.Page(t.Context(), Query{Selection: s, Limit: 5})
	require.ErrorIs(t, err, ErrBusy)
	_, err = b.board.Page(t.Context(), Query{Cursor: "x"})
	require.ErrorIs(t, err, ErrCursor)
}

// TestThePictureFollowsItsTopics: letters that come, are decided on, expire, and topics that are made anew.
func TestThePictureFollowsItsTopics(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx := t.Context()
	require.ErrorIs(t, b.board.Health(), errNotRead)
	b.write("people-consumer", poisons(schemas.PeopleTopic, 2600)...)
	require.NoError(t, b.board.Health())
	require.Equal(t, 2600, b.board.Stats().States[desk.Open])
	version := b.board.Version()
	require.NoError(t, b.board.Refresh(ctx))
	require.Equal(t, version, b.board.Version(), "nothing has come")

	act := func(action desk.Action, ids ...desk.ID) {
		_, err := b.desk.Run(ctx, desk.Order{Action: action, Selection: desk.Selection{IDs: ids}, By: "ada", Why: "x"}, nil)
		require.NoError(t, err)
		require.NoError(t, b.board.Refresh(ctx))
	}
	id := desk.ID{Topic: schemas.PeopleTopic, Partition: 1, Offset: 1200}
	for action, state := range map[desk.Action]string{desk.Park: desk.Parked} {
		act(action, id)
		require.Equal(t, state, b.row(id).State)
	}
	require.NoError(t, b.desk.Reveal(ctx, []desk.ID{id}, desk.Order{By: "ada", Why: "x"}))
	require.NoError(t, b.board.Refresh(ctx))
	require.Equal(t, desk.Parked, b.row(id).State, "a look changes nothing")
	act(desk.Unpark, id)
	require.Equal(t, desk.Open, b.row(id).State)
	act(desk.Discard, id)
	stats := b.board.Stats()
	require.Equal(t, []int{2599, 1, 2600}, []int{stats.States[desk.Open], stats.States[desk.Discarded], stats.Letters})
	require.Len(t, b.board.Runs(), 3)

	offsets := kadm.Offsets{}
	offsets.AddOffset(peopleDLQ, 1, 1100, -1)
	_, err := kadm.NewClient(b.client).DeleteRecords(ctx, offsets)
	require.NoError(t, err)
	b.board.expired = time.Time{}
	require.NoError(t, b.board.Refresh(ctx))
	require.Equal(t, 1500, b.board.Stats().Letters)
	_, err = b.board.Find(desk.ID{Topic: schemas.PeopleTopic, Partition: 1, Offset: 1099})
	require.ErrorIs(t, err, desk.ErrUnknownLetter)
	require.Equal(t, desk.Discarded, b.row(id).State)
	require.Contains(t, b.board.pic.pages, (*page)(nil), "the memory of expired letters is given back")

	admin := kadm.NewClient(b.client)
	_, err = admin.DeleteTopics(ctx, peopleDLQ)
	require.NoError(t, err)
	_, err = admin.CreateTopic(ctx, 2, 1, nil, peopleDLQ)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return b.board.Refresh(ctx) == nil && b.board.Stats().Letters == 0 }, 20*time.Second, 50*time.Millisecond)
	b.write("people-consumer", poisons(schemas.PeopleTopic, 3)...)
	require.Equal(t, 3, b.board.Stats().Letters)
}

// TestADecisionMayBeReadBeforeItsLetter.
func TestADecisionMayBeReadBeforeItsLetter(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("people-consumer", poison(schemas.PeopleTopic, 0))
	client := pipelinetest.Client(t, b.cluster, deadletter.Options()...)
	_, err := deadletter.NewWriter(client, "people-consumer", "v1").Write(t.Context(), []consume.Poison{poison(schemas.PeopleTopic, 2)})
	require.NoError(t, err)
	var id desk.ID
	require.NoError(t, b.desk.Letters(t.Context(), desk.Selection{Keys: []string{"key-2"}}, func(e desk.Entry) error { id = e.ID; return nil }))
	place := deadletter.Place{Topic: peopleDLQ, Partition: id.Partition, Offset: id.Offset}
	b.board.take([]desk.Fact{{Offset: 1, Place: &place, Decision: &deadletter.Decision{Decision: deadletter.Parked}}})
	require.NoError(t, b.board.Refresh(t.Context()))
	require.Equal(t, desk.Parked, b.row(id).State)
	require.Empty(t, b.board.early)
}

// TestTheAudit has each decision, and of each run the newest record, the newest first.
func TestTheAudit(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("people-consumer", poisons(schemas.PeopleTopic, 30)...)
	for _, action := range []desk.Action{desk.Park, desk.Unpark, desk.Discard} {
		_, err := b.desk.Run(t.Context(), desk.Order{Action: action, By: "ada", Why: string(action)}, nil)
		require.NoError(t, err)
	}
	require.NoError(t, b.board.Refresh(t.Context()))
	var facts []desk.Fact
	before := int64(0)
	for pages := 0; ; pages++ {
		page, next, err := b.board.Audit(t.Context(), before, 7)
		require.NoError(t, err)
		facts = append(facts, page...)
		if before = next; next == 0 {
			require.Greater(t, pages, 12)
			break
		}
	}
	require.Len(t, facts, 93)
	require.True(t, slices.IsSortedFunc(facts, func(a, b desk.Fact) int { return int(b.Offset - a.Offset) }))
	require.Len(t, slices.DeleteFunc(slices.Clone(facts), func(f desk.Fact) bool { return f.Run == nil }), 3)
}

// million is a picture of as many letters, like those of a bad day.
func million(n int) *Board {
	b := New(Config{}, nil, nil, nil)
	var fresh []ref
	for i := range n {
		part := b.pic.partition(schemas.PeopleTopic, int32(i%6))
		fresh = append(fresh, b.pic.add(part, letter{
			offset: int64(i / 6), kind: kind{reason: "validation", message: fmt.Sprintf("field %d is wrong", i%20), stage: "decode", group: "people-consumer", version: "v1", attempts: 1, schema: 3},
			key: fmt.Appendf(nil, "salesloft:%d", 10_000_000+i), event: fmt.Sprintf("01234567-89ab-8def-8123-%012d", i), corr: "a5a5a5a5-89ab-4def-8123-000000000001",
			first: failed.Add(time.Duration(i) * time.Millisecond), last: failed.Add(time.Duration(i) * time.Millisecond), bytes: 600,
		}))
	}
	b.pic.sort(fresh)
	b.pic.merge(fresh)
	return b
}

// TestMemoryOfALetter: a million of them must fit beside everything else.
func TestMemoryOfALetter(t *testing.T) { //nolint:paralleltest // what others allocate would count
	const letters = 200_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	b := million(letters)
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := float64(after.HeapAlloc-before.HeapAlloc) / letters
	t.Logf("%.0f bytes a letter", each)
	require.Less(t, each, 100.0)
	require.Equal(t, letters, b.Total(desk.Selection{}))
}

func BenchmarkBoard(b *testing.B) {
	board := million(1_000_000)
	for name, f := range map[string]func() error{
		"page": func() error { _, err := board.Page(b.Context(), Query{Limit: 50}); return err },
		"key": func() error {
			_, err := board.Page(b.Context(), Query{Selection: desk.Selection{Keys: []string{"salesloft:10500000"}}, Limit: 50})
			return err
		},
		"histogram": func() error { _, err := board.Histogram(b.Context(), desk.Selection{}, 60); return err },
		"stats":     func() error { board.stats = nil; board.Stats(); return nil },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				require.NoError(b, f())
			}
		})
	}
}
