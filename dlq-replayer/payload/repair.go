package payload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/kgo"

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

// letterPrefix is that of the headers which make a record a dead letter.
const letterPrefix = "dlq-"

// CheckChange says what is wrong with a repair whatever the letter.
func CheckChange(patch json.RawMessage, headers map[string]string) error {
	_, err := parseChange(patch, headers)
	return err
}

func parseChange(raw json.RawMessage, headers map[string]string) (Patch, error) {
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		switch {
		case name == "":
			return nil, errors.New("a header to set has no name")
		case strings.HasPrefix(name, letterPrefix):
			return nil, fmt.Errorf("header %s is the dead letter's, not the record's: it cannot be set", name)
		}
	}
	if len(raw) == 0 {
		return nil, nil
	}
	return ParsePatch(raw)
}

// Repair returns a letter with a merge patch made in its value, in the schema that wrote it, and with headers set; an empty
// value takes a header away. What the patch does not name stays as it is, byte for byte.
//
// A value that consumers would refuse again is refused here, and so is a change of what the event is: its ID, source version and
// operation; the value's key must be the record's. Headers that repeat the value may be set to what it says alone. Refusal says
// why; an error is the schema source's, or CheckChange's. None of them quotes values.
func (r *Reader) Repair(ctx context.Context, patch json.RawMessage, headers map[string]string, letter deadletter.Letter) (changed deadletter.Letter, refusal string, err error) {
	changes, err := parseChange(patch, headers)
	if err != nil {
		return letter, "", err
	}
	changed = letter
	if len(changes) > 0 {
		changed.Value, err = r.patched(ctx, changes, letter)
	}
	if err == nil && len(headers) > 0 {
		changed.Headers, err = r.headed(ctx, headers, changed)
	}
	var invalid *wire.InvalidError
	var refused *refusedError
	switch {
	case errors.As(err, &refused):
		return letter, refused.why, nil
	case errors.As(err, &invalid):
		return letter, "cannot be decoded and so not be patched: " + invalid.Error(), nil
	case err != nil:
		return letter, "", err
	}
	return changed, "", nil
}

type refusedError struct{ why string }

func (e *refusedError) Error() string { return e.why }

func refuse(format string, args ...any) error { return &refusedError{fmt.Sprintf(format, args...)} }

func (r *Reader) patched(ctx context.Context, patch Patch, letter deadletter.Letter) ([]byte, error) {
	kind, ok := entities[letter.Topic]
	if !ok {
		return nil, refuse("values of topic %s cannot be patched: nothing is known of what is valid there", letter.Topic)
	}
	doc, err := r.Read(ctx, letter.Value)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(patch)) {
		if !slices.ContainsFunc(doc.root.Fields, func(f avro.SchemaField) bool { return f.Name == name }) {
			return nil, refuse("the patch names field %q, which schema %d does not have", name, doc.id)
		}
	}
	decoder := r.entities[letter.Topic]
	before, after := kind.empty(), kind.empty()
	if err := decoder.Decode(ctx, letter.Value, before); err != nil {
		return nil, err
	}
	value, err := doc.splice(patch, letter.Value)
	if err != nil {
		return nil, err
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

// splice writes the fields that the patch names anew, and copies the others.
func (w *writer) splice(patch Patch, value []byte) ([]byte, error) {
	fields, err := w.fields()
	if err != nil {
		return nil, err
	}
	body := value[headerBytes:]
	spliced := append(make([]byte, 0, len(value)), value[:headerBytes]...)
	for i, field := range w.root.Fields {
		native := make(map[string]any)
		rest, err := fields[i].Decode(body, &native)
		if err != nil {
			return nil, fmt.Errorf("finding the bytes of field %s in a value of schema %d", field.Name, w.id) // it was read before
		}
		change, named := patch[field.Name]
		if !named {
			spliced = append(spliced, body[:len(body)-len(rest)]...)
		} else if spliced, err = w.change(fields[i], spliced, native, map[string]any{field.Name: change}); err != nil {
			return nil, err
		}
		body = rest
	}
	return spliced, nil
}

// change appends a field with a patch made in it.
func (w *writer) change(field *avro.Schema, dst []byte, native, patch map[string]any) ([]byte, error) {
	merged, err := merge(w.root, native, patch)
	if err != nil {
		return nil, err
	}
	dst, err = field.AppendEncode(dst, merged)
	if err != nil {
		return nil, refuse("the patch does not fit schema %d%s", w.id, at(err))
	}
	return dst, nil
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

// headed returns a letter's headers with some of them set. A new one goes to the end.
func (r *Reader) headed(ctx context.Context, set map[string]string, letter deadletter.Letter) ([]kgo.RecordHeader, error) {
	says, err := r.says(ctx, letter)
	if err != nil {
		return nil, err
	}
	headers := slices.Clone(letter.Headers)
	for _, name := range slices.Sorted(maps.Keys(set)) {
		named := func(h kgo.RecordHeader) bool { return h.Key == name }
		first := slices.IndexFunc(headers, named)
		value, bound := says[name]
		switch {
		case !bound || first >= 0 && string(headers[first].Value) == set[name]:
		case value == "":
			return nil, refuse("header %s repeats the value, which cannot be decoded: nothing tells what is right", name)
		case value != set[name]:
			return nil, refuse("header %s would contradict the value", name)
		}
		if set[name] == "" {
			headers = slices.DeleteFunc(headers, named)
			continue
		}
		header := kgo.RecordHeader{Key: name, Value: []byte(set[name])}
		if first < 0 {
			headers = append(headers, header)
			continue
		}
		headers[first] = header
		headers = append(headers[:first+1], slices.DeleteFunc(headers[first+1:], named)...)
	}
	return headers, nil
}

// says is what the headers that repeat a letter's value must be. What only a value can tell is empty if it cannot be decoded.
func (r *Reader) says(ctx context.Context, letter deadletter.Letter) (map[string]string, error) {
	says := map[string]string{
		event.HeaderID: letter.EventID, event.HeaderSubject: string(letter.Key), event.HeaderSpecVersion: "",
		event.HeaderType: "", event.HeaderTime: "", event.HeaderContentType: event.ContentType, event.HeaderCorrelationID: "",
	}
	kind, ok := entities[letter.Topic]
	if !ok {
		return says, nil
	}
	e := kind.empty()
	err := r.entities[letter.Topic].Decode(ctx, letter.Value, e)
	if _, ok := errors.AsType[*wire.InvalidError](err); ok {
		return says, nil
	}
	if err != nil {
		return nil, err
	}
	for _, header := range event.Headers(e, "", "") {
		if _, bound := says[header.Key]; bound {
			says[header.Key] = header.Value
		}
	}
	return says, nil
}
