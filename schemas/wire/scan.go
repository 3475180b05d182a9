package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"time"
	"unsafe"

	"github.com/google/uuid"
	"github.com/twmb/avro"
)

// Scanner reads values into one struct, again and again, and allocates nothing for it: texts are views of the value, and
// pointers, slices and maps are used again. It is for those who are done with an event before they read the next one; whoever keeps
// events uses a Decoder's Decode. What the two take, refuse and read is the same.
//
// A Scanner knows the reader's schema alone. Values of another writer's schema are first written anew as the reader's, which
// costs a Decode and an Encode.
type Scanner struct {
	decoder *Decoder
	event   reflect.Type // what dst points to
	steps   []step
}

// step reads one field of the schema from the front of src.
type step struct {
	name, avroType string
	read           func(src []byte) (rest []byte, err error)
}

// What a step finds wrong.
var (
	errShort = errors.New("the value ends within it")
	errWrong = errors.New("not of its type")
)

// NewScanner makes a scanner of a struct, to which dst points: the fields of the decoder's schema are those of its fields
// that name them in avro tags. It panics if a field of the schema has none, or one of a type that does not hold it: both are
// code, and no scanner of theirs ever works.
func NewScanner(decoder *Decoder, dst any) *Scanner {
	fields := map[string]reflect.Value{}
	v := reflect.ValueOf(dst).Elem()
	for _, f := range reflect.VisibleFields(v.Type()) {
		if tag := f.Tag.Get("avro"); tag != "" {
			fields[tag] = v.FieldByIndex(f.Index)
		}
	}
	root := decoder.reader.Root()
	s := &Scanner{decoder: decoder, event: v.Type(), steps: make([]step, len(root.Fields))}
	for i, f := range root.Fields {
		field, ok := fields[f.Name]
		if !ok {
			panic(fmt.Sprintf("wire: scanning %s: %T has no field %s", root.Name, dst, f.Name))
		}
		read := reader(&f.Type, field)
		if read == nil {
			panic(fmt.Sprintf("wire: scanning %s: field %s is a %s, which is not read into a %s", root.Name, f.Name, f.Type.Type, field.Type()))
		}
		s.steps[i] = step{name: f.Name, avroType: avroType(&f.Type), read: read}
	}
	return s
}

// avroType names a type in errors: of a union with null, the other one.
func avroType(node *avro.SchemaNode) string {
	if other := optional(node); other != nil {
		return other.Type
	}
	return node.Type
}

// Scan reads a value. What the struct then holds is valid until the next Scan, or until the value's bytes change. Errors are
// those of Decode.
func (s *Scanner) Scan(ctx context.Context, value []byte) error {
	writer, body, err := s.decoder.split(ctx, value)
	if err != nil {
		return err
	}
	if !writer.same {
		if body, err = s.rewrite(writer, body); err != nil {
			return err
		}
	}
	rest := body
	for i := range s.steps {
		if rest, err = s.steps[i].read(rest); err != nil {
			return s.invalid(writer, body, i, err)
		}
	}
	return nothingLeft(body, rest)
}

// rewrite turns the body of another writer's schema into one of the reader's.
func (s *Scanner) rewrite(w *writer, body []byte) ([]byte, error) {
	event := reflect.New(s.event).Interface()
	if err := w.decode(body, event); err != nil {
		return nil, err
	}
	body, err := s.decoder.reader.AppendEncode(nil, event)
	if err != nil {
		return nil, corrupt(err)
	}
	return body, nil
}

// invalid says what a step found wrong, and where. A body that was written anew has other places than the value.
func (s *Scanner) invalid(w *writer, body []byte, i int, err error) error {
	step := s.steps[i]
	invalid := &InvalidError{Class: ReasonCorrupt, Field: step.name, Message: fmt.Sprintf("field %s is not a valid %s", step.name, step.avroType), At: Nowhere}
	if errors.Is(err, errShort) {
		invalid.Message = fmt.Sprintf("field %s: %v", step.name, errShort)
	}
	if !w.same {
		return invalid
	}
	return w.located(invalid, body)
}

type readFunc = func(src []byte) ([]byte, error)

