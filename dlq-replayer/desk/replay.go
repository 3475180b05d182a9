package desk

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"
	"golang.org/x/time/rate"

	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/pipeline/snapshot"
)

// Letters and bytes of one transaction at most.
const (
	batchLetters = 500
	batchBytes   = 16 << 20
)

// Order says what to replay and how.
type Order struct {
	Selection Selection
	DryRun    bool    // find out what would be done, and write nothing
	Rate      float64 // letters per second; 0: no limit

	// Patch changes a letter's value. It says why it refuses a letter, which is then skipped; an error ends the replay.
	// Nil leaves values as they are.
	Patch func(context.Context, deadletter.Letter) (value []byte, refusal string, err error)

	By, Why string // for the decisions
}

// Report says what a replay did, or would do.
type Report struct {
	ReplayID string
	Replayed int // or would be
	// Reasons counts what was replayed, or would be, by original topic and reason.
	Reasons map[string]map[string]int
	// Skipped letters cannot or must not be replayed. Failed ones were tried, and are open still, unless the error that
	// ended the replay says that this is not known.
	Skipped, Failed Setback
}

// Setback counts letters that were not replayed, by why.
type Setback struct {
	Letters int
	Why     map[string]*Cause
}

// Cause is why some letters were not replayed.
type Cause struct {
	Letters int
	First   ID // one of them
}

func (s *Setback) add(why string, id ID) {
	if s.Why == nil {
		s.Why = make(map[string]*Cause)
	}
	if s.Why[why] == nil {
		s.Why[why] = &Cause{First: id}
	}
	s.Why[why].Letters++
	s.Letters++
}

// replay is one run of Replay.
type replay struct {
	desk    *Desk
	order   Order
	report  *Report
	limiter *rate.Limiter // nil: no limit
	size    int           // letters of a batch
	batch   []Entry
	bytes   int
}

// Replay puts the open letters of a selection back on their topics. Each batch is one transaction, which holds the
// records and the decisions on them, so that a crash at any point replays nothing twice and forgets nothing: what has no
// decision was not replayed, and the next run takes it up. Records of one key keep their order.
//
// The report is right whenever an error ends the replay, too.
func (d *Desk) Replay(ctx context.Context, order Order) (Report, error) {
	report := Report{ReplayID: uuid.NewString(), Reasons: make(map[string]map[string]int)}
	ctx = resilience.WithCorrelationID(ctx, report.ReplayID)
	topics, err := d.topics(ctx, order.Selection)
	if err != nil {
		return report, err
	}
	for _, topic := range topics {
		if err := snapshot.Exists(ctx, d.client, originalTopic(topic)); err != nil {
			return report, err
		}
	}
	if !order.DryRun {
		// Before the decisions are read, so that none can be added after.
		if err := d.takeOver(ctx); err != nil {
			return report, err
		}
	}
	states, err := d.decided(ctx)
	if err != nil {
		return report, err
	}
	if len(order.Selection.IDs) > 0 {
		// One of them may be wrong: know it before the first is replayed.
		if err := d.scan(ctx, topics, states, order.Selection, func(Entry) error { return nil }); err != nil {
			return report, err
		}
	}
	r := &replay{desk: d, order: order, report: &report, size: d.batch}
	if order.Rate > 0 {
		r.size = int(min(math.Ceil(order.Rate), float64(d.batch)))
		r.limiter = rate.NewLimiter(rate.Limit(order.Rate), r.size)
	}
	err = r.run(ctx, topics, states)
	if !order.DryRun && report.Replayed > 0 {
		d.settle(ctx)
	}
	return report, err
}

func (r *replay) run(ctx context.Context, topics []string, states decided) error {
	if !r.order.DryRun {
		start := time.Now()
		r.desk.logger.InfoContext(ctx, "replay started")
		defer func() {
			r.desk.logger.InfoContext(ctx, "replay ended", "replayed", r.report.Replayed, "skipped", r.report.Skipped.Letters,
				"failed", r.report.Failed.Letters, "seconds", time.Since(start).Seconds())
		}()
	}
	err := r.desk.scan(ctx, topics, states, r.order.Selection, func(e Entry) error { return r.take(ctx, e) })
	if err != nil {
		return err
	}
	return r.flush(ctx)
}

// take adds a letter to the batch, unless there is a reason not to.
func (r *replay) take(ctx context.Context, e Entry) error {
	switch {
	case e.State != Open:
		r.report.Skipped.add("already "+e.State, e.ID)
		return nil
	case e.Flaw != "":
		r.report.Skipped.add(e.Flaw, e.ID)
		return nil
	}
	if r.order.Patch != nil {
		value, refusal, err := r.order.Patch(ctx, e.Letter)
		if err != nil {
			return fmt.Errorf("patching %s: %w", e.ID, err)
		}
		if refusal != "" {
			r.report.Skipped.add(refusal, e.ID)
			return nil
		}
		e.Letter.Value = value
	}
	if size := len(e.Letter.Key) + len(e.Letter.Value); len(r.batch) == r.size || r.bytes+size > batchBytes {
		if err := r.flush(ctx); err != nil {
			return err
		}
	}
	r.batch = append(r.batch, e)
	r.bytes += len(e.Letter.Key) + len(e.Letter.Value)
	return nil
}

// flush replays the batch in hand.
func (r *replay) flush(ctx context.Context) error {
	batch := r.batch
	r.batch, r.bytes = nil, 0
	if len(batch) == 0 {
		return nil
	}
	if r.order.DryRun {
		r.done(batch)
		return nil
	}
	if r.limiter != nil {
		if err := r.limiter.WaitN(ctx, len(batch)); err != nil {
			return fmt.Errorf("waiting for the rate's sake: %w", err)
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return r.transact(ctx, batch)
}

// transact replays letters in one transaction, or in several if the topic does not take one of them: such a letter must
// not hold the others up.
func (r *replay) transact(ctx context.Context, batch []Entry) error {
	err := r.desk.commit(ctx, batch, r.decision())
	var refused *refusedError
	switch {
	case err == nil:
		r.done(batch)
		return nil
	case !errors.As(err, &refused):
		for _, e := range batch {
			r.report.Failed.add(err.Error(), e.ID)
		}
		return err
	case len(batch) == 1:
		r.report.Failed.add(err.Error(), batch[0].ID)
		return nil
	}
	half := len(batch) / 2
	if err := r.transact(ctx, batch[:half]); err != nil {
		return err
	}
	return r.transact(ctx, batch[half:])
}

func (r *replay) decision() Decision {
	return Decision{
		Decision: Replayed, ReplayID: r.report.ReplayID, At: time.Now().UTC(),
		By: r.order.By, Why: r.order.Why, Patched: r.order.Patch != nil,
	}
}

func (r *replay) done(batch []Entry) {
	for _, e := range batch {
		if r.report.Reasons[e.ID.Topic] == nil {
			r.report.Reasons[e.ID.Topic] = make(map[string]int)
		}
		r.report.Reasons[e.ID.Topic][e.Letter.Reason]++
		r.report.Replayed++
	}
}

// Shortfall says that not everything selected was replayed, if so.
func (r Report) Shortfall() error {
	if missed := r.Skipped.Letters + r.Failed.Letters; missed > 0 {
		return fmt.Errorf("%d of %d selected letters were not replayed", missed, missed+r.Replayed)
	}
	return nil
}
