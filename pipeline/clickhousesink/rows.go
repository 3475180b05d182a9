package clickhousesink

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/table"
)

// idColumns are what the ledger knows an event by, and originColumns where it was read.
var (
	idColumns     = []table.Column[uuid.UUID]{table.Of("event_id", "UUID", func(id uuid.UUID) uuid.UUID { return id })}
	originColumns = []table.Column[*kgo.Record]{
		table.Of("kafka_topic", "LowCardinality(String)", func(r *kgo.Record) string { return r.Topic }),
		table.Of("kafka_partition", "Int32", func(r *kgo.Record) int32 { return r.Partition }),
		table.Of("kafka_offset", "Int64", func(r *kgo.Record) int64 { return r.Offset }),
	}
)

// rows are a batch's, encoded, in memory that the next batch uses again.
// Current is content, history content and origin, the ledger ids and origin.
type rows[E any] struct {
	tables  Tables[E]
	read    func(context.Context, *kgo.Record) (E, error)
	seen    map[uuid.UUID]struct{}
	items   []consume.Item // that are encoded
	content *table.Block[E]
	ids     *table.Block[uuid.UUID]
	origin  *table.Block[*kgo.Record]
	// sending says that an insert has ended in an error: a connection that is about to
	// be closed may still read what is encoded, so nothing else is encoded there.
	sending bool
}

func newRows[E any](t Tables[E]) *rows[E] {
	r := &rows[E]{tables: t, read: t.NewReader(), seen: make(map[uuid.UUID]struct{})}
	r.renew()
	return r
}

func (r *rows[E]) renew() {
	r.content, r.ids, r.origin = table.NewBlock(r.tables.Columns), table.NewBlock(idColumns), table.NewBlock(originColumns)
	r.sending = false
}

// dedupe keeps the first item of each event ID, in a slice of its own.
func (r *rows[E]) dedupe(batch []consume.Item) []consume.Item {
	clear(r.seen)
	unique := make([]consume.Item, 0, len(batch))
	for _, item := range batch {
		before := len(r.seen)
		if r.seen[item.ID] = struct{}{}; len(r.seen) > before {
			unique = append(unique, item)
		}
	}
	return unique
}

// encode makes the rows of items, unless they are there.
func (r *rows[E]) encode(ctx context.Context, items []consume.Item) error {
	if len(items) > 0 && slices.Equal(r.items, items) {
		return nil
	}
	if r.sending {
		r.renew()
	}
	r.content.Reset()
	r.ids.Reset()
	r.origin.Reset()
	r.items = nil
	for _, item := range items {
		e, err := r.read(ctx, item.Record)
		if err != nil {
			return fmt.Errorf("reading %s partition %d offset %d again: %w", item.Record.Topic, item.Record.Partition, item.Record.Offset, err)
		}
		r.content.Append(e)
		r.ids.Append(item.ID)
		r.origin.Append(item.Record)
	}
	r.items = items
	return nil
}
