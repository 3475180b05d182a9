package consume_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/pipelinetest"
)

const (
	topic = "events"
	group = "readers"
)

// at is a record's place in the topic.
type at = consume.Place

func place(rec *kgo.Record) at { return at{Partition: rec.Partition, Offset: rec.Offset} }

// commit is one request of a member.
type commit struct {
	member string
	ends   map[int32]int64
}

// ledger is what the sinks, the dead letters and the connections saw, of all
// members of the group. It checks the loop's invariant at each commit request:
// everything before the offset was stored or dead-lettered, and the offset is
// one past the last of that.
type ledger struct {
	mu      sync.Mutex
	settled map[at]int // how often
	stored  [][]at     // batches, in the order of their ends
	letters []consume.Poison
	commits []commit
	notes   []commit         // those that a cap has left with an offset
	asked   map[kmsg.Key]int // requests of the members
	wrong   []string
}

// broker starts a cluster with the topic, and a ledger for its members.
func broker(t *testing.T, partitions int32) (*pipelinetest.Cluster, *ledger) {
	t.Helper()
	cluster := pipelinetest.Kafka(t, partitions, topic)
	seen := &ledger{settled: make(map[at]int), asked: make(map[kmsg.Key]int)}
	t.Cleanup(func() {
		seen.mu.Lock()
		defer seen.mu.Unlock()
		require.Empty(t, seen.wrong)
	})
	return cluster, seen
}

// committing sees each request of a member before it is sent.
func (l *ledger) committing(req kmsg.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked[kmsg.Key(req.Key())]++
	r, ok := req.(*kmsg.OffsetCommitRequest)
	if !ok {
		return
	}
	c := commit{member: r.MemberID, ends: make(map[int32]int64)}
	for _, p := range r.Topics[0].Partitions {
		c.ends[p.Partition] = p.Offset
		for o := range p.Offset {
			if l.settled[at{Partition: p.Partition, Offset: o}] == 0 {
				l.wrong = append(l.wrong, fmt.Sprintf("partition %d: committed %d before offset %d was settled", p.Partition, p.Offset, o))
			}
		}
	}
	if _, noted := consume.ParseCapNote(*r.Topics[0].Partitions[0].Metadata); noted {
		l.notes = append(l.notes, c)
		return
	}
	l.commits = append(l.commits, c)
}

// committed returns the newest commit of each partition.
func (l *ledger) committed() map[int32]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	ends := make(map[int32]int64)
	for _, c := range l.commits {
		maps.Copy(ends, c.ends)
	}
	return ends
}

// hasAsked says whether a member has sent a request of this kind.
func (l *ledger) hasAsked(key kmsg.Key) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked[key] > 0
}

func (l *ledger) sizes() []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	sizes := make([]int, len(l.stored))
	for i, batch := range l.stored {
		sizes[i] = len(batch)
	}
	return sizes
}

func (l *ledger) letterPlaces() []at {
	l.mu.Lock()
	defer l.mu.Unlock()
	places := make([]at, len(l.letters))
	for i, p := range l.letters {
		places[i] = place(p.Record)
	}
	return places
}

// member is one consumer, its sink and its dead letters: a consume.Sink and a
// consume.DeadLetters that keep account in the ledger.
type member struct {
	t      *testing.T
	ledger *ledger
	cfg    consume.Config
	ctx    context.Context //nolint:containedctx // parent of the loop's; the test's if nil

	happened, observed time.Time // of the first event of each batch; unknown if zero

	// Hooks, each called before its act; an error is what the act returns.
	onDecode func(context.Context, *kgo.Record) error
	onStore  func(context.Context, []kgo.Record) error
	onWrite  func(context.Context, []consume.Poison) (left []consume.Poison, err error)

	loop   *consume.Loop
	reg    *prometheus.Registry
	client *kgo.Client
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // how Run ended; read after ended is closed
}

func newMember(t *testing.T, seen *ledger) *member {
	return &member{t: t, ledger: seen, ended: make(chan struct{}), cfg: consume.Config{
		Topic: topic, Group: group,
		BatchRows: 4, BatchBytes: 1 << 20, BatchAge: 20 * time.Millisecond, MaxValueBytes: 1 << 10,
		StopTimeout: 10 * time.Second, SessionTimeout: 6 * time.Second, RetryMax: 10 * time.Millisecond,
		PoisonShare: 1, PoisonWindow: 10, PoisonMin: 3,
	}}
}

func (m *member) start(cluster *pipelinetest.Cluster) *member {
	m.t.Helper()
	m.reg = prometheus.NewRegistry()
	loop, err := consume.New(m.cfg, pipelinetest.Logger(m.t), m.reg, m, m)
	require.NoError(m.t, err)
	m.loop = loop
	m.client = pipelinetest.Client(m.t, cluster, append(loop.Options(), pipelinetest.Watch(m.ledger.committing))...)
	if m.ctx == nil {
		m.ctx = m.t.Context()
	}
	ctx, cancel := context.WithCancel(m.ctx)
	m.cancel = cancel
	go func() {
		defer close(m.ended)
		m.err = loop.Run(ctx, m.client)
	}()
	m.t.Cleanup(func() {
		cancel()
		<-m.ended
	})
	return m
}

