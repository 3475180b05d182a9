package clickhousesink

import (
	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/table"
)

// origin is which event a row has, and where in the topic it was read. It has no pointers, for the sake of the garbage
// collector.
type origin struct {
	id uuid.UUID
	at consume.Place
}

// idColumns are what the ledger knows an event by, and originColumns where it was read.
var (
	idColumns     = []table.Column[uuid.UUID]{table.Of("event_id", "UUID", func(id uuid.UUID) uuid.UUID { return id })}
	originColumns = []table.Column[*kgo.Record]{
		table.Of("kafka_topic", "LowCardinality(String)", func(r *kgo.Record) string { return r.Topic }),
		table.Of("kafka_partition", "Int32", func(r *kgo.Record) int32 { return r.Partition }),
		table.Of("kafka_offset", "Int64", func(r *kgo.Record) int64 { return r.Offset }),
	}
)

// rows are events, encoded, in memory that is used again.
// Current is content, history content and origin, the ledger ids and origin.
type rows[E any] struct {
	columns []table.Column[E]
	origins []origin // of each row
	content *table.Block[E]
	ids     *table.Block[uuid.UUID]
	origin  *table.Block[*kgo.Record]
	// lingering says that an insert has ended in an error: a connection that is about to
	// be closed may still read these rows, so they are left as they are.
	lingering bool
}

func newRows[E any](columns []table.Column[E]) *rows[E] {
	return &rows[E]{columns: columns, content: table.NewBlock(columns), ids: table.NewBlock(idColumns), origin: table.NewBlock(originColumns)}
}

func (r *rows[E]) len() int { return len(r.origins) }

func (r *rows[E]) append(e E, id uuid.UUID, rec *kgo.Record) {
	r.origins = append(r.origins, origin{id, consume.Place{Partition: rec.Partition, Offset: rec.Offset}})
	r.content.Append(e)
	r.ids.Append(id)
	r.origin.Append(rec)
}

// appendFrom adds those of other rows that are to be kept.
func (r *rows[E]) appendFrom(from *rows[E], keep []bool) {
	for i, k := range keep {
		if k {
			r.origins = append(r.origins, from.origins[i])
		}
	}
	r.content.AppendFrom(from.content, keep)
	r.ids.AppendFrom(from.ids, keep)
	r.origin.AppendFrom(from.origin, keep)
}

// pick copies those that are to be kept.
func (r *rows[E]) pick(keep func(i int, o origin) bool) *rows[E] {
	picked := newRows(r.columns)
	mask, _ := r.mask(keep)
	picked.appendFrom(r, mask)
	return picked
}

// mask says of each row whether it is to be kept, and how many are.
func (r *rows[E]) mask(keep func(i int, o origin) bool) (mask []bool, kept int) {
	mask = make([]bool, r.len())
	for i, o := range r.origins {
		if mask[i] = keep(i, o); mask[i] {
			kept++
		}
	}
	return mask, kept
}

func (r *rows[E]) reset() {
	r.origins = r.origins[:0]
	r.content.Reset()
	r.ids.Reset()
	r.origin.Reset()
}
