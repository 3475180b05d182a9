package desk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/revstream/revstream/pipeline/deadletter"
)

// Resume goes on with a run that was interrupted, has stopped, or whose process is gone. Of the order only By, Why, From
// and TakeOver are read; what is to be done is in the run's record.
func (d *Desk) Resume(ctx context.Context, runID string, order Order, progress func(Report)) (Report, error) {
	if err := order.validateWhy(); err != nil {
		return Report{}, err
	}
	// What the record holds is not known to be the newest before the others are fenced, but whether there is one.
	w, err := d.resumable(ctx, runID)
	if err != nil {
		return Report{}, err
	}
	s, err := d.join(ctx, order.TakeOver)
	if err != nil {
		return Report{}, err
	}
	defer d.leave(s)
	s.mu.Lock()
	record := s.ledger.runs[runID]
	s.mu.Unlock()
	if !d.enter(runID) {
		return Report{}, &BusyError{Run: record}
	}
	defer d.exit(runID)
	if err := isResumable(record); err != nil {
		return Report{}, err
	}
	record.By, record.Why, record.From = order.By, order.Why, order.From
	w.clip(record.Spans)
	return d.carryOut(ctx, s, w, record, progress)
}

// resumable finds out what a run was about, and that it can be resumed.
func (d *Desk) resumable(ctx context.Context, runID string) (*work, error) {
	ledger, err := d.ledger(ctx)
	if err != nil {
		return nil, err
	}
	record, ok := ledger.runs[runID]
	if !ok {
		return nil, fmt.Errorf("%s: %w", runID, ErrUnknownRun)
	}
	if err := isResumable(record); err != nil {
		return nil, err
	}
	var order Order
	if err := json.Unmarshal(record.Order, &order); err != nil {
		return nil, fmt.Errorf("reading the order of run %s: %w", runID, err)
	}
	return d.prepare(ctx, order)
}

func isResumable(record deadletter.Run) error {
	switch {
	case record.Action == deadletter.Imported:
		return fmt.Errorf("run %s was an import: import the file again, what is there already is skipped", record.ID)
	case record.Action == deadletter.Exported:
		return fmt.Errorf("run %s was an export: export again", record.ID)
	case record.Status == deadletter.Done:
		return fmt.Errorf("run %s is done: there is nothing to resume", record.ID)
	case record.Status == Undecipherable:
		return errors.New("the record of run " + record.ID + " is not of a known form: it was written by another version")
	default:
		return nil
	}
}