// optional returns T of a union ["null", T], or nil.
func optional(node *avro.SchemaNode) *avro.SchemaNode {
	if node.Type == "union" && len(node.Branches) == 2 && node.Branches[0].Type == "null" {
		return &node.Branches[1]
	}
	return nil
}

// reader returns what reads a type into a variable, or nil where the variable
// cannot hold it.
func reader(node *avro.SchemaNode, dst reflect.Value) readFunc {
	if of := optional(node); of != nil {
		return readOptional(of, dst)
	}
	switch into := dst.Addr().Interface().(type) {
	case *uuid.UUID:
		if node.Type == "string" {
			return readUUID(into)
		}
	case *time.Time:
		return readTime(node, into)
	case *bool:
		if node.Type == "boolean" {
			return readBool(into)
		}
	case *int32:
		if node.Type == "int" {
			return readInt(func(n int32) { *into = n })
		}
	case *int64:
		if node.Type == "long" {
			return readLong(func(n int64) { *into = n })
		}
	case *[]string:
		if node.Type == "array" && node.Items.Type == "string" {
			return readArray(into, readText)
		}
	case *[]int64:
		if node.Type == "array" && node.Items.Type == "long" {
			return readArray(into, long)
		}
	case *map[string]string:
		if node.Type == "map" && node.Values.Type == "string" {
			return readMap(into)
		}
	}
	switch {
	case dst.Kind() == reflect.String && node.Type == "string":
		return readString((*string)(dst.Addr().UnsafePointer()))
	case dst.Kind() == reflect.String && node.Type == "enum":
		return readEnum(node.Symbols, dst)
	case dst.Kind() == reflect.Array && dst.Type().Elem().Kind() == reflect.Uint8 && node.Type == "fixed" && dst.Len() == node.Size:
		return readFixed(dst.Bytes())
	}
	return nil
}

// readOptional reads null as a nil pointer, and anything else into one variable to which the pointer then points.
func readOptional(of *avro.SchemaNode, dst reflect.Value) readFunc {
	if dst.Kind() != reflect.Pointer {
		return nil
	}
	value := reflect.New(dst.Type().Elem())
	read := reader(of, value.Elem())
	if read == nil {
		return nil
	}
	// A pointer is a pointer, whatever to: reflect's Set takes ten times as long, for each field of each event.
	pointer, to := (*unsafe.Pointer)(dst.Addr().UnsafePointer()), value.UnsafePointer()
	return func(src []byte) ([]byte, error) {
		switch {
		case len(src) == 0:
			return nil, errShort
		case src[0] == 0:
			*pointer = nil
			return src[1:], nil
		case src[0] == 2:
			*pointer = to
			return read(src[1:])
		}
		branch, rest, err := integer(src) // 0 and 1 may be written in more bytes than they need
		switch {
		case err != nil:
			return nil, err
		case branch == 0:
			*pointer = nil
			return rest, nil
		case branch == 1:
			*pointer = to
			return read(rest)
		}
		return nil, errWrong
	}
}

// long reads a zigzag varint of up to 64 bits.
func long(src []byte) (int64, []byte, error) {
	if len(src) > 0 && src[0] < 0x80 {
		return int64(src[0]>>1) ^ -int64(src[0]&1), src[1:], nil
	}
	u, n := binary.Uvarint(src)
	switch {
	case n == 0:
		return 0, nil, errShort
	case n < 0:
		return 0, nil, errWrong
	}
	return int64(u>>1) ^ -int64(u&1), src[n:], nil
}

// integer reads a zigzag varint of up to 32 bits, which has up to five bytes.
func integer(src []byte) (int32, []byte, error) {
	n, rest, err := long(src)
	if err == nil && (n != int64(int32(n)) || len(src)-len(rest) > binary.MaxVarintLen32) {
		return 0, nil, errWrong
	}
	return int32(n), rest, err
}

// view reads bytes with their length before them.
func view(src []byte) ([]byte, []byte, error) {
	n, rest, err := long(src)
	switch {
	case err != nil:
		return nil, nil, err
	case n < 0:
		return nil, nil, errWrong
	case n > int64(len(rest)):
		return nil, nil, errShort
	}
	return rest[:n], rest[n:], nil
}

