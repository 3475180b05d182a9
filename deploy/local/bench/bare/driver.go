package bare

import (
	"context"
	"fmt"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/revstream/revstream/pipeline/clickhousesink"
)

// driverInserter inserts with clickhouse-go's columnar batches: the ready slices of columns go in whole, and the types are
// known, so that nothing is asked before an insert.
type driverInserter struct {
	conn    driver.Conn
	columns *Columns
	tables  map[string]target
}

// target is a table with the columns that inserts fill: those without a default.
type target struct {
	statement string
	types     []clickhouse.ColumnNameAndType
}

// NewDriver reads the tables of a prefix, such as forecast. What it returns may be used by several writers.
func NewDriver(ctx context.Context, conn driver.Conn, prefix string, columns *Columns) (Inserter, error) {
	d := &driverInserter{conn: conn, columns: columns, tables: make(map[string]target)}
	for _, table := range Tables {
		t, err := d.describe(ctx, prefix+"_"+table)
		if err != nil {
			return nil, err
		}
		d.tables[table] = t
	}
	return d, nil
}

func (d *driverInserter) describe(ctx context.Context, table string) (t target, err error) {
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
func (d *driverInserter) Insert(ctx context.Context, from, to int) error {
	for _, table := range Tables {
		if err := d.insert(ctx, table, from, to); err != nil {
			return err
		}
	}
	return nil
}

func (d *driverInserter) insert(ctx context.Context, table string, from, to int) error {
	t := d.tables[table]
	ctx = clickhouse.Context(ctx, clickhouse.WithColumnNamesAndTypes(t.types),
		clickhouse.WithSettings(clickhousesink.InsertSettings))
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
