package payload_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/dlq-replayer/payload"
	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/exportrun"
	"github.com/revstream/revstream/schemas/forecast"
	"github.com/revstream/revstream/schemas/money"
	"github.com/revstream/revstream/schemas/people"
	"github.com/revstream/revstream/schemas/wire"
)

func repair(t testing.TB, source wire.SchemaSource, patch string, headers map[string]string, letter deadletter.Letter) (deadletter.Letter, string, error) {
	t.Helper()
	return payload.NewReader(source).Repair(t.Context(), json.RawMessage(patch), headers, letter)
}

func letterOf(topic string, e event.Event, value []byte) deadletter.Letter {
	l := deadletter.Letter{Topic: topic, Key: []byte(e.Key()), Value: value, EventID: e.Head().EventID.String()}
	for _, h := range event.Headers(e, "/salesloft", "1") {
		l.Headers = append(l.Headers, kgo.RecordHeader{Key: h.Key, Value: []byte(h.Value)})
	}
	return l
}

// TestAPatchMendsWhatConsumersRefuse: and nothing else changes, to the last digit.
func TestAPatchMendsWhatConsumersRefuse(t *testing.T) {
	t.Parallel()
	before := person(t)
	require.Error(t, event.Check(before, []byte(before.Key())))
	letter := letterOf(schemas.PeopleTopic, before, encode(t, 1, before))
	changed, refusal, err := repair(t, registered,
		`{"updated_at":"2026-02-03T04:05:06.789012Z","title":null,"custom_fields":{"Tier":"2","Nickname":null},"tags":["a"]}`, nil, letter)
	require.NoError(t, err)
	require.Empty(t, refusal)
	after := new(people.Person)
	require.NoError(t, wire.NewDecoder(people.Schema, registered).Decode(t.Context(), changed.Value, after))
	require.NoError(t, event.Check(after, []byte(before.Key())))
	want := person(t)
	want.UpdatedAt, want.Title, want.CustomFields, want.Tags = new(version), nil, map[string]string{"Tier": "2"}, []string{"a"}
	require.Equal(t, want, after)
	want.CustomFields = map[string]string{"a": "1", "b": "2", "c": "3", "d": "4"}
	letter.Value = changed.Value
	require.Equal(t, letter, changed)

	// The order in a map is the writer's, and is kept.
	letter.Value = encode(t, 1, want)
	for range 8 {
		changed, refusal, err = repair(t, registered, `{"city":null}`, nil, letter)
		require.NoError(t, err)
		require.Empty(t, refusal)
		require.Equal(t, letter, changed)
	}
}

// TestAPatchWritesEachType as the schema has it, from the form in which it is shown.
func TestAPatchWritesEachType(t *testing.T) {
	t.Parallel()
	for patch, change := range map[string]func(*forecast.Forecast){
		`{}`: func(*forecast.Forecast) {},
		`{"value":12345678901234567890.000000000000000001}`:    func(f *forecast.Forecast) { f.Value = parsed(t, "12345678901234567890.000000000000000001") },
		`{"value":"-99999999999999999999.999999999999999999"}`: func(f *forecast.Forecast) { f.Value = parsed(t, "-99999999999999999999.999999999999999999") },
		`{"value":"-12345678901234567.89"}`:                    func(f *forecast.Forecast) { f.Value = parsed(t, "-12345678901234567.89") },
		`{"value":0}`:                                          func(f *forecast.Forecast) { f.Value = parsed(t, "0") },
		`{"value":1.5e3}`:                                      func(f *forecast.Forecast) { f.Value = parsed(t, "1500") },
		`{"value":null}`:                                       func(f *forecast.Forecast) { f.Value = nil },
		`{"time_period_start":"2024-02-29"}`:                   func(f *forecast.Forecast) { f.TimePeriodStart = new(time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC)) },
		`{"time_period_year":2026}`:                            func(f *forecast.Forecast) { f.TimePeriodYear = new(int32(2026)) },
		`{"is_updated":true}`:                                  func(f *forecast.Forecast) { f.IsUpdated = true },
		`{"updated_on":"2026-01-01T01:00:00.000001+01:00"}`:    func(f *forecast.Forecast) { f.UpdatedOn = new(time.Date(2026, 1, 1, 0, 0, 0, 1000, time.UTC)) },
		`{"user_name":"","job_id":"Zoë <a@b>"}`:                func(f *forecast.Forecast) { f.UserName, f.JobID = new(""), "Zoë <a@b>" },
	} {
		t.Run(patch, func(t *testing.T) {
			t.Parallel()
			f := amount(t)
			f.CurrencyCode = new("EUR")
			changed, refusal, err := repair(t, registered, patch, nil, letterOf(schemas.ForecastTopic, f, encode(t, 2, f)))
			require.NoError(t, err)
			require.Empty(t, refusal)
			change(f)
			require.Equal(t, encode(t, 2, f), changed.Value)
		})
	}
}

