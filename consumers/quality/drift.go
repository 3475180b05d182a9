package quality

import (
	"context"
	"fmt"
	"math"

	"github.com/revstream/revstream/pipeline/clickhousesink"
)

// distributions finds columns whose values have other shares than a week ago.
func (s *sample) distributions(ctx context.Context) error {
	if !s.report.Compared {
		return nil
	}
	for _, column := range distributionColumns {
		now, err := s.values(ctx, column, s.today())
		if err != nil {
			return err
		}
		then, err := s.values(ctx, column, s.then())
		if err != nil {
			return err
		}
		index := stability(now, then)
		if index < distribution.warning {
			continue
		}
		s.report.Findings = append(s.report.Findings, Finding{
			Check: DistributionDrift, Column: column, Severity: distribution.severity(index), Share: index, Count: s.report.Sampled, Of: s.report.Sampled,
			Text: fmt.Sprintf("the shares of its values have moved since a week ago: population stability index %.2f", index),
		})
	}
	return nil
}

// values counts those of a column. Null is one, too.
func (s *sample) values(ctx context.Context, column, from string) (map[string]float64, error) {
	rows, err := s.conn.Query(ctx, fmt.Sprintf("SELECT ifNull('=' || toString(%[1]s), '') AS value, toFloat64(count()) FROM %[2]s GROUP BY value", column, from))
	if err != nil {
		return nil, fmt.Errorf("counting values: %w", clickhousesink.Safe(err))
	}
	defer func() { _ = rows.Close() }() // read only
	values := map[string]float64{}
	for rows.Next() {
		var value string
		var n float64
		if err := rows.Scan(&value, &n); err != nil {
			return nil, fmt.Errorf("counting values: %w", clickhousesink.Safe(err))
		}
		values[value] = n
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("counting values: %w", clickhousesink.Safe(err))
	}
	return values, nil
}

// stability is the population stability index of two counts of values: the sum over the values of the difference of their shares times
// the logarithm of these shares' ratio. 0 is the same.
func stability(now, then map[string]float64) float64 {
	total := func(counts map[string]float64) (n float64) {
		for _, c := range counts {
			n += c
		}
		return n
	}
	ofNow, ofThen := total(now), total(then)
	if ofNow == 0 || ofThen == 0 {
		return 0
	}
	var index, otherNow, otherThen float64
	term := func(a, b float64) float64 {
		const half = 0.5 // of a person, lest a value that is new be infinitely far
		p, q := (a+half)/(ofNow+half), (b+half)/(ofThen+half)
		return (p - q) * math.Log(p/q)
	}
	add := func(value string) {
		a, b := now[value], then[value]
		if a/ofNow < rareShare && b/ofThen < rareShare {
			otherNow, otherThen = otherNow+a, otherThen+b
			return
		}
		index += term(a, b)
	}
	for value := range now {
		add(value)
	}
	for value := range then {
		if _, both := now[value]; !both {
			add(value)
		}
	}
	return index + term(otherNow, otherThen)
}

// exports finds what the newest run of each forecast and period, within a week, says is doubtful about it.
func (s *sample) exports(ctx context.Context) error {
	expressions := []string{"count()"}
	for _, d := range doubts {
		expressions = append(expressions, "countIf("+d.condition+")")
	}
	n, err := s.ask(ctx, fmt.Sprintf("(SELECT * FROM export_runs WHERE completed_at > toDateTime64('%s', 6, 'UTC') ORDER BY completed_at DESC LIMIT 1 BY source, entity, scope, time_period_id)",
		s.report.BaselineAt.Format("2006-01-02 15:04:05.000000")), expressions...)
	if err != nil {
		return err
	}
	for i, d := range doubts {
		if n[i+1] == 0 {
			continue
		}
		s.report.Findings = append(s.report.Findings, Finding{
			Check: ExportDoubt, Column: d.column, Severity: d.severity, Share: n[i+1] / n[0], Count: int64(n[i+1]), Of: int64(n[0]),
			Text: fmt.Sprintf("%d of %d exports: %s", int64(n[i+1]), int64(n[0]), d.text),
		})
	}
	return nil
}
