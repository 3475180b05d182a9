package desk

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/schemas"
)

// Reveal writes down that somebody is about to see the personal data of letters, and must succeed before they do. It
// decides nothing, so it needs no transaction, and never waits for a run. Of the order By, Why and From are read.
func (d *Desk) Reveal(ctx context.Context, ids []ID, order Order) error {
	if err := order.validateWhy(); err != nil {
		return err
	}
	decision := deadletter.Decision{Decision: deadletter.Revealed, At: d.pace.now().UTC(), By: order.By, Why: order.Why, From: order.From}
	records := make([]*kgo.Record, len(ids))
	for i, id := range ids {
		var err error
		if records[i], err = decision.Record(schemas.DLQDecisionsTopic, id.place()); err != nil {
			return err
		}
	}
	if err := send(ctx, d.client, records, leastSendBytes); err != nil {
		return fmt.Errorf("writing down who sees personal data: %w", err)
	}
	return nil
}

// Record writes a run down that the desk does not carry out itself, such as an export.
func (d *Desk) Record(ctx context.Context, run deadletter.Run) error {
	rec, err := run.Record(schemas.DLQDecisionsTopic)
	if err != nil {
		return err
	}
	if err := send(ctx, d.client, []*kgo.Record{rec}, leastSendBytes); err != nil {
		return fmt.Errorf("writing run %s down: %w", run.ID, err)
	}
	return nil
}
