package bare

import (
	"context"
	"fmt"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/revstream/revstream/pipeline/clickhousesink"
	"github.com/revstream/revstream/pipeline/table"
	"github.com/revstream/revstream/schemas/event"
)

// The columns that the tables have besides an entity's.
var (
	idColumns     = []table.Column[uuid.UUID]{table.Of("event_id", "UUID", func(id uuid.UUID) uuid.UUID { return id })}
	originColumns = []table.Column[Origin]{
		table.Of("kafka_topic", "LowCardinality(String)", func(o Origin) string { return o.Topic }),
		table.Of("kafka_partition", "Int32", func(o Origin) int32 { return o.Partition }),
		table.Of("kafka_offset", "Int64", func(o Origin) int64 { return o.Offset }),
	}
)

// productInserter inserts as the consumers do: events are encoded once, in the format that the server stores from, and go
// into current and history at the same time.
type productInserter[E event.Event] struct {
	conn   driver.Conn
	events []E
	origin func(i int) Origin

	content                  *table.Block[E]
	ids                      *table.Block[uuid.UUID]
	where                    *table.Block[Origin]
	current, history, ledger string // statements
}

// NewProduct makes an inserter of events, for one writer.
func NewProduct[E event.Event](conn driver.Conn, prefix string, columns []table.Column[E], events []E, origin func(i int) Origin) Inserter {
	content, origins := columnNames(columns), columnNames(originColumns)
	statement := func(table string, columns ...string) string {
		return "INSERT INTO " + prefix + "_" + table + " (" + strings.Join(columns, ", ") + ")"
	}
	return &productInserter[E]{
		conn: conn, events: events, origin: origin,
		content: table.NewBlock(columns), ids: table.NewBlock(idColumns), where: table.NewBlock(originColumns),
		current: statement("current", content), history: statement("history", content, origins),
		ledger: statement("ledger", columnNames(idColumns), origins),
	}
}

func columnNames[E any](columns []table.Column[E]) string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.Name
	}
	return strings.Join(names, ", ")
}

// Insert implements Inserter.
func (p *productInserter[E]) Insert(ctx context.Context, from, to int) error {
	p.content.Reset()
	p.ids.Reset()
	p.where.Reset()
	for i := from; i < to; i++ {
		p.content.Append(p.events[i])
		p.ids.Append(p.events[i].Head().EventID)
		p.where.Append(p.origin(i))
	}
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhousesink.InsertSettings))
	group, both := errgroup.WithContext(ctx)
	group.Go(func() error { return p.insert(both, p.current, p.content) })
	group.Go(func() error { return p.insert(both, p.history, p.content, p.where) })
	if err := group.Wait(); err != nil {
		return err
	}
	return p.insert(ctx, p.ledger, p.ids, p.where)
}

func (p *productInserter[E]) insert(ctx context.Context, statement string, parts ...table.Part) error {
	if err := p.conn.InsertFormat(ctx, "Native", statement, table.Native(parts...)); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}
