package desk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// Drained says how a drain has ended.
type Drained struct {
	Runs     []string // their IDs
	Rounds   int
	Replayed int // a letter as often as it was replayed
	Parked   int
	// Of the selected letters, those that are open and could be replayed, and those that never can.
	Open, Unreplayable int
	// Unjudged are replayed letters that nobody had dealt with when the wait for them was over.
	Unjudged int
}

// Drain replays the open letters of a selection, waits until consumers have dealt with them, and replays what came back, round
// by round, until none is left: whichever still fails is parked by then. After each round it waits as long as told at
// most, and not at all where the groups have no members. What fails for the first time while it is at work is drained
// with the rest, but does not prolong it: it ends after as many rounds as a letter can take.
//
// Drained is right whenever an error ends it, too.
func (d *Desk) Drain(ctx context.Context, order Order, wait time.Duration, progress func(Report)) (Drained, error) {
	var drained Drained
	if err := errors.Join(order.validate(), order.validateWhy(), order.validateDrain()); err != nil {
		return drained, err
	}
	order = order.withDefaults()
	order.Selection.States = []string{Open}
	for {
		if err := d.remaining(ctx, order.Selection, &drained); err != nil {
			return drained, err
		}
		if drained.Open == 0 || drained.Rounds > order.MaxReplays {
			return drained, nil
		}
		report, err := d.round(ctx, order, wait, progress, &drained)
		if err != nil {
			drained.Open -= report.Done + report.Parked
			if ctx.Err() == nil {
				err = errors.Join(err, d.remaining(ctx, order.Selection, &drained))
			}
			return drained, err
		}
		if report.Done+report.Parked == 0 {
			return drained, nil // another round would do no more
		}
	}
}

// validateDrain tells what a drain cannot do.
func (o Order) validateDrain() error {
	var errs []error
	if !o.Action.replays() {
		errs = append(errs, fmt.Errorf("a drain replays letters: it cannot %s them", o.Action))
	}
	if o.Selection.Limit != 0 {
		errs = append(errs, errors.New("a drain takes all that is selected: it has no limit"))
	}
	if slices.ContainsFunc(o.Selection.States, func(state string) bool { return state != Open }) {
		errs = append(errs, errors.New("a drain takes open letters, and no others"))
	}
	return errors.Join(errs...)
}

// round is a run, and the wait for consumers to deal with what it has replayed.
func (d *Desk) round(ctx context.Context, order Order, wait time.Duration, progress func(Report), drained *Drained) (Report, error) {
	var j *judge
	report, err := d.run(ctx, order, progress, func(made *judge) { j = made })
	if report.RunID != "" {
		drained.Runs = append(drained.Runs, report.RunID)
		drained.Rounds++
	}
	drained.Replayed += report.Done
	drained.Parked += report.Parked
	if err != nil {
		return report, err
	}
	err = d.await(ctx, j, wait, report, progress)
	drained.Unjudged += j.left
	return report, err
}

// await returns when all that was replayed is judged, the wait is over, or there is nobody to wait for.
func (d *Desk) await(ctx context.Context, j *judge, wait time.Duration, report Report, progress func(Report)) (err error) {
	late, tick := time.NewTimer(wait), time.NewTicker(d.pace.judge)
	defer late.Stop()
	defer tick.Stop()
	for {
		if report.Judged, report.Returned, err = j.poll(ctx); err != nil {
			return err
		}
		if progress != nil {
			progress(report.clone())
		}
		present, err := members(ctx, kadm.NewClient(d.client), j.groups())
		if err != nil {
			return err
		}
		if nobody(present) {
			return nil
		}
		select {
		case <-late.C:
			return nil
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// nobody says that no group has members, if there are groups at all.
func nobody(members map[string]int) bool {
	for _, n := range members {
		if n > 0 {
			return false
		}
	}
	return true
}

// remaining counts the open letters of a selection.
func (d *Desk) remaining(ctx context.Context, selection Selection, drained *Drained) error {
	open, unreplayable := 0, 0
	err := d.Letters(ctx, selection, func(e Entry) error {
		if e.Flaw != "" {
			unreplayable++
		} else {
			open++
		}
		return nil
	})
	if err == nil {
		drained.Open, drained.Unreplayable = open, unreplayable
	}
	return err
}
