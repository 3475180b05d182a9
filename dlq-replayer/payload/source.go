package payload

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/revstream/revstream/schemas/wire"
)

// SourceJSON renders what a source sent and never became an event: JSON without a schema. Unless reveal is set, every text
// and number is masked, as nothing tells which of them is personal. Bytes that are no JSON are a *wire.InvalidError.
func SourceJSON(raw []byte, reveal bool) (json.RawMessage, error) {
	value, err := source(raw, reveal)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return nil, fmt.Errorf("rendering the value: %w", err)
	}
	return bytes.TrimSpace(out.Bytes()), nil
}

func source(raw []byte, reveal bool) (any, error) {
	var value any
	if err := decode(raw, &value); err != nil {
		return nil, &wire.InvalidError{Class: wire.ReasonCorrupt, Message: "it is not JSON", At: offset(raw, err)}
	}
	if !reveal {
		value = masked(value)
	}
	return value, nil
}

// masked keeps the shape of a value, and what is true, false or null in it.
func masked(value any) any {
	switch v := value.(type) {
	case string, json.Number:
		return Mask
	case []any:
		for i := range v {
			v[i] = masked(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = masked(v[name])
		}
	}
	return value
}