func parsed(t testing.TB, text string) *money.Amount {
	t.Helper()
	value, err := money.Parse(text)
	require.NoError(t, err)
	return &value
}

// golden are values as they stand on topics, with the schema that wrote each: a current one, or an older one beside it.
func golden(t testing.TB) map[string]struct {
	topic, schema string
	e             event.Event
	reader        *avro.Schema
	body          []byte
} {
	t.Helper()
	type value = struct {
		topic, schema string
		e             event.Event
		reader        *avro.Schema
		body          []byte
	}
	found := make(map[string]value)
	folder := filepath.Join("..", "..", "schemas", "testdata", "golden")
	files, err := filepath.Glob(filepath.Join(folder, "*.avro"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		v := value{topic: schemas.ForecastTopic, schema: schemas.MustAvro(forecast.SchemaFile), e: new(forecast.Forecast), reader: forecast.Schema}
		switch name := filepath.Base(file); {
		case strings.HasPrefix(name, "alert."): // nothing of ours reads them, so they have no dead letters
			continue
		case strings.HasPrefix(name, "person."):
			v.topic, v.schema, v.e, v.reader = schemas.PeopleTopic, schemas.MustAvro(people.SchemaFile), new(people.Person), people.Schema
		case strings.HasPrefix(name, "export_run."):
			v.topic, v.schema, v.e, v.reader = schemas.ExportRunsTopic, schemas.MustAvro(exportrun.SchemaFile), new(exportrun.ExportRun), exportrun.Schema
		default:
			require.True(t, strings.HasPrefix(name, "forecast."), name)
		}
		if older, err := os.ReadFile(strings.TrimSuffix(file, ".avro") + ".avsc"); err == nil {
			v.schema = string(older)
		}
		v.body, err = os.ReadFile(file)
		require.NoError(t, err)
		found[filepath.Base(file)] = v
	}
	return found
}

// TestAnEditorChangesWhatWasEditedAlone: of values of every schema that there is or was, the bytes of nothing else.
func TestAnEditorChangesWhatWasEditedAlone(t *testing.T) {
	t.Parallel()
	for name, v := range golden(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source := texts{7: v.schema}
			value := append(wire.AppendHeader(nil, 7), v.body...)
			reader := payload.NewReader(source)
			require.NoError(t, wire.NewDecoder(v.reader, source).Decode(t.Context(), value, v.e))
			letter := letterOf(v.topic, v.e, value)
			doc, err := reader.Read(t.Context(), value)
			require.NoError(t, err)
			given, err := doc.JSON(true)
			require.NoError(t, err)

			var indented strings.Builder
			enc := json.NewEncoder(&indented)
			enc.SetIndent("", "\t")
			require.NoError(t, enc.Encode(given))
			patch, err := payload.Diff(given, json.RawMessage(indented.String()))
			require.NoError(t, err)
			require.JSONEq(t, `{}`, string(patch))
			changed, refusal, err := reader.Repair(t.Context(), patch, nil, letter)
			require.NoError(t, err)
			require.Empty(t, refusal)
			require.Equal(t, letter, changed)

			edited := strings.Replace(string(given), `"correlation_id":"0b7f6f3e-run"`, `"correlation_id":"by hand"`, 1)
			require.NotEqual(t, string(given), edited)
			patch, err = payload.Diff(given, json.RawMessage(edited))
			require.NoError(t, err)
			require.JSONEq(t, `{"correlation_id":"by hand"}`, string(patch))
			changed, refusal, err = reader.Repair(t.Context(), patch, nil, letter)
			require.NoError(t, err)
			require.Empty(t, refusal)
			require.Equal(t, strings.Replace(string(value), "\x180b7f6f3e-run", "\x0eby hand", 1), string(changed.Value))

			// Every field written anew from what an editor was shown is what it was.
			changed, refusal, err = reader.Repair(t.Context(), given, nil, letter)
			require.NoError(t, err)
			require.Empty(t, refusal)
			doc, err = reader.Read(t.Context(), changed.Value)
			require.NoError(t, err)
			again, err := doc.JSON(true)
			require.NoError(t, err)
			require.Equal(t, string(given), string(again))
		})
	}
}

