package anomaly

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/uuid"
	"github.com/shopspring/decimal"

	"github.com/revstream/revstream/pipeline/clickhousesink"
	"github.com/revstream/revstream/schemas/event"
)

// Scopes of a review.
const (
	ScopeUser      = "user"      // one value
	ScopeHierarchy = "hierarchy" // the sum over everybody below a place
	ScopeStorm     = "storm"     // too many of the two in one run, forecast and period
)

// States of a review.
const (
	stateOpen         = "open"
	stateAcknowledged = "acknowledged"
	stateSuppressed   = "suppressed"
)

// Review is a row of forecast_anomalies, where the columns' meaning is.
type Review struct {
	ID              uuid.UUID        `ch:"anomaly_id" json:"anomaly_id"`
	Scope           string           `ch:"scope" json:"scope"`
	ForecastID      string           `ch:"forecast_id" json:"forecast_id"`
	TimePeriodID    string           `ch:"time_period_id" json:"time_period_id"`
	TimeFrameID     string           `ch:"time_frame_id" json:"time_frame_id"`
	UserID          string           `ch:"user_id" json:"user_id"`
	HierarchyID     string           `ch:"hierarchy_id" json:"hierarchy_id"`
	FieldID         string           `ch:"field_id" json:"field_id"`
	Kind            string           `ch:"kind" json:"kind"`
	Currency        *string          `ch:"currency_code" json:"currency_code"`
	Before          *decimal.Decimal `ch:"amount_before" json:"amount_before"`
	After           *decimal.Decimal `ch:"amount_after" json:"amount_after"`
	Percent         *decimal.Decimal `ch:"percent" json:"percent"`
	LimitPercent    decimal.Decimal  `ch:"limit_percent" json:"limit_percent"`
	LimitAmount     decimal.Decimal  `ch:"limit_amount" json:"limit_amount"`
	Moves           int64            `ch:"moves" json:"moves"`
	EventID         uuid.UUID        `ch:"event_id" json:"event_id"`
	PreviousEventID *uuid.UUID       `ch:"previous_event_id" json:"previous_event_id"`
	SourceVersion   time.Time        `ch:"source_version" json:"source_version"`
	JobID           string           `ch:"job_id" json:"job_id"`
	CorrelationID   string           `ch:"correlation_id" json:"correlation_id"`
	StormID         *uuid.UUID       `ch:"storm_id" json:"storm_id"`
	RunUntil        time.Time        `ch:"run_until" json:"run_until"`
	OpenedAt        time.Time        `ch:"opened_at" json:"opened_at"`
	State           string           `ch:"state" json:"state"`
	AckedBy         string           `ch:"acked_by" json:"acked_by"`
	AckedAt         *time.Time       `ch:"acked_at" json:"acked_at"`
	Why             string           `ch:"why" json:"why"`
	UpdatedAt       time.Time        `ch:"updated_at" json:"updated_at"`
}

// columns of a Review, in its order.
const columns = `anomaly_id, scope, forecast_id, time_period_id, time_frame_id, user_id, hierarchy_id, field_id, kind, currency_code,
amount_before, amount_after, percent, limit_percent, limit_amount, moves, event_id, previous_event_id, source_version, job_id,
correlation_id, storm_id, run_until, opened_at, state, acked_by, acked_at, why, updated_at`

// lookUp bounds the IDs in one query.
const lookUp = 1000

// complete gives a review its ID and its state. The ID is that of the newest version that moved the amount, so that it is the same in
// whichever windows the version is looked at, and by however many processes.
//
// All of its times are the window's: the row is as old as that, also where it is written after a crash, and no older answer of
// a person's is there to be overwritten.
func (r *Review) complete(w window) {
	// A version that stands in the history has a source version that an ID holds, or it would have no ID itself.
	r.ID, _ = event.NewID("anomaly", r.Scope+"|"+r.subject()+"|"+r.EventID.String(), r.SourceVersion, event.Upsert)
	r.RunUntil, r.OpenedAt, r.UpdatedAt, r.State = w.Until, w.Until, w.Until, stateOpen
}

// stormOf is the review that stands for all of a group. It shows the largest move of a user's, or of a sum where no user's is there,
// and has the newest of their versions. Amounts of several currencies are compared as if they were of one.
func stormOf(w window, all []Review) Review {
	storm := slices.MaxFunc(all, func(a, b Review) int {
		return cmp.Or(cmp.Compare(a.Scope, b.Scope), a.moved().Cmp(b.moved()), cmp.Compare(b.ID.String(), a.ID.String()))
	})
	newest := slices.MaxFunc(all, func(a, b Review) int { return cmp.Compare(a.EventID.String(), b.EventID.String()) })
	storm.Scope, storm.Moves, storm.PreviousEventID = ScopeStorm, int64(len(all)), nil
	storm.EventID, storm.SourceVersion, storm.JobID, storm.CorrelationID = newest.EventID, newest.SourceVersion, newest.JobID, newest.CorrelationID
	storm.complete(w)
	return storm
}

