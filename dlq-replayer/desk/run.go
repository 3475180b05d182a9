package desk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"time"

	"github.com/google/uuid"
	"golang.org/x/time/rate"

	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/pipeline/snapshot"
	"github.com/revstream/revstream/schemas"
)

// run carries out an order, or makes the plan of one. What it holds is its goroutine's alone.
type run struct {
	desk     *Desk
	session  *session // nil: a plan
	order    Order
	record   deadletter.Run // as it was committed last, and what has failed since
	report   Report
	judge    *judge // nil: nobody judges
	limiter  *rate.Limiter
	progress func(Report)

	returned int // letters that came back before the run was resumed

	size  int // letters of a batch at most
	batch batch
	left  int // letters that the limit leaves; negative: no limit

	began, told, judged, recorded time.Time
}

// batch is what the next transaction will be about.
type batch struct {
	items []item
	bytes int
	next  map[string]int64 // where the run then stands in partitions: the next offset to read
}

func (b *batch) reset() { *b = batch{items: b.items[:0], next: make(map[string]int64)} }

// Plan finds out what Run would do, and writes nothing.
func (d *Desk) Plan(ctx context.Context, order Order, progress func(Report)) (Report, error) {
	w, err := d.prepare(ctx, order)
	if err != nil {
		return Report{}, err
	}
	ledger, err := d.ledger(ctx)
	if err != nil {
		return Report{}, err
	}
	r := d.newRun(w.order, deadletter.Run{}, progress)
	err = r.work(ctx, func(ctx context.Context, chunks chan<- chunk) error { return d.scan(ctx, w, ledger.states, chunks) })
	r.report.Total = r.report.Done + r.report.Parked + r.report.Skipped.Letters
	r.tell()
	return r.report, err
}

// Run carries out an order. Each batch is one transaction, which holds the replayed records, the decisions and the run's
// record with its progress, so that a crash at any point replays nothing twice and forgets nothing. Records of one key
// keep their order. It acts on letters that were there when it began: one that comes back meanwhile is left for later.
//
// Calls of progress, which may be nil, come from one goroutine, a few in a second at most and one at the end. If ctx
// ends, the transaction in hand is finished, and the run can be resumed. The report is right whenever an error ends the
// run, too.
func (d *Desk) Run(ctx context.Context, order Order, progress func(Report)) (Report, error) {
	return d.run(ctx, order, progress, nil)
}

// run is Run. It hands out the judge of what it replays, if somebody wants it, who may use it when the run has ended.
func (d *Desk) run(ctx context.Context, order Order, progress func(Report), judge func(*judge)) (Report, error) {
	if err := errors.Join(order.validate(), order.validateWhy()); err != nil {
		return Report{}, err
	}
	w, err := d.prepare(ctx, order)
	if err != nil {
		return Report{}, err
	}
	if err := d.check(ctx, order.Selection, w.scope); err != nil {
		return Report{}, err
	}
	w.judge = judge
	s, err := d.join(ctx, order.TakeOver)
	if err != nil {
		return Report{}, err
	}
	defer d.leave(s)
	raw, err := json.Marshal(order)
	if err != nil {
		return Report{}, fmt.Errorf("encoding the order: %w", err)
	}
	record := deadletter.Run{
		ID: uuid.NewString(), Action: order.Action.decision(), StartedAt: d.pace.now().UTC(),
		By: order.By, Why: order.Why, From: order.From, Order: raw, Spans: w.spans(),
	}
	d.enter(record.ID)
	defer d.exit(record.ID)
	return d.carryOut(ctx, s, w, record, progress)
}

// prepare finds out what an order is about, and that it can be carried out.
func (d *Desk) prepare(ctx context.Context, order Order) (*work, error) {
	m, err := d.checked(order)
	if err != nil {
		return nil, err
	}
	if err := snapshot.Exists(ctx, d.client, schemas.DLQDecisionsTopic); err != nil {
		return nil, explainRead(schemas.DLQDecisionsTopic, err)
	}
	scope, err := d.scope(ctx, order.Selection)
	if err != nil {
		return nil, err
	}
	if order.Action.replays() {
		for i, s := range scope {
			if topic := originalTopic(s.topic); i == 0 || scope[i-1].topic != s.topic {
				if err := snapshot.Exists(ctx, d.client, topic); err != nil {
					return nil, explainRead(topic, err)
				}
			}
		}
	}
	return &work{order: order.withDefaults(), matcher: m, scope: scope}, nil
}

