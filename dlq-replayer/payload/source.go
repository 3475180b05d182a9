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
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber() // digits are kept
	var value any
	if !json.Valid(raw) || dec.Decode(&value) != nil {
		return nil, &wire.InvalidError{Class: wire.ReasonCorrupt, Message: "it is not JSON"}
	}
	if !reveal {
		value = masked(value)
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return nil, fmt.Errorf("rendering the value: %w", err)
	}
	return bytes.TrimSpace(out.Bytes()), nil
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