func TestAPatchIsRefused(t *testing.T) {
	t.Parallel()
	p := person(t)
	good := encode(t, 1, p)
	f := amount(t)
	f.CurrencyCode = nil
	forecasts := encode(t, 2, f)
	for name, c := range map[string]struct {
		patch string
		topic string
		value []byte
		want  string
	}{
		"would fail again":      {`{"title":"x"}`, schemas.PeopleTopic, good, "updated_at is not the source_version"},
		"event ID":              {`{"event_id":"0194a1b2-0000-8000-8000-000000000000"}`, schemas.PeopleTopic, good, "event_id"},
		"no event ID":           {`{"event_id":"private"}`, schemas.PeopleTopic, good, "event_id"},
		"source version":        {`{"source_version":"2026-02-03T04:05:07.789012Z"}`, schemas.PeopleTopic, good, "source_version"},
		"operation":             {`{"operation":"DELETE"}`, schemas.PeopleTopic, good, "operation"},
		"unknown operation":     {`{"operation":"private"}`, schemas.PeopleTopic, good, "does not fit schema 1: field operation"},
		"key":                   {`{"person_id":43,"updated_at":null}`, schemas.PeopleTopic, good, "key"},
		"unknown field":         {`{"titel":"x"}`, schemas.PeopleTopic, good, `"titel"`},
		"wrong type":            {`{"tags":"private"}`, schemas.PeopleTopic, good, "does not fit schema 1: field tags"},
		"wrong type of an item": {`{"tags":["a",7]}`, schemas.PeopleTopic, good, "does not fit schema 1"},
		"null in a list":        {`{"tags":["a",null]}`, schemas.PeopleTopic, good, "does not fit schema 1"},
		"a number in a map":     {`{"custom_fields":{"Tier":2}}`, schemas.PeopleTopic, good, "does not fit schema 1"},
		"required field gone":   {`{"person_id":null}`, schemas.PeopleTopic, good, "does not fit schema 1"},
		"too large":             {`{"person_id":9223372036854775808}`, schemas.PeopleTopic, good, "does not fit schema 1"},
		"no whole number":       {`{"emails_sent":1.5}`, schemas.PeopleTopic, good, "does not fit schema 1"},
		"no time":               {`{"created_at":"private"}`, schemas.PeopleTopic, good, "does not fit schema 1"},
		"a time out of range":   {`{"created_at":"1850-01-01T00:00:00Z","updated_at":null}`, schemas.PeopleTopic, good, "created_at"},
		"a fraction too fine":   {`{"created_at":"2026-01-01T00:00:00.0000001Z","updated_at":null}`, schemas.PeopleTopic, good, "finer than"},
		"no date":               {`{"time_period_start":"2026-02-30"}`, schemas.ForecastTopic, forecasts, "does not fit schema 2"},
		"too many decimals":     {`{"value":0.0000000000000000001}`, schemas.ForecastTopic, forecasts, "does not fit schema 2"},
		"too many digits":       {`{"value":"100000000000000000000"}`, schemas.ForecastTopic, forecasts, "does not fit schema 2"},
		"corrupt value":         {`{"title":"x"}`, schemas.PeopleTopic, good[:40], wire.ReasonCorrupt},
		"unknown schema":        {`{"title":"x"}`, schemas.PeopleTopic, wire.AppendHeader(nil, 99), wire.ReasonUnknownSchema},
		"unknown topic":         {`{"title":"x"}`, "other.v1", good, "other.v1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key := p.Key()
			if c.topic == schemas.ForecastTopic {
				key = f.Key()
			}
			letter := deadletter.Letter{Topic: c.topic, Key: []byte(key), Value: c.value}
			changed, refusal, err := repair(t, registered, c.patch, map[string]string{"x": "y"}, letter)
			require.NoError(t, err)
			require.Contains(t, refusal, c.want)
			require.NotContains(t, refusal, "private")
			require.Equal(t, letter, changed)
		})
	}
}

