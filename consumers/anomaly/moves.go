package anomaly

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"

	"github.com/revstream/revstream/pipeline/clickhousesink"
)

// inGroup is the condition of the rows of a forecast and period that had come by the end of a window.
const inGroup = `forecast_id = {forecast:String} AND time_period_id = {period:String} AND ingested_at < {until:DateTime64(3, 'UTC')}`

// notBackfilled is the condition of versions that no backfill has published. Its account is the last thing that a backfill does.
const notBackfilled = `correlation_id GLOBAL NOT IN (SELECT correlation_id FROM export_runs_current FINAL WHERE scope = 'backfill')`

// movesSQL finds the values that changed. It compares what the view forecast has shown, one after the other: versions that were
// the newest of their key when they came. One that came after a newer one has never been shown, and so neither moved anything
// nor stands between two that were. What was found for a version is therefore the same whenever it is looked at.
//
// Of the history it reads the keys that were touched, which the sorting key finds.
const movesSQL = `SELECT time_frame_id, user_id, field_id, kind, event_id, previous_event_id, source_version, hierarchy_id, job_id, correlation_id,
    ifNull(currency_code, previous_currency) AS currency_code, previous AS amount_before, shown AS amount_after
FROM
(
    SELECT *, row_number() OVER versions AS nth, lagInFrame(shown) OVER versions AS previous,
        lagInFrame(currency_code) OVER versions AS previous_currency, lagInFrame(event_id) OVER versions AS previous_event_id
    FROM
    (
        SELECT time_frame_id, user_id, field_id, kind, event_id, source_version, ingested_at, currency_code, job_id, correlation_id,
            if(is_deleted = 1, NULL, value) AS shown, ifNull(hierarchy_id, '') AS hierarchy_id, toUInt128(event_id) AS version,
            min(ingested_at) OVER (PARTITION BY time_frame_id, user_id, field_id, kind ORDER BY version
                ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING) AS newer_came,
            count() OVER (PARTITION BY time_frame_id, user_id, field_id, kind ORDER BY version
                ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING) AS newer
        FROM forecast_history FINAL
        WHERE ` + inGroup + ` AND (time_frame_id, user_id, field_id, kind) GLOBAL IN
            (SELECT time_frame_id, user_id, field_id, kind FROM forecast_history WHERE ` + inGroup + ` AND ` + came + `)
    )
    WHERE newer = 0 OR newer_came >= ingested_at
    WINDOW versions AS (PARTITION BY time_frame_id, user_id, field_id, kind ORDER BY version ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
)
WHERE nth > 1 AND ifNull(shown, 0) != ifNull(previous, 0) AND (isNull(currency_code) OR isNull(previous_currency) OR currency_code = previous_currency)
    AND ` + came + ` AND ` + notBackfilled + `
ORDER BY time_frame_id, user_id, field_id, kind, version`

// moves finds the values of a group that moved far.
func (d *Detector) moves(ctx context.Context, w window, g group) ([]Review, error) {
	rows, err := d.deps.Conn.Query(ctx, movesSQL, d.args(w, g)...)
	if err != nil {
		return nil, fmt.Errorf("comparing the versions of %s, %s: %w", g.ForecastID, g.TimePeriodID, clickhousesink.Safe(err))
	}
	defer func() { _ = rows.Close() }() // read only
	var found []Review
	for rows.Next() {
		var m struct {
			TimeFrameID     string           `ch:"time_frame_id"`
			UserID          string           `ch:"user_id"`
			FieldID         string           `ch:"field_id"`
			Kind            string           `ch:"kind"`
			EventID         uuid.UUID        `ch:"event_id"`
			PreviousEventID uuid.UUID        `ch:"previous_event_id"`
			SourceVersion   time.Time        `ch:"source_version"`
			HierarchyID     string           `ch:"hierarchy_id"`
			JobID           string           `ch:"job_id"`
			CorrelationID   string           `ch:"correlation_id"`
			Currency        *string          `ch:"currency_code"`
			Before          *decimal.Decimal `ch:"amount_before"`
			After           *decimal.Decimal `ch:"amount_after"`
		}
		if err := rows.ScanStruct(&m); err != nil {
			return nil, fmt.Errorf("reading a change of %s, %s: %w", g.ForecastID, g.TimePeriodID, clickhousesink.Safe(err))
		}
		r := Review{
			Scope: ScopeUser, ForecastID: g.ForecastID, TimePeriodID: g.TimePeriodID, TimeFrameID: m.TimeFrameID, UserID: m.UserID,
			HierarchyID: m.HierarchyID, FieldID: m.FieldID, Kind: m.Kind, Currency: m.Currency, Before: m.Before, After: m.After, Moves: 1,
			EventID: m.EventID, PreviousEventID: &m.PreviousEventID, SourceVersion: m.SourceVersion, JobID: m.JobID, CorrelationID: m.CorrelationID,
		}
		if d.far(w, &r) {
			found = append(found, r)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading the changes of %s, %s: %w", g.ForecastID, g.TimePeriodID, clickhousesink.Safe(err))
	}
	return found, nil
}

// far tells whether a review's amount moved too far, and completes the review if so.
func (d *Detector) far(w window, r *Review) bool {
	l := d.cfg.limits(r.FieldID, r.Kind, text(r.Currency))
	before, after := amount(r.Before), amount(r.After)
	if !l.far(before, after) {
		return false
	}
	r.Percent, r.LimitPercent, r.LimitAmount = percentOf(before, after), l.percent, l.floor
	r.complete(w)
	return true
}

func amount(d *decimal.Decimal) decimal.Decimal {
	if d == nil {
		return decimal.Zero
	}
	return *d
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
