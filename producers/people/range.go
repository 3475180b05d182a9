package people

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/pipeline/tracing"
)

// Progress is how far a SyncRange has come.
type Progress struct {
	// Cursor is what everything before is acknowledged: a SyncRange from there goes on without a gap.
	Cursor time.Time
	// Rows that the source handed over; of them, those that were published, left out as unchanged, and dead-lettered.
	Rows, Published, Unchanged, Rejected int64
}

// span is a range of updated_at, and who is told how far it has been walked over.
type span struct {
	from, until time.Time
	report      func(Progress) error
}

// SyncRange publishes everybody who was last updated from one time up to, but without, another; a zero time leaves that side
// open. It leaves the position of the polling alone, and publishes nobody as changed whom consumers do not know as such, so
// that it may run beside it, in this process or another, and again. report is called whenever all that has been read is
// acknowledged, and at the end; its error ends the walk. Events carry the correlation ID of ctx.
func (p *Producer) SyncRange(ctx context.Context, from, until time.Time, report func(Progress) error) (err error) {
	if resilience.CorrelationID(ctx) == "" {
		ctx = resilience.WithCorrelationID(ctx, uuid.NewString())
	}
	ctx, trace := startSpan(ctx, "people range")
	defer func() { tracing.End(trace, err) }()
	out, cancel := outlasting(ctx, stopGrace)
	defer cancel()
	w := &window{
		Producer: p, id: resilience.CorrelationID(ctx),
		span: &span{from, until, report},
	}
	return w.walk(ctx, out)
}

func (w *window) progressed() Progress {
	return Progress{
		Cursor: w.position.Cursor, Rows: w.run.RowsExpected,
		Published: w.run.RowsPublished, Unchanged: w.run.RowsUnchanged, Rejected: w.run.RowsRejected,
	}
}
