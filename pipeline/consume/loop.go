package consume

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/revstream/revstream/pipeline/resilience"
)

// commitTimeout bounds a commit; the lock of the leases is held through it.
const commitTimeout = 5 * time.Second

// metadataAge is how long partitions that were added to the topic may go unread.
// The client's own default is five minutes.
const metadataAge = 20 * time.Second

// fetchBytes bounds an answer to a fetch, of which there is one in memory for
// each broker. It holds for what is sent, and that is compressed: with their
// headers records are ten to twenty times as large. A single batch of the log
// that is larger comes nevertheless.
const fetchBytes = 1 << 19

// offerInterval is how long a batch that is due, and not full, may have to wait without a record
// coming in when the one before it is settled.
const offerInterval = 5 * time.Millisecond

// Loop consumes one topic into a sink.
//
// Two goroutines overlap: one polls and fills the next batch while the other
// settles the last one: stores it, dead-letters its poison, commits. So what is
// in memory is bounded by two batches and the client's fetch buffer, whatever
// the backlog. Commits stay in order, as one goroutine makes them.
//
// A batch holds events, not records: the one that the sink refuses is read again.
//
// Invariant: an offset is committed only after every record before it, from
// the start of the lease, was stored or acknowledged by the dead-letter topic.
// A batch that can do neither is retried until the loop ends, and then left
// uncommitted for whoever reads next.
type Loop struct {
	cfg     Config
	logger  *slog.Logger
	sink    Sink
	letters DeadLetters
	metrics *metrics

	leases leases
	// What is away, if anything: the fetching goroutine writes source, the
	// storing one sink; readiness reads both.
	source, store resilience.Availability
	fetchDown     time.Time // since when polls have failed; the fetching goroutine's alone
}

// New makes a loop. It does no I/O.
func New(cfg Config, logger *slog.Logger, reg prometheus.Registerer, sink Sink, letters DeadLetters) (*Loop, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	l := &Loop{
		cfg: cfg, logger: logger.With("topic", cfg.Topic), sink: sink, letters: letters,
		metrics: newMetrics(reg, cfg.Topic),
		leases:  leases{owned: make(map[partition]*lease)},
	}
	prometheus.WrapRegistererWith(prometheus.Labels{"topic": cfg.Topic}, reg).MustRegister(outages{&l.source, &l.store})
	return l, nil
}

// Options are what the client that Run gets must be made with.
func (l *Loop) Options() []kgo.Opt {
	return append(l.cfg.membership(),
		kgo.ConsumeTopics(l.cfg.Topic),
		kgo.DisableAutoCommit(),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), // replays are transactions
		kgo.KeepControlRecords(),                     // else the lag would never be 0 behind one
		// A new group, and one whose offset has left the log, begins with what
		// the topic still has.
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		// Each fetch asks for all partitions, and begins with another one. In a session, a broker that first looks at what
		// has moved would let partitions wait until the others are read to their ends.
		kgo.DisableFetchSessions(),
		kgo.FetchMaxBytes(fetchBytes),
		kgo.FetchMaxPartitionBytes(fetchBytes/4),
		kgo.MetadataMaxAge(metadataAge),
		kgo.OnPartitionsAssigned(l.leases.assigned),
		kgo.OnPartitionsRevoked(l.ended),
		kgo.OnPartitionsLost(l.ended),
	)
}

// ended takes note that partitions are another member's from now on, whose lag
// is that member's to show.
func (l *Loop) ended(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
	l.leases.ended(parts)
	l.metrics.ended(parts[l.cfg.Topic])
}

// Check is a readiness check: an error while the source or the sink is away.
func (l *Loop) Check(ctx context.Context) (map[string]any, error) {
	details, sinkErr := l.store.Check(ctx)
	sourceDetails, sourceErr := l.source.Check(ctx)
	if details == nil {
		details = sourceDetails
	}
	if details == nil {
		details = make(map[string]any)
	}
	details["partitions"] = l.leases.held.Load()
	return details, errors.Join(sinkErr, sourceErr)
}

// Run consumes until ctx ends, then settles the batch in hand within the stop
// timeout and returns nil. Any other end is an error.
func (l *Loop) Run(ctx context.Context, client *kgo.Client) error {
	group, fetchCtx := errgroup.WithContext(ctx)
	// Settling outlives ctx by the stop timeout.
	settleCtx, abandon := context.WithCancel(context.WithoutCancel(ctx))
	defer abandon()
	deadline := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(l.cfg.StopTimeout, abandon)
		context.AfterFunc(settleCtx, func() { timer.Stop() })
	})
	defer deadline()

	batches := make(chan *batch)
	group.Go(func() error {
		defer close(batches)
		return l.fetch(fetchCtx, client, batches)
	})
	group.Go(func() error {
		for b := range batches {
			if err := l.settle(settleCtx, client, b); err != nil {
				l.noteCap(settleCtx, client, b, err)
				return err
			}
		}
		return nil
	})
	err := group.Wait()
	l.leave(context.WithoutCancel(ctx), client)
	if err != nil && settleCtx.Err() != nil && !isFatal(err) {
		l.logger.WarnContext(ctx, "left the batch in hand to the next member", "error", err)
		return nil
	}
	return err
}

// fetch polls and fills batches until ctx ends, and hands them on. Its only error
// is that the client was closed before that.
func (l *Loop) fetch(ctx context.Context, client *kgo.Client, out chan<- *batch) error {
	b := l.newBatch()
	for {
		fetches := l.poll(ctx, client, b)
		if fetches.IsClientClosed() && ctx.Err() == nil {
			return fmt.Errorf("polling %s: %w", l.cfg.Topic, kgo.ErrClientClosed)
		}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			b = l.admit(ctx, p, b, out)
		})
		if ctx.Err() != nil {
			if !b.empty() {
				hand(ctx, b, out)
			}
			return nil
		}
		if b.due(l.cfg) && offer(b, out) {
			b = l.newBatch()
		}
	}
}

