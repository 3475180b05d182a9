package payload

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/schemas/wire"
)

// headerBytes of a value are its magic byte and schema ID, and never personal.
const headerBytes = 5

// Shown is what an operator sees of a letter's value.
type Shown struct {
	SchemaID int             // 0 if the value names none
	Value    json.RawMessage // nil if it cannot be decoded
	// Undecodable says why there is no Value, and names no value. Field and At say where, as in wire.InvalidError.
	Undecodable, Field string
	At                 int
	// Raw is then the value itself. Without reveal it is the part of which nothing can be of a name.
	Raw    []byte
	Hidden int // bytes after Raw
}

// Show decodes a letter's value: that of an event, or what a source sent and never became one. A value that cannot be decoded
// is no error; errors are the schema source's.
func (r *Reader) Show(ctx context.Context, letter deadletter.Letter, reveal bool) (Shown, error) {
	shown := Shown{At: wire.Nowhere}
	plain := headerBytes
	var err error
	if letter.Stage == string(deadletter.StageProduce) {
		plain = 0
		shown.Value, err = SourceJSON(letter.Value, reveal)
	} else {
		shown.SchemaID = SchemaID(letter.Value)
		shown.Value, err = r.render(ctx, letter.Value, reveal)
	}
	if invalid, ok := errors.AsType[*wire.InvalidError](err); ok {
		// What cannot be decoded cannot be told apart: any of its bytes may be of a name.
		shown.Undecodable, shown.Field, shown.At, shown.Raw = invalid.Error(), invalid.Field, invalid.At, letter.Value
		if !reveal {
			shown.Raw = letter.Value[:min(plain, len(letter.Value))]
		}
		shown.Hidden = len(letter.Value) - len(shown.Raw)
		return shown, nil
	}
	return shown, err
}

func (r *Reader) render(ctx context.Context, value []byte, reveal bool) (json.RawMessage, error) {
	doc, err := r.Read(ctx, value)
	if err != nil {
		return nil, err
	}
	return doc.JSON(reveal)
}

// SchemaID is the registry's ID of the schema that a value says it was written with, or 0 if it says none.
func SchemaID(value []byte) int {
	id, _, err := wire.Split(value)
	if err != nil {
		return 0
	}
	return id
}

// Dump writes Raw as lines of sixteen bytes in hexadecimal. Under the one at which decoding failed stands a mark.
func (s Shown) Dump() string {
	const perLine = 16
	lines := strings.SplitAfter(hex.Dump(s.Raw), "\n")
	if s.At < 0 || s.At > len(s.Raw) || s.At == len(s.Raw) && s.Hidden > 0 {
		return strings.Join(lines, "")
	}
	line, column := s.At/perLine, s.At%perLine
	if column == 0 && s.At == len(s.Raw) && line > 0 { // behind the last byte of a full line
		line, column = line-1, perLine
	}
	indent := len("00000000  ") + 3*column
	if column >= perLine/2 { // between the halves is a space more
		indent++
	}
	mark := fmt.Sprintf("%s^^ byte %d\n", strings.Repeat(" ", indent), s.At)
	return strings.Join(lines[:min(line+1, len(lines))], "") + mark + strings.Join(lines[min(line+1, len(lines)):], "")
}
