package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/revstream/revstream/deploy/local/bench/meter"
	"github.com/revstream/revstream/deploy/local/bench/workload"
)

const (
	viewVersions = 10 // events of a key
	viewBatch    = 100_000
	freshBatches = 4 // that nothing is merged with, while the views are asked
	freshEvents  = 10_000
	pointTries   = 30
	wholeTries   = 5
	// kept is the table that has the forecasts from round to round.
	kept = "bench_current"
	// forecastKey is of one key among them.
	forecastKey = "forecast_id = 'f' AND time_period_id = '%d_Q1' AND time_frame_id = 'TF:%d' AND user_id = 'u%d' AND field_id = 'field_%d' AND kind = '%s'"
)

var viewKinds = []string{"forecast", "quota", "forecast_updated", "adjustment", "crm_total", "crm_closed"}

// views measures how long the views of the present state take to answer, over a table as a consumer leaves it: merged up to the last
// hour, with fresh batches on top that are not.
func (r *run) views() measurement {
	return measurement{
		once:    true,
		figures: []string{ViewsPoint, ViewsAggregate, ViewsQuota},
		setUp:   r.fillForecasts,
		measure: func(ctx context.Context) error {
			if err := r.layForecasts(ctx); err != nil {
				return err
			}
			const merges = " MERGES forecast_current"
			if _, err := r.rig.SQL(ctx, "SYSTEM STOP"+merges); err != nil {
				return err
			}
			err := r.askViews(ctx)
			if _, begun := r.rig.SQL(context.WithoutCancel(ctx), "SYSTEM START"+merges); err == nil {
				err = begun
			}
			return err
		},
	}
}

// fillForecasts makes the forecasts: one version of all keys after another, in batches as a consumer's, and merged as after an hour.
func (r *run) fillForecasts(ctx context.Context) error {
	keys := r.cfg.Views / viewVersions
	r.say("filling the current table with %d events of %d keys", keys*viewVersions, keys)
	if _, err := r.rig.SQL(ctx, "CREATE TABLE "+kept+" AS forecast_current"); err != nil {
		return err
	}
	for version := range viewVersions {
		for from := 0; from < keys; from += viewBatch {
			if err := r.insertForecasts(ctx, kept, version, from, min(viewBatch, keys-from)); err != nil {
				return err
			}
		}
	}
	if err := r.rig.Quiet(ctx); err != nil {
		return err
	}
	// What the table's own setting does with parts that are an hour old (00016_merges.sql).
	_, err := r.rig.SQL(ctx, "OPTIMIZE TABLE "+kept+" FINAL")
	return err
}

// insertForecasts inserts one version of the keys from one on, six kinds of five fields in thirteen weeks of eight periods for each user.
func (r *run) insertForecasts(ctx context.Context, table string, version, from, n int) error {
	_, err := r.rig.SQL(ctx, fmt.Sprintf(`INSERT INTO %s (forecast_id, time_period_id, time_frame_id, user_id, field_id, kind, value, currency_code,
			user_email, user_name, hierarchy_id, parent_hierarchy_id, time_period_start, time_period_end, time_frame_start, time_frame_end,
			job_id, event_id, source_version, observed_at, is_deleted, correlation_id)
		SELECT 'f', concat(toString(2019 + period), '_Q1'), concat('TF:', toString(week)), concat('u', toString(user)), concat('field_', toString(field)),
			['forecast', 'quota', 'forecast_updated', 'adjustment', 'crm_total', 'crm_closed'][number %% 6 + 1],
			toDecimal256(cityHash64(number, %[2]d) %% 100000000 / 100, 18), 'USD', concat('u', toString(user), '@example.com'), concat('User ', toString(user)),
			concat('h', toString(user %% 50)), if(user %% 50 = 0, NULL, concat('h', toString(intDiv(user %% 50, 5)))),
			makeDate32(2019 + period, 1, 1), makeDate32(2019 + period, 3, 31), makeDate32(2019 + period, 1, 1) + 7 * week, makeDate32(2019 + period, 1, 1) + 7 * week + 6,
			'job', reinterpretAsUUID(bitOr(
				bitShiftLeft(toUInt128(bitOr(bitShiftLeft(toUInt64(1), 63), bitShiftRight(cityHash64(number), 3))), 64),
				toUInt128(bitOr(bitShiftLeft(intDiv(micros, 1000), 16), 0x8000 + micros %% 1000)))),
			fromUnixTimestamp64Micro(micros, 'UTC'), fromUnixTimestamp64Micro(micros, 'UTC'), 0, 'bench'
		FROM (SELECT number, intDiv(number, 6) %% 5 AS field, intDiv(number, 30) %% 13 AS week, intDiv(number, 390) %% 8 AS period, intDiv(number, 3120) AS user,
			toInt64(%[3]d + %[2]d * 86400000000 + cityHash64(number) %% 1000000) AS micros FROM numbers(%[4]d, %[5]d))`,
		table, version, workload.Epoch.UnixMicro(), from, n))
	return err
}

