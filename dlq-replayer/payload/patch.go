package payload

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"time"

	"github.com/twmb/avro"
)

// Patch is a JSON merge patch (RFC 7386) for values, in the form in which Document.JSON shows them.
type Patch map[string]any

// ParsePatch reads a patch. Its errors quote none of it.
func ParsePatch(raw []byte) (Patch, error) {
	patch, err := object(raw, "the patch")
	if err != nil {
		return nil, err
	}
	if holdsMask(patch) {
		return nil, fmt.Errorf("the patch writes %s, which only stands for what was not shown", Mask)
	}
	return patch, nil
}

// Diff makes the patch that turns one JSON object into another: what an editor was given, and what it returned. Its errors
// quote neither.
func Diff(before, after json.RawMessage) (json.RawMessage, error) {
	from, err := object(before, "the value")
	if err != nil {
		return nil, err
	}
	to, err := object(after, "the edited value")
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(difference(from, to)); err != nil {
		return nil, fmt.Errorf("writing the patch: %w", err)
	}
	return bytes.TrimSpace(out.Bytes()), nil
}

func difference(from, to map[string]any) map[string]any {
	patch := make(map[string]any)
	for name := range from {
		if _, ok := to[name]; !ok {
			patch[name] = nil
		}
	}
	for name, value := range to {
		was, ok := from[name]
		if ok && reflect.DeepEqual(was, value) {
			continue
		}
		fields, isObject := value.(map[string]any)
		if earlier, wasObject := was.(map[string]any); isObject && wasObject {
			value = difference(earlier, fields)
		}
		patch[name] = value
	}
	return patch
}

// object reads one JSON object.
func object(raw []byte, what string) (map[string]any, error) {
	var value any
	if err := decode(raw, &value); err != nil {
		return nil, fmt.Errorf("%s is not JSON: %w", what, place(raw, err))
	}
	fields, ok := value.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s is not a JSON object of fields", what)
	}
	return fields, nil
}

// decode reads one JSON value. Its errors may quote it: callers say where instead.
func decode(raw []byte, value *any) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber() // digits are kept
	if err := dec.Decode(value); err != nil {
		return err
	}
	end := dec.InputOffset()
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		rest := bytes.TrimLeft(raw[end:], " \t\r\n")
		return &json.SyntaxError{Offset: int64(len(raw) - len(rest) + 1)}
	}
	return nil
}

// offset is where JSON stops being so.
func offset(raw []byte, err error) int {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return int(max(syntax.Offset-1, 0)) // it counts the byte that is wrong
	}
	return len(raw)
}

func place(raw []byte, err error) error {
	at := offset(raw, err)
	if at >= len(raw) {
		return errors.New("it ends too early")
	}
	line := bytes.Count(raw[:at], []byte("\n")) + 1
	column := at - bytes.LastIndexByte(raw[:at], '\n')
	return fmt.Errorf("from line %d, column %d on", line, column)
}

func holdsMask(value any) bool {
	switch v := value.(type) {
	case string:
		return v == Mask
	case []any:
		return slices.ContainsFunc(v, holdsMask)
	case map[string]any:
		for _, field := range v {
			if holdsMask(field) {
				return true
			}
		}
	}
	return false
}

// merge is RFC 7386, on decoded values. A field of a record that is removed becomes null or, where its type has no null,
// takes the schema's default; one that the schema does not have is refused.
func merge(node *avro.SchemaNode, target, patch any) (any, error) {
	changes, ok := patch.(map[string]any)
	if !ok {
		return patch, fits(node, patch)
	}
	fields, ok := target.(map[string]any)
	if !ok {
		fields = make(map[string]any)
	}
	node = branch(node)
	for name, change := range changes {
		of := member(node, name)
		switch {
		case of == nil && node.Type == "record":
			return nil, refuse("the patch names field %q, which the schema does not have", name)
		case change != nil:
			merged, err := merge(of, fields[name], change)
			if err != nil {
				return nil, err
			}
			fields[name] = merged
		case node.Type == "record" && nullable(of):
			fields[name] = nil
		default:
			delete(fields, name)
		}
	}
	return fields, nil
}

// fits refuses a time of which the schema would silently drop what is finer than its unit.
func fits(node *avro.SchemaNode, value any) error {
	units := map[string]time.Duration{"timestamp-millis": time.Millisecond, "timestamp-micros": time.Microsecond}
	unit, ok := units[branch(node).LogicalType]
	text, isText := value.(string)
	if !ok || !isText {
		return nil
	}
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil && at.Nanosecond()%int(unit) != 0 {
		return refuse("the patch has a time that is finer than the %s of the schema", branch(node).LogicalType)
	}
	return nil
}

func nullable(node *avro.SchemaNode) bool {
	return slices.ContainsFunc(node.Branches, func(b avro.SchemaNode) bool { return b.Type == "null" })
}