func (d *Desk) newRun(order Order, record deadletter.Run, progress func(Report)) *run {
	r := &run{
		desk: d, order: order, record: record, progress: progress,
		report:   Report{RunID: record.ID, Reasons: make(map[string]map[string]int)},
		returned: record.Returned, size: d.cfg.BatchLetters, left: -1, began: d.pace.now(),
	}
	if limit := order.Selection.Limit; limit > 0 {
		r.left = max(0, limit-record.Done-record.Parked-record.Skipped-record.Failed)
	}
	r.batch.reset()
	return r
}

// carryOut does the work of a run with a share in a session.
func (d *Desk) carryOut(ctx context.Context, s *session, w *work, record deadletter.Run, progress func(Report)) (Report, error) {
	r := d.newRun(w.order, record, progress)
	r.session = s
	if rate := w.order.Rate; rate > 0 {
		r.size = int(min(math.Ceil(rate), float64(r.size)))
		r.limiter = newLimiter(rate, r.size)
	}
	if w.order.Action.replays() && (w.order.StopShare < 1 || w.judge != nil) {
		r.judge = newJudge(d.client, record.ID)
		if err := r.judge.begin(ctx, w.scope); err != nil {
			return r.report, err
		}
		if w.judge != nil {
			w.judge(r.judge)
		}
	}
	return r.finish(ctx, func(ctx context.Context, chunks chan<- chunk) error {
		return d.scan(ctx, w, s.ledger.states, chunks)
	})
}

// finish is a run from its first record to its last.
func (r *run) finish(ctx context.Context, source func(context.Context, chan<- chunk) error) (Report, error) {
	ctx = resilience.WithCorrelationID(ctx, r.record.ID)
	logger := r.desk.logger
	logger.DebugContext(ctx, "run started", "action", r.record.Action)
	r.record.Status, r.record.Note = deadletter.Running, ""
	err := r.beat(ctx)
	if err == nil {
		err = r.work(ctx, source)
	}
	status := deadletter.Done
	switch {
	case errors.Is(err, ErrStopped):
		status = deadletter.Stopped
	case err != nil:
		status = deadletter.Interrupted
	}
	switch {
	case err != nil && ctx.Err() != nil:
		r.record.Note = "interrupted by a signal or an operator"
	case err != nil:
		r.record.Note = err.Error()
	}
	r.record.Status = status
	if ended := r.beat(ctx); err == nil {
		err = ended // else it is the lesser evil
	}
	if err != nil && status == deadletter.Done {
		status = deadletter.Interrupted
	}
	r.report.Status, r.report.Note = status, r.record.Note
	r.desk.settle(ctx)
	r.tell()
	logger.DebugContext(ctx, "run ended", "status", status, "done", r.report.Done, "parked", r.report.Parked, "skipped", r.report.Skipped.Letters,
		"failed", r.report.Failed.Letters, "seconds", r.report.Elapsed.Seconds())
	return r.report, r.ended(err)
}

// ended says what can be done about a run that an error has ended.
func (r *run) ended(err error) error {
	switch {
	case err == nil:
		return nil
	case r.recorded.IsZero():
		return fmt.Errorf("run %s has not begun: %w", r.record.ID, err)
	case r.record.Action == deadletter.Imported:
		return fmt.Errorf("run %s ended early; the same import skips what it has put there: %w", r.record.ID, err)
	default:
		return fmt.Errorf("run %s ended early, and can be resumed: %w", r.record.ID, err)
	}
}

