package table

import (
	"encoding/binary"
	"math"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// values are a column's, in the Native format. encode only reads.
type values interface {
	encode(net.Buffers) net.Buffers
	appendFrom(from values, keep []bool) // the rows of another buffer of the same column that are to be kept
	reset()
}

// encoder takes a column's values one by one.
type encoder[V any] interface {
	values
	append(V)
}

// Unscaled is a decimal as Avro has it: the number times 10 to the scale as a
// 128-bit two's complement integer, big-endian. The scale is the column's.
type Unscaled = [16]byte

// encoderOf returns what makes encoders of Go type V for a ClickHouse type, or
// nil where V does not fill it:
//
//	string                 String, LowCardinality(String)
//	*string                Nullable(String), LowCardinality(Nullable(String))
//	bool, uint8            Bool, UInt8
//	int32, int64           Int32, Int64
//	time.Time              DateTime64(6, 'UTC'), Date32
//	uuid.UUID              UUID
//	Unscaled               Decimal(P, S)
//	*V of the five above   Nullable(…)
//	[]string, []int64      Array(String), Array(Int64)
//	map[string]string      Map(String, String)
func encoderOf[V any](typ string) func() encoder[V] {
	var made any
	switch any((*V)(nil)).(type) {
	case *string:
		made = ofString(typ)
	case **string:
		made = ofNullableString(typ)
	case *bool, **bool:
		made = ofScalar[V](typ, "Bool", 1, appendBool)
	case *uint8, **uint8:
		made = ofScalar[V](typ, "UInt8", 1, func(dst []byte, v uint8) []byte { return append(dst, v) })
	case *int32, **int32:
		made = ofScalar[V](typ, "Int32", 4, func(dst []byte, v int32) []byte { return binary.LittleEndian.AppendUint32(dst, uint32(v)) })
	case *int64, **int64:
		made = ofScalar[V](typ, "Int64", 8, appendInt64)
	case *float64, **float64:
		made = ofScalar[V](typ, "Float64", 8, func(dst []byte, v float64) []byte { return binary.LittleEndian.AppendUint64(dst, math.Float64bits(v)) })
	case *uuid.UUID, **uuid.UUID:
		made = ofScalar[V](typ, "UUID", 16, appendUUID)
	case *time.Time, **time.Time:
		if made = ofScalar[V](typ, "DateTime64(6, 'UTC')", 8, appendMicros); made == nil {
			made = ofScalar[V](typ, "Date32", 4, appendDay)
		}
	case *Unscaled, **Unscaled:
		made = ofDecimal[V](typ)
	case *[]string:
		if typ == "Array(String)" {
			made = func() encoder[[]string] { return &array[string]{put: appendText, width: textWidth} }
		}
	case *[]int64:
		if typ == "Array(Int64)" {
			made = func() encoder[[]int64] { return &array[int64]{put: appendInt64, width: 8} }
		}
	case *map[string]string:
		if typ == "Map(String, String)" {
			made = func() encoder[map[string]string] { return new(mapping) }
		}
	}
	newEncoder, _ := made.(func() encoder[V])
	return newEncoder
}

func ofString(typ string) any {
	switch typ {
	case "String":
		return func() encoder[string] { return &plain[string]{put: appendText, width: textWidth} }
	case "LowCardinality(String)":
		return func() encoder[string] { return lowCardinality{newDictionary(1)} }
	}
	return nil
}

func ofNullableString(typ string) any {
	switch typ {
	case "Nullable(String)":
		return func() encoder[*string] { return &nullable[string]{put: appendText, width: textWidth} }
	case "LowCardinality(Nullable(String))":
		return func() encoder[*string] { return lowCardinalityNullable{newDictionary(2)} }
	}
	return nil
}

// ofScalar makes encoders of S and of *S, whichever of the two V is. width is that of a value, in bytes.
func ofScalar[V, S any](typ, of string, width int, put func([]byte, S) []byte) any {
	switch any((*V)(nil)).(type) {
	case *S:
		if typ == of {
			return func() encoder[S] { return &plain[S]{put: put, width: width} }
		}
	case **S:
		if typ == "Nullable("+of+")" {
			return func() encoder[*S] { return &nullable[S]{put: put, width: width} }
		}
	}
	return nil
}

// ofDecimal: up to 38 digits take 128 bits, and up to 76 take 256.
func ofDecimal[V any](typ string) any {
	name := strings.TrimSuffix(strings.TrimPrefix(typ, "Nullable("), ")")
	digits, _, _ := strings.Cut(strings.TrimPrefix(name, "Decimal("), ",")
	precision, err := strconv.Atoi(digits)
	switch {
	case err != nil || precision < 19 || precision > 76:
		return nil
	case precision <= 38:
		return ofScalar[V](typ, strings.TrimSuffix(name, ")")+")", 16, appendDecimal128)
	default:
		return ofScalar[V](typ, strings.TrimSuffix(name, ")")+")", 32, appendDecimal256)
	}
}

func appendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, 1)
	}
	return append(dst, 0)
}

func appendInt64(dst []byte, v int64) []byte {
	return binary.LittleEndian.AppendUint64(dst, uint64(v))
}

func appendMicros(dst []byte, v time.Time) []byte { return appendInt64(dst, v.UnixMicro()) }

// appendDay counts days since 1970; those before it are negative.
func appendDay(dst []byte, v time.Time) []byte {
	const day = 24 * 60 * 60
	seconds := v.Unix()
	days := seconds / day
	if seconds%day < 0 {
		days--
	}
	return binary.LittleEndian.AppendUint32(dst, uint32(int32(days)))
}