// away is a registry that does not answer.
type away struct{}

func (away) SchemaText(context.Context, int) (string, error) {
	return "", errors.New("registry is away")
}

func TestAnOutageIsNoRefusal(t *testing.T) {
	t.Parallel()
	letter := deadletter.Letter{Topic: schemas.PeopleTopic, Key: []byte("k"), Value: encode(t, 1, person(t))}
	for patch, headers := range map[string]map[string]string{`{"title":"x"}`: nil, `{}`: {"x": "y"}} {
		_, refusal, err := repair(t, away{}, patch, headers, letter)
		require.ErrorContains(t, err, "registry is away")
		require.Empty(t, refusal)
	}
}

func TestHeadersAreSet(t *testing.T) {
	t.Parallel()
	p := person(t)
	letter := letterOf(schemas.PeopleTopic, p, encode(t, 1, p)[:20]) // headers may help where the value cannot be read
	letter.Headers = append(letter.Headers, kgo.RecordHeader{Key: "twice", Value: []byte("1")}, kgo.RecordHeader{Key: "kept", Value: []byte{0xff}},
		kgo.RecordHeader{Key: "twice", Value: []byte("2")}, kgo.RecordHeader{Key: "gone"})
	before := len(letter.Headers)
	changed, refusal, err := repair(t, registered, ``, map[string]string{"twice": "3", "gone": "", "new": "4", "never": "", "schema-version": "2"}, letter)
	require.NoError(t, err)
	require.Empty(t, refusal)
	var tail []string
	for _, h := range changed.Headers[7:] {
		tail = append(tail, h.Key+"="+string(h.Value))
	}
	require.Equal(t, []string{"schema-version=2", "correlation-id=run", "twice=3", "kept=\xff", "new=4"}, tail)
	require.Equal(t, letter.Headers[:7], changed.Headers[:7])
	require.Len(t, letter.Headers, before)
	require.Equal(t, "1", string(letter.Headers[before-4].Value), "the letter that was given is as it was")
	changed.Headers = letter.Headers
	require.Equal(t, letter, changed)
}

func TestHeadersDoNotContradictTheValue(t *testing.T) {
	t.Parallel()
	p := person(t)
	whole := letterOf(schemas.PeopleTopic, p, encode(t, 1, p))
	bare := deadletter.Letter{Topic: whole.Topic, Key: whole.Key, Value: whole.Value}
	corrupt := whole
	corrupt.Value = whole.Value[:20]
	strange := whole
	strange.Topic = "other.v1"
	type set = map[string]string
	for name, c := range map[string]struct {
		letter  deadletter.Letter
		headers set
		want    string
	}{
		"another ID":                      {whole, set{"ce_id": "x"}, "header ce_id would contradict the value"},
		"no ID":                           {whole, set{"ce_id": ""}, "ce_id"},
		"another key":                     {whole, set{"ce_subject": "salesloft:1"}, "ce_subject"},
		"another kind":                    {whole, set{"ce_type": "com.revstream.forecast.v1"}, "ce_type"},
		"another time":                    {whole, set{"ce_time": "2026-02-03T04:05:06Z"}, "ce_time"},
		"another form":                    {whole, set{"content-type": "application/json"}, "content-type"},
		"another run":                     {whole, set{"correlation-id": "x"}, "correlation-id"},
		"what it says":                    {bare, set{"ce_id": whole.EventID, "ce_time": "2026-02-03T04:05:06.789012Z", "content-type": "application/avro"}, ""},
		"what is there":                   {corrupt, set{"ce_time": "2026-02-03T04:05:06.789012Z"}, ""},
		"the source":                      {whole, set{"ce_source": "/other"}, ""},
		"another ID, undecodable":         {corrupt, set{"ce_id": "x"}, "ce_id"},
		"another time, undecodable":       {corrupt, set{"ce_time": "2026-02-03T04:05:06Z"}, "nothing tells what is right"},
		"another ID, of an unknown topic": {strange, set{"ce_id": "x"}, "ce_id"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, refusal, err := repair(t, registered, ``, c.headers, c.letter)
			require.NoError(t, err)
			require.Contains(t, refusal, c.want)
			require.Equal(t, c.want == "", refusal == "", refusal)
		})
	}
}

