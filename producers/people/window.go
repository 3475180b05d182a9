package people

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/producers/publish"
	"github.com/revstream/revstream/producers/salesloft"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/exportrun"
)

const (
	positionName = "people-position" // in the state

	// stopGrace is how long a window that is stopped may take to have acknowledged, and to save, what it has read.
	stopGrace = 10 * time.Second
)

// window is one walk over what has changed, and its account.
//
// The order of its steps is what keeps anything from being lost: publish, have it acknowledged, save the position. A crash
// after any of them makes the next window publish some events again, with the same IDs.
type window struct {
	*Producer
	id        string // correlation ID
	span      *span  // what is walked over; nil: what follows from position
	position  position
	run       exportrun.ExportRun
	changed   int                 // records since the last checkpoint that the position did not know
	published int64               // of them, events handed to the publisher
	rejected  []publish.Rejection // of the batch in hand
}

// runWindow runs under the correlation ID of ctx.
func (p *Producer) runWindow(ctx context.Context) error {
	out, cancel := outlasting(ctx, stopGrace)
	defer cancel()

	w := &window{Producer: p, id: resilience.CorrelationID(ctx)}
	if err := p.deps.State.Sync(ctx); err != nil {
		return err // another process may have polled meanwhile
	}
	if _, err := p.deps.State.Load(positionName, &w.position); err != nil {
		return err
	}
	w.begin()
	err := w.walk(ctx, out)
	return errors.Join(err, w.end(ctx, out, err))
}

// outlasting returns a context that ends grace after ctx does.
func outlasting(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })
	return out, func() { stop(); cancel() }
}

func (w *window) begin() {
	w.run = exportrun.ExportRun{
		RunID: "salesloft:" + w.id, Source: "salesloft", OfEntity: "people", Scope: "people", Kinds: []string{},
		RequestedAt: w.now().UTC().Truncate(time.Microsecond),
	}
	if since := w.position.since(w.cfg.Overlap); !since.IsZero() {
		w.run.WindowStart = instant(&since)
	}
}

// walk asks with ctx, and publishes with out, so that what was asked for by the time of a stop is not asked for again.
func (w *window) walk(ctx, out context.Context) error {
	since, until := w.position.since(w.cfg.Overlap), time.Time{}
	if w.span != nil {
		since, until = w.span.from, w.span.until
	}
	var reached time.Time
	for batch, err := range w.deps.Source.Changes(ctx, since, until) {
		reached = batch.Cursor
		w.position.advance(reached, w.now())
		if errors.Is(err, salesloft.ErrInvalidGrant) {
			err = fmt.Errorf("%w: %w", salesloft.ErrInvalidGrant, err) // the sentinel's text says what to do
		}
		if err != nil {
			return errors.Join(err, w.checkpoint(out, reached))
		}
		if err := w.take(out, batch); err != nil {
			return err
		}
		if w.span == nil {
			w.advanced(w.position.Cursor)
		}
		// A record that was rejected is not to be rejected again after a crash: that would be another letter.
		if w.changed >= w.checkpointRows || len(w.rejected) > 0 {
			if err := w.checkpoint(out, reached); err != nil {
				return err
			}
		}
	}
	w.finished(until)
	// The walk is at its end, so it has passed the records at its last timestamp too.
	return w.checkpoint(out, reached.Add(time.Microsecond))
}

// take publishes what the position does not know of a batch, and rejects what can never be published.
func (w *window) take(ctx context.Context, batch salesloft.Batch) error {
	rows := len(batch.People) + len(batch.Failed)
	w.run.RowsExpected += int64(rows)
	if rows > 0 {
		w.run.WindowEnd = instant(&w.position.Cursor)
	}
	w.rejected = w.rejected[:0]
	for _, failed := range batch.Failed {
		if !w.knownFailure(failed) {
			w.reject(ctx, failed.ID, failed.Raw, reasonMalformed, failed.Err)
		}
	}
	for _, person := range batch.People {
		if w.known(person.ID, person.UpdatedAt) {
			continue
		}
		if err := w.publish(ctx, person); err != nil {
			return err
		}
	}
	return w.deadLetter(ctx)
}

func (w *window) known(id int64, updatedAt time.Time) bool {
	if w.span != nil {
		return w.count(false) // within a walk no record comes twice
	}
	return w.count(w.position.meet(id, updatedAt))
}

func (w *window) count(known bool) bool {
	if known {
		w.run.RowsUnchanged++
		w.metrics.unchanged.Inc()
		return true
	}
	w.changed++
	return false
}

// knownFailure is known for a record that is no valid person: it is rejected once, and not again by each window that looks
// back to it.
func (w *window) knownFailure(failed salesloft.RecordError) bool {
	if w.span != nil || failed.ID > 0 && !failed.UpdatedAt.IsZero() {
		return w.known(failed.ID, failed.UpdatedAt)
	}
	return w.count(w.position.meetAnonymous(failed.Raw))
}

