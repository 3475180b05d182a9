package reconcile

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/revstream/revstream/pipeline/clickhousesink"
)

// run is the account of an export run, as the warehouse has it.
type run struct {
	id, correlation, scope, outcome          string
	period                                   *string
	completed                                time.Time
	expected, published, unchanged, rejected int64
}

// scopeBackfill is that of a backfill's summary, whose events are all of its correlation ID.
const scopeBackfill = "backfill"

// scopeReconciliation is that of a producer's own reconciliation with its source: who is deleted there between two of its questions is
// in none of its counts.
const scopeReconciliation = "reconciliation"

// balanced tells whether the account must add up.
func (r run) balanced() bool {
	return (r.outcome == "SUCCEEDED" || r.outcome == "PARTIAL") && r.scope != scopeReconciliation
}

func (r run) unaccounted() int64 { return r.expected - r.published - r.unchanged - r.rejected }

// runs returns the export runs to reconcile, the oldest first.
func (r *Reconciler) runs(ctx context.Context, e entity, now time.Time) ([]run, error) {
	if !e.runs {
		return nil, nil
	}
	where, arg := "completed_at >= fromUnixTimestamp64Micro(?)", any(now.Add(-r.cfg.Since).UnixMicro())
	if r.cfg.RunID != "" {
		where, arg = "run_id = ?", r.cfg.RunID
	}
	rows, err := r.conn.Query(ctx, "SELECT run_id, correlation_id, scope, time_period_id, outcome, completed_at, rows_expected, rows_published, rows_unchanged, rows_rejected "+
		"FROM export_runs WHERE source = ? AND entity = ? AND "+where+" ORDER BY completed_at, run_id", e.source, e.name, arg)
	if err != nil {
		return nil, fmt.Errorf("looking for export runs of %s: %w", e.name, clickhousesink.Safe(err))
	}
	defer func() { _ = rows.Close() }() // read only
	var runs []run
	for rows.Next() {
		var f run
		if err := rows.Scan(&f.id, &f.correlation, &f.scope, &f.period, &f.outcome, &f.completed, &f.expected, &f.published, &f.unchanged, &f.rejected); err != nil {
			return nil, fmt.Errorf("reading export runs of %s: %w", e.name, clickhousesink.Safe(err))
		}
		runs = append(runs, f)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading export runs of %s: %w", e.name, clickhousesink.Safe(err))
	}
	return runs, nil
}

// origin is what an event tells of the run that published it.
type origin struct {
	correlation   string
	scope, period string // of forecasts
}

// everything is the origin that stands for all events of a correlation ID.
func (o origin) everything() origin { return origin{correlation: o.correlation} }

// groups are the runs by what their events tell of them.
type groups struct {
	entity       entity
	of           map[origin]int // index of counts
	correlations map[string]bool
	byRun        []int // index of counts
	n            int
}

// keysGroup is the index of the counts of keys.
const keysGroup = 0

func newGroups(e entity, runs []run) groups {
	g := groups{entity: e, of: map[origin]int{}, correlations: map[string]bool{}, n: 1}
	for _, r := range runs {
		o := g.origin(r)
		index, ok := g.of[o]
		if !ok {
			index = g.n
			g.of[o] = index
			g.n++
		}
		g.correlations[r.correlation] = true
		g.byRun = append(g.byRun, index)
	}
	return g
}

// origin is what the events of a run tell of it.
func (g groups) origin(r run) origin {
	o := origin{correlation: r.correlation}
	if g.entity.scoped && r.scope != scopeBackfill {
		o.scope = r.scope
		if r.period != nil {
			o.period = *r.period
		}
	}
	return o
}

// find returns the indices of counts that an event with this key and correlation ID is part of.
func (g groups) find(correlation string, key []byte) (indices []int) {
	if !g.correlations[correlation] {
		return nil
	}
	o := origin{correlation: correlation}
	if g.entity.scoped {
		parts := strings.SplitN(string(key), "|", 3)
		if len(parts) == 3 {
			o.scope, o.period = parts[0], parts[1]
		}
	}
	return g.indices(o)
}

func (g groups) indices(o origin) (indices []int) {
	if index, ok := g.of[o]; ok {
		indices = append(indices, index)
	}
	if index, ok := g.of[o.everything()]; ok && o != o.everything() {
		indices = append(indices, index)
	}
	return indices
}