func (r *Review) moved() decimal.Decimal { return amount(r.After).Sub(amount(r.Before)).Abs() }

// known returns which of the reviews are in the table, and the end of the window that found them.
func (d *Detector) known(ctx context.Context, reviews []Review) (map[uuid.UUID]time.Time, error) {
	known := map[uuid.UUID]time.Time{}
	for chunk := range slices.Chunk(reviews, lookUp) {
		ids := make([]uuid.UUID, len(chunk))
		for i, r := range chunk {
			ids[i] = r.ID
		}
		rows, err := find(ctx, d.deps.Conn, ids)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			known[r.ID] = r.RunUntil
		}
	}
	return known, nil
}

func find(ctx context.Context, conn clickhouse.Conn, ids []uuid.UUID) ([]Review, error) {
	var rows []Review
	if err := conn.Select(ctx, &rows, "SELECT "+columns+" FROM forecast_anomalies FINAL WHERE anomaly_id IN {ids:Array(UUID)}", clickhouse.Named("ids", ids)); err != nil {
		return nil, fmt.Errorf("looking reviews up: %w", clickhousesink.Safe(err))
	}
	return rows, nil
}

func (d *Detector) insert(ctx context.Context, reviews []Review) error {
	batch, err := d.deps.Conn.PrepareBatch(ctx, "INSERT INTO forecast_anomalies ("+columns+")")
	if err != nil {
		return fmt.Errorf("entering reviews: %w", clickhousesink.Safe(err))
	}
	for i := range reviews {
		if err := batch.AppendStruct(&reviews[i]); err != nil {
			return errors.Join(fmt.Errorf("entering a review: %w", clickhousesink.Safe(err)), batch.Abort())
		}
	}
	if err := batch.Send(); err != nil {
		return fmt.Errorf("entering reviews: %w", clickhousesink.Safe(err))
	}
	return nil
}

// suppressBackfills closes what versions of a backfill have opened while nothing said yet that it is one.
func (d *Detector) suppressBackfills(ctx context.Context) error {
	err := d.deps.Conn.Exec(ctx, `INSERT INTO forecast_anomalies (`+columns+`)
SELECT `+columns+` FROM
(
    SELECT * REPLACE ('suppressed' AS state, 'published by a backfill' AS why, now64(6) AS updated_at)
    FROM (SELECT * FROM forecast_anomalies FINAL WHERE state = 'open'
        AND correlation_id GLOBAL IN (SELECT correlation_id FROM export_runs_current FINAL WHERE scope = 'backfill'))
)`)
	if err != nil {
		return fmt.Errorf("closing the reviews of backfills: %w", clickhousesink.Safe(err))
	}
	return nil
}

// List returns the open reviews, or all, the newest first.
func List(ctx context.Context, conn clickhouse.Conn, all bool) ([]Review, error) {
	reviews := []Review{}
	if err := conn.Select(ctx, &reviews, "SELECT "+columns+` FROM forecast_anomalies FINAL WHERE {all:Bool} OR state = 'open'
ORDER BY opened_at DESC, scope DESC, toUInt128(anomaly_id)`, clickhouse.Named("all", all)); err != nil {
		return nil, fmt.Errorf("listing reviews: %w", clickhousesink.Safe(err))
	}
	return reviews, nil
}

// ErrUnknown is returned by Acknowledge for an ID that no review has.
var ErrUnknown = errors.New("no review has the ID")

// Acknowledge closes reviews, and returns those that were not closed so before. It changes none if one is unknown.
func Acknowledge(ctx context.Context, conn clickhouse.Conn, ids []uuid.UUID, by, why string) ([]Review, error) {
	rows, err := find(ctx, conn, ids)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, id := range ids {
		if !slices.ContainsFunc(rows, func(r Review) bool { return r.ID == id }) {
			errs = append(errs, fmt.Errorf("%w %s: `warehouse anomalies list --all` has them", ErrUnknown, id))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	rows = slices.DeleteFunc(rows, func(r Review) bool { return r.State == stateAcknowledged })
	ids = ids[:0:0]
	for _, r := range rows {
		ids = append(ids, r.ID)
	}
	if len(ids) == 0 {
		return rows, nil
	}
	err = conn.Exec(ctx, `INSERT INTO forecast_anomalies (`+columns+`)
SELECT `+columns+` FROM
(
    SELECT * REPLACE ('acknowledged' AS state, {by:String} AS acked_by, now64(6) AS acked_at, {why:String} AS why, now64(6) AS updated_at)
    FROM (SELECT * FROM forecast_anomalies FINAL WHERE anomaly_id IN {ids:Array(UUID)})
)`, clickhouse.Named("by", by), clickhouse.Named("why", why), clickhouse.Named("ids", ids))
	if err != nil {
		return nil, fmt.Errorf("acknowledging reviews: %w", clickhousesink.Safe(err))
	}
	return rows, nil
}
