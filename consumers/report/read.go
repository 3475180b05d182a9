package report

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

const (
	lagPoints   = 168 // of a line
	letterSteps = 28  // of a column chart
	newestShown = 5
	lettersKept = "30" // days for which a dead-letter topic keeps a letter
	hour        = 3600
)

func (r *Reporter) freshness(ctx context.Context, rep *Report) error {
	err := r.conn.Select(ctx, &rep.Freshness, `SELECT source, entity, last_success, newest_ingested_at,
			toFloat64(age_seconds) AS age_seconds, toFloat64(delay_p95_seconds) AS delay_p95_seconds
		FROM freshness ORDER BY source, entity`)
	for i := range rep.Freshness {
		f := &rep.Freshness[i]
		for _, c := range r.contracts { // of the versions of a contract the newest comes last
			if c.Relation == f.Entity {
				f.PromisedDelay, f.PromisedAge = 60*float64(c.SLA.FreshnessP95Minutes), 60*float64(c.SLA.MaxAgeMinutes)
			}
		}
	}
	return err
}

func (r *Reporter) runs(ctx context.Context, rep *Report) error {
	return r.conn.Select(r.at(ctx, rep, nil), &rep.Runs, `SELECT toString(day) AS day, source, entity,
			toInt64(runs) AS runs, toInt64(succeeded) AS succeeded, toInt64(partial) AS partial, toInt64(failed) AS failed, toInt64(cancelled) AS cancelled,
			completion_rate, toFloat64(seconds_p50) AS seconds_p50, toFloat64(seconds_p95) AS seconds_p95,
			toInt64(rows_published) AS published, toInt64(rows_rejected) AS rejected
		FROM pipeline_health AS h WHERE h.day >= toDate(toDateTime({from:Int64}, 'UTC'))
		ORDER BY source, entity, day`)
}

func (r *Reporter) lag(ctx context.Context, rep *Report) error {
	step := max(60, int64(rep.Days)*24*hour/lagPoints)
	ctx = r.at(ctx, rep, clickhouse.Parameters{"step": fmt.Sprint(step)})
	const since = ` FROM consumer_lag WHERE at >= toDateTime64({from:Int64}, 6, 'UTC') GROUP BY consumer_group, topic`
	err := r.conn.Select(ctx, &rep.Lag, `SELECT consumer_group, topic, argMax(consumer_lag.lag, at) AS lag, max(consumer_lag.lag) AS most,
			max(at) AS sampled_at, maxOrNullIf(at, consumer_lag.lag = 0) AS caught_up_at`+since+` ORDER BY consumer_group, topic`)
	if err != nil {
		return err
	}
	var points []struct {
		Group string `ch:"consumer_group"`
		Topic string `ch:"topic"`
		At    int64  `ch:"bucket"`
		Most  int64  `ch:"most"`
	}
	err = r.conn.Select(ctx, &points, `SELECT consumer_group, topic, toInt64(intDiv(toUnixTimestamp(at), {step:Int64}) * {step:Int64}) AS bucket,
			max(lag) AS most`+since+`, bucket ORDER BY bucket`)
	for _, p := range points {
		for i := range rep.Lag {
			if l := &rep.Lag[i]; l.Group == p.Group && l.Topic == p.Topic {
				l.Points = append(l.Points, Point{time.Unix(p.At, 0).UTC(), p.Most})
			}
		}
	}
	return err
}

func (r *Reporter) letters(ctx context.Context, rep *Report) error {
	err := r.conn.Select(ctx, &rep.Letters.Open, `SELECT original_topic, reason, stage, toInt64(letters) AS letters, toInt64(returned) AS returned,
		oldest_failure, newest_failure FROM dead_letters_open ORDER BY letters DESC, original_topic, reason, stage`)
	if err != nil {
		return err
	}
	err = r.conn.Select(ctx, &rep.Letters.Newest, `SELECT concat(replaceRegexpOne(topic, '\\.dlq$', ''), '/', toString(partition), '/', toString(offset)) AS id,
			reason, stage, last_failure, replays
		FROM dead_letter_states WHERE state = 'open' ORDER BY last_failure DESC, id LIMIT `+fmt.Sprint(newestShown))
	if err != nil {
		return err
	}
	return r.lettersOver(ctx, rep)
}

