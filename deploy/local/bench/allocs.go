package bench

import (
	"context"
	"fmt"
	"runtime"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	consumerforecast "github.com/revstream/revstream/consumers/forecast"
	"github.com/revstream/revstream/deploy/local/bench/workload"
	"github.com/revstream/revstream/pipeline/table"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/forecast"
	"github.com/revstream/revstream/schemas/wire"
)

const (
	allocBatch   = 20_000 // records: a consumer's batch
	allocBatches = 5
)

// allocs counts the allocations of what a consumer does with a record from its bytes to its row.
func (r *run) allocs() measurement {
	var records []*kgo.Record
	return measurement{
		figures: []string{AllocsPerEvent},
		setUp: func(context.Context) (err error) {
			records, err = encoded(allocBatch)
			return err
		},
		measure: func(ctx context.Context) error {
			row, reset := toRow()
			batch := func() error {
				reset()
				for _, rec := range records {
					if err := row(ctx, rec); err != nil {
						return fmt.Errorf("counting allocations: %w", err)
					}
				}
				return nil
			}
			if err := batch(); err != nil { // what is made once for all
				return err
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range allocBatches {
				if err := batch(); err != nil {
					return err
				}
			}
			runtime.ReadMemStats(&after)
			const events = allocBatch * allocBatches
			r.report.add(AllocsPerEvent, "", float64(after.Mallocs-before.Mallocs)/events)
			r.report.add(AllocsPerEvent, "bytes_per_event", float64(after.TotalAlloc-before.TotalAlloc)/events)
			return nil
		},
	}
}

// toRow returns what forecast-consumer does with a record: it reads it, checks it, and puts it into the columns of its
// batch. reset begins a batch.
func toRow() (row func(context.Context, *kgo.Record) error, reset func()) {
	e := new(forecast.Forecast)
	scanner := wire.NewScanner(wire.NewDecoder(forecast.Schema, onlySchema{}), e)
	content := table.NewBlock(consumerforecast.Columns)
	ids := table.NewBlock([]table.Column[uuid.UUID]{table.Of("event_id", "UUID", func(id uuid.UUID) uuid.UUID { return id })})
	row = func(ctx context.Context, rec *kgo.Record) error {
		if err := scanner.Scan(ctx, rec.Value); err != nil {
			return err
		}
		if err := event.Check(e, rec.Key); err != nil {
			return err
		}
		content.Append(e)
		ids.Append(e.EventID)
		return nil
	}
	return row, func() { content.Reset(); ids.Reset() }
}

// encoded are forecasts as they are in a topic.
func encoded(n int) ([]*kgo.Record, error) {
	encoder := wire.NewEncoder(forecast.Schema, 1)
	records := make([]*kgo.Record, n)
	for i := range records {
		e, err := workload.Forecast(i, workload.Version(i))
		if err != nil {
			return nil, err
		}
		value, err := encoder.Encode(e)
		if err != nil {
			return nil, err
		}
		records[i] = &kgo.Record{Key: []byte(e.Key()), Value: value}
	}
	return records, nil
}

// onlySchema is a registry that has the forecasts' schema under every ID.
type onlySchema struct{}

// SchemaText implements wire.SchemaSource.
func (onlySchema) SchemaText(context.Context, int) (string, error) {
	return schemas.Avro(forecast.SchemaFile)
}
