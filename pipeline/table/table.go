// Package table owns how events become the rows of a ClickHouse table: which columns there are, of which type, what fills
// them, and the bytes of ClickHouse's Native format that carry them.
//
// Values are appended to the bytes of their column at once, in the encoding that the server stores from: there is no row in
// between, nothing is boxed, and a block that is used again allocates nothing.
package table

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
)

// Column is one column of a table of events of type E.
type Column[E any] struct {
	Name string
	Type string // as ClickHouse writes it, such as "LowCardinality(String)"

	values func() (values, func(E)) // a buffer, and what appends an event's value to it
}

// Of makes a column out of how one event fills it. Which V goes with which type is in the table of encoderOf; a *V is
// nullable. Of panics at a pair that is not there: columns are package variables, and no test that uses them passes then.
//
// What value returns is copied before Append returns.
func Of[E, V any](name, typ string, value func(E) V) Column[E] {
	newEncoder := encoderOf[V](typ)
	if newEncoder == nil {
		panic(fmt.Sprintf("table: column %s: a %T does not fill a %s", name, *new(V), typ))
	}
	return Column[E]{Name: name, Type: typ, values: func() (values, func(E)) {
		encoder := newEncoder()
		return encoder, func(e E) { encoder.append(value(e)) }
	}}
}

// Block is rows of some columns. It is not safe for concurrent use.
type Block[E any] struct {
	columns []blockColumn
	fill    []func(E)
	rows    int
}

type blockColumn struct {
	head   []byte // name and type, each with its length
	values values
}

// NewBlock makes an empty block.
func NewBlock[E any](columns []Column[E]) *Block[E] {
	b := new(Block[E])
	for _, c := range columns {
		values, fill := c.values()
		b.columns = append(b.columns, blockColumn{head: appendText(appendText(nil, c.Name), c.Type), values: values})
		b.fill = append(b.fill, fill)
	}
	return b
}

// Append adds the row of an event.
func (b *Block[E]) Append(e E) {
	for _, fill := range b.fill {
		fill(e)
	}
	b.rows++
}

// AppendFrom adds those rows of another block of the same columns that are to be kept. keep has one entry for each of them.
func (b *Block[E]) AppendFrom(from *Block[E], keep []bool) {
	for i, c := range b.columns {
		c.values.appendFrom(from.columns[i].values, keep)
	}
	for _, k := range keep {
		if k {
			b.rows++
		}
	}
}

// Rows is how many there are.
func (b *Block[E]) Rows() int { return b.rows }

// Reset empties the block and keeps its memory.
func (b *Block[E]) Reset() {
	b.rows = 0
	for _, c := range b.columns {
		c.values.reset()
	}
}

// encode implements Part.
func (b *Block[E]) encode(dst net.Buffers) net.Buffers {
	for _, c := range b.columns {
		dst = c.values.encode(append(dst, c.head))
	}
	return dst
}

func (b *Block[E]) width() int { return len(b.columns) }

// Part is some of a table's columns: a Block.
type Part interface {
	Rows() int
	width() int
	encode(net.Buffers) net.Buffers
}

// Native returns the rows of parts that stand side by side, as one block in the Native format of revision 0, which is
// what the HTTP interface takes. Parts have equally many rows. What is returned points into them: it is to be read before
// the next Append or Reset. Several may be read at the same time.
func Native(parts ...Part) io.Reader {
	width := 0
	for _, p := range parts {
		width += p.width()
	}
	head := binary.AppendUvarint(binary.AppendUvarint(nil, uint64(width)), uint64(parts[0].Rows()))
	body := append(make(net.Buffers, 0, 1+4*width), head)
	for _, p := range parts {
		body = p.encode(body)
	}
	return &body
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}
