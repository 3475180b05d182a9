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
	"time"

	"github.com/twmb/avro"

	"github.com/revstream/revstream/schemas/wire"
)

// Mask stands in the place of personal data.
const Mask = "[masked]"

// Reader decodes values with the schemas that wrote them, which it fetches once each. It is not safe for concurrent use.
type Reader struct {
	source   wire.SchemaSource
	writers  map[int]*writer          // by schema ID
	entities map[string]*wire.Decoder // by topic: as its consumers read
}

// writer is a schema that values were written with.
type writer struct {
	id      int
	schema  *avro.Schema
	root    *avro.SchemaNode
	decoder *wire.Decoder
}

// NewReader makes a reader that finds schemas in source.
func NewReader(source wire.SchemaSource) *Reader {
	r := &Reader{source: source, writers: map[int]*writer{}, entities: map[string]*wire.Decoder{}}
	for topic, kind := range entities {
		r.entities[topic] = wire.NewDecoder(kind.schema, source)
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
	if w, ok := r.writers[id]; ok {
		return w, nil
	}
	text, err := r.source.SchemaText(ctx, id)
	if err != nil {
		return nil, err
	}
	schema, err := avro.Parse(text)
	if err != nil {
		return nil, &wire.InvalidError{Class: wire.ReasonIncompatible, Message: fmt.Sprintf("schema %d is not an Avro schema", id)}
	}
	w := &writer{id: id, schema: schema, root: schema.Root(), decoder: wire.NewDecoder(schema, known{id: text})}
	if w.root.Type != "record" {
		return nil, &wire.InvalidError{Class: wire.ReasonIncompatible, Message: fmt.Sprintf("schema %d is not one of a record", id)}
	}
	r.writers[id] = w
	return w, nil
}

// known is a schema source that has been asked already.
type known map[int]string

// SchemaText implements wire.SchemaSource.
func (k known) SchemaText(_ context.Context, id int) (string, error) { return k[id], nil }

// JSON renders the value as one JSON object, its fields in the schema's order, times as RFC 3339, decimals as their
// digits. Unless reveal is set, what may be personal data is masked.
func (d *Document) JSON(reveal bool) (json.RawMessage, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	for i, field := range d.root.Fields {
		out.WriteByte("{,"[min(i, 1)])
		value := readable(d.native[field.Name], &field.Type)
		if !reveal && value != nil && personal(field) {
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
