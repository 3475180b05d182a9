package clickhousesink

import (
	"context"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/revstream/revstream/pipeline/table"
)

// insert is a columnar insert into one table.
type insert[E any] struct {
	table     string
	columns   []table.Column[E]
	statement string
	types     []clickhouse.ColumnNameAndType
}

func newInsert[E any](name string, columns []table.Column[E]) insert[E] {
	names := make([]string, len(columns))
	types := make([]clickhouse.ColumnNameAndType, len(columns))
	for i, c := range columns {
		names[i] = c.Name
		types[i] = clickhouse.ColumnNameAndType{Name: c.Name, Type: c.Type}
	}
	return insert[E]{
		table: name, columns: columns, types: types,
		statement: "INSERT INTO " + name + " (" + strings.Join(names, ", ") + ")",
	}
}

// run inserts the rows as one block. An error does not say that nothing went in.
func (in *insert[E]) run(ctx context.Context, conn Conn, timeout time.Duration, rows []E) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	// The types are given, so that no DESCRIBE TABLE precedes each insert.
	// A batch that the server would wait to combine with others would make the
	// next step run before this one is durable.
	ctx = clickhouse.Context(ctx,
		clickhouse.WithColumnNamesAndTypes(in.types),
		clickhouse.WithSettings(clickhouse.Settings{"async_insert": 0, "wait_end_of_query": 1}))
	batch, err := conn.PrepareBatch(ctx, in.statement)
	if err != nil {
		return &failure{err}
	}
	defer func() { _ = batch.Close() }() // after Send it does nothing; its error says no more than ours
	for i, c := range in.columns {
		if err := batch.Column(i).Append(c.Values(rows)); err != nil {
			return &conversionError{column: c.Name, err: err}
		}
	}
	if err := batch.Send(); err != nil {
		return &failure{err}
	}
	return nil
}
