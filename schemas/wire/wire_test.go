package wire_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/avro"
	"go.uber.org/goleak"

	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/forecast"
	"github.com/revstream/revstream/schemas/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// texts is a schema source that knows these IDs.
type texts map[int]string

func (s texts) SchemaText(_ context.Context, id int) (string, error) {
	if text, ok := s[id]; ok {
		return text, nil
	}
	return "", &wire.InvalidError{Class: wire.ReasonUnknownSchema, Message: "unknown"}
}

func sample(t testing.TB) *forecast.Forecast {
	t.Helper()
	f := &forecast.Forecast{
		ForecastID: "f", TimePeriodID: "2026_Q1", TimeFrameID: "w", UserID: "u", FieldID: "x", Kind: "forecast", JobID: "j",
	}
	require.NoError(t, event.Seal(f, event.Upsert, time.UnixMicro(1_700_000_000_000_001), time.UnixMicro(1_700_000_001_000_000), "run"))
	return f
}

func encoded(t testing.TB, schema *avro.Schema, id int, v any) []byte {
	t.Helper()
	value, err := wire.NewEncoder(schema, id).Encode(v)
	require.NoError(t, err)
	return value
}

func reasonOf(t *testing.T, err error) string {
	t.Helper()
	var invalid *wire.InvalidError
	require.ErrorAs(t, err, &invalid)
	return invalid.Reason()
}

// TestDecodeResolvesTheWritersSchema: a consumer reads what was written by an
// older schema (a field missing) and by a newer one (a field more, order changed).
func TestDecodeResolvesTheWritersSchema(t *testing.T) {
	t.Parallel()
	current, err := schemas.Avro(forecast.SchemaFile)
	require.NoError(t, err)
	older := strings.Replace(current, `    {"name": "hierarchy_name", "type": ["null", "string"], "default": null, "doc": "Name of that place."},`+"\n", "", 1)
	require.NotEqual(t, current, older)
	newer := strings.Replace(current, `    {"name": "forecast_id"`, `    {"name": "added", "type": "string", "default": ""},`+"\n"+`    {"name": "forecast_id"`, 1)
	require.NotEqual(t, current, newer)

	dec := wire.NewDecoder(forecast.Schema, texts{1: older, 2: newer, 3: current})
	want := sample(t)
	for id, text := range map[int]string{1: older, 2: newer, 3: current} {
		writer, err := avro.Parse(text)
		require.NoError(t, err)
		native := map[string]any{}
		_, err = forecast.Schema.Decode(encoded(t, forecast.Schema, 3, want)[5:], &native)
		require.NoError(t, err)
		native["added"] = "by a newer producer"
		got := new(forecast.Forecast)
		require.NoError(t, dec.Decode(t.Context(), encoded(t, writer, id, native), got))
		require.Equal(t, want, got)
	}
}

func TestDecodeNamesWhyAValueIsPoison(t *testing.T) {
	t.Parallel()
	current, err := schemas.Avro(forecast.SchemaFile)
	require.NoError(t, err)
	wrongType := strings.Replace(current, `{"name": "is_updated", "type": "boolean"`, `{"name": "is_updated", "type": "string"`, 1)
	require.NotEqual(t, current, wrongType)
	dec := wire.NewDecoder(forecast.Schema, texts{1: current, 2: wrongType, 3: "{"})
	good := encoded(t, forecast.Schema, 1, sample(t))

	enum := append([]byte(nil), good...)
	at := 5 + 1 + 36 + 2*8 // header, length of the ID, ID, two timestamps of eight bytes each
	require.Equal(t, byte(0), enum[at], "the operation is where the test thinks it is")
	enum[at] = 8 // the fifth symbol

	for name, c := range map[string]struct {
		value  []byte
		reason string
	}{
		"empty":            {nil, wire.ReasonTruncated},
		"header cut":       {good[:4], wire.ReasonTruncated},
		"magic":            {append([]byte{1}, good[1:]...), wire.ReasonMagic},
		"unknown schema":   {wire.AppendHeader(nil, 99), wire.ReasonUnknownSchema},
		"not a schema":     {wire.AppendHeader(nil, 3), wire.ReasonIncompatible},
		"wrong type":       {wire.AppendHeader(nil, 2), wire.ReasonIncompatible},
		"body cut":         {good[:len(good)-1], wire.ReasonCorrupt},
		"body too long":    {append(append([]byte(nil), good...), 0), wire.ReasonCorrupt},
		"unknown enum":     {enum, wire.ReasonCorrupt},
		"nothing but head": {wire.AppendHeader(nil, 1), wire.ReasonCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := dec.Decode(t.Context(), c.value, new(forecast.Forecast))
			require.Equal(t, c.reason, reasonOf(t, err))
		})
	}
}

// flaky fails until it is mended.
type flaky struct {
	texts
	err error
}

func (f *flaky) SchemaText(ctx context.Context, id int) (string, error) {
	if f.err != nil {
		return "", f.err
	}
	return f.texts.SchemaText(ctx, id)
}

// TestDecodeForgetsFailures: neither an outage of the registry nor a schema
// that was registered late sticks.
func TestDecodeForgetsFailures(t *testing.T) {
	t.Parallel()
	source := &flaky{texts: texts{}, err: errors.New("registry is away")}
	dec := wire.NewDecoder(forecast.Schema, source)
	value := encoded(t, forecast.Schema, 1, sample(t))

	err := dec.Decode(t.Context(), value, new(forecast.Forecast))
	require.ErrorContains(t, err, "registry is away")
	require.NotErrorAs(t, err, new(*wire.InvalidError), "an outage is not poison")

	source.err = nil
	require.Equal(t, wire.ReasonUnknownSchema, reasonOf(t, dec.Decode(t.Context(), value, new(forecast.Forecast))))

	source.texts[1] = schemas.MustAvro(forecast.SchemaFile)
	require.NoError(t, dec.Decode(t.Context(), value, new(forecast.Forecast)))
}

// TestErrorsQuoteNoValues: errors end in logs and in DLQ headers.
func TestErrorsQuoteNoValues(t *testing.T) {
	t.Parallel()
	dec := wire.NewDecoder(forecast.Schema, texts{1: schemas.MustAvro(forecast.SchemaFile)})
	value := encoded(t, forecast.Schema, 1, sample(t))
	copy(value[6:], "secret-secret-secret-secret-secret-s") // in place of the event ID
	err := dec.Decode(t.Context(), value, new(forecast.Forecast))
	require.ErrorContains(t, err, "event_id")
	require.NotContains(t, err.Error(), "secret")
}

func FuzzDecode(f *testing.F) {
	dec := wire.NewDecoder(forecast.Schema, texts{1: schemas.MustAvro(forecast.SchemaFile)})
	good := encoded(f, forecast.Schema, 1, sample(f))
	f.Add(good)
	f.Add(good[:20])
	f.Add([]byte{})
	f.Add(wire.AppendHeader(nil, 1))
	f.Fuzz(func(t *testing.T, value []byte) {
		var got forecast.Forecast
		if err := dec.Decode(t.Context(), value, &got); err != nil {
			require.ErrorAs(t, err, new(*wire.InvalidError))
			return
		}
		if event.Check(&got, []byte(got.Key())) != nil {
			return
		}
		again := new(forecast.Forecast)
		require.NoError(t, dec.Decode(t.Context(), encoded(t, forecast.Schema, 1, &got), again))
		require.Equal(t, &got, again)
	})
}
