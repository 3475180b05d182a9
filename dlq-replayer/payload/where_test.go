package payload_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/dlq-replayer/payload"
	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/wire"
)

func failed(t testing.TB) (forecasts, people deadletter.Letter) {
	t.Helper()
	f, p := amount(t), person(t)
	forecasts = letterOf(schemas.ForecastTopic, f, encode(t, 2, f))
	people = letterOf(schemas.PeopleTopic, p, encode(t, 1, p))
	people.Partition, people.Offset, people.Attempts, people.Replays, people.Reason = 3, 1<<40, 2, 1, "validation"
	people.FirstFailure, people.LastFailure = version, version
	return forecasts, people
}

func matches(t testing.TB, where string, reveal bool, letter deadletter.Letter) (bool, error) {
	t.Helper()
	match, err := payload.Compile(payload.NewReader(registered))(where, reveal)
	require.NoError(t, err, where)
	return match(t.Context(), letter)
}

func TestWhereMatches(t *testing.T) {
	t.Parallel()
	forecasts, people := failed(t)
	undecodable := people
	undecodable.Value = people.Value[:40]
	sent := deadletter.Letter{Topic: schemas.PeopleTopic, Stage: string(deadletter.StageProduce), Value: []byte(`{"id":7,"gone":null,"tags":["a"]}`)}
	for _, c := range []struct {
		where  string
		letter deadletter.Letter
		reveal bool
		want   bool
	}{
		{`value.value < -12345678901234566 && value.currency_code == "eur"`, forecasts, false, true},
		{`value.time_period_start == date("2026-01-01") and value.operation == "UPSERT"`, forecasts, false, true},
		{`value.source_version > date("2026-02-03") and value.source_version.Year() == 2026`, forecasts, false, true},
		{`value.event_id == event_id and value.is_updated == false`, forecasts, false, true},
		{`value.time_period_year > 2000`, forecasts, false, false}, // it is null
		{`value.person_id in [41, 42] and 1152921504606846976 in value.cadence_ids`, people, false, true},
		{`value.first_name == "Zoë"`, people, false, false},
		{`value.first_name == "[masked]" and value.last_name == nil`, people, false, true},
		{`value.first_name startsWith "Z" and value.custom_fields["Tier"] == "1"`, people, true, true},
		{`any(keys(value.custom_fields), # matches "^Nick")`, people, true, true},
		{`value.no_such_field == "x" or value.no_such_field > 5`, people, false, false},
		{`value.custom_fields.none.none == 1 or len(value.title.none) > 1`, people, true, false},
		{`int(value.first_name) == 5`, people, true, false}, // whose error would quote it
		{`partition == 3 and offset == 1099511627776 and attempts == 2 and replays == 1 and schema == 1`, people, false, true},
		{`reason == "validation" and headers["ce_source"] == "/salesloft" and headers.none == "" and topic endsWith ".v1"`, people, false, true},
		{`last_failure - first_failure < duration("1s") and now() - last_failure > duration("1h")`, people, false, true},
		{`key == "salesloft:42" and correlation_id == "" and message == "" and stage == "" and group == ""`, people, false, true},
		{`value.title == "x"`, undecodable, false, false},
		{`value.person_id > 5`, undecodable, false, false},
		{`value == nil and schema == 1 and $env["value"] == nil`, undecodable, false, true},
		{`value.id == 7`, sent, true, true},
		{`value.id == "[masked]" and value.gone == nil and len(value.tags) == 1`, sent, false, true},
	} {
		got, err := matches(t, c.where, c.reveal, c.letter)
		require.NoError(t, err, c.where)
		require.Equal(t, c.want, got, c.where)
	}
}

// TestWhereDoesNotCompile: the place is shown, before any letter is read.
func TestWhereDoesNotCompile(t *testing.T) {
	t.Parallel()
	for where, want := range map[string]string{
		`value.`:        "(1:6)\n | value.\n | .....^",
		``:              "unexpected",
		`nobody == 1`:   "unknown name nobody (1:1)\n | nobody == 1\n | ^",
		`offset == "x"`: "mismatched types int and string) (1:8)",
		`key`:           "expected bool, but got string",
		"key == \"a\" and\n  topic matches \"[\"":            "(2:9)\n |   topic matches",
		`count(1..1000000, count(1..1000000, true) > 1) > 1`: "not allowed",
		`any(value.tags, any(value.tags, true))`:             "within another one is not allowed (1:17)",
		`1 in 1..1000000000`:                                 "ranges are not allowed",
		`repeat("x", 1000000000) == "x"`:                     "function repeat is not allowed (1:1)",
		`len(map(value.tags, "x")) == 1`:                     "function map is not allowed",
		`reduce(value.tags, #acc + #acc, "x") == "x"`:        "function reduce is not allowed",
		`let x = value.title; x == "a"`:                      "variables are not allowed",
		strings.Repeat(`true and `, 500) + `true`:            "exceeds",
	} {
		_, err := payload.Compile(payload.NewReader(registered))(where, true)
		require.ErrorContains(t, err, "the expression cannot be used: ", where)
		require.ErrorContains(t, err, want, where)
	}
}

