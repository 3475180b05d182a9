package anomaly

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"

	"github.com/revstream/revstream/pipeline/clickhousesink"
)

// placesSQL sums the values of the people at each place of the hierarchy, as the view forecast had them at the window's start and
// at its end. A value that moved nothing in the sense of movesSQL is the same on both sides: one that is new, or whose newest version
// is a backfill's, too old, or in another currency. A value whose newest version came before the window did not move.
const placesSQL = `WITH argMaxIf(newest, newest.1, moved) AS newest_moved
SELECT time_frame_id, field_id, kind, currency_code, hierarchy_id, sum(value_before) AS before, sum(value_after) AS after,
    countIf(moved) AS moves, newest_moved.2 AS event_id, newest_moved.3 AS source_version, newest_moved.4 AS job_id, newest_moved.5 AS correlation_id
FROM
(
    SELECT time_frame_id, field_id, kind, ifNull(last.2, '') AS currency_code, ifNull(last.3, '') AS hierarchy_id, last.1 AS value_after,
        (toUInt128(last.4), last.4, last.5, last.6, last.7) AS newest,
        had > 0 AND last.8 >= {since:DateTime64(3, 'UTC')} AND last.5 >= {oldest:DateTime64(6, 'UTC')}
            AND (isNull(last.2) OR isNull(first.2) OR last.2 = first.2)
            AND last.7 GLOBAL NOT IN (SELECT correlation_id FROM export_runs_current FINAL WHERE scope = 'backfill') AS counts,
        if(counts, first.1, value_after) AS value_before, value_before != value_after AS moved
    FROM
    (
        SELECT time_frame_id, user_id, field_id, kind, countIf(ingested_at < {since:DateTime64(3, 'UTC')}) AS had,
            argMaxIf((if(is_deleted = 1, 0, ifNull(value, 0)), currency_code), version, ingested_at < {since:DateTime64(3, 'UTC')}) AS first,
            argMax((if(is_deleted = 1, 0, ifNull(value, 0)), currency_code, hierarchy_id, event_id, source_version, job_id, correlation_id, ingested_at), version) AS last
        FROM (SELECT *, toUInt128(event_id) AS version FROM forecast_history WHERE ` + inGroup + ` AND (time_frame_id, field_id, kind) GLOBAL IN
            (SELECT time_frame_id, field_id, kind FROM forecast_history WHERE ` + inGroup + ` AND ingested_at >= {since:DateTime64(3, 'UTC')} AND source_version >= {oldest:DateTime64(6, 'UTC')}))
        GROUP BY time_frame_id, user_id, field_id, kind
    )
)
GROUP BY time_frame_id, field_id, kind, currency_code, hierarchy_id
ORDER BY time_frame_id, field_id, kind, currency_code, hierarchy_id`

// placeSum is what the people at one place have of a slice.
type placeSum struct {
	TimeFrameID   string          `ch:"time_frame_id"`
	FieldID       string          `ch:"field_id"`
	Kind          string          `ch:"kind"`
	Currency      string          `ch:"currency_code"`
	HierarchyID   string          `ch:"hierarchy_id"`
	Before        decimal.Decimal `ch:"before"`
	After         decimal.Decimal `ch:"after"`
	Moves         uint64          `ch:"moves"`
	EventID       uuid.UUID       `ch:"event_id"` // this and what follows of the newest version that moved one; zero where none did
	SourceVersion time.Time       `ch:"source_version"`
	JobID         string          `ch:"job_id"`
	CorrelationID string          `ch:"correlation_id"`
}

// slice is what is summed up together: no amount of it is of another week, field, kind or currency.
type slice struct{ timeFrameID, fieldID, kind, currency string }

func (p placeSum) slice() slice { return slice{p.TimeFrameID, p.FieldID, p.Kind, p.Currency} }

// hierarchySQL is the place above each, as the newest of a period's versions has it, so that a person who changes places moves no sum.
const hierarchySQL = `SELECT assumeNotNull(hierarchy_id) AS place, ifNull(argMax((parent_hierarchy_id,), toUInt128(event_id)).1, '') AS above
FROM forecast_current
WHERE forecast_id = {forecast:String} AND time_period_id = {period:String} AND notEmpty(ifNull(hierarchy_id, ''))
GROUP BY place`