// offer passes a batch on if the one before it is settled. If not, this one may as well
// grow: the larger a batch, the less an event costs the sink.
func offer(b *batch, out chan<- *batch) bool {
	select {
	case out <- b:
		return true
	default:
		return false
	}
}

// hand passes a batch on. When the loop ends while the batch before it is still
// being settled, it gives this one up: nothing of it is committed.
func hand(ctx context.Context, b *batch, out chan<- *batch) {
	if offer(b, out) {
		return
	}
	select {
	case out <- b:
	case <-ctx.Done():
	}
}

// poll waits for records, no longer than the batch may still wait. A poll that
// ends without an error says that the source is well, so an idle one ends too.
func (l *Loop) poll(ctx context.Context, client *kgo.Client, b *batch) kgo.Fetches {
	wait := l.cfg.RetryMax
	if !b.empty() {
		wait = max(l.cfg.BatchAge-time.Since(b.opened), offerInterval)
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	fetches := client.PollRecords(ctx, l.cfg.BatchRows)
	healthy := true
	fetches.EachError(func(_ string, partition int32, err error) {
		if ctx.Err() != nil || errors.Is(err, kgo.ErrClientClosed) {
			return
		}
		healthy = false
		// The client goes on by itself; what it reports here is what an
		// operator has to mend (a missing topic, a missing right) or to know
		// (records that retention took before they were read).
		l.logger.WarnContext(ctx, "fetching", "partition", partition, "error", err)
		if l.fetchDown.IsZero() {
			l.fetchDown = time.Now()
		}
		l.source.Observe(resilience.Outage{What: "topic " + l.cfg.Topic, Since: l.fetchDown, Err: err})
	})
	if healthy {
		l.fetchDown = time.Time{}
		l.source.Observe(resilience.Outage{})
	}
	return fetches
}

// admit takes the records of one partition into the batch, hands full
// batches on, and returns the one to go on with. When ctx ends it stops
// between two records.
func (l *Loop) admit(ctx context.Context, p kgo.FetchTopicPartition, b *batch, out chan<- *batch) *batch {
	held := l.leases.of(p.Topic, p.Partition)
	if held == nil {
		return b
	}
	l.metrics.polled(p)
	began := time.Now()
	defer func() { b.decoding += time.Since(began) }()
	for _, rec := range p.Records {
		if ctx.Err() != nil {
			return b
		}
		if b.empty() {
			b.begin(ctx, l.cfg)
		}
		if rec.Attrs.IsControl() {
			b.pass(held, rec)
			continue
		}
		poison, err := l.take(ctx, b, rec)
		if errors.Is(err, ErrTombstone) {
			l.metrics.tombstones.Inc()
			b.pass(held, rec)
			continue
		}
		if err != nil {
			return b
		}
		if poison != nil {
			b.poison = append(b.poison, *poison)
		} else {
			b.takeSample(rec)
		}
		b.add(held, rec)
		if b.full(l.cfg) {
			b.decoding += time.Since(began)
			hand(ctx, b, out)
			b, began = l.newBatch(), time.Now()
		}
	}
	return b
}

// take puts the event of a record into a batch, and waits while it cannot be told whether that will
// do. Its only errors are ErrTombstone, and that ctx ended meanwhile.
func (l *Loop) take(ctx context.Context, b *batch, rec *kgo.Record) (*Poison, error) {
	if len(rec.Value) > l.cfg.MaxValueBytes {
		message := fmt.Sprintf("the value has %d bytes, more than the %d of MAX_VALUE_BYTES", len(rec.Value), l.cfg.MaxValueBytes)
		return &Poison{Record: detached(rec), Stage: StageDecode, Reason: ReasonTooLarge, Message: message, Failed: time.Now()}, nil
	}
	if err := b.events.Add(ctx, rec); errors.Is(err, ErrTombstone) {
		return nil, err
	} else if err != nil {
		return l.takeAgain(ctx, b, rec, err)
	}
	return nil, nil
}

// takeAgain is take after a first try that failed. It is apart from it because what a
// closure shares is allocated, for each record.
func (l *Loop) takeAgain(ctx context.Context, b *batch, rec *kgo.Record, err error) (*Poison, error) {
	var permanent interface {
		error
		Reason() string
	}
	if !errors.As(err, &permanent) {
		err = resilience.Forever(ctx, l.patience(&l.source, func(err error) bool { return errors.As(err, &permanent) }), l.logger, "decoding",
			func(ctx context.Context) error { return b.events.Add(ctx, rec) })
		if err == nil {
			return nil, nil
		}
		if !errors.As(err, &permanent) {
			return nil, err
		}
		l.source.Observe(resilience.Outage{})
	}
	return &Poison{Record: detached(rec), Stage: StageDecode, Reason: permanent.Reason(), Message: permanent.Error(), Failed: time.Now()}, nil
}

func (l *Loop) patience(seenBy *resilience.Availability, permanent func(error) bool) resilience.ForeverConfig {
	return resilience.ForeverConfig{
		Backoff:   resilience.Backoff{Base: min(100*time.Millisecond, l.cfg.RetryMax), Max: l.cfg.RetryMax, Jitter: min(100*time.Millisecond, l.cfg.RetryMax)},
		Permanent: permanent, Observe: seenBy.Observe,
	}
}