func (w *window) publish(ctx context.Context, person salesloft.Person) error {
	e, err := upsert(person, w.now(), w.id)
	if err == nil {
		err = w.deps.People.Publish(ctx, e)
		if err == nil {
			w.published++
			return nil
		}
		if !errors.Is(err, publish.ErrInvalid) {
			return err
		}
	}
	raw, marshalErr := json.Marshal(person)
	if marshalErr != nil {
		return fmt.Errorf("keeping person %d, who is rejected: %w", person.ID, marshalErr)
	}
	w.reject(ctx, person.ID, raw, reasonInvalid, err)
	return nil
}

// reject takes a record that no retry can help. Neither the ID nor the reason is personal data.
func (w *window) reject(ctx context.Context, id int64, raw []byte, reason string, err error) {
	w.logger.WarnContext(ctx, "person rejected", "person_id", id, "reason", err)
	w.rejected = append(w.rejected, rejection(id, raw, reason, err, w.id))
}

// deadLetter rejects what the batch has of it, unless that is too much: then none of the batch is, so that the windows after
// this one, which come by it again, do not add letters for ever.
func (w *window) deadLetter(ctx context.Context) error {
	if total := w.position.Rejected + len(w.rejected); len(w.rejected) > 0 && total > w.cfg.MaxRejected {
		return fmt.Errorf("%w: %d, of %d that may be (POLL_MAX_REJECTED, or --max-rejected); the last one: %w", ErrTooManyRejected,
			total, w.cfg.MaxRejected, w.rejected[len(w.rejected)-1].Err)
	}
	for _, r := range w.rejected {
		if err := w.deps.People.Reject(ctx, r); err != nil {
			return err
		}
	}
	w.position.Rejected += len(w.rejected)
	w.run.RowsRejected += int64(len(w.rejected))
	w.metrics.rejected.Add(float64(len(w.rejected)))
	return nil
}

// finished notes that the walk has come to the end of the changes.
func (w *window) finished(until time.Time) {
	w.position.advance(until, w.now())
	if w.position.Rejected > 0 {
		w.position.Rejected = 0
		w.changed++ // it is to be saved
	}
}

// checkpoint waits until everything is acknowledged, then saves the position. passed is the time below which the walk has
// yielded everything.
func (w *window) checkpoint(ctx context.Context, passed time.Time) error {
	if err := w.deps.People.Flush(ctx); err != nil {
		return fmt.Errorf("publishing people: %w", err)
	}
	w.run.RowsPublished += w.published
	w.metrics.published.Add(float64(w.published))
	w.published = 0
	if w.span != nil {
		w.changed = 0
		return w.span.report(w.progressed())
	}
	if w.changed == 0 {
		return nil // the position of a quiet source is what was loaded
	}
	w.position.trim(w.cfg.Overlap, passed)
	if err := w.deps.State.Save(ctx, positionName, w.position); err != nil {
		return err
	}
	w.changed = 0
	w.metrics.cursor.Set(float64(w.position.Cursor.UnixMicro()) / 1e6)
	return nil
}

// end publishes the window's account.
func (w *window) end(ctx, out context.Context, failure error) error {
	now := w.now()
	w.run.CompletedAt = now.UTC().Truncate(time.Microsecond)
	conclude(ctx, &w.run, failure)
	w.metrics.windows.WithLabelValues(string(w.run.Outcome)).Inc()
	w.metrics.took.WithLabelValues(string(w.run.Outcome)).Observe(w.run.CompletedAt.Sub(w.run.RequestedAt).Seconds())
	w.log(ctx)
	if err := event.Seal(&w.run, event.Upsert, now, now, w.id); err != nil {
		return err
	}
	if err := errors.Join(w.deps.Runs.Publish(out, &w.run), w.deps.Runs.Flush(out)); err != nil {
		return fmt.Errorf("publishing the export run: %w", err)
	}
	return nil
}

// conclude fills in how a run has ended. ctx is the one that stops it.
func conclude(ctx context.Context, run *exportrun.ExportRun, failure error) {
	var reason string
	switch {
	case failure != nil && ctx.Err() != nil:
		run.Outcome, reason = exportrun.Cancelled, "the producer was stopped"
	case failure != nil:
		run.Outcome, reason = exportrun.Failed, failure.Error()
	case run.RowsRejected > 0:
		run.Outcome, reason = exportrun.Partial, fmt.Sprintf("%d records were rejected", run.RowsRejected)
	default:
		run.Outcome = exportrun.Succeeded
	}
	if reason != "" {
		run.Error = &reason
	}
}

// log tells of a window that did something. Failures are the caller's to tell.
func (w *window) log(ctx context.Context) {
	log := w.logger.DebugContext
	if w.run.RowsPublished+w.run.RowsRejected > 0 {
		log = w.logger.InfoContext
	}
	log(ctx, "sync window ended", "outcome", w.run.Outcome, "published", w.run.RowsPublished,
		"unchanged", w.run.RowsUnchanged, "rejected", w.run.RowsRejected,
		"seconds", w.run.CompletedAt.Sub(w.run.RequestedAt).Seconds())
}
