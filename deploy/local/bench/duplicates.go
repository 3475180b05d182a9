package bench

import (
	"context"
	"fmt"

	"github.com/revstream/revstream/deploy/local/bench/workload"
	"github.com/revstream/revstream/schemas/forecast"
)

// duplicates measures a topic of which every other record is a copy of an event that the ledger has from the measurement of
// forecasts before, against that measurement.
func (r *run) duplicates() measurement {
	var topic *loaded
	return measurement{
		figures: []string{DuplicatesGain},
		setUp: func(ctx context.Context) (err error) {
			topic, err = load(ctx, r, "duplicates", workload.Forecasts, r.cfg.Events, func(i int) (*forecast.Forecast, error) {
				if i%2 == 1 {
					i += r.cfg.Events // new
				}
				return workload.Forecast(i, workload.Version(i))
			})
			return err
		},
		measure: func(ctx context.Context) error {
			// The ledger stays. Without these the rows of before, which are not in this measurement's rate, would be merged with its own.
			if err := r.clear(ctx, workload.Forecasts, "current", "history"); err != nil {
				return err
			}
			known, err := r.rig.Number(ctx, "SELECT count() FROM forecast_ledger")
			if err != nil {
				return err
			}
			if known != r.plain.topic.records {
				return fmt.Errorf("before the duplicates the ledger has %d events of %d", known, r.plain.topic.records)
			}
			fresh := topic.records / 2
			result, err := r.consume(ctx, consumption{topic: topic, want: rows{fresh, fresh, known + fresh}})
			if err != nil {
				return err
			}
			r.addConsumed(DuplicatesGain, "consume", result)
			r.report.add(DuplicatesGain, "", result.rate/r.plain.rate)
			r.say("%s: %.0f records/s are %.2f times %.0f", DuplicatesGain, result.rate, result.rate/r.plain.rate, r.plain.rate)
			return nil
		},
	}
}
