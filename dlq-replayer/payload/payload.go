// Package payload owns what an operator sees of a dead letter's value, and changes in it.
package payload

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/twmb/avro"

	"github.com/revstream/revstream/schemas/wire"
)

// Mask stands in the place of personal data.
const Mask = "[masked]"

// Reader decodes values with the schemas that wrote them, which it fetches once each. It is safe for concurrent use.
type Reader struct {
	source   *remembering
	writers  sync.Map                 // schema ID (int) → *writer
	entities map[string]*wire.Decoder // by topic: as its consumers read
}

// writer is a schema that values were written with.
type writer struct {
	id       int
	root     *avro.SchemaNode
	personal []bool // of each field, whether it may hold personal data
	decoder  *wire.Decoder
	fields   func() ([]*avro.Schema, error) // of each field, a record that has it alone
}

// NewReader makes a reader that finds schemas in source.
func NewReader(source wire.SchemaSource) *Reader {
	r := &Reader{source: &remembering{source: source}, entities: map[string]*wire.Decoder{}}
	for topic, kind := range entities {
		r.entities[topic] = wire.NewDecoder(kind.schema, r.source)
	}
	return r
}

// Document is a decoded value.
type Document struct {
	*writer
	native map[string]any // as package avro decodes a record
}

// SchemaID is the registry's ID of the schema that wrote the value.
func (d *Document) SchemaID() int { return d.id }

// Read decodes a value. A value that cannot be decoded is a *wire.InvalidError; any other error is the source's.
func (r *Reader) Read(ctx context.Context, value []byte) (*Document, error) {
	id, _, err := wire.Split(value)
	if err != nil {
		return nil, err
	}
	w, err := r.writer(ctx, id)
	if err != nil {
		return nil, err
	}
	doc := &Document{writer: w}
	if err := w.decoder.Decode(ctx, value, &doc.native); err != nil {
		return nil, err
	}
	return doc, nil
}

func (r *Reader) writer(ctx context.Context, id int) (*writer, error) {
	if w, ok := r.writers.Load(id); ok {
		return w.(*writer), nil
	}
	text, err := r.source.SchemaText(ctx, id)
	if err != nil {
		return nil, err
	}
	schema, err := avro.Parse(text)
	if err != nil {
		return nil, &wire.InvalidError{Class: wire.ReasonIncompatible, Message: fmt.Sprintf("schema %d is not an Avro schema", id), At: idAt}
	}
	root := schema.Root()
	if root.Type != "record" {
		return nil, &wire.InvalidError{Class: wire.ReasonIncompatible, Message: fmt.Sprintf("schema %d is not one of a record", id), At: idAt}
	}
	w := &writer{
		id: id, root: root, personal: make([]bool, len(root.Fields)), decoder: wire.NewDecoder(schema, r.source),
		fields: sync.OnceValues(func() ([]*avro.Schema, error) { return alone(root) }),
	}
	for i, field := range root.Fields {
		w.personal[i] = personal(field)
	}
	known, _ := r.writers.LoadOrStore(id, w) // of two that were made at once, one is enough
	return known.(*writer), nil
}

// idAt is the place of the schema's ID in a value.
const idAt = 1

// alone makes of each field of a record a record that has it alone, and thus its bytes.
func alone(root *avro.SchemaNode) ([]*avro.Schema, error) {
	schemas := make([]*avro.Schema, len(root.Fields))
	for i, field := range root.Fields {
		node := avro.SchemaNode{Type: "record", Name: "revstream_field", Fields: []avro.SchemaField{field}}
		schema, err := node.Schema()
		if err != nil {
			return nil, fmt.Errorf("taking field %s out of its schema: %w", field.Name, err)
		}
		schemas[i] = schema
	}
	return schemas, nil
}

// JSON renders the value as one JSON object, its fields in the schema's order, times as RFC 3339, decimals as their
// digits. Unless reveal is set, what may be personal data is masked.
func (d *Document) JSON(reveal bool) (json.RawMessage, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	for i, field := range d.root.Fields {
		out.WriteByte("{,"[min(i, 1)])
		value := readable(d.native[field.Name], &field.Type)
		if !reveal && value != nil && d.personal[i] {
			value = Mask
		}
		if err := enc.Encode(field.Name); err != nil {
			return nil, fmt.Errorf("rendering a field's name: %w", err)
		}
		out.WriteByte(':')
		if err := enc.Encode(value); err != nil {
			return nil, fmt.Errorf("rendering field %s: %w", field.Name, err)
		}
	}
	if len(d.root.Fields) == 0 {
		out.WriteByte('{')
	}
	out.WriteByte('}')
	var compact bytes.Buffer
	if err := json.Compact(&compact, out.Bytes()); err != nil {
		return nil, fmt.Errorf("rendering the value: %w", err)
	}
	return compact.Bytes(), nil
}

var (
	mentionsPersonal = regexp.MustCompile(`(?i)\bpersonal data\b`)
	deniesPersonal   = regexp.MustCompile(`(?i)\bno personal data\b`)
)

// personal says whether a field may hold personal data: the schema's doc of the field says so, or says nothing at all.
func personal(field avro.SchemaField) bool {
	doc := deniesPersonal.ReplaceAllString(field.Doc, "")
	return field.Doc == "" || mentionsPersonal.MatchString(doc)
}

// readable turns a decoded value into what JSON shows well.
func readable(value any, node *avro.SchemaNode) any {
	switch v := value.(type) {
	case time.Time:
		if branch(node).LogicalType == "date" {
			return v.Format(time.DateOnly)
		}
		return v.Format(time.RFC3339Nano)
	case time.Duration:
		return v.String()
	case *big.Rat:
		digits, _ := v.FloatPrec()
		return v.FloatString(digits)
	case []any:
		items := make([]any, len(v))
		for i, item := range v {
			items[i] = readable(item, branch(node).Items)
		}
		return items
	case map[string]any:
		fields := make(map[string]any, len(v))
		for name, field := range v {
			fields[name] = readable(field, member(branch(node), name))
		}
		return fields
	default:
		return value
	}
}

// branch looks through a union of null and one type. It returns an empty node for none.
func branch(node *avro.SchemaNode) *avro.SchemaNode {
	if node == nil {
		return &avro.SchemaNode{}
	}
	i := slices.IndexFunc(node.Branches, func(b avro.SchemaNode) bool { return b.Type != "null" })
	if i < 0 {
		return node
	}
	return &node.Branches[i]
}

// member is the schema of a map's values, or of a record's field, if it is known.
func member(node *avro.SchemaNode, name string) *avro.SchemaNode {
	for i := range node.Fields {
		if node.Fields[i].Name == name {
			return &node.Fields[i].Type
		}
	}
	return node.Values
}