// appendUUID writes each half by itself as a little-endian number.
func appendUUID(dst []byte, v uuid.UUID) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, binary.BigEndian.Uint64(v[:8]))
	return binary.LittleEndian.AppendUint64(dst, binary.BigEndian.Uint64(v[8:]))
}

func appendDecimal128(dst []byte, v Unscaled) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, binary.BigEndian.Uint64(v[8:]))
	return binary.LittleEndian.AppendUint64(dst, binary.BigEndian.Uint64(v[:8]))
}

func appendDecimal256(dst []byte, v Unscaled) []byte {
	sign := int64(binary.BigEndian.Uint64(v[:8])) >> 63
	return appendInt64(appendInt64(appendDecimal128(dst, v), sign), sign)
}

// textWidth stands for the width of texts, each of which has its own.
const textWidth = 0

// appendKept appends those of the values in src that are to be kept.
func appendKept(dst, src []byte, width int, keep []bool) []byte {
	at, from, kept := 0, 0, false // from is where the run of values that are kept began
	for _, k := range keep {
		if k != kept {
			if kept {
				dst = append(dst, src[from:at]...)
			}
			from, kept = at, k
		}
		if width != textWidth {
			at += width
			continue
		}
		length, size := binary.Uvarint(src[at:])
		at += size + int(length)
	}
	if kept {
		dst = append(dst, src[from:at]...)
	}
	return dst
}

// plain is a column without nulls.
type plain[S any] struct {
	put   func([]byte, S) []byte
	width int
	data  []byte
}

func (c *plain[S]) append(v S)                         { c.data = c.put(c.data, v) }
func (c *plain[S]) encode(dst net.Buffers) net.Buffers { return append(dst, c.data) }
func (c *plain[S]) reset()                             { c.data = c.data[:0] }

func (c *plain[S]) appendFrom(from values, keep []bool) {
	c.data = appendKept(c.data, from.(*plain[S]).data, c.width, keep)
}

// nullable has a byte a row that says whether the value is null, then the
// values, with a zero in each null's place.
type nullable[S any] struct {
	put   func([]byte, S) []byte
	width int
	zero  S
	nulls []byte
	data  []byte
}

func (c *nullable[S]) append(v *S) {
	if v == nil {
		c.nulls = append(c.nulls, 1)
		c.data = c.put(c.data, c.zero)
		return
	}
	c.nulls = append(c.nulls, 0)
	c.data = c.put(c.data, *v)
}

func (c *nullable[S]) encode(dst net.Buffers) net.Buffers { return append(dst, c.nulls, c.data) }

func (c *nullable[S]) reset() { c.nulls, c.data = c.nulls[:0], c.data[:0] }

func (c *nullable[S]) appendFrom(from values, keep []bool) {
	src := from.(*nullable[S])
	c.nulls = appendKept(c.nulls, src.nulls, 1, keep)
	c.data = appendKept(c.data, src.data, c.width, keep)
}

// lists are the ends of each row's elements among the elements of all rows.
type lists struct {
	end  uint64
	ends []byte
}

func (l *lists) add(elements int) {
	l.end += uint64(elements)
	l.ends = binary.LittleEndian.AppendUint64(l.ends, l.end)
}

func (l *lists) reset() { l.end, l.ends = 0, l.ends[:0] }

// addFrom adds the lists that are to be kept, and says of each of src's elements whether it is in one.
func (l *lists) addFrom(src *lists, keep []bool) []bool {
	elements := make([]bool, 0, src.end)
	for row, k := range keep {
		n := int(binary.LittleEndian.Uint64(src.ends[8*row:])) - len(elements)
		for range n {
			elements = append(elements, k)
		}
		if k {
			l.add(n)
		}
	}
	return elements
}

// array has the ends, then the elements.
type array[S any] struct {
	put   func([]byte, S) []byte
	width int
	lists lists
	data  []byte
}

func (c *array[S]) append(elements []S) {
	for _, v := range elements {
		c.data = c.put(c.data, v)
	}
	c.lists.add(len(elements))
}

func (c *array[S]) encode(dst net.Buffers) net.Buffers { return append(dst, c.lists.ends, c.data) }

func (c *array[S]) reset() {
	c.lists.reset()
	c.data = c.data[:0]
}

func (c *array[S]) appendFrom(from values, keep []bool) {
	src := from.(*array[S])
	c.data = appendKept(c.data, src.data, c.width, c.lists.addFrom(&src.lists, keep))
}

// mapping is an array of keys beside an array of values.
type mapping struct {
	lists        lists
	keys, values []byte
}

func (c *mapping) append(m map[string]string) {
	for k, v := range m {
		c.keys = appendText(c.keys, k)
		c.values = appendText(c.values, v)
	}
	c.lists.add(len(m))
}

func (c *mapping) encode(dst net.Buffers) net.Buffers {
	return append(dst, c.lists.ends, c.keys, c.values)
}

func (c *mapping) reset() {
	c.lists.reset()
	c.keys, c.values = c.keys[:0], c.values[:0]
}

func (c *mapping) appendFrom(from values, keep []bool) {
	src := from.(*mapping)
	elements := c.lists.addFrom(&src.lists, keep)
	c.keys = appendKept(c.keys, src.keys, textWidth, elements)
	c.values = appendKept(c.values, src.values, textWidth, elements)
}