// layForecasts puts them into the real table, by links to the parts.
func (r *run) layForecasts(ctx context.Context) error {
	if err := r.clear(ctx, workload.Forecasts, "current"); err != nil {
		return err
	}
	_, err := r.rig.SQL(ctx, "ALTER TABLE forecast_current ATTACH PARTITION ALL FROM "+kept)
	return err
}

func (r *run) askViews(ctx context.Context) error {
	keys := r.cfg.Views / viewVersions
	for batch := range freshBatches {
		n := min(freshEvents, keys/freshBatches)
		if err := r.insertForecasts(ctx, "forecast_current", viewVersions+batch, batch*keys/freshBatches, n); err != nil {
			return err
		}
	}
	if got, err := r.rig.Number(ctx, "SELECT count() FROM forecast"); err != nil || got != int64(keys) {
		return fmt.Errorf("the figures are worth nothing: the view has %d rows of %d (%w) %s", got, keys, err, r.logs())
	}
	for _, ask := range []struct {
		figure, plain string // plain is the same of the table, with what was superseded
		statement     func(from string, try int) string
		tries         int
		unit          time.Duration
	}{
		{ViewsPoint, "plain_ms", func(from string, try int) string {
			i := try * keys / pointTries
			return fmt.Sprintf("SELECT value FROM %s WHERE "+forecastKey, from, 2019+i/390%8, i/30%13, i/3120, i/6%5, viewKinds[i%6])
		}, pointTries, time.Millisecond},
		{ViewsAggregate, "plain_s", func(from string, _ int) string {
			return "SELECT time_period_id, kind, sum(value) FROM " + from + " GROUP BY time_period_id, kind"
		}, wholeTries, time.Second},
		{ViewsQuota, "", func(string, int) string { return "SELECT count(), sum(quota) FROM forecast_vs_quota" }, wholeTries, time.Second},
	} {
		if !r.wanted(ask.figure) {
			continue
		}
		before, err := meter.CPU(r.rig.Engine.PID())
		if err != nil {
			return err
		}
		took, err := r.asking(ctx, "forecast", ask.statement, ask.tries, ask.unit)
		if err != nil {
			return err
		}
		after, err := meter.CPU(r.rig.Engine.PID())
		if err != nil {
			return err
		}
		r.report.add(ask.figure, "", took)
		r.report.add(ask.figure, "engine_cpu_ms", float64((after-before).Milliseconds())/float64(ask.tries+1))
		r.say("%s: %.3f", ask.figure, took)
		if ask.plain == "" {
			continue
		}
		plain, err := r.asking(ctx, "forecast_current", ask.statement, ask.tries, ask.unit)
		if err != nil {
			return err
		}
		r.report.add(ask.figure, ask.plain, plain)
		r.report.add(ask.figure, "of_plain", took/plain)
	}
	parts, err := r.rig.Number(ctx, "SELECT count() FROM system.parts WHERE active AND database = currentDatabase() AND table = 'forecast_current'")
	r.report.add(ViewsAggregate, "parts", float64(parts))
	return err
}

// asking is the median time of a statement, after a first one that is not counted. What an earlier one has found out of which rows a
// condition is true for does not help.
func (r *run) asking(ctx context.Context, from string, statement func(from string, try int) string, tries int, unit time.Duration) (float64, error) {
	var took []float64
	for try := range tries + 1 {
		begun := time.Now()
		answer, err := r.rig.SQL(ctx, statement(from, try%tries)+" SETTINGS use_query_condition_cache = 0")
		if err != nil {
			return 0, err
		}
		if answer == "" {
			return 0, fmt.Errorf("the figures are worth nothing: %s has no rows", statement(from, try%tries))
		}
		if try > 0 {
			took = append(took, float64(time.Since(begun))/float64(unit))
		}
	}
	return meter.Quantile(took, 0.5), nil
}