// readText reads a text without copying it.
func readText(src []byte) (string, []byte, error) {
	text, rest, err := view(src)
	return unsafe.String(unsafe.SliceData(text), len(text)), rest, err //nolint:gosec // valid as long as the value's bytes are, as Scan says
}

func readString(into *string) readFunc {
	return func(src []byte) (rest []byte, err error) {
		*into, rest, err = readText(src)
		return rest, err
	}
}

// uuidText is the length of a UUID's text: 32 digits and four dashes.
const uuidText = 36

func readUUID(into *uuid.UUID) readFunc {
	return func(src []byte) ([]byte, error) {
		text, rest, err := view(src)
		if err != nil {
			return nil, err
		}
		if len(text) != uuidText { // ParseBytes takes other forms too
			return nil, errWrong
		}
		if *into, err = uuid.ParseBytes(text); err != nil {
			return nil, errWrong
		}
		return rest, nil
	}
}

func readTime(node *avro.SchemaNode, into *time.Time) readFunc {
	switch node.LogicalType {
	case "timestamp-micros":
		return readLong(func(n int64) { *into = time.UnixMicro(n).UTC() })
	case "date":
		const day = 24 * 60 * 60
		return readInt(func(n int32) { *into = time.Unix(int64(n)*day, 0).UTC() })
	}
	return nil
}

// readBool takes any byte but 1 for false, as Decode and Avro's Java do.
func readBool(into *bool) readFunc {
	return func(src []byte) ([]byte, error) {
		if len(src) == 0 {
			return nil, errShort
		}
		*into = src[0] == 1
		return src[1:], nil
	}
}

func readInt(set func(int32)) readFunc {
	return func(src []byte) ([]byte, error) {
		n, rest, err := integer(src)
		set(n)
		return rest, err
	}
}

func readLong(set func(int64)) readFunc {
	return func(src []byte) ([]byte, error) {
		n, rest, err := long(src)
		set(n)
		return rest, err
	}
}

// readEnum: the texts are the schema's, so nothing is copied.
func readEnum(symbols []string, dst reflect.Value) readFunc {
	into := (*string)(dst.Addr().UnsafePointer())
	return func(src []byte) ([]byte, error) {
		n, rest, err := integer(src)
		if err != nil {
			return nil, err
		}
		if n < 0 || int(n) >= len(symbols) {
			return nil, errWrong
		}
		*into = symbols[n]
		return rest, nil
	}
}

func readFixed(into []byte) readFunc {
	return func(src []byte) ([]byte, error) {
		if len(src) < len(into) {
			return nil, errShort
		}
		return src[copy(into, src):], nil
	}
}

// blocks reads the blocks of an array or a map, one element after another. With an error it returns what is left from the
// block on that is wrong, or what element returned.
func blocks(src []byte, element func([]byte) ([]byte, error)) ([]byte, error) {
	for {
		n, rest, err := long(src)
		if err != nil {
			return src, err
		}
		if n < 0 { // the block's size in bytes follows, for those who skip it
			if _, rest, err = long(rest); err != nil {
				return src, err
			}
			n = -n
		}
		if n == 0 {
			return rest, nil
		}
		if n < 0 || n > int64(len(rest)) { // an element of ours has a byte at least
			return src, errShort
		}
		for range n {
			if rest, err = element(rest); err != nil {
				return rest, err
			}
		}
		src = rest
	}
}

func readArray[T any](into *[]T, read func([]byte) (T, []byte, error)) readFunc {
	element := func(src []byte) ([]byte, error) {
		v, rest, err := read(src)
		*into = append(*into, v)
		return rest, err
	}
	return func(src []byte) ([]byte, error) {
		*into = (*into)[:0]
		return blocks(src, element)
	}
}

func readMap(into *map[string]string) readFunc {
	element := func(src []byte) ([]byte, error) {
		key, rest, err := readText(src)
		if err != nil {
			return nil, err
		}
		(*into)[key], rest, err = readText(rest)
		return rest, err
	}
	return func(src []byte) ([]byte, error) {
		if *into == nil {
			*into = make(map[string]string)
		}
		clear(*into)
		return blocks(src, element)
	}
}
