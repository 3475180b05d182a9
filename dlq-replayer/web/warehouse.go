package web

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/revstream/revstream/dlq-replayer/payload"
	"github.com/revstream/revstream/pipeline/clickhousesink"
	"github.com/revstream/revstream/schemas"
)

// warehouseTimeout bounds a look at ClickHouse, which the rest of the answer waits for.
const warehouseTimeout = 5 * time.Second

// Warehouse is what the page needs of ClickHouse. It sends no settings, so a user who may only read will do.
type Warehouse interface {
	Query(ctx context.Context, query string, args ...any) (driver.Rows, error)
}

// warehouse finds the row of a letter's key.
type warehouse struct {
	conn   Warehouse
	tables map[string]current // by topic
}

// current is the table of a topic's newest versions.
type current struct {
	topic    schemas.Topic
	query    string
	personal map[string]bool // columns by name; what is missing here counts as personal
}

// held is what ClickHouse has of a key.
type held struct {
	Table string         `json:"table"`
	Row   map[string]any `json:"row"` // nil if there is none
}

func newWarehouse(conn Warehouse) (*warehouse, error) {
	catalogue, err := schemas.Topics()
	if err != nil {
		return nil, err
	}
	w := &warehouse{conn: conn, tables: map[string]current{}}
	for _, topic := range catalogue {
		if topic.Table == "" {
			continue
		}
		text, err := schemas.Avro(topic.Schema)
		if err != nil {
			return nil, err
		}
		personal, err := payload.Personal(text)
		if err != nil {
			return nil, fmt.Errorf("topic %s: %w", topic.Name, err)
		}
		// The tables' own columns, which are of no person.
		personal["version"], personal["is_deleted"], personal["ingested_at"] = false, false, false
		// The newest version is shown even if it says that the entity was deleted, which FINAL would hide.
		w.tables[topic.Name] = current{topic, fmt.Sprintf("SELECT * FROM %s_current WHERE %s = ? ORDER BY version DESC LIMIT 1",
			topic.Table, strings.Join(topic.KeyColumns, " = ? AND ")), personal}
	}
	return w, nil
}

// row returns the row of a key, its personal columns masked unless they are revealed; nil where the topic has no table.
func (w *warehouse) row(ctx context.Context, topic, key string, reveal bool) (*held, error) {
	table, ok := w.tables[topic]
	if !ok {
		return nil, nil
	}
	values, ok := table.topic.KeyValues(key)
	if !ok {
		return nil, fmt.Errorf("the letter's key is not one of %s", table.topic.Key)
	}
	ctx, cancel := context.WithTimeout(ctx, warehouseTimeout)
	defer cancel()
	args := make([]any, len(values))
	for i, value := range values {
		args[i] = value
	}
	found, err := w.read(ctx, table, args)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("ClickHouse did not answer within %s", warehouseTimeout)
	case err != nil:
		return nil, clickhousesink.Safe(err)
	}
	for name, value := range found {
		if personal, known := table.personal[name]; value != nil && !reveal && (personal || !known) {
			found[name] = payload.Mask
		}
	}
	return &held{Table: table.topic.Table + "_current", Row: found}, nil
}

func (w *warehouse) read(ctx context.Context, table current, args []any) (map[string]any, error) {
	rows, err := w.conn.Query(ctx, table.query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // read only
	if !rows.Next() {
		return nil, rows.Err()
	}
	types := rows.ColumnTypes()
	cells := make([]any, len(types))
	for i, column := range types {
		cells[i] = reflect.New(column.ScanType()).Interface()
	}
	if err := rows.Scan(cells...); err != nil {
		return nil, err
	}
	row := make(map[string]any, len(types))
	for i, column := range types {
		row[column.Name()] = readable(reflect.ValueOf(cells[i]), strings.Contains(column.DatabaseTypeName(), "Date32"))
	}
	return row, nil
}

// readable is a column's value in the form in which decoded values are shown beside it.
func readable(cell reflect.Value, date bool) any {
	for cell.Kind() == reflect.Pointer {
		if cell.IsNil() {
			return nil
		}
		cell = cell.Elem()
	}
	switch value := cell.Interface().(type) {
	case time.Time:
		if date {
			return value.Format(time.DateOnly)
		}
		return value.UTC().Format(time.RFC3339Nano)
	case fmt.Stringer: // a decimal, a UUID
		return value.String()
	default:
		return value
	}
}
