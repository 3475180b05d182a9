package wire_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/avro"

	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/exportrun"
	"github.com/revstream/revstream/schemas/forecast"
	"github.com/revstream/revstream/schemas/money"
	"github.com/revstream/revstream/schemas/people"
	"github.com/revstream/revstream/schemas/wire"
)

// kinds are the events that there are, by the ID of their schema in the tests.
var kinds = []struct {
	schema *avro.Schema
	file   string
	fresh  func() event.Event
}{
	{forecast.Schema, forecast.SchemaFile, func() event.Event { return new(forecast.Forecast) }},
	{people.Schema, people.SchemaFile, func() event.Event { return new(people.Person) }},
	{exportrun.Schema, exportrun.SchemaFile, func() event.Event { return new(exportrun.ExportRun) }},
}

func scanner(t testing.TB, schema *avro.Schema, source wire.SchemaSource, dst any) *wire.Scanner {
	t.Helper()
	return wire.NewScanner(wire.NewDecoder(schema, source), dst)
}

// full is a forecast with every field.
func full(t testing.TB) *forecast.Forecast {
	t.Helper()
	f := sample(t)
	amount, err := money.Parse("-12345678901234.123456789")
	require.NoError(t, err)
	day := time.Date(1969, 12, 31, 0, 0, 0, 0, time.UTC)
	f.Value, f.TimePeriodStart, f.TimeFrameEnd, f.UpdatedOn = &amount, &day, &day, &day
	f.IsUpdated, f.TimePeriodYear, f.UserName, f.CurrencyCode = true, new(int32(2026)), new("Zoë 東京"), new("")
	return f
}

// TestScanReadsWhatDecodeReads, also after a value that had more.
func TestScanReadsWhatDecodeReads(t *testing.T) {
	t.Parallel()
	var got forecast.Forecast
	s := scanner(t, forecast.Schema, texts{1: schemas.MustAvro(forecast.SchemaFile)}, &got)
	for _, want := range []*forecast.Forecast{full(t), sample(t), full(t)} {
		require.NoError(t, s.Scan(t.Context(), encoded(t, forecast.Schema, 1, want)))
		require.Equal(t, want, &got)
	}
	var person people.Person
	p := scanner(t, people.Schema, texts{1: schemas.MustAvro(people.SchemaFile)}, &person)
	for _, want := range []*people.Person{
		{PersonID: 1, Tags: []string{"a", "", "c"}, CadenceIDs: []int64{1 << 62, -3}, CustomFields: map[string]string{"k": "v", "": ""}, DoNotContact: new(true)},
		{PersonID: 2, Tags: []string{"z"}, CustomFields: map[string]string{"other": "v"}},
	} {
		require.NoError(t, event.Seal(want, event.Upsert, time.UnixMicro(1_700_000_000_000_001), time.UnixMicro(1_700_000_001_000_000), "run"))
		require.NoError(t, p.Scan(t.Context(), encoded(t, people.Schema, 1, want)))
		require.Equal(t, normal(want), normal(&person))
	}
}

// normal has empty lists and maps in place of nil ones.
func normal(e event.Event) event.Event {
	v := reflect.ValueOf(e).Elem()
	n := reflect.New(v.Type())
	n.Elem().Set(v)
	for i := range v.NumField() {
		switch f := n.Elem().Field(i); {
		case f.Kind() == reflect.Slice && f.Len() == 0:
			f.Set(reflect.MakeSlice(f.Type(), 0, 0))
		case f.Kind() == reflect.Map && f.Len() == 0:
			f.Set(reflect.MakeMap(f.Type()))
		}
	}
	return n.Interface().(event.Event)
}

// TestScanResolvesTheWritersSchema as Decode does.
func TestScanResolvesTheWritersSchema(t *testing.T) {
	t.Parallel()
	current := schemas.MustAvro(forecast.SchemaFile)
	replace := func(old, by string) string {
		changed := strings.Replace(current, old, by, 1)
		require.NotEqual(t, current, changed)
		return changed
	}
	source := texts{
		1: current,
		2: replace(`    {"name": "hierarchy_name", "type": ["null", "string"], "default": null, "doc": "Name of that place."},`+"\n", ""),
		3: replace(`    {"name": "forecast_id"`, `    {"name": "added", "type": "string", "default": ""},`+"\n"+`    {"name": "forecast_id"`),
		4: replace(`"symbols": ["UPSERT", "DELETE"]`, `"symbols": ["DELETE", "UPSERT"]`),
		5: replace(`{"name": "user_name", "type": ["null", "string"]`, `{"name": "user_name", "type": ["string", "null"]`),
		6: replace(`"doc": "ISO 4217 code."`, `"doc": "Another text."`),
	}
	source[5] = strings.Replace(source[5], `"default": null, "doc": "Name of the user. Personal data."`, `"doc": "x"`, 1)
	want := full(t)
	var got forecast.Forecast
	s := scanner(t, forecast.Schema, source, &got)
	for id, text := range source {
		writer, err := avro.Parse(text)
		require.NoError(t, err)
		native := map[string]any{}
		_, err = forecast.Schema.Decode(encoded(t, forecast.Schema, 1, want)[5:], &native)
		require.NoError(t, err)
		native["added"] = "by a newer producer"
		require.NoError(t, s.Scan(t.Context(), encoded(t, writer, id, native)), id)
		require.Equal(t, want, &got, id)
	}
}

