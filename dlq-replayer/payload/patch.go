package payload

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/twmb/avro"

	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/exportrun"
	"github.com/revstream/revstream/schemas/forecast"
	"github.com/revstream/revstream/schemas/people"
	"github.com/revstream/revstream/schemas/wire"
)

// entity is what consumers of a topic make of a value.
type entity struct {
	schema *avro.Schema
	empty  func() event.Event
}

var entities = map[string]entity{
	schemas.ForecastTopic:   {forecast.Schema, func() event.Event { return new(forecast.Forecast) }},
	schemas.PeopleTopic:     {people.Schema, func() event.Event { return new(people.Person) }},
	schemas.ExportRunsTopic: {exportrun.Schema, func() event.Event { return new(exportrun.ExportRun) }},
}

// Patch is a JSON merge patch (RFC 7386) for values, in the form in which Document.JSON shows them.
type Patch map[string]any

// ParsePatch reads a patch. Its errors quote none of it.
func ParsePatch(raw []byte) (Patch, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber() // digits are kept
	var patch Patch
	err := dec.Decode(&patch)
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return nil, fmt.Errorf("the patch is not JSON, from byte %d on", syntax.Offset)
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return nil, errors.New("the patch is not JSON: it ends too early")
	case err != nil || patch == nil:
		return nil, errors.New("the patch is not a JSON object of fields")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the patch is more than one JSON object")
	}
	return patch, nil
}

// Apply returns a letter's value with the patch applied, in the schema that wrote it. A value that consumers would
// refuse again is refused here, and so is a change of what the event is: its ID, source version and operation; the
// value's key must be the record's. Refusal says why; an error is the schema source's. Neither quotes values.
func (r *Reader) Apply(ctx context.Context, patch Patch, letter deadletter.Letter) (value []byte, refusal string, err error) {
	value, err = r.apply(ctx, patch, letter)
	var invalid *wire.InvalidError
	var refused *refusedError
	switch {
	case errors.As(err, &refused):
		return nil, refused.why, nil
	case errors.As(err, &invalid):
		return nil, "cannot be decoded and so not be patched: " + invalid.Error(), nil
	}
	return value, "", err
}

type refusedError struct{ why string }

func (e *refusedError) Error() string { return e.why }

func refuse(format string, args ...any) error { return &refusedError{fmt.Sprintf(format, args...)} }

func (r *Reader) apply(ctx context.Context, patch Patch, letter deadletter.Letter) ([]byte, error) {
	kind, ok := entities[letter.Topic]
	if !ok {
		return nil, refuse("values of topic %s cannot be patched: nothing is known of what is valid there", letter.Topic)
	}
	doc, err := r.Read(ctx, letter.Value)
	if err != nil {
		return nil, err
	}
	for name := range patch {
		if !slices.ContainsFunc(doc.root.Fields, func(f avro.SchemaField) bool { return f.Name == name }) {
			return nil, refuse("the patch names field %q, which schema %d does not have", name, doc.id)
		}
	}
	decoder := r.entities[letter.Topic]
	before, after := kind.empty(), kind.empty()
	if err := decoder.Decode(ctx, letter.Value, before); err != nil {
		return nil, err
	}
	merged := merge(doc.native, map[string]any(patch))
	value, err := doc.schema.AppendEncode(wire.AppendHeader(nil, doc.id), merged)
	if err != nil {
		return nil, refuse("the patch does not fit schema %d%s", doc.id, at(err))
	}
	if err := decoder.Decode(ctx, value, after); err != nil {
		return nil, err
	}
	if err := sameFact(before.Head(), after.Head()); err != nil {
		return nil, err
	}
	if err := event.Check(after, letter.Key); err != nil {
		return nil, refuse("would fail again: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return value, nil
}

// sameFact refuses what would make another fact of the event.
func sameFact(before, after *event.Envelope) error {
	switch {
	case before.EventID != after.EventID:
		return refuse("the patch changes event_id, which the fact decides")
	case !before.SourceVersion.Equal(after.SourceVersion):
		return refuse("the patch changes source_version, which is the source's to say")
	case before.Operation != after.Operation:
		return refuse("the patch changes operation, which makes it another event")
	}
	return nil
}

// at names the field of an encoding error, whose text may quote values.
func at(err error) string {
	var semantic *avro.SemanticError
	if errors.As(err, &semantic) && semantic.Field != "" {
		return fmt.Sprintf(": field %s is not a valid %s", semantic.Field, semantic.AvroType)
	}
	return ""
}

// merge is RFC 7386, on decoded values. A field that is removed takes the schema's default.
func merge(target, patch any) any {
	changes, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	fields, ok := target.(map[string]any)
	if !ok {
		fields = make(map[string]any)
	}
	for name, change := range changes {
		if change == nil {
			delete(fields, name)
		} else {
			fields[name] = merge(fields[name], change)
		}
	}
	return fields
}
