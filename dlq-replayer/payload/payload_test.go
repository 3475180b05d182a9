package payload_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/avro"
	"go.uber.org/goleak"

	"github.com/revstream/revstream/dlq-replayer/payload"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/exportrun"
	"github.com/revstream/revstream/schemas/forecast"
	"github.com/revstream/revstream/schemas/money"
	"github.com/revstream/revstream/schemas/people"
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

var registered = texts{
	1: schemas.MustAvro(people.SchemaFile), 2: schemas.MustAvro(forecast.SchemaFile), 3: schemas.MustAvro(exportrun.SchemaFile),
	4: `{"type":"record","name":"R","fields":[{"name":"undocumented","type":"string"},{"name":"told","type":"string","doc":"An ID."}]}`,
	5: `"string"`,
}

var version = time.Date(2026, 2, 3, 4, 5, 6, 789_012_000, time.UTC)

// person is one whose updated_at is not the source version, which no consumer takes.
func person(t testing.TB) *people.Person {
	t.Helper()
	p := &people.Person{
		PersonID: 42, FirstName: new("Zoë"), Title: new("CFO <finance>"), EmailAddress: new("zoe@example.com"),
		UpdatedAt: new(version.Add(time.Second)), CadenceIDs: []int64{1, 1 << 60}, Tags: []string{}, ContactRestrictions: []string{},
		CustomFields: map[string]string{"Nickname": "Zo", "Tier": "1"}, Extra: map[string]string{},
	}
	require.NoError(t, event.Seal(p, event.Upsert, version, version.Add(time.Minute), "run"))
	return p
}

func amount(t testing.TB) *forecast.Forecast {
	t.Helper()
	value, err := money.Parse("-12345678901234567.890000000000000001")
	require.NoError(t, err)
	f := &forecast.Forecast{
		ForecastID: "f", TimePeriodID: "2026_Q1", TimeFrameID: "w", UserID: "u", FieldID: "x", Kind: "forecast", JobID: "j",
		Value: &value, CurrencyCode: new("eur"), UserName: new("Zoë"), TimePeriodStart: new(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)),
	}
	require.NoError(t, event.Seal(f, event.Upsert, version, version, "run"))
	return f
}

func encode(t testing.TB, id int, v any) []byte {
	t.Helper()
	schema, err := avro.Parse(registered[id])
	require.NoError(t, err)
	value, err := wire.NewEncoder(schema, id).Encode(v)
	require.NoError(t, err)
	return value
}

func fields(t testing.TB, id int, v any, reveal bool) map[string]any {
	t.Helper()
	doc, err := payload.NewReader(registered).Read(t.Context(), encode(t, id, v))
	require.NoError(t, err)
	require.Equal(t, id, doc.SchemaID())
	raw, err := doc.JSON(reveal)
	require.NoError(t, err)
	var got map[string]any
	require.NoError(t, json.Unmarshal(raw, &got))
	return got
}

func TestPersonalDataIsMasked(t *testing.T) {
	t.Parallel()
	masked, revealed := fields(t, 1, person(t), false), fields(t, 1, person(t), true)
	for _, name := range []string{"first_name", "email_address", "custom_fields", "extra"} {
		require.Equal(t, payload.Mask, masked[name], name)
		require.NotEqual(t, payload.Mask, revealed[name], name)
	}
	require.Nil(t, masked["last_name"], "that nothing is there is no secret, and may be why it failed")
	require.Equal(t, "CFO <finance>", masked["title"])
	require.Equal(t, "Zoë", revealed["first_name"])
	require.Equal(t, map[string]any{"Nickname": "Zo", "Tier": "1"}, revealed["custom_fields"])
	require.Equal(t, payload.Mask, fields(t, 2, amount(t), false)["user_name"])

	unknown := fields(t, 4, map[string]any{"undocumented": "x", "told": "y"}, false)
	require.Equal(t, map[string]any{"undocumented": payload.Mask, "told": "y"}, unknown)

	run := &exportrun.ExportRun{RunID: "r", Source: "clari", OfEntity: "forecast", Outcome: exportrun.Failed, Error: new("timed out"), Kinds: []string{}}
	require.NoError(t, event.Seal(run, event.Upsert, version, version, "run"))
	require.Equal(t, "timed out", fields(t, 3, run, false)["error"], "its doc says that it holds no personal data")
}

// TestNoFieldOfAPersonSlipsThrough: whatever is typed into the fields that name or reach a person is masked.
func TestNoFieldOfAPersonSlipsThrough(t *testing.T) {
	t.Parallel()
	for name, value := range fields(t, 1, map[string]any{
		"event_id": "00000000-0000-8000-8000-000000000000", "source_version": version, "observed_at": version, "operation": "UPSERT",
		"correlation_id": "run", "person_id": 1,
		"first_name": "private", "last_name": "private", "display_name": "private", "email_address": "private",
		"full_email_address": "private", "secondary_email_address": "private", "personal_email_address": "private",
		"phone": "private", "phone_extension": "private", "home_phone": "private", "mobile_phone": "private",
		"linkedin_url": "private", "personal_website": "private", "twitter_handle": "private",
		"custom_fields": map[string]any{"private": "private"}, "extra": map[string]any{"private": "private"},
	}, false) {
		rendered, err := json.Marshal(value)
		require.NoError(t, err)
		require.NotContains(t, string(rendered), "private", name)
	}
}

func TestValuesAreReadable(t *testing.T) {
	t.Parallel()
	got := fields(t, 2, amount(t), true)
	require.Equal(t, "-12345678901234567.890000000000000001", got["value"])
	require.Equal(t, "2026-02-03T04:05:06.789012Z", got["source_version"])
	require.Equal(t, "2026-01-01", got["time_period_start"])

	doc, err := payload.NewReader(registered).Read(t.Context(), encode(t, 1, person(t)))
	require.NoError(t, err)
	raw, err := doc.JSON(true)
	require.NoError(t, err)
	require.Regexp(t, `^\{"event_id":"[0-9a-f-]+","source_version":"[^"]+","observed_at":"[^"]+","operation":"UPSERT",`, string(raw), "in the schema's order")
	require.Contains(t, string(raw), `"cadence_ids":[1,1152921504606846976]`)
	require.Contains(t, string(raw), `"title":"CFO <finance>"`)
}

func TestWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	good := encode(t, 1, person(t))
	for reason, value := range map[string][]byte{
		wire.ReasonTruncated: good[:3], wire.ReasonMagic: append([]byte{7}, good[1:]...), wire.ReasonUnknownSchema: wire.AppendHeader(nil, 99),
		wire.ReasonCorrupt: good[:len(good)/2], wire.ReasonIncompatible: wire.AppendHeader(nil, 5),
	} {
		_, err := payload.NewReader(registered).Read(t.Context(), value)
		var invalid *wire.InvalidError
		require.ErrorAs(t, err, &invalid)
		require.Equal(t, reason, invalid.Reason())
	}
}
