package erasure

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/uuid"

	"github.com/revstream/revstream/pipeline/clickhousesink"
)

// tables hold personal data of people.
var tables = []string{"people_current", "people_history"}

// mark is the correlation ID of the row that stands in current for an erased person.
const mark = "erasure"

// note is a row of erasures.
type note struct {
	Key          string            `ch:"key"`
	UntilEventID uuid.UUID         `ch:"until_event_id"`
	Until        time.Time         `ch:"until"`
	At           time.Time         `ch:"at"`
	By           string            `ch:"by"`
	Why          string            `ch:"why"`
	Forced       bool              `ch:"forced"`
	Rows         map[string]uint64 `ch:"rows"`
	FinishedAt   *time.Time        `ch:"finished_at"`
	UpdatedAt    time.Time         `ch:"updated_at"`
}

// add takes in what was erased of the same person before. The rows of one that was interrupted are still there, in part, and
// counted anew.
func (n *note) add(before note) {
	if before.Until.After(n.Until) {
		n.Until = before.Until
	}
	if before.FinishedAt == nil && !before.UpdatedAt.IsZero() {
		for table, rows := range before.Rows {
			n.Rows[table] = max(n.Rows[table], rows)
		}
		return
	}
	for table, rows := range before.Rows {
		n.Rows[table] += rows
	}
}

// notes returns the newest row of each key.
func (e *Eraser) notes(ctx context.Context, where string, args ...any) (notes []note, err error) {
	err = e.conn.Select(ctx, &notes, "SELECT key, until_event_id, until, at, by, why, forced, rows, finished_at, updated_at FROM erasures FINAL "+where+" ORDER BY key", args...)
	if err != nil {
		return nil, fmt.Errorf("reading what was erased: %w", clickhousesink.Safe(err))
	}
	return notes, nil
}

// write writes a note, later than the one before it.
func (e *Eraser) write(ctx context.Context, n *note) error {
	now := e.now().UTC().Truncate(time.Microsecond)
	if !now.After(n.UpdatedAt) {
		now = n.UpdatedAt.Add(time.Microsecond)
	}
	n.UpdatedAt = now
	var finished any
	if n.FinishedAt != nil {
		finished = n.FinishedAt.UnixMicro()
	}
	err := e.conn.Exec(inserting(ctx), `INSERT INTO erasures (key, until_event_id, until, at, by, why, forced, rows, finished_at, updated_at)
SELECT ?, toUUID(?), fromUnixTimestamp64Micro(?, 'UTC'), fromUnixTimestamp64Micro(?, 'UTC'), ?, ?, ?, ?, fromUnixTimestamp64Micro(CAST(? AS Nullable(Int64)), 'UTC'), fromUnixTimestamp64Micro(?, 'UTC')`,
		n.Key, n.UntilEventID.String(), n.Until.UnixMicro(), n.At.UnixMicro(), n.By, n.Why, n.Forced, n.Rows, finished, n.UpdatedAt.UnixMicro())
	if err != nil {
		return fmt.Errorf("writing the erasure down: %w", clickhousesink.Safe(err))
	}
	return nil
}

// hide puts the row into current against which all that is to be erased loses.
func (e *Eraser) hide(ctx context.Context, id int64, n note) error {
	err := e.conn.Exec(inserting(ctx), fmt.Sprintf(`INSERT INTO people_current (person_id, event_id, source_version, observed_at, is_deleted, correlation_id)
SELECT %d, toUUID('%s'), fromUnixTimestamp64Micro(%d, 'UTC'), fromUnixTimestamp64Micro(%d, 'UTC'), 1, '%s'`,
		id, n.UntilEventID, n.Until.UnixMicro(), n.At.UnixMicro(), mark))
	if err != nil {
		return fmt.Errorf("hiding the person in people_current: %w", clickhousesink.Safe(err))
	}
	return nil
}

// remove deletes a person's rows, and returns when they are gone on all replicas.
func (e *Eraser) remove(ctx context.Context, storage string, id int64, n note) error {
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"mutations_sync": 2}))
	err := e.conn.Exec(ctx, fmt.Sprintf("ALTER TABLE %s DELETE WHERE person_id = %d AND toUInt128(event_id) <= toUInt128(toUUID('%s')) AND correlation_id != '%s'",
		storage, id, n.UntilEventID, mark))
	if err != nil {
		return fmt.Errorf("deleting from %s: %w", storage, clickhousesink.Safe(err))
	}
	return nil
}

// returned counts what there is of people up to where they are erased, by key and table.
func (e *Eraser) returned(ctx context.Context) (map[string]map[string]uint64, error) {
	found := map[string]map[string]uint64{}
	for _, table := range tables {
		var rows []struct {
			Key  string `ch:"key"`
			Rows uint64 `ch:"rows"`
		}
		// The second mention of erasures lets the primary key of the table find the rows.
		err := e.conn.Select(ctx, &rows, fmt.Sprintf(`SELECT e.key AS key, count() AS rows FROM %[1]s AS p
GLOBAL INNER JOIN (SELECT key, until_event_id, %[2]s AS id FROM erasures FINAL) AS e ON p.person_id = e.id
WHERE p.person_id GLOBAL IN (SELECT %[2]s FROM erasures) AND toUInt128(p.event_id) <= toUInt128(e.until_event_id) AND p.correlation_id != '%[3]s'
GROUP BY key`, table, "toInt64(splitByChar(':', key)[2])", mark))
		if err != nil {
			return nil, fmt.Errorf("looking for erased people in %s: %w", table, clickhousesink.Safe(err))
		}
		for _, r := range rows {
			if found[r.Key] == nil {
				found[r.Key] = map[string]uint64{}
			}
			found[r.Key][table] = r.Rows
		}
	}
	return found, nil
}

func inserting(ctx context.Context) context.Context {
	return clickhouse.Context(ctx, clickhouse.WithSettings(clickhousesink.InsertSettings))
}