// lettersOver counts from when letters came to when something was decided about them. One of which nothing was, and that is gone,
// was open for as long as its topic keeps a letter.
func (r *Reporter) lettersOver(ctx context.Context, rep *Report) error {
	step := int64(rep.Days) * 24 * hour / letterSteps
	rep.Letters.Step = float64(step)
	steps := (rep.MadeAt.Unix()-rep.From.Unix())/step + 1
	var changes []struct {
		Reason string `ch:"reason"`
		Step   int64  `ch:"step"`
		Change int64  `ch:"change"`
	}
	ctx = r.at(ctx, rep, clickhouse.Parameters{"step": fmt.Sprint(step)})
	err := r.conn.Select(ctx, &changes, `SELECT reason, greatest(-1, toInt64(floor((toUnixTimestamp(tupleElement(moved, 1)) - {from:Int64}) / {step:Int64}))) AS step,
			sum(toInt64(tupleElement(moved, 2))) AS change
		FROM (SELECT reason, arrayJoin([(toNullable(written_at), 1),
				(multiIf(state = 'open', NULL, state = 'expired', written_at + INTERVAL `+lettersKept+` DAY, decided_at), -1)]) AS moved FROM dead_letter_states)
		WHERE tupleElement(moved, 1) IS NOT NULL GROUP BY reason, step HAVING change != 0 ORDER BY reason, step`)
	if err != nil {
		return err
	}
	rep.Letters.Known = len(changes) > 0
	byReason := map[string][]int64{}
	for _, c := range changes {
		if byReason[c.Reason] == nil {
			byReason[c.Reason] = make([]int64, steps)
		}
		for i := max(0, c.Step); i < steps; i++ {
			byReason[c.Reason][i] += c.Change
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(byReason)) {
		if open := byReason[reason]; slices.Max(open) > 0 {
			rep.Letters.Over = append(rep.Letters.Over, ReasonOver{reason, open})
		}
	}
	return nil
}

func (r *Reporter) reconciliation(ctx context.Context, rep *Report) error {
	return r.conn.Select(r.at(ctx, rep, nil), &rep.Reconciliation, `SELECT source, entity, subject, max(checked_at) AS last_checked_at, toInt64(count()) AS results,
			sumIf(rows_expected, NOT counted_elsewhere) AS sum_expected, sumIf(on_topic, NOT counted_elsewhere) AS sum_on_topic,
			sumIf(stored, NOT counted_elsewhere) AS sum_stored, sumIf(pending, NOT counted_elsewhere) AS sum_pending,
			sumIf(dead_lettered, NOT counted_elsewhere) AS sum_dead_lettered, sumIf(missing, NOT counted_elsewhere) AS sum_missing,
			sumIf(gap, NOT counted_elsewhere) AS sum_gap
		FROM reconciliation WHERE checked_at >= toDateTime64({from:Int64}, 6, 'UTC')
		GROUP BY source, entity, subject ORDER BY source, entity, subject DESC`)
}

func (r *Reporter) checks(ctx context.Context, rep *Report) error {
	var rules []struct {
		Contract   string    `ch:"contract"`
		Relation   string    `ch:"relation"`
		Rule       string    `ch:"rule"`
		CheckedAt  time.Time `ch:"checked_at"`
		OK         bool      `ch:"ok"`
		Violations uint64    `ch:"violations"`
		Measured   *float64  `ch:"measured"`
		Found      string    `ch:"found"`
		Expected   string    `ch:"expected"`
	}
	err := r.conn.Select(ctx, &rules, `SELECT contract, relation, rule, checked_at, ok, violations, measured, found, expected FROM contract_checks FINAL
		WHERE (contract, checked_at) GLOBAL IN (SELECT contract, max(checked_at) FROM contract_checks GROUP BY contract) ORDER BY contract, rule`)
	for _, rule := range rules {
		if n := len(rep.Contracts); n == 0 || rep.Contracts[n-1].Name != rule.Contract {
			rep.Contracts = append(rep.Contracts, Contract{Name: rule.Contract, Relation: rule.Relation, CheckedAt: rule.CheckedAt})
		}
		c := &rep.Contracts[len(rep.Contracts)-1]
		c.Rules++
		if rule.Rule == "freshness_p95" {
			c.Delay = rule.Measured
		}
		if !rule.OK {
			c.Broken = append(c.Broken, Rule{rule.Rule, oneLine(rule.Found), rule.Expected, rule.Violations})
		}
	}
	return err
}

func (r *Reporter) quality(ctx context.Context, rep *Report) error {
	var err error
	if rep.Quality.CheckedAt, err = r.newest(ctx, `SELECT maxOrNull(checked_at) AS newest FROM data_quality_analyses`); err != nil {
		return err
	}
	return r.conn.Select(ctx, &rep.Quality.Findings, `SELECT check, column, severity, rows, of_rows, text FROM data_quality
		ORDER BY indexOf(['critical', 'warning', 'info'], severity), check, column`)
}

// newest is the one time that a query answers with; nil for NULL.
func (r *Reporter) newest(ctx context.Context, query string) (*time.Time, error) {
	var rows []struct {
		Newest *time.Time `ch:"newest"`
	}
	if err := r.conn.Select(ctx, &rows, query); err != nil || len(rows) == 0 {
		return nil, err
	}
	return rows[0].Newest, nil
}

func (r *Reporter) anomalies(ctx context.Context, rep *Report) error {
	a := &rep.Anomalies
	var err error
	if a.LastRun, err = r.newest(ctx, `SELECT maxOrNull(finished_at) AS newest FROM anomaly_runs FINAL`); err != nil {
		return err
	}
	const open = ` FROM forecast_anomalies FINAL WHERE state = 'open'`
	err = r.conn.Select(ctx, &a.Open, `SELECT scope, toInt64(count()) AS reviews, min(opened_at) AS oldest`+open+` GROUP BY scope ORDER BY scope`)
	if err != nil {
		return err
	}
	return r.conn.Select(ctx, &a.Newest, `SELECT toString(anomaly_id) AS id, scope, time_period_id, field_id, kind, toFloat64(percent) AS percent, opened_at`+
		open+` ORDER BY opened_at DESC, id LIMIT `+fmt.Sprint(newestShown))
}
