package consume

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
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
const fetchBytes = 1 << 20

// Loop consumes one topic into a sink.
//
// Two goroutines overlap: one polls the next batch, identifies its events and
// prepares it while the other settles the last one: stores it, dead-letters its
// poison, commits. So what is in memory is bounded by two batches and the
// client's fetch buffer, whatever the backlog. Commits stay in order, as one goroutine
// makes them.
//
// Invariant: an offset is committed only after every record before it, from
// the start of the lease, was stored or acknowledged by the dead-letter topic.
// A batch that can do neither is retried until the loop ends, and then left
// uncommitted for whoever reads next.
type Loop struct {
	cfg      Config
	logger   *slog.Logger
	identify Identify
	sink     Sink
	letters  DeadLetters
	metrics  *metrics

	leases  leases
	settled chan *memory // of batches that are settled
	// What is away, if anything: the fetching goroutine writes source, the
	// storing one sink; readiness reads both.
	source, store resilience.Availability
	fetchDown     time.Time // since when polls have failed; the fetching goroutine's alone
}

// New makes a loop. It does no I/O.
func New(cfg Config, logger *slog.Logger, reg prometheus.Registerer, identify Identify, sink Sink, letters DeadLetters) (*Loop, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	l := &Loop{
		cfg: cfg, logger: logger.With("topic", cfg.Topic), identify: identify, sink: sink, letters: letters,
		metrics: newMetrics(reg, cfg.Topic),
		leases:  leases{owned: make(map[partition]*lease)},
		settled: make(chan *memory, 2), // one batch is filled while one is settled
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

// fetch polls and identifies until ctx ends, and hands batches on. Its only error
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
		if b.due(l.cfg) || ctx.Err() != nil && !b.empty() {
			if !l.hand(ctx, b, out) {
				return nil
			}
			b = l.newBatch()
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

// hand prepares a batch and passes it on. When the loop ends while the batch before it is
// still being settled, it gives this one up: nothing of it is committed.
func (l *Loop) hand(ctx context.Context, b *batch, out chan<- *batch) bool {
	b.store = l.sink.Prepare(ctx, b.items)
	select {
	case out <- b:
		return true
	default:
	}
	select {
	case out <- b:
		return true
	case <-ctx.Done():
		return false
	}
}

// poll waits for records, no longer than the batch may still wait. A poll that
// ends without an error says that the source is well, so an idle one ends too.
func (l *Loop) poll(ctx context.Context, client *kgo.Client, b *batch) kgo.Fetches {
	until := time.Now().Add(l.cfg.RetryMax)
	if !b.empty() {
		until = b.oldest.Add(l.cfg.BatchAge)
	}
	ctx, cancel := context.WithDeadline(ctx, until)
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
	for _, rec := range p.Records {
		if ctx.Err() != nil {
			return b
		}
		if rec.Attrs.IsControl() {
			b.pass(held, rec)
			continue
		}
		id, poison, err := l.read(ctx, rec)
		switch {
		case err != nil:
			return b
		case poison != nil:
			b.poison = append(b.poison, *poison)
		default:
			rec = b.memory.keep(rec)
			b.items = append(b.items, Item{id, rec})
		}
		b.add(held, rec)
		if b.full(l.cfg) {
			if !l.hand(ctx, b, out) {
				return l.newBatch()
			}
			b = l.newBatch()
		}
	}
	return b
}

// read identifies a record, and waits while it cannot be told whether that will do.
// Its only error is that ctx ended meanwhile.
func (l *Loop) read(ctx context.Context, rec *kgo.Record) (uuid.UUID, *Poison, error) {
	if len(rec.Value) > l.cfg.MaxValueBytes {
		message := fmt.Sprintf("the value has %d bytes, more than the %d of MAX_VALUE_BYTES", len(rec.Value), l.cfg.MaxValueBytes)
		return uuid.Nil, &Poison{Record: rec, Stage: StageDecode, Reason: ReasonTooLarge, Message: message, Failed: time.Now()}, nil
	}
	id, err := l.identify(ctx, rec)
	if err == nil {
		return id, nil, nil
	}
	return l.readAgain(ctx, rec, err)
}

// readAgain is read after a first try that failed. It is apart from it because what a
// closure shares is allocated, for each record.
func (l *Loop) readAgain(ctx context.Context, rec *kgo.Record, err error) (id uuid.UUID, poison *Poison, _ error) {
	var permanent interface {
		error
		Reason() string
	}
	if !errors.As(err, &permanent) {
		err = resilience.Forever(ctx, l.patience(&l.source, func(err error) bool { return errors.As(err, &permanent) }), l.logger, "decoding",
			func(ctx context.Context) error {
				id, err = l.identify(ctx, rec)
				return err
			})
		if err == nil {
			return id, nil, nil
		}
		if !errors.As(err, &permanent) {
			return id, nil, err
		}
		l.source.Observe(resilience.Outage{})
	}
	return id, &Poison{Record: rec, Stage: StageDecode, Reason: permanent.Reason(), Message: permanent.Error(), Failed: time.Now()}, nil
}

func (l *Loop) patience(seenBy *resilience.Availability, permanent func(error) bool) resilience.ForeverConfig {
	return resilience.ForeverConfig{
		Backoff:   resilience.Backoff{Base: min(100*time.Millisecond, l.cfg.RetryMax), Max: l.cfg.RetryMax, Jitter: min(100*time.Millisecond, l.cfg.RetryMax)},
		Permanent: permanent, Observe: seenBy.Observe,
	}
}

// settle stores a batch, dead-letters its poison and commits, in this order.
func (l *Loop) settle(ctx context.Context, client *kgo.Client, b *batch) error {
	start := time.Now()
	patience := l.patience(&l.store, isFatal)
	poison := b.poison
	rejected, err := l.storeAll(ctx, b)
	if err != nil {
		return fmt.Errorf("storing a batch of %d events: %w", len(b.items), err)
	}
	poison = append(poison, rejected...)
	if err := l.judge(b, poison, nil); err != nil {
		return &FatalError{err}
	}
	if left := poison; len(left) > 0 {
		err := resilience.Forever(ctx, patience, l.logger, "dead letters", func(ctx context.Context) (err error) {
			left, err = l.letters.Write(ctx, left)
			return err
		})
		if err != nil {
			return fmt.Errorf("dead-lettering %d records: %w", len(poison), err)
		}
	}
	// On a topic that has gone quiet no later commit would make up for this one.
	// A lease that ends meanwhile ends the tries: there is nothing to commit then.
	err = resilience.Forever(ctx, patience, l.logger, "offset commit", func(ctx context.Context) error {
		err := l.leases.commit(ctx, client, b.ends)
		if err != nil {
			l.metrics.commitErrors.Inc()
		}
		return err
	})
	if err != nil {
		return err
	}
	l.metrics.settled(b.rows(), b.earliest(), time.Since(start), poison)
	l.recycle(b)
	return nil
}

// storeAll stores the batch and returns its poison. Poison that comes in parts
// is held to the cap part by part: else a table that refuses every row would be asked for each of
// them before the loop stops.
func (l *Loop) storeAll(ctx context.Context, b *batch) (poison []Poison, err error) {
	patience := l.patience(&l.store, func(err error) bool { return isFatal(err) || errors.Is(err, ErrUnfinished) })
	for len(b.items) > 0 {
		var rejected []Poison
		err := resilience.Forever(ctx, patience, l.logger, "sink", func(ctx context.Context) (err error) {
			rejected, err = b.store(ctx)
			return err
		})
		for _, p := range rejected {
			restore(p.Record)
		}
		poison = append(poison, rejected...)
		if !errors.Is(err, ErrUnfinished) || len(rejected) == 0 {
			return poison, err
		}
		l.store.Observe(resilience.Outage{}) // it has answered
		if err := l.judge(b, slices.Concat(b.poison, poison), rejected[len(rejected)-1].Record); err != nil {
			return nil, &FatalError{err}
		}
		b.without(rejected)
		b.store = l.sink.Prepare(ctx, b.items)
	}
	return poison, nil
}

// judge holds each partition's poison to the cap, record by record, before any
// of it is dead-lettered: up to a record, or to the end of the batch if that
// is nil. It goes on where it was.
func (l *Loop) judge(b *batch, poison []Poison, last *kgo.Record) error {
	if l.cfg.PoisonShare == 1 {
		return nil
	}
	bad := make(map[*kgo.Record]string, len(poison))
	for _, p := range poison {
		bad[p.Record] = p.Reason
	}
	end := len(b.records)
	if last != nil {
		end = 1 + slices.IndexFunc(b.records, func(r record) bool { return r.Record == last })
	}
	for ; b.judged < end; b.judged++ {
		rec := b.records[b.judged]
		reason, isBad := bad[rec.Record]
		if isBad && l.letters.Returning(rec.Record) {
			continue // known to be bad, so it says nothing new of the topic
		}
		w := &rec.lease.window
		w.add(l.cfg.PoisonWindow, isBad)
		if isBad && w.over(l.cfg) {
			return &PoisonCapError{rec.Topic, rec.Partition, w.poison, w.seen, reason}
		}
	}
	return nil
}

// commitSync commits offsets and waits for the answer.
func commitSync(ctx context.Context, client *kgo.Client, offsets map[string]map[int32]kgo.EpochOffset) error {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	var failed error
	client.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		failed = err
		if resp == nil {
			return
		}
		for _, topic := range resp.Topics {
			for _, p := range topic.Partitions {
				failed = errors.Join(failed, kerr.ErrorForCode(p.ErrorCode))
			}
		}
	})
	if failed != nil {
		return fmt.Errorf("committing offsets: %w", failed)
	}
	return nil
}
