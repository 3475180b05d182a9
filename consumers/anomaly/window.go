package anomaly

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/revstream/revstream/pipeline/clickhousesink"
)

// window is what a run looks at: the versions that were inserted from Since on and before Until. Windows follow each other
// without a gap. It is written down before anything is told, so that who does it again after a crash finds the same.
type window struct {
	Since, Until time.Time
	From         time.Time // Since, or the end of what the configuration looks back to

	Versions, Opened, Suppressed int64
}

// plan returns the next window. again says that it was planned before: by a run that was broken off, or by one in another process,
// which finds the same.
func (d *Detector) plan(ctx context.Context) (w window, again bool, err error) {
	if err := d.deps.Conn.QueryRow(ctx, "SELECT max(until) FROM anomaly_runs WHERE isNotNull(finished_at)").Scan(&w.Since); err != nil {
		return window{}, false, fmt.Errorf("finding the last look at anomalies: %w", clickhousesink.Safe(err))
	}
	if again, err = d.planned(ctx, &w); again || err != nil {
		return d.lookingBack(w), again, err
	}
	// The database's clock, which the rows' ingested_at have as well.
	if err := d.deps.Conn.QueryRow(ctx, "SELECT now64(3, 'UTC')").Scan(&w.Until); err != nil {
		return window{}, false, fmt.Errorf("asking for the database's time: %w", clickhousesink.Safe(err))
	}
	if err := d.record(ctx, w, "NULL"); err != nil {
		return window{}, false, err
	}
	// Two processes that plan at the same time take the window that was there first.
	_, err = d.planned(ctx, &w)
	return d.lookingBack(w), false, err
}

// planned finds the window that begins where the last finished one ended.
func (d *Detector) planned(ctx context.Context, w *window) (bool, error) {
	var first []struct {
		Until time.Time `ch:"until"`
	}
	if err := d.deps.Conn.Select(ctx, &first, "SELECT until FROM anomaly_runs WHERE since = {since:DateTime64(3, 'UTC')} ORDER BY ingested_at, until LIMIT 1",
		moment("since", w.Since)); err != nil {
		return false, fmt.Errorf("finding a look at anomalies that was broken off: %w", clickhousesink.Safe(err))
	}
	if len(first) == 0 {
		return false, nil
	}
	w.Until = first[0].Until
	return true, nil
}

// lookingBack bounds the first window, which begins in 1970, and one after a long rest: what is older opens nothing.
func (d *Detector) lookingBack(w window) window {
	w.From = w.Since
	if earliest := w.Until.Add(-d.cfg.MaxAge); w.From.Before(earliest) {
		w.From = earliest
	}
	return w
}

func (d *Detector) finish(ctx context.Context, w window) error { return d.record(ctx, w, "now64(6)") }

// record writes the state of a run.
func (d *Detector) record(ctx context.Context, w window, finishedAt string) error {
	err := d.deps.Conn.Exec(ctx, `INSERT INTO anomaly_runs (since, until, finished_at, versions, opened, suppressed, updated_at)
SELECT {since:DateTime64(3, 'UTC')}, {until:DateTime64(3, 'UTC')}, `+finishedAt+`, {versions:Int64}, {opened:Int64}, {suppressed:Int64}, now64(6)`,
		moment("since", w.Since), moment("until", w.Until), clickhouse.Named("versions", w.Versions), clickhouse.Named("opened", w.Opened), clickhouse.Named("suppressed", w.Suppressed))
	if err != nil {
		return fmt.Errorf("recording the look at anomalies: %w", clickhousesink.Safe(err))
	}
	return nil
}

// moment is a parameter of a query. The driver sends a time as a number, of which one of few digits is read as a year.
func moment(name string, t time.Time) driver.NamedValue {
	return clickhouse.Named(name, t.UTC().Format("2006-01-02 15:04:05.000000"))
}

// group is a forecast and period in which something came.
type group struct {
	ForecastID   string `ch:"forecast_id"`
	TimePeriodID string `ch:"time_period_id"`
	Versions     uint64 `ch:"versions"`
}

// args are those of the queries of a group in a window: oldest is the source's clock before which nothing counts, overlap from
// when on single values are looked at.
func (d *Detector) args(w window, g group) []any {
	return []any{
		moment("since", w.From), moment("until", w.Until),
		moment("overlap", w.From.Add(-d.cfg.Overlap)), moment("oldest", w.Until.Add(-d.cfg.MaxAge)),
		clickhouse.Named("forecast", g.ForecastID), clickhouse.Named("period", g.TimePeriodID),
	}
}

// came is the condition of versions that a window looks at, for single values.
const came = `ingested_at >= {overlap:DateTime64(3, 'UTC')} AND ingested_at < {until:DateTime64(3, 'UTC')} AND source_version >= {oldest:DateTime64(6, 'UTC')}`

// touched returns the groups of a window. It reads one column of the parts that hold rows as young.
func (d *Detector) touched(ctx context.Context, w window) ([]group, error) {
	var groups []group
	err := d.deps.Conn.Select(ctx, &groups, `SELECT forecast_id, time_period_id, countIf(ingested_at >= {since:DateTime64(3, 'UTC')}) AS versions
FROM forecast_history WHERE `+came+`
GROUP BY forecast_id, time_period_id ORDER BY forecast_id, time_period_id`, d.args(w, group{})...)
	if err != nil {
		return nil, fmt.Errorf("finding what has come: %w", clickhousesink.Safe(err))
	}
	return groups, nil
}