func TestCheckChange(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		``: "", `{}`: "", ` {"a":1} `: "",
		`{`: "ends too early", `[]`: "not a JSON object", `null`: "not a JSON object", `"private"`: "not a JSON object",
		`{"a":1}{}`: "line 1, column 8", `{"a":1} x`: "line 1, column 9", `{a:1}`: "line 1, column 2", "{\n \"a\":\n  private}": "line 3, column 3",
		`{"a":{"b":["[masked]"]}}`: "only stands for what was not shown",
	} {
		err := payload.CheckChange([]byte(text), map[string]string{"x": "y"})
		if want == "" {
			require.NoError(t, err, text)
			continue
		}
		require.ErrorContains(t, err, want, text)
		require.NotContains(t, err.Error(), "private")
	}
	require.ErrorContains(t, payload.CheckChange(nil, map[string]string{"dlq-reason": "x"}), "header dlq-reason")
	require.ErrorContains(t, payload.CheckChange(nil, map[string]string{"": "x"}), "no name")
}

func TestDiff(t *testing.T) {
	t.Parallel()
	before := `{"a":1,"b":{"x":"1","y":"2"},"c":[1,2],"d":"<&>","e":null,"f":1.10}`
	for after, want := range map[string]string{
		before: `{}`,
		`{"a":2,"b":{"x":"1"},"c":[2],"d":"<>","e":{"z":1},"f":1.10}`:           `{"a":2,"b":{"y":null},"c":[2],"d":"<>","e":{"z":1}}`,
		`{"b":{"x":"1","y":"2","z":"3"},"c":[1,2],"d":"<&>","f":1.1,"g":"new"}`: `{"a":null,"b":{"z":"3"},"e":null,"f":1.1,"g":"new"}`,
	} {
		patch, err := payload.Diff(json.RawMessage(before), json.RawMessage(after))
		require.NoError(t, err)
		require.Equal(t, want, string(patch))
	}
	_, err := payload.Diff(json.RawMessage(before), json.RawMessage("{\"a\": 2,\n \"d\": private}"))
	require.EqualError(t, err, "the edited value is not JSON: from line 2, column 7 on")
}

func FuzzRepair(f *testing.F) {
	good := encode(f, 1, person(f))
	for _, patch := range []string{`{"updated_at":null}`, `{"custom_fields":{"a":{"b":null}}}`, `{"person_id":1e9}`, `{"tags":[null]}`, `{"title":{"string":"x"}}`} {
		f.Add([]byte(patch), good)
	}
	reader, decoder := payload.NewReader(registered), wire.NewDecoder(people.Schema, registered)
	f.Fuzz(func(t *testing.T, patch, value []byte) {
		letter := deadletter.Letter{Topic: schemas.PeopleTopic, Key: []byte("salesloft:42"), Value: value}
		if payload.CheckChange(patch, nil) != nil {
			return
		}
		changed, refusal, err := reader.Repair(t.Context(), patch, nil, letter)
		require.NoError(t, err)
		if refusal != "" || string(changed.Value) == string(value) {
			return
		}
		got := new(people.Person)
		require.NoError(t, decoder.Decode(t.Context(), changed.Value, got))
		require.NoError(t, event.Check(got, []byte("salesloft:42")))
	})
}
