package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/revstream/revstream/deploy/local/bench/rig"
	"github.com/revstream/revstream/deploy/local/bench/workload"
	"github.com/revstream/revstream/deploy/local/process"
	"github.com/revstream/revstream/schemas/forecast"
)

const (
	// ledgerStep is the time between two events of the large ledger, in microseconds: 50,000,000 of them are of 87 days, as
	// the ledger forgets after 90.
	ledgerStep = 150_000
	// The measurement with late versions, each of which is in another place of the ledger, reads a fifth of the events, but
	// no fewer than some batches.
	scatteredShare, scatteredLeast = 5, 250_000
	// filled is the table that keeps the large ledger from round to round.
	filled = "bench_ledger"
)

// ledger measures the topic of forecasts with a large ledger, whose events are all older, against an empty one; how long a
// consumer needs to its first row there; and new events whose versions lie scattered over the ledger's time.
func (r *run) ledger() measurement {
	var scattered *loaded
	return measurement{
		figures: []string{LedgerShare, StartLedger},
		setUp: func(ctx context.Context) (err error) {
			if err := r.fillLedger(ctx); err != nil {
				return err
			}
			span := time.Duration(r.cfg.Ledger) * ledgerStep * time.Microsecond
			records := min(r.cfg.Events, max(r.cfg.Events/scatteredShare, scatteredLeast))
			version := workload.Scattered(1, workload.Epoch.Add(-span), span)
			scattered, err = load(ctx, r, "scattered", workload.Forecasts, records, func(i int) (*forecast.Forecast, error) {
				i += 2 * r.cfg.Events // keys of their own
				return workload.Forecast(i, version(i))
			})
			return err
		},
		measure: func(ctx context.Context) error {
			result, err := r.consumeLarge(ctx, r.plain.topic)
			if err != nil {
				return err
			}
			r.addConsumed(LedgerShare, "consume", result.consumed)
			r.report.add(LedgerShare, "empty_events_per_s", r.plain.rate)
			r.report.add(LedgerShare, "", result.rate/r.plain.rate)
			r.report.add(StartLedger, "", result.firstRow)
			r.say("%s: %.0f of %.0f events/s are %.1f %%, the first row after %.2f s", LedgerShare, result.rate, r.plain.rate, 100*result.rate/r.plain.rate, result.firstRow)
			if result, err = r.consumeLarge(ctx, scattered); err != nil {
				return err
			}
			r.addConsumed(LedgerShare, "scattered", result.consumed)
			r.report.add(StartLedger, "scattered_s", result.firstRow)
			r.say("scattered over the ledger: %.0f events/s", result.rate)
			return nil
		},
	}
}

// fillLedger makes the large ledger: IDs as events have them, time-ordered, older than those of all workloads, by another topic.
func (r *run) fillLedger(ctx context.Context) error {
	r.say("filling a ledger with %d events", r.cfg.Ledger)
	if _, err := r.rig.SQL(ctx, "CREATE TABLE "+filled+" AS forecast_ledger"); err != nil {
		return err
	}
	// The ID is of two numbers: the time with the UUID's version, and its variant with a hash. A UUID of ClickHouse has the
	// second one above.
	_, err := r.rig.SQL(ctx, fmt.Sprintf(`INSERT INTO %s (event_id, kafka_topic, kafka_partition, kafka_offset, ingested_at)
		SELECT reinterpretAsUUID(bitOr(
				bitShiftLeft(toUInt128(bitOr(bitShiftLeft(toUInt64(1), 63), bitShiftRight(cityHash64(number), 3))), 64),
				toUInt128(bitOr(bitShiftLeft(intDiv(micros, 1000), 16), 0x8000 + micros %% 1000)))),
			'bench.filled', number %% 6, intDiv(number, 6), fromUnixTimestamp(toUnixTimestamp(now()) - intDiv((%[2]d - number) * %[3]d, 1000000))
		FROM (SELECT number, toUInt64(%[4]d - (%[2]d - number) * %[3]d + cityHash64(number) %% 1000) AS micros FROM numbers_mt(%[2]d))
		SETTINGS max_insert_threads = 2, max_block_size = 1000000, min_insert_block_size_rows = 4000000, min_insert_block_size_bytes = 1000000000`,
		filled, r.cfg.Ledger, ledgerStep, workload.Epoch.UnixMicro()))
	if err != nil {
		return err
	}
	return r.rig.Quiet(ctx)
}

// large is a consumer's work with a large ledger.
type large struct {
	consumed
	firstRow float64 // seconds from the start of the process to the first row in the ledger
}

// consumeLarge measures a consumer on empty tables and the large ledger.
func (r *run) consumeLarge(ctx context.Context, topic *loaded) (result large, err error) {
	if err := r.clear(ctx, workload.Forecasts, "current", "history", "ledger"); err != nil {
		return result, err
	}
	// Links to the parts of the filled table: no byte is copied, and each round has the same.
	if _, err := r.rig.SQL(ctx, "ALTER TABLE forecast_ledger ATTACH PARTITION ALL FROM "+filled); err != nil {
		return result, err
	}
	if err := r.rig.Quiet(ctx); err != nil {
		return result, err
	}
	n := topic.records
	firstRow := func(ctx context.Context, p *process.Process, begun time.Time, _ string) error {
		err := rig.Poll(ctx, p, 10*time.Millisecond, func(ctx context.Context) (bool, error) {
			rows, err := r.ledgerRows(ctx)
			return rows > int64(r.cfg.Ledger), err
		})
		result.firstRow = time.Since(begun).Seconds()
		return err
	}
	result.consumed, err = r.consume(ctx, consumption{topic: topic, want: rows{n, n, n}, beside: firstRow})
	if err != nil {
		return result, err
	}
	got, err := r.ledgerRows(ctx)
	if want := int64(r.cfg.Ledger) + n; err == nil && got != want {
		err = fmt.Errorf("the figures are worth nothing: the ledger has %d rows of %d %s", got, want, r.logs())
	}
	return result, err
}

// ledgerRows is asked of the list of parts, which costs nothing however large they are.
func (r *run) ledgerRows(ctx context.Context) (int64, error) {
	return r.rig.Number(ctx, "SELECT sum(rows) FROM system.parts WHERE active AND database = currentDatabase() AND table = 'forecast_ledger'")
}
