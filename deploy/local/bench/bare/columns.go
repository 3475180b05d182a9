package bare

import (
	"fmt"
	"reflect"

	"github.com/shopspring/decimal"

	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/money"
)

// Origin is where a row's record is in its topic.
type Origin struct {
	Topic     string
	Partition int32
	Offset    int64
}

// Columns are rows turned into columns: by a column's name, a slice of the values that the database driver takes for it.
//
// Events name their columns in their avro tags, so there is no list of columns here that could fall behind the tables.
type Columns struct {
	rows   int
	slices map[string]reflect.Value
}

// NewColumns makes the columns of events, and of where they are in the topic.
func NewColumns[E event.Event](events []E, origin func(i int) Origin) *Columns {
	c := &Columns{rows: len(events), slices: make(map[string]reflect.Value)}
	c.fill("kafka_topic", func(i int) any { return origin(i).Topic })
	c.fill("kafka_partition", func(i int) any { return origin(i).Partition })
	c.fill("kafka_offset", func(i int) any { return origin(i).Offset })
	c.fill("is_deleted", func(i int) any {
		if events[i].Head().Operation == event.Delete {
			return uint8(1)
		}
		return uint8(0)
	})
	typ := reflect.TypeFor[E]().Elem()
	for _, field := range reflect.VisibleFields(typ) {
		if name := field.Tag.Get("avro"); name != "" && name != "operation" {
			c.fill(name, func(i int) any {
				return driverValue(reflect.ValueOf(events[i]).Elem().FieldByIndex(field.Index).Interface())
			})
		}
	}
	return c
}

func (c *Columns) fill(name string, value func(i int) any) {
	slice := reflect.MakeSlice(reflect.SliceOf(reflect.TypeOf(value(0))), c.rows, c.rows)
	for i := range c.rows {
		slice.Index(i).Set(reflect.ValueOf(value(i)))
	}
	c.slices[name] = slice
}

// driverValue is the value that the driver takes; it knows no Amount.
func driverValue(v any) any {
	if amount, ok := v.(*money.Amount); ok {
		var d *decimal.Decimal
		if amount != nil {
			value := amount.Decimal()
			d = &value
		}
		return d
	}
	return v
}

// slice is a column's values of some rows.
func (c *Columns) slice(name string, from, to int) (any, error) {
	values, ok := c.slices[name]
	if !ok {
		return nil, fmt.Errorf("no event fills column %s", name)
	}
	return values.Slice(from, to).Interface(), nil
}