// work takes what a source sends, batch by batch. The source runs in a goroutine of its own, which has ended when work
// returns.
func (r *run) work(ctx context.Context, source func(context.Context, chan<- chunk) error) error {
	reading, stop := context.WithCancel(ctx)
	chunks, ended := make(chan chunk, r.order.Concurrency), make(chan error, 1)
	go func() {
		defer close(chunks)
		ended <- source(reading, chunks)
	}()
	err := r.consume(ctx, chunks)
	stop()
	for range chunks { // what the source had sent is let go, so that it can end
	}
	if sourceErr := <-ended; err == nil {
		err = sourceErr
	}
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

func (r *run) consume(ctx context.Context, chunks <-chan chunk) error {
	tick := time.NewTicker(r.desk.pace.tick)
	defer tick.Stop()
	for {
		select {
		case c, more := <-chunks:
			if !more {
				return r.last(ctx)
			}
			if err := r.take(ctx, c); err != nil {
				return err
			}
		case <-tick.C:
			if err := r.due(ctx, r.flush); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// last commits what is left, and looks once more at what became of it.
func (r *run) last(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err // the source ended for that
	}
	if err := r.flush(ctx); err != nil {
		return err
	}
	return r.look(ctx)
}

// take adds a chunk's letters to the batch. At the limit it is errEnough.
func (r *run) take(ctx context.Context, c chunk) error {
	for _, it := range c.items {
		if r.left == 0 {
			return r.enough(ctx)
		}
		if len(r.batch.items) == r.size || r.batch.bytes+it.size() > batchBytes {
			if err := r.flush(ctx); err != nil {
				return err
			}
		}
		r.batch.items = append(r.batch.items, it)
		r.batch.bytes += it.size()
		if it.log != "" {
			r.batch.next[it.log] = it.entry.ID.Offset + 1
		}
		r.left--
	}
	if r.left == 0 {
		return r.enough(ctx)
	}
	if c.log != "" {
		r.batch.next[c.log] = c.next
	}
	return r.due(ctx, r.flush)
}

func (r *run) enough(ctx context.Context) error {
	if err := r.last(ctx); err != nil {
		return err
	}
	return errEnough
}

// due does what is due beside the letters. beat writes the run's record.
func (r *run) due(ctx context.Context, beat func(context.Context) error) error {
	now, pace := r.desk.pace.now(), r.desk.pace
	if now.Sub(r.told) >= pace.tick {
		r.tell()
	}
	if r.session == nil {
		return nil
	}
	if now.Sub(r.judged) >= pace.judge {
		if err := r.look(ctx); err != nil {
			return err
		}
	}
	if now.Sub(r.recorded) >= pace.heartbeat {
		return beat(ctx)
	}
	return nil
}

// tell calls progress.
func (r *run) tell() {
	r.told = r.desk.pace.now()
	r.report.Elapsed = r.told.Sub(r.began)
	if r.progress != nil {
		r.progress(r.report.clone())
	}
}

// flush acts on the batch in hand.
func (r *run) flush(ctx context.Context) error {
	if r.session == nil {
		for i := range r.batch.items {
			r.count(&r.batch.items[i])
		}
		r.batch.reset()
		return nil
	}
	if err := r.wait(ctx); err != nil {
		return err
	}
	if err := r.transact(ctx, r.batch.items, r.batch.next); err != nil {
		return err
	}
	clear(r.batch.items) // their letters are no longer needed
	r.batch.reset()
	return nil
}

// wait holds the batch back for the rate's sake.
func (r *run) wait(ctx context.Context) error {
	n := 0
	for i := range r.batch.items {
		if r.batch.items[i].acts() {
			n++
		}
	}
	if r.limiter == nil || n == 0 {
		return ctx.Err()
	}
	until := time.NewTimer(r.limiter.ReserveN(time.Now(), n).Delay())
	defer until.Stop()
	tick := time.NewTicker(r.desk.pace.tick)
	defer tick.Stop()
	for {
		select {
		case <-until.C:
			return ctx.Err()
		case <-tick.C:
			if err := r.due(ctx, r.beat); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func newLimiter(perSecond float64, burst int) *rate.Limiter {
	return rate.NewLimiter(rate.Limit(perSecond), burst)
}

// beat writes the run's record alone: it tells other processes that the run is at work, or how it has ended.
func (r *run) beat(ctx context.Context) error { return r.transact(ctx, nil, nil) }

// count takes a letter that was dealt with into the report.
func (r *run) count(it *item) {
	switch {
	case it.skip != "":
		r.report.Skipped.add(it.skip, it.entry.ID)
	case it.park:
		r.report.Parked++
	default:
		r.report.did(it.entry)
	}
}

// advance returns the run's record with more letters dealt with.
func (r *run) advance(items []item, next map[string]int64) deadletter.Run {
	record := r.record
	record.UpdatedAt = r.desk.pace.now().UTC()
	record.Spans = maps.Clone(r.record.Spans)
	for log, offset := range next {
		if span, ok := record.Spans[log]; ok {
			span.Next = max(span.Next, offset)
			record.Spans[log] = span
		}
	}
	for i := range items {
		switch it := &items[i]; {
		case it.skip != "":
			record.Skipped++
		case it.park:
			record.Parked++
		default:
			record.Done++
		}
	}
	record.Returned = r.returned + r.report.Returned
	return record
}
