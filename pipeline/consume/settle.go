package consume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.opentelemetry.io/otel/trace"

	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/pipeline/snapshot"
)

// settle stores a batch, dead-letters its poison and commits, in this order.
func (l *Loop) settle(ctx context.Context, client *kgo.Client, b *batch) (err error) {
	start := time.Now()
	ctx = trace.ContextWithSpan(ctx, b.trail.span)
	var poison []Poison
	defer func() { b.end(len(poison), err) }()
	l.metrics.arrived(b)
	refused, err := l.storeAll(ctx, client, b)
	if err != nil {
		return fmt.Errorf("storing a batch of %d records: %w", len(b.records), err)
	}
	l.metrics.stage(stageStore, time.Since(start))
	poison = slices.Concat(b.poison, refused)
	if err := l.judge(b, poison, nil); err != nil {
		return &FatalError{err}
	}
	if err := l.deadLetter(ctx, poison); err != nil {
		return fmt.Errorf("dead-lettering %d records: %w", len(poison), err)
	}
	if err := l.commit(ctx, client, b); err != nil {
		return err
	}
	l.metrics.settled(len(b.records), b.oldest, time.Since(start), poison)
	return nil
}

// deadLetter writes until all of it is acknowledged.
func (l *Loop) deadLetter(ctx context.Context, left []Poison) error {
	if len(left) == 0 {
		return nil
	}
	return l.traced(ctx, stageDeadLetter, "dead letters", func(ctx context.Context) error {
		return resilience.Forever(ctx, l.patience(&l.store, isFatal), l.logger, "dead letters", func(ctx context.Context) (err error) {
			if left, err = l.letters.Write(ctx, left); err != nil {
				l.metrics.letterErrors.Inc()
			}
			return err
		})
	})
}

// commit tries until it is done: on a topic that has gone quiet no later commit would make up for this one. A lease that ends
// meanwhile ends the tries: there is nothing to commit then.
func (l *Loop) commit(ctx context.Context, client *kgo.Client, b *batch) error {
	return l.traced(ctx, stageCommit, "commit", func(ctx context.Context) error {
		return resilience.Forever(ctx, l.patience(&l.store, isFatal), l.logger, "offset commit", func(ctx context.Context) error {
			err := l.leases.commit(ctx, client, b.shares)
			if err != nil {
				l.metrics.commitErrors.Inc()
			}
			return err
		})
	})
}

// storeAll stores the batch and returns what was refused. What comes in parts
// is held to the cap part by part: else a table that refuses every row would be asked for each of
// them before the loop stops.
func (l *Loop) storeAll(ctx context.Context, client *kgo.Client, b *batch) (poison []Poison, err error) {
	patience := l.patience(&l.store, func(err error) bool { return isFatal(err) || errors.Is(err, ErrUnfinished) })
	for {
		var refused []Refused
		stored := resilience.Forever(ctx, patience, l.logger, "sink", func(ctx context.Context) (err error) {
			refused, err = b.events.Store(ctx)
			return err
		})
		unfinished := errors.Is(stored, ErrUnfinished) && len(refused) > 0
		if stored != nil && !unfinished {
			return nil, stored
		}
		if unfinished {
			l.store.Observe(resilience.Outage{}) // it has answered
		}
		more, err := l.recall(ctx, client, refused)
		if err != nil {
			return nil, err
		}
		poison = append(poison, more...)
		if !unfinished {
			return poison, nil
		}
		if err := l.judge(b, slices.Concat(b.poison, poison), &refused[len(refused)-1].Place); err != nil {
			return nil, &FatalError{err}
		}
	}
}

// recall reads the records of refused events again, from the partition's leader. A record that the
// topic no longer has, as it was compacted or its time was up, would also be gone for
// whoever begins where this group last committed; it is said in the log.
func (l *Loop) recall(ctx context.Context, client *kgo.Client, refused []Refused) ([]Poison, error) {
	if len(refused) == 0 {
		return nil, nil
	}
	wanted := make(map[Place]*kgo.Record, len(refused))
	type span struct{ first, last int64 }
	spans := make(map[int32]span)
	for _, r := range refused {
		wanted[r.Place] = nil
		s, known := spans[r.Partition]
		if !known {
			s = span{r.Offset, r.Offset}
		}
		spans[r.Partition] = span{min(s.first, r.Offset), max(s.last, r.Offset)}
	}
	for partition, s := range spans {
		err := resilience.Forever(ctx, l.patience(&l.store, nil), l.logger, "reading refused records again", func(ctx context.Context) error {
			return snapshot.ReadRange(ctx, client, l.cfg.Topic, partition, s.first, s.last+1, func(rec *kgo.Record) error {
				at := Place{partition, rec.Offset}
				if _, ok := wanted[at]; ok {
					wanted[at] = detached(rec)
				}
				return nil
			})
		})
		if err != nil {
			return nil, err
		}
	}
	var poison []Poison
	for _, r := range refused {
		rec := wanted[r.Place]
		if rec == nil {
			l.logger.ErrorContext(ctx, "the sink refused an event, and the topic no longer has its record for the dead letters",
				"partition", r.Partition, "offset", r.Offset, "reason", r.Reason, "error", r.Message)
			continue
		}
		poison = append(poison, Poison{Record: rec, Stage: StageSink, Reason: r.Reason, Message: r.Message, Failed: r.Failed})
	}
	return poison, nil
}

// detached copies a record out of the client's memory: a record keeps the whole of a broker's answer.
func detached(rec *kgo.Record) *kgo.Record {
	own := *rec
	own.Context, own.Key, own.Value, own.Headers = nil, bytes.Clone(rec.Key), bytes.Clone(rec.Value), slices.Clone(rec.Headers)
	for i, h := range own.Headers {
		own.Headers[i] = kgo.RecordHeader{Key: strings.Clone(h.Key), Value: bytes.Clone(h.Value)}
	}
	return &own
}

// judge holds each partition's poison to the cap, record by record, before any
// of it is dead-lettered: up to a record, or to the end of the batch if that
// is nil. It goes on where it was.
func (l *Loop) judge(b *batch, poison []Poison, last *Place) error {
	if l.cfg.PoisonShare == 1 {
		return nil
	}
	bad := make(map[Place]Poison, len(poison))
	for _, p := range poison {
		bad[Place{p.Record.Partition, p.Record.Offset}] = p
	}
	end := len(b.records)
	if last != nil {
		end = 1 + slices.IndexFunc(b.records, func(e entry) bool { return b.place(e) == *last })
	}
	for ; b.judged < end; b.judged++ {
		e := b.records[b.judged]
		p, isBad := bad[b.place(e)]
		if isBad && l.letters.Returning(p.Record) {
			continue // known to be bad, so it says nothing new of the topic
		}
		held := b.shares[e.share].lease
		w := &held.window
		w.add(l.cfg.PoisonWindow, isBad)
		if isBad && w.over(l.cfg) {
			return &PoisonCapError{l.cfg.Topic, held.partition, w.poison, w.seen, p.Reason}
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
