package desk

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/revstream/revstream/pipeline/deadletter"
)

// work is what an order comes down to.
type work struct {
	order   Order
	matcher *matcher
	scope   []stretch
	judge   func(*judge) // who wants the judge; may be nil
}

// spans are the scope as a run's record has it.
func (w *work) spans() map[string]deadletter.Span {
	spans := make(map[string]deadletter.Span)
	for _, s := range w.scope {
		span, ok := spans[s.log()]
		if !ok {
			span.Next = s.from
		}
		span.End = max(span.End, s.to)
		spans[s.log()] = span
	}
	return spans
}

// clip leaves of the scope what a run has left to do.
func (w *work) clip(spans map[string]deadletter.Span) {
	var left []stretch
	for _, s := range w.scope {
		span := spans[s.log()]
		s.from, s.to = max(s.from, span.Next), min(s.to, span.End)
		if s.from < s.to {
			left = append(left, s)
		}
	}
	w.scope = left
}

// item is a letter that a run deals with.
type item struct {
	entry Entry  // changed, if the run changes letters
	log   string // its partition; empty for one that is imported
	skip  string // why nothing is done about it
	park  bool   // instead of replaying it
}

// acts says whether anything is done about the letter.
func (it *item) acts() bool { return it.skip == "" }

func (it *item) size() int { return it.entry.size() }

// Letters, bytes and offsets of a chunk at most.
const (
	chunkLetters = 500
	chunkBytes   = 1 << 20
	chunkOffsets = 10_000
)

// chunk is what a partition's reader hands over: some letters, in order, and the next offset that it will read.
type chunk struct {
	log   string // empty for letters that are imported
	items []item
	next  int64
}

// scan reads the letters of a work and decides what is to be done about each. Several partitions are read at once, each
// by one goroutine, so that a partition's letters come in order.
func (d *Desk) scan(ctx context.Context, w *work, states *states, chunks chan<- chunk) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(w.order.Concurrency)
	for scope := w.scope; len(scope) > 0; {
		n := 1
		for n < len(scope) && scope[n].log() == scope[0].log() {
			n++
		}
		r := &reader{desk: d, work: w, log: scope[0].log(), states: states.log(scope[0].log()), chunks: chunks}
		part := scope[:n]
		g.Go(func() error { return r.read(ctx, part) })
		scope = scope[n:]
	}
	return g.Wait()
}

// reader reads one partition.
type reader struct {
	desk   *Desk
	work   *work
	log    string
	states *pages
	chunks chan<- chunk

	items []item
	bytes int
	sent  int64 // the offset up to which chunks were sent
}

func (r *reader) read(ctx context.Context, scope []stretch) error {
	for _, s := range scope {
		trimmed := s
		trimmed.from, trimmed.to = r.states.trim(s.from, s.to, r.work.matcher.States)
		r.sent = trimmed.from
		if err := r.desk.read(ctx, trimmed, func(rec *kgo.Record) error { return r.record(ctx, rec) }); err != nil {
			return err
		}
		if err := r.send(ctx, s.to); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) record(ctx context.Context, rec *kgo.Record) error {
	e, means, err := r.work.matcher.entry(ctx, rec, r.states)
	if err != nil {
		return err
	}
	if means {
		it, err := r.item(ctx, e)
		if err != nil {
			return err
		}
		r.items = append(r.items, it)
		r.bytes += it.size()
	}
	if len(r.items) >= chunkLetters || r.bytes >= chunkBytes || rec.Offset+1-r.sent >= chunkOffsets {
		return r.send(ctx, rec.Offset+1)
	}
	return nil
}

func (r *reader) send(ctx context.Context, next int64) error {
	c := chunk{log: r.log, items: r.items, next: next}
	r.items, r.bytes, r.sent = nil, 0, next
	select {
	case r.chunks <- c:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// item decides what is to be done about a letter.
func (r *reader) item(ctx context.Context, e Entry) (item, error) {
	order := &r.work.order
	it := item{entry: e, log: r.log, skip: order.Action.declines(e.State)}
	if it.acts() && order.Action.replays() {
		switch {
		case e.Flaw != "":
			it.skip = e.Flaw
		case e.Letter.Replays >= order.MaxReplays:
			it.park = true
		case order.Action == Repair:
			var err error
			if it.entry.Letter, it.skip, err = r.desk.cfg.Changer.Change(ctx, *order.Change, e.Letter); err != nil {
				return it, fmt.Errorf("repairing %s: %w", e.ID, err)
			}
		}
	}
	if it.acts() && !it.park && order.Action.replays() {
		it.entry.detach()
		return it, nil
	}
	// What is not sent need not be kept.
	it.entry.Letter = deadletter.Letter{
		Topic: e.Letter.Topic, Reason: e.Letter.Reason, EventID: e.Letter.EventID, Group: e.Letter.Group, Replays: e.Letter.Replays,
	}
	return it, nil
}
