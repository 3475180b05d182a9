package backfill

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/snapshot"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/exportrun"
	"github.com/revstream/revstream/schemas/wire"
)

// Accounts finds the accounts of export runs under a correlation ID.
type Accounts struct {
	Kafka   *kgo.Client
	Schemas wire.SchemaSource
}

// of returns them in the topic's order, each as often as it was published.
func (a Accounts) of(ctx context.Context, correlationID string) ([]exportrun.ExportRun, error) {
	decoder := wire.NewDecoder(exportrun.Schema, a.Schemas)
	var found []exportrun.ExportRun
	err := snapshot.Read(ctx, a.Kafka, schemas.ExportRunsTopic, func(record *kgo.Record) error {
		var run exportrun.ExportRun
		err := decoder.Decode(ctx, record.Value, &run)
		if _, invalid := errors.AsType[*wire.InvalidError](err); invalid {
			return nil // the consumers' matter
		}
		if err == nil && run.CorrelationID == correlationID {
			found = append(found, run)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("looking for what an interrupted run has accounted for: %w", err)
	}
	return found, nil
}
