package bare

import (
	"context"
	"fmt"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// Driver inserts with clickhouse-go's columnar batches: the ready slices of columns go in whole, and the types are known, so
// that nothing is asked before an insert.
type Driver struct {
	conn    driver.Conn
	columns *Columns
	tables  map[string]target
}

// target is a table with the columns that inserts fill: those without a default.
type target struct {
	statement string
	types     []clickhouse.ColumnNameAndType
}

// OpenDriver reads the tables of a prefix, such as forecast, and returns so many writers of the columns.
func OpenDriver(ctx context.Context, url, prefix string, columns *Columns, writers int) (_ []Inserter, closeAll func() error, err error) {
	opts, err := clickhouse.ParseDSN(url)
	if err != nil {
		return nil, nil, fmt.Errorf("opening ClickHouse for bare inserts: %w", err)
	}
	conn, err := clickhouse.Open(opts)
	if err != nil {
		return nil, nil, fmt.Errorf("opening ClickHouse for bare inserts: %w", err)
	}
	d := &Driver{conn: conn, columns: columns, tables: make(map[string]target)}
	for _, table := range Tables {
		if d.tables[table], err = d.describe(ctx, prefix+"_"+table); err != nil {
			_ = conn.Close() // the error is told
			return nil, nil, err
		}
	}
	all := make([]Inserter, writers)
	for i := range all {
		all[i] = d
	}
	return all, conn.Close, nil
}

func (d *Driver) describe(ctx context.Context, table string) (t target, err error) {
	rows, err := d.conn.Query(ctx, "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = $1 AND default_kind = '' ORDER BY position", table)
	if err != nil {
		return t, fmt.Errorf("reading the columns of %s: %w", table, err)
	}
	defer func() { _ = rows.Close() }() // rows.Err says what there is to say
	var names []string
	for rows.Next() {
		var c clickhouse.ColumnNameAndType
		if err := rows.Scan(&c.Name, &c.Type); err != nil {
			return t, fmt.Errorf("reading the columns of %s: %w", table, err)
		}
		t.types, names = append(t.types, c), append(names, c.Name)
	}
	t.statement = "INSERT INTO " + table + " (" + strings.Join(names, ", ") + ")"
	return t, rows.Err()
}

// Insert implements Inserter.
func (d *Driver) Insert(ctx context.Context, table string, from, to int) error {
	t := d.tables[table]
	ctx = clickhouse.Context(ctx, clickhouse.WithColumnNamesAndTypes(t.types),
		clickhouse.WithSettings(clickhouse.Settings{"async_insert": 0, "wait_end_of_query": 1}))
	batch, err := d.conn.PrepareBatch(ctx, t.statement)
	if err != nil {
		return fmt.Errorf("preparing an insert into %s: %w", table, err)
	}
	defer func() { _ = batch.Close() }() // after Send it does nothing
	for i, column := range t.types {
		values, err := d.columns.slice(column.Name, from, to)
		if err != nil {
			return err
		}
		if err := batch.Column(i).Append(values); err != nil {
			return fmt.Errorf("filling column %s: %w", column.Name, err)
		}
	}
	if err := batch.Send(); err != nil {
		return fmt.Errorf("inserting into %s: %w", table, err)
	}
	return nil
}
