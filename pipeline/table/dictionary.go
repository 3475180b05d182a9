package table

import (
	"encoding/binary"
	"net"
	"strings"
)

// lowCardinality is a column of texts of which there are few.
type lowCardinality struct{ *dictionary }

func (c lowCardinality) append(v string) { c.put(v) }

func (c lowCardinality) appendFrom(from values, keep []bool) {
	c.putFrom(from.(lowCardinality).dictionary, keep)
}

// lowCardinalityNullable is one with nulls.
type lowCardinalityNullable struct{ *dictionary }

func (c lowCardinalityNullable) append(v *string) {
	if v == nil {
		c.key(0)
		return
	}
	c.put(*v)
}

func (c lowCardinalityNullable) appendFrom(from values, keep []bool) {
	c.putFrom(from.(lowCardinalityNullable).dictionary, keep)
}

// dictionary has each text once and, a row, the text's number: in the Native
// format, a version, what follows and how wide the numbers are, the texts, the numbers.
//
// ClickHouse wants an empty text in the first place, and in the first two where
// nulls are possible: number 0 is null then, and 1 is the empty text.
type dictionary struct {
	reserved int
	numbers  map[string]int
	texts    []string // by number, from the empty one on; copies, unlike what is appended
	last     int      // number of the row before, which most often is this row's
	data     []byte   // the texts, as they are sent
	keys     []byte
	width    int // bytes of a key: 1, 2 or 4
	rows     int
}

func newDictionary(reserved int) *dictionary {
	d := &dictionary{reserved: reserved, numbers: make(map[string]int)}
	d.reset()
	return d
}

func (d *dictionary) reset() {
	clear(d.numbers)
	d.texts, d.data, d.keys, d.width, d.rows = d.texts[:0], d.data[:0], d.keys[:0], 1, 0
	for range d.reserved - 1 {
		d.data = appendText(d.data, "")
	}
	d.last = d.add("")
}

// add gives a text its number.
func (d *dictionary) add(text string) int {
	number := d.reserved - 1 + len(d.texts)
	d.numbers[text] = number
	d.texts = append(d.texts, text)
	d.data = appendText(d.data, text)
	return number
}

func (d *dictionary) put(v string) {
	if v != d.texts[d.last-d.reserved+1] {
		d.last = d.number(v)
	}
	d.key(d.last)
}

func (d *dictionary) number(text string) int {
	number, known := d.numbers[text]
	if !known {
		number = d.add(strings.Clone(text))
	}
	return number
}

// putFrom puts those texts, and nulls, of another dictionary's rows that are to be kept.
func (d *dictionary) putFrom(src *dictionary, keep []bool) {
	const none = -1
	numbers := make([]int, src.reserved-1+len(src.texts)) // by those of src
	for i := src.reserved - 1; i < len(numbers); i++ {
		numbers[i] = none
	}
	for row, k := range keep {
		if !k {
			continue
		}
		number := src.keyAt(row)
		if numbers[number] == none {
			numbers[number] = d.number(src.texts[number-src.reserved+1])
		}
		d.key(numbers[number])
	}
}

func (d *dictionary) keyAt(row int) int {
	switch at := row * d.width; d.width {
	case 1:
		return int(d.keys[at])
	case 2:
		return int(binary.LittleEndian.Uint16(d.keys[at:]))
	default:
		return int(binary.LittleEndian.Uint32(d.keys[at:]))
	}
}

func (d *dictionary) key(number int) {
	for number >= 1<<(8*d.width) {
		d.widen()
	}
	d.rows++
	d.keys = appendKey(d.keys, d.width, number)
}

func appendKey(dst []byte, width, number int) []byte {
	switch width {
	case 1:
		return append(dst, byte(number))
	case 2:
		return binary.LittleEndian.AppendUint16(dst, uint16(number))
	default:
		return binary.LittleEndian.AppendUint32(dst, uint32(number))
	}
}

// widen doubles the keys' width.
func (d *dictionary) widen() {
	wide := make([]byte, 0, 4*len(d.keys))
	for row := range d.rows {
		wide = appendKey(wide, 2*d.width, d.keyAt(row))
	}
	d.keys, d.width = wide, 2*d.width
}

func (d *dictionary) encode(dst net.Buffers) net.Buffers {
	const (
		version       = 1      // of the serialization: a dictionary with each block
		ownDictionary = 3 << 9 // the block's own keys, in place of those before
	)
	flags := uint64(d.width/2) | ownDictionary // keys of 1, 2, 4 bytes are type 0, 1, 2
	head := binary.LittleEndian.AppendUint64(nil, version)
	head = binary.LittleEndian.AppendUint64(head, flags)
	head = binary.LittleEndian.AppendUint64(head, uint64(d.reserved-1+len(d.texts)))
	return append(dst, head, d.data, binary.LittleEndian.AppendUint64(nil, uint64(d.rows)), d.keys)
}
