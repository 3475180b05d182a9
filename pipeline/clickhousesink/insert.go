package clickhousesink

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/revstream/revstream/pipeline/table"
)

// insert is a columnar insert into one table.
type insert struct{ table, statement string }

func newInsert(name string, columns ...[]string) insert {
	return insert{table: name, statement: "INSERT INTO " + name + " (" + strings.Join(slices.Concat(columns...), ", ") + ")"}
}

func columnNames[E any](columns []table.Column[E]) []string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.Name
	}
	return names
}

// InsertSettings are those of every insert.
var InsertSettings = clickhouse.Settings{
	// A batch that the server would wait to combine with others would make the
	// next step run before this one is durable.
	"async_insert": 0, "wait_end_of_query": 1,
	// What stands twice within the block is merged later, together with what stands twice
	// among blocks. There is little of it, and looking for it takes the server a quarter of the insert.
	"optimize_on_insert": 0,
	// On a cluster the rows are on their shards before the next step, and not in a queue on one server's disk.
	"distributed_foreground_insert": 1,
	// Replicated tables drop a block that they were given before. The ledger decides what is inserted: after a table was emptied,
	// the same block has to go in again.
	"insert_deduplicate": 0,
}

// Insert puts rows into a table that is not of events, as one block. An error does not say that nothing went in.
func Insert[E any](ctx context.Context, cfg Config, conn Conn, name string, columns []table.Column[E], rows *table.Block[E]) error {
	in := newInsert(name, columnNames(columns))
	if err := in.run(ctx, conn, cfg.InsertTimeout, []table.Part{rows}); err != nil {
		return fmt.Errorf("inserting %d rows into %s: %w", rows.Rows(), name, err)
	}
	return nil
}

// run inserts the rows as one block. An error does not say that nothing went in.
func (in *insert) run(ctx context.Context, conn Conn, timeout time.Duration, parts []table.Part) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(InsertSettings))
	if err := conn.InsertFormat(ctx, "Native", in.statement, table.Native(parts...)); err != nil {
		return &failure{err}
	}
	return nil
}