// TestMillisecondsAreNotTakenForMicroseconds: the bytes of the two are alike.
func TestMillisecondsAreNotTakenForMicroseconds(t *testing.T) {
	t.Parallel()
	current := schemas.MustAvro(forecast.SchemaFile)
	millis := strings.ReplaceAll(current, "timestamp-micros", "timestamp-millis")
	value := encoded(t, forecast.Schema, 1, sample(t))
	source := texts{1: millis}
	var scanned, decoded forecast.Forecast
	scanErr := scanner(t, forecast.Schema, source, &scanned).Scan(t.Context(), value)
	decodeErr := wire.NewDecoder(forecast.Schema, source).Decode(t.Context(), value, &decoded)
	require.Equal(t, decodeErr, scanErr)
	require.Equal(t, decoded, scanned)
}

// TestScanNeedsAFieldForEachOfTheSchema, and of its type.
func TestScanNeedsAFieldForEachOfTheSchema(t *testing.T) {
	t.Parallel()
	decoder := wire.NewDecoder(avro.MustParse(`{"type": "record", "name": "R", "fields": [{"name": "a", "type": "long"}]}`), texts{})
	type without struct {
		B int64 `avro:"b"`
	}
	require.PanicsWithValue(t, "wire: scanning R: *wire_test.without has no field a", func() { wire.NewScanner(decoder, new(without)) })
	type text struct {
		A string `avro:"a"`
	}
	require.PanicsWithValue(t, "wire: scanning R: field a is a long, which is not read into a string", func() { wire.NewScanner(decoder, new(text)) })
}

//nolint:paralleltest // allocations are the whole process's
func TestScanAllocatesNothing(t *testing.T) {
	value := encoded(t, forecast.Schema, 1, full(t))
	var got forecast.Forecast
	s := scanner(t, forecast.Schema, texts{1: schemas.MustAvro(forecast.SchemaFile)}, &got)
	require.Zero(t, testing.AllocsPerRun(100, func() { require.NoError(t, s.Scan(t.Context(), value)) }))
}

// FuzzScan holds the two ways of reading to each other: what they take, what they read, and where they say that it is wrong.
func FuzzScan(f *testing.F) {
	for i, kind := range kinds {
		f.Add(i, []byte{})
		e := kind.fresh()
		if forecasts, ok := e.(*forecast.Forecast); ok {
			*forecasts = *full(f)
		}
		value, err := kind.schema.Encode(e)
		if err == nil {
			f.Add(i, value)
		}
	}
	f.Add(1, encoded(f, people.Schema, 1, &people.Person{
		Envelope: sample(f).Envelope, PersonID: 1, Tags: []string{"a", "", "c"}, CadenceIDs: []int64{1, -3}, CustomFields: map[string]string{"k": "v"},
	})[5:])
	scanners, decoders, into := make([]*wire.Scanner, len(kinds)), make([]*wire.Decoder, len(kinds)), make([]event.Event, len(kinds))
	for i, k := range kinds {
		decoders[i], into[i] = wire.NewDecoder(k.schema, texts{1: schemas.MustAvro(k.file)}), k.fresh()
		scanners[i] = wire.NewScanner(decoders[i], into[i])
	}
	for at := range 8 {
		f.Add(0, encoded(f, forecast.Schema, 1, full(f))[5:60+at*15])
	}
	undashed := encoded(f, forecast.Schema, 1, sample(f))[5+1+36:]
	f.Add(0, append([]byte("@00000000000080008000000000000000"), undashed...)) // an ID that only some take for one
	f.Fuzz(func(t *testing.T, kind int, body []byte) {
		if kind < 0 || kind >= len(kinds) {
			return
		}
		value := append(wire.AppendHeader(nil, 1), body...)
		scanned, decoded := into[kind], kinds[kind].fresh()
		scanErr := scanners[kind].Scan(t.Context(), value)
		decodeErr := decoders[kind].Decode(t.Context(), value, decoded)
		require.Equal(t, decodeErr == nil, scanErr == nil, "decode: %v; scan: %v", decodeErr, scanErr)
		if scanErr != nil {
			requireSamePlace(t, decodeErr, scanErr, value)
			return
		}
		require.Equal(t, normal(decoded), normal(scanned))
	})
}
