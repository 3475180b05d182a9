package clickhousesink

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/revstream/revstream/pipeline/consume"
)

var _ consume.Dated = (*batch[*kgo.Record])(nil)

// batch is a consume.Batch.
type batch[E any] struct {
	sink *Sink[E]
	read Reader[E]

	seen    map[uuid.UUID]struct{} // events
	rows    *rows[E]               // the first of each of them
	copies  *rows[E]               // what came of it again
	bad     map[uuid.UUID]struct{} // what was refused of rows
	refused []consume.Refused      // what Store has yet to return

	duplicates         int       // events dropped so far
	happened, observed time.Time // of the first event
}

// NewBatch implements consume.Sink.
func (s *Sink[E]) NewBatch() consume.Batch {
	select {
	case b := <-s.used:
		return b
	default:
		return &batch[E]{
			sink: s, read: s.tables.NewReader(), seen: make(map[uuid.UUID]struct{}), bad: make(map[uuid.UUID]struct{}),
			rows: newRows(s.tables.Columns), copies: newRows(s.tables.Columns),
		}
	}
}

// Add implements consume.Batch. An entity that the source removed comes as an event that says so: a record without a value
// is for the topic's compaction alone.
func (b *batch[E]) Add(ctx context.Context, rec *kgo.Record) error {
	if rec.Value == nil {
		return consume.ErrTombstone
	}
	e, id, err := b.read(ctx, rec)
	if err != nil {
		return err
	}
	to, before := b.rows, len(b.seen)
	if before == 0 && b.sink.tables.Dates != nil {
		b.happened, b.observed = b.sink.tables.Dates(e)
	}
	if b.seen[id] = struct{}{}; len(b.seen) == before {
		to = b.copies
	}
	to.append(e, id, rec)
	return nil
}

// Dates implements consume.Dated.
func (b *batch[E]) Dates() (happened, observed time.Time) { return b.happened, b.observed }

// Store implements consume.Batch.
func (b *batch[E]) Store(ctx context.Context) ([]consume.Refused, error) {
	for {
		refused, duplicates, err := b.sink.store(ctx, b.rows, b.seen)
		if err != nil && !errors.Is(err, consume.ErrUnfinished) {
			return nil, err
		}
		if err == nil {
			b.drop(duplicates)
		}
		for _, r := range refused {
			b.bad[r.id] = struct{}{}
			b.refused = append(b.refused, r.Refused)
		}
		if err != nil {
			b.rows = b.rows.pick(func(_ int, o origin) bool { return !has(b.bad, o.id) })
			return b.takeRefused(), err
		}
		if !b.turnToCopies() {
			break
		}
	}
	refused := b.takeRefused()
	trace.SpanFromContext(ctx).SetAttributes(attribute.Int("revstream.duplicates", b.duplicates))
	b.sink.reuse(b)
	return refused, nil
}

func (b *batch[E]) takeRefused() []consume.Refused {
	refused := b.refused
	b.refused = nil
	return refused
}

// turnToCopies goes on with the first copy of each event that was refused, if there is one. An event
// keeps its ID when it is repaired, so a copy may be good. All others are duplicates.
func (b *batch[E]) turnToCopies() bool {
	if len(b.bad) == 0 {
		b.drop(b.copies.len())
		return false
	}
	before, first := b.copies.len(), make(map[uuid.UUID]int)
	for i, o := range b.copies.origins {
		if _, known := first[o.id]; !known && has(b.bad, o.id) {
			first[o.id] = i
		}
	}
	b.rows = b.copies.pick(func(i int, o origin) bool {
		at, ok := first[o.id]
		return ok && at == i
	})
	b.copies = b.copies.pick(func(i int, o origin) bool {
		at, ok := first[o.id]
		return ok && at < i
	})
	clear(b.bad)
	b.drop(before - b.rows.len() - b.copies.len())
	return b.rows.len() > 0
}

// drop counts events that are duplicates.
func (b *batch[E]) drop(duplicates int) {
	b.duplicates += duplicates
	b.sink.metrics.duplicates.Add(float64(duplicates))
}

// reset empties the batch and keeps its memory.
func (b *batch[E]) reset() {
	b.rows.reset()
	b.copies.reset()
	clear(b.seen)
	b.duplicates, b.happened, b.observed = 0, time.Time{}, time.Time{}
}

func has(set map[uuid.UUID]struct{}, id uuid.UUID) bool {
	_, ok := set[id]
	return ok
}