// rollUps finds the places of a group below which the sum moved far.
//
// The sum of a place is over the values of everybody whose place is below it, at any distance, each once. Managers among them
// count with what is theirs, which is not the sum of their people's; who is at the place itself does not count.
func (d *Detector) rollUps(ctx context.Context, w window, g group) ([]Review, error) {
	rows, err := d.deps.Conn.Query(ctx, placesSQL, d.args(w, g)...)
	if err != nil {
		return nil, fmt.Errorf("summing up %s, %s: %w", g.ForecastID, g.TimePeriodID, clickhousesink.Safe(err))
	}
	defer func() { _ = rows.Close() }() // read only
	var above map[string]string         // read when it is needed
	var places []placeSum               // of one slice
	var found []Review
	flush := func() error {
		if !slices.ContainsFunc(places, func(p placeSum) bool { return p.Moves > 0 }) {
			return nil
		}
		if above == nil {
			if above, err = d.hierarchy(ctx, w, g); err != nil {
				return err
			}
		}
		for _, sum := range sumsBelow(places, above) {
			if r := sum.review(g); sum.Moves > 0 && d.far(w, &r) {
				found = append(found, r)
			}
		}
		return nil
	}
	for rows.Next() {
		var p placeSum
		if err := rows.ScanStruct(&p); err != nil {
			return nil, fmt.Errorf("reading a sum of %s, %s: %w", g.ForecastID, g.TimePeriodID, clickhousesink.Safe(err))
		}
		if len(places) > 0 && places[0].slice() != p.slice() {
			if err := flush(); err != nil {
				return nil, err
			}
			places = places[:0]
		}
		places = append(places, p)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading the sums of %s, %s: %w", g.ForecastID, g.TimePeriodID, clickhousesink.Safe(err))
	}
	return found, flush()
}

// hierarchy returns the place above each place; one at the top has "".
func (d *Detector) hierarchy(ctx context.Context, w window, g group) (map[string]string, error) {
	var places []struct {
		Place string `ch:"place"`
		Above string `ch:"above"`
	}
	if err := d.deps.Conn.Select(ctx, &places, hierarchySQL, d.args(w, g)...); err != nil {
		return nil, fmt.Errorf("reading the hierarchy of %s, %s: %w", g.ForecastID, g.TimePeriodID, clickhousesink.Safe(err))
	}
	above := make(map[string]string, len(places))
	for _, p := range places {
		above[p.Place] = p.Above
	}
	return above, nil
}

// sumsBelow adds what the places of a slice have to each place above them. A circle, which no source should send, ends where it
// began: nobody counts twice, and no place is below itself.
func sumsBelow(places []placeSum, above map[string]string) []placeSum {
	sums := map[string]*placeSum{}
	for _, p := range places {
		passed := map[string]bool{p.HierarchyID: true}
		for at := above[p.HierarchyID]; at != "" && !passed[at]; at = above[at] {
			passed[at] = true
			sum := sums[at]
			if sum == nil {
				sum = &placeSum{TimeFrameID: p.TimeFrameID, FieldID: p.FieldID, Kind: p.Kind, Currency: p.Currency, HierarchyID: at}
				sums[at] = sum
			}
			sum.Before, sum.After, sum.Moves = sum.Before.Add(p.Before), sum.After.Add(p.After), sum.Moves+p.Moves
			if p.Moves > 0 && p.EventID.String() > sum.EventID.String() { // as texts they sort by the source's clock
				sum.EventID, sum.SourceVersion, sum.JobID, sum.CorrelationID = p.EventID, p.SourceVersion, p.JobID, p.CorrelationID
			}
		}
	}
	all := make([]placeSum, 0, len(sums))
	for _, at := range slices.Sorted(maps.Keys(sums)) {
		all = append(all, *sums[at])
	}
	return all
}

func (p placeSum) review(g group) Review {
	r := Review{
		Scope: ScopeHierarchy, ForecastID: g.ForecastID, TimePeriodID: g.TimePeriodID, TimeFrameID: p.TimeFrameID, HierarchyID: p.HierarchyID,
		FieldID: p.FieldID, Kind: p.Kind, Before: &p.Before, After: &p.After, Moves: int64(p.Moves),
		EventID: p.EventID, SourceVersion: p.SourceVersion, JobID: p.JobID, CorrelationID: p.CorrelationID,
	}
	if p.Currency != "" {
		r.Currency = &p.Currency
	}
	return r
}
