// Package wire owns the bytes of a record's value: the Confluent wire format around Avro, and the schemas behind its IDs.
package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/twmb/avro"
	"golang.org/x/sync/singleflight"
)

// A value begins with the magic byte 0 and a big-endian schema ID of four bytes.
const (
	idAt       = 1
	headerSize = 5
)

// AppendHeader starts a value that was written with the schema of an ID.
func AppendHeader(dst []byte, id int) []byte {
	return binary.BigEndian.AppendUint32(append(dst, 0), uint32(id))
}

// Split takes a value apart into the ID of its writer's schema and the Avro body.
func Split(value []byte) (id int, body []byte, err error) {
	switch {
	case len(value) < headerSize:
		return 0, nil, &InvalidError{Class: ReasonTruncated, Message: fmt.Sprintf("the value has %d bytes, its header alone %d", len(value), headerSize), At: len(value)}
	case value[0] != 0:
		return 0, nil, &InvalidError{Class: ReasonMagic, Message: fmt.Sprintf("the value begins with byte %#02x instead of 0", value[0]), At: 0}
	}
	return int(binary.BigEndian.Uint32(value[1:])), value[headerSize:], nil
}

// Encoder writes values with one registered schema. It is safe for concurrent use.
type Encoder struct {
	schema *avro.Schema
	id     int
}

// NewEncoder makes an encoder of a schema that the registry knows under an ID.
func NewEncoder(schema *avro.Schema, id int) *Encoder { return &Encoder{schema: schema, id: id} }

// Encode returns the value of a record.
func (e *Encoder) Encode(v any) ([]byte, error) { return e.Append(nil, v) }

// Append appends the value of a record to dst.
func (e *Encoder) Append(dst []byte, v any) ([]byte, error) {
	value, err := e.schema.AppendEncode(AppendHeader(dst, e.id), v)
	if err != nil {
		return nil, fmt.Errorf("encoding: %s", describe(err))
	}
	return value, nil
}

// SchemaSource finds the schema behind an ID; Registry is one. It returns an
// *InvalidError for an ID that does not exist.
type SchemaSource interface {
	SchemaText(ctx context.Context, id int) (string, error)
}

// Decoder reads values of any writer's schema as one reader's schema. It is
// safe for concurrent use, and asks for each schema ID once.
type Decoder struct {
	reader *avro.Schema
	source SchemaSource

	flight   singleflight.Group
	resolved sync.Map // schema ID (int) → *writer
}

// writer is a schema that values were written with.
type writer struct {
	asReader *avro.Schema     // reads its values as the reader's schema
	root     *avro.SchemaNode // of the schema itself
	same     bool             // its values are the reader's, byte for byte
}

// NewDecoder makes a decoder towards the reader's schema.
func NewDecoder(reader *avro.Schema, source SchemaSource) *Decoder {
	return &Decoder{reader: reader, source: source}
}

// Decode reads a value into dst, a pointer to a struct of the reader's schema.
// A value that can never be read is an *InvalidError; any other error is the
// schema source's, and passes.
func (d *Decoder) Decode(ctx context.Context, value []byte, dst any) error {
	w, body, err := d.split(ctx, value)
	if err != nil {
		return err
	}
	return w.decode(body, dst)
}

// split takes a value apart into its writer and the Avro body.
func (d *Decoder) split(ctx context.Context, value []byte) (*writer, []byte, error) {
	id, body, err := Split(value)
	if err != nil {
		return nil, nil, err
	}
	w, err := d.writer(ctx, id)
	if invalid, ok := errors.AsType[*InvalidError](err); ok {
		return nil, nil, &InvalidError{Class: invalid.Class, Message: invalid.Message, At: idAt}
	}
	return w, body, err
}

func (w *writer) decode(body []byte, dst any) error {
	rest, err := w.asReader.Decode(body, dst)
	if err != nil {
		return w.located(corrupt(err), body)
	}
	return nothingLeft(body, rest)
}

func nothingLeft(body, rest []byte) error {
	if len(rest) > 0 {
		return &InvalidError{
			Class: ReasonCorrupt, Message: fmt.Sprintf("%d bytes are left over after the value", len(rest)),
			At: headerSize + len(body) - len(rest),
		}
	}
	return nil
}

// writer returns the schema of an ID. IDs that do not exist are not
// remembered: the schema may be registered by the time of a replay.
func (d *Decoder) writer(ctx context.Context, id int) (*writer, error) {
	if w, ok := d.resolved.Load(id); ok {
		return w.(*writer), nil
	}
	w, err, _ := d.flight.Do(fmt.Sprint(id), func() (any, error) {
		text, err := d.source.SchemaText(ctx, id)
		if err != nil {
			return nil, err
		}
		schema, err := avro.Parse(text)
		if err != nil {
			return nil, &InvalidError{Class: ReasonIncompatible, Message: fmt.Sprintf("schema %d is not an Avro schema", id), At: idAt}
		}
		asReader, err := avro.Resolve(schema, d.reader)
		if err != nil {
			return nil, &InvalidError{Class: ReasonIncompatible, Message: fmt.Sprintf("schema %d: %v", id, err), At: idAt}
		}
		root := schema.Root()
		w := &writer{asReader: asReader, root: root, same: sameBytes(root, d.reader.Root())}
		d.resolved.Store(id, w)
		return w, nil
	})
	if err != nil {
		return nil, err
	}
	return w.(*writer), nil
}

// sameBytes says whether every value has the same bytes and the same meaning
// in two schemas, of which one resolves as the other: they differ in
// documentation, defaults and aliases at most.
func sameBytes(a, b *avro.SchemaNode) bool {
	if a == nil || b == nil {
		return a == b
	}
	of := func(n *avro.SchemaNode) [5]any { return [5]any{n.Type, n.LogicalType, n.Size, n.Precision, n.Scale} }
	return of(a) == of(b) && slices.Equal(a.Symbols, b.Symbols) &&
		slices.EqualFunc(a.Branches, b.Branches, func(a, b avro.SchemaNode) bool { return sameBytes(&a, &b) }) &&
		slices.EqualFunc(a.Fields, b.Fields, func(a, b avro.SchemaField) bool { return a.Name == b.Name && sameBytes(&a.Type, &b.Type) }) &&
		sameBytes(a.Items, b.Items) && sameBytes(a.Values, b.Values)
}
