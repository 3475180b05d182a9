package wire_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/avro"

	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/forecast"
	"github.com/revstream/revstream/schemas/people"
	"github.com/revstream/revstream/schemas/wire"
)

// where reads a value both ways, which must agree, and returns what is wrong.
func where(t testing.TB, kind int, source wire.SchemaSource, value []byte) *wire.InvalidError {
	t.Helper()
	decoder := wire.NewDecoder(kinds[kind].schema, source)
	decodeErr := decoder.Decode(t.Context(), value, kinds[kind].fresh())
	requireSamePlace(t, decodeErr, wire.NewScanner(decoder, kinds[kind].fresh()).Scan(t.Context(), value), value)
	invalid, _ := errors.AsType[*wire.InvalidError](decodeErr)
	return invalid
}

func requireSamePlace(t testing.TB, decodeErr, scanErr error, value []byte) {
	t.Helper()
	var decoded, scanned *wire.InvalidError
	require.ErrorAs(t, decodeErr, &decoded)
	require.ErrorAs(t, scanErr, &scanned)
	require.Equal(t, decoded.At, scanned.At, "%v; %v", decoded, scanned)
	require.Equal(t, decoded.Field, scanned.Field)
	require.GreaterOrEqual(t, decoded.At, 0, "%v", decoded)
	require.LessOrEqual(t, decoded.At, len(value))
}

// TestErrorsSayAtWhichByte the value stops being what its schema says.
func TestErrorsSayAtWhichByte(t *testing.T) {
	t.Parallel()
	current := schemas.MustAvro(forecast.SchemaFile)
	source := texts{
		1: current, 3: "{",
		2: strings.Replace(current, `{"name": "is_updated", "type": "boolean"`, `{"name": "is_updated", "type": "string"`, 1),
	}
	good := encoded(t, forecast.Schema, 1, full(t))
	const operation = 5 + 1 + 36 + 2*8 // header, length of the ID, ID, two timestamps of eight bytes each
	changed := func(at int, b byte) []byte {
		value := append([]byte(nil), good...)
		value[at] = b
		return value
	}
	name := strings.Index(string(good), "Zoë")
	for title, c := range map[string]struct {
		value []byte
		at    int
		field string
	}{
		"empty":              {nil, 0, ""},
		"header cut":         {good[:4], 4, ""},
		"magic":              {changed(0, 1), 0, ""},
		"unknown schema":     {wire.AppendHeader(nil, 99), 1, ""},
		"incompatible":       {wire.AppendHeader(nil, 2), 1, ""},
		"not a schema":       {wire.AppendHeader(nil, 3), 1, ""},
		"nothing but header": {good[:5], 5, "event_id"},
		"ID no UUID":         {changed(6, 'x'), 5, "event_id"},
		"unknown enum":       {changed(operation, 8), operation, "operation"},
		"cut in a text":      {good[:name+2], name - 1, "user_name"},
		"no such branch":     {changed(name-2, 4), name - 2, "user_name"},
		"negative length":    {changed(name-1, 1), name - 1, "user_name"},
		"too long":           {append(append([]byte(nil), good...), 0, 0), len(good), ""},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			invalid := where(t, 0, source, c.value)
			require.Equal(t, c.at, invalid.At)
			require.Equal(t, c.field, invalid.Field)
		})
	}
}

// TestErrorsSayWhereInAMap, which has parts of its own.
func TestErrorsSayWhereInAMap(t *testing.T) {
	t.Parallel()
	source := texts{1: schemas.MustAvro(people.SchemaFile)}
	value := encoded(t, people.Schema, 1, &people.Person{Envelope: sample(t).Envelope, CustomFields: map[string]string{"key": "value"}, Tags: []string{"tag"}})
	text := strings.Index(string(value), "value")
	invalid := where(t, 1, source, value[:text+1])
	require.Equal(t, text-1, invalid.At)
	require.Equal(t, "custom_fields", invalid.Field)
	tags := strings.Index(string(value), "tag")
	value[tags-1] = 0x7f
	invalid = where(t, 1, source, value)
	require.Equal(t, tags-1, invalid.At)
	require.Equal(t, "tags", invalid.Field)
}

// TestErrorsSayWhereTheWriterPutIt: what the reader's schema does not have lies in the way too.
func TestErrorsSayWhereTheWriterPutIt(t *testing.T) {
	t.Parallel()
	current := schemas.MustAvro(forecast.SchemaFile)
	source := texts{1: strings.Replace(current, `    {"name": "forecast_id"`,
		`    {"name": "added", "type": {"type": "record", "name": "Added", "fields": [
			{"name": "of", "type": {"type": "array", "items": "Operation"}}, {"name": "again", "type": ["null", "Added"]}]}},
    {"name": "forecast_id"`, 1)}
	writer := avro.MustParse(source[1])
	native := map[string]any{}
	_, err := forecast.Schema.Decode(encoded(t, forecast.Schema, 1, full(t))[5:], &native)
	require.NoError(t, err)
	inner := map[string]any{"of": []any{"DELETE"}, "again": nil}
	native["added"] = map[string]any{"of": []any{"UPSERT", "DELETE"}, "again": inner}
	value := encoded(t, writer, 1, native)
	items := "\x04\x00\x02\x00" // two of them, and the end
	at := strings.Index(string(value), items+"\x02") + len(items)
	value[at] = 0x10 // in place of the branch
	invalid := where(t, 0, source, value)
	require.Equal(t, at, invalid.At)
	require.Equal(t, "added", invalid.Field)

	value = encoded(t, writer, 1, native)
	name := strings.Index(string(value), "Zoë")
	require.Equal(t, name-1, where(t, 0, source, value[:name+1]).At, "behind what is skipped")
}