// TestWhereTellsOfWrongTypes, and not of values.
func TestWhereTellsOfWrongTypes(t *testing.T) {
	t.Parallel()
	_, people := failed(t)
	for where, want := range map[string]string{
		`value.title > 5`:                                   "invalid operation: string > int (1:13)\n | value.title > 5\n | ............^",
		`value.title`:                                       "bool(string) (1:1)",
		`value.person_id contains "4"`:                      "is int64, not string",
		`"x" in value.title`:                                "not defined on string",
		`len(value.person_id) > 1`:                          "len (type int64)",
		`keys(value.title) == []`:                           "nothing within a string",
		`value.person_id[value.first_name] == 1`:            "nothing within a int64",
		`value.title[value.first_name] == 1`:                "(1:12)",
		`value.created_at == nil and -value.first_name > 1`: "- string (1:29)",
	} {
		got, err := matches(t, where, true, people)
		require.False(t, got)
		require.ErrorAs(t, err, new(*payload.WhereError), where)
		require.ErrorContains(t, err, want, where)
		require.NotContains(t, err.Error(), "Zoë")
		require.NotContains(t, err.Error(), "CFO")
	}
}

// TestWhereNeedsTheRegistryForValuesAlone.
func TestWhereNeedsTheRegistryForValuesAlone(t *testing.T) {
	t.Parallel()
	_, people := failed(t)
	compile := payload.Compile(payload.NewReader(away{}))
	match, err := compile(`reason == "validation"`, false)
	require.NoError(t, err)
	got, err := match(t.Context(), people)
	require.NoError(t, err)
	require.True(t, got)
	match, err = compile(`value.title == "x"`, false)
	require.NoError(t, err)
	_, err = match(t.Context(), people)
	require.ErrorContains(t, err, "registry is away")
	require.NotErrorAs(t, err, new(*payload.WhereError))
}

// TestOneReaderForAll: workers share it.
func TestOneReaderForAll(t *testing.T) {
	t.Parallel()
	forecasts, people := failed(t)
	reader := payload.NewReader(registered)
	match, err := payload.Compile(reader)(`value.title == "CFO <finance>" or value.kind == "forecast"`, false)
	require.NoError(t, err)
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for range 50 {
				for _, letter := range []deadletter.Letter{forecasts, people} {
					got, err := match(t.Context(), letter)
					if err != nil || !got {
						t.Errorf("%v, %v", got, err)
					}
					_, err = reader.Show(t.Context(), letter, true)
					if err != nil {
						t.Error(err)
					}
					_, _, err = reader.Repair(t.Context(), []byte(`{"correlation_id":"x"}`), map[string]string{"a": "b"}, letter)
					if err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	workers.Wait()
}

func FuzzWhere(f *testing.F) {
	for _, where := range []string{`value.title > 5`, `any(value.tags, # == key)`, `value.custom_fields[value.first_name].x`, `headers[key] matches topic`, `value?.a ?? 1 > 2`} {
		f.Add(where)
	}
	_, people := failed(f)
	compile := payload.Compile(payload.NewReader(registered))
	f.Fuzz(func(t *testing.T, where string) {
		match, err := compile(where, true)
		if err != nil {
			return
		}
		_, err = match(t.Context(), people)
		if err != nil {
			require.ErrorAs(t, err, new(*payload.WhereError))
			require.NotContains(t, err.Error(), "zoe@example.com")
		}
	})
}

func BenchmarkWhere(b *testing.B) {
	_, people := failed(b)
	for name, where := range map[string]string{"Headers": `reason == "x"`, "Value": `value.title == "x"`} {
		b.Run(name, func(b *testing.B) {
			match, err := payload.Compile(payload.NewReader(registered))(where, false)
			require.NoError(b, err)
			for b.Loop() {
				_, err := match(b.Context(), people)
				require.NoError(b, err)
			}
		})
	}
}

// counting is a registry that counts what it is asked.
type counting struct {
	texts
	asked int
}

// SchemaText implements wire.SchemaSource.
func (c *counting) SchemaText(ctx context.Context, id int) (string, error) {
	c.asked++
	return c.texts.SchemaText(ctx, id)
}

// TestUnknownSchemasAreNotAskedForAgainAndAgain: a topic may be full of them.
func TestUnknownSchemasAreNotAskedForAgainAndAgain(t *testing.T) {
	t.Parallel()
	registry := &counting{texts: registered}
	reader := payload.NewReader(registry)
	for range 100 {
		shown, err := reader.Show(t.Context(), deadletter.Letter{Topic: schemas.PeopleTopic, Value: wire.AppendHeader(nil, 99)}, true)
		require.NoError(t, err)
		require.Contains(t, shown.Undecodable, wire.ReasonUnknownSchema)
	}
	require.Equal(t, 1, registry.asked)
}