// stop ends the member gracefully.
func (m *member) stop() {
	m.t.Helper()
	m.cancel()
	<-m.ended
	require.NoError(m.t, m.err)
	m.client.Close()
}

type corrupt struct{}

func (corrupt) Error() string  { return "corrupt: test" }
func (corrupt) Reason() string { return "corrupt" }

// NewBatch implements consume.Sink.
func (m *member) NewBatch() consume.Batch { return &memberBatch{member: m} }

// memberBatch is a batch of a member's sink.
type memberBatch struct {
	*member
	records []kgo.Record // what is left of them when the loop has gone on: values as texts, and places
}

// Add refuses values that begin with "bad".
func (b *memberBatch) Add(ctx context.Context, rec *kgo.Record) error {
	if b.onDecode != nil {
		if err := b.onDecode(ctx, rec); err != nil {
			return err
		}
	}
	if strings.HasPrefix(string(rec.Value), "bad") {
		return corrupt{}
	}
	b.records = append(b.records, kgo.Record{Partition: rec.Partition, Offset: rec.Offset, Value: bytes.Clone(rec.Value)})
	return nil
}

// Dates implements consume.Dated.
func (b *memberBatch) Dates() (happened, observed time.Time) { return b.happened, b.observed }

// Store refuses values that begin with "refused".
func (b *memberBatch) Store(ctx context.Context) (refused []consume.Refused, err error) {
	if b.onStore != nil && len(b.records) > 0 {
		if err := b.onStore(ctx, b.records); err != nil {
			return nil, err
		}
	}
	return b.store(b.records), nil
}

// store takes account of records that are stored, and returns the others.
func (m *member) store(records []kgo.Record) (refused []consume.Refused) {
	m.ledger.mu.Lock()
	defer m.ledger.mu.Unlock()
	var places []at
	for _, rec := range records {
		if strings.HasPrefix(string(rec.Value), "refused") {
			refused = append(refused, consume.Refused{Place: place(&rec), Reason: "refused", Failed: time.Now()})
			continue
		}
		places = append(places, place(&rec))
		m.ledger.settled[place(&rec)]++
	}
	if len(records) > 0 {
		m.ledger.stored = append(m.ledger.stored, places)
	}
	return refused
}

// Write implements consume.DeadLetters.
func (m *member) Returning(rec *kgo.Record) bool {
	return slices.ContainsFunc(rec.Headers, func(h kgo.RecordHeader) bool { return h.Key == "replayed" })
}

func (m *member) Write(ctx context.Context, poison []consume.Poison) (left []consume.Poison, err error) {
	if m.onWrite != nil {
		left, err = m.onWrite(ctx, poison)
	}
	m.ledger.mu.Lock()
	defer m.ledger.mu.Unlock()
	for _, p := range poison {
		if !slices.ContainsFunc(left, func(l consume.Poison) bool { return l.Record == p.Record }) {
			m.ledger.letters = append(m.ledger.letters, p)
			m.ledger.settled[place(p.Record)]++
		}
	}
	return left, err
}

// check is the readiness.
func (m *member) check() error {
	_, err := m.loop.Check(m.t.Context())
	return err
}

// owns says how many partitions the member has.
func (m *member) owns() int64 {
	details, _ := m.loop.Check(m.t.Context())
	return details["partitions"].(int64)
}

// produce appends values to a partition.
func produce(t *testing.T, cluster *pipelinetest.Cluster, partition int32, values ...string) {
	t.Helper()
	client := pipelinetest.Client(t, cluster, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	records := make([]*kgo.Record, len(values))
	for i, v := range values {
		records[i] = &kgo.Record{Topic: topic, Partition: partition, Value: []byte(v)}
	}
	require.NoError(t, client.ProduceSync(t.Context(), records...).FirstErr())
}

// numbered returns n values.
func numbered(n int) []string {
	values := make([]string, n)
	for i := range values {
		values[i] = fmt.Sprintf("value-%03d", i)
	}
	return values
}

// until waits for a condition.
func until(t *testing.T, condition func() bool, what string) {
	t.Helper()
	require.Eventually(t, condition, 30*time.Second, 2*time.Millisecond, what)
}

// committedAre waits until the group's offsets are these.
func committedAre(t *testing.T, seen *ledger, want map[int32]int64) {
	t.Helper()
	until(t, func() bool { return maps.Equal(seen.committed(), want) }, "the offsets are committed")
}

// gate blocks a hook until it is opened, and says when the hook has arrived.
type gate struct {
	arrived, open chan struct{}
	once          sync.Once
}

func newGate() *gate { return &gate{arrived: make(chan struct{}), open: make(chan struct{})} }

// wait blocks those who come until the gate opens.
func (g *gate) wait(ctx context.Context) error {
	g.once.Do(func() { close(g.arrived) })
	select {
	case <-g.open:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

var errAway = errors.New("away")
