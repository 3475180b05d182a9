package people

import (
	"encoding/json"
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/producers/salesloft"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/people"
)

// fill gives each field of a struct another value.
func fill(t *testing.T, into reflect.Value, next *int) {
	t.Helper()
	*next++
	switch into.Interface().(type) {
	case time.Time:
		into.Set(reflect.ValueOf(time.Date(2024, 1, 1, 0, 0, *next, 0, time.UTC)))
		return
	case []int64:
		into.Set(reflect.ValueOf([]int64{int64(*next)}))
		return
	case []string:
		into.Set(reflect.ValueOf([]string{strconv.Itoa(*next)}))
		return
	case map[string]string:
		into.Set(reflect.ValueOf(map[string]string{"name": strconv.Itoa(*next)}))
		return
	}
	switch into.Kind() {
	case reflect.Pointer:
		into.Set(reflect.New(into.Type().Elem()))
		fill(t, into.Elem(), next)
	case reflect.Struct:
		for _, field := range into.Fields() {
			fill(t, field, next)
		}
	case reflect.String:
		into.SetString(strconv.Itoa(*next))
	case reflect.Int64:
		into.SetInt(int64(*next))
	case reflect.Bool:
		into.SetBool(true)
	default:
		require.Failf(t, "unknown kind of field", "%s", into.Type())
	}
}

// TestEveryFieldIsMapped: what the API has and the schema has is the same value in both.
func TestEveryFieldIsMapped(t *testing.T) {
	t.Parallel()
	var source salesloft.Person
	next := 0
	fill(t, reflect.ValueOf(&source).Elem(), &next)
	e, err := upsert(source, time.Now(), "run")
	require.NoError(t, err)
	require.NoError(t, event.Check(e, []byte(e.Key())))

	from, to := reflect.ValueOf(source), reflect.ValueOf(*e)
	mapped := 0
	for i := range to.NumField() {
		name := to.Type().Field(i).Name
		value := from.FieldByName(name)
		switch name {
		case "Envelope":
			continue
		case "PersonID":
			value = from.FieldByName("ID")
		case "UpdatedAt":
			value = reflect.ValueOf(&source.UpdatedAt)
		}
		if !value.IsValid() {
			value = reflect.ValueOf(*source.Counts).FieldByName(name)
		}
		require.True(t, value.IsValid(), "the source has no field %s", name)
		require.Equal(t, value.Interface(), to.Field(i).Interface(), name)
		mapped++
	}
	require.Equal(t, from.NumField()-1+reflect.TypeFor[salesloft.Counts]().NumField(), mapped, "the source has fields that the schema has not")
}

func TestVersionIsTheInstantNotItsSpelling(t *testing.T) {
	t.Parallel()
	at := time.Date(2024, 3, 7, 4, 26, 14, 444_910_999, time.FixedZone("", -5*3600))
	first, err := upsert(salesloft.Person{ID: 1, UpdatedAt: at}, time.Now(), "poll")
	require.NoError(t, err)
	second, err := upsert(salesloft.Person{ID: 1, UpdatedAt: at.UTC().Truncate(time.Microsecond)}, time.Now().Add(time.Hour), "webhook")
	require.NoError(t, err)
	require.Equal(t, first.EventID, second.EventID)
	require.Equal(t, time.Date(2024, 3, 7, 9, 26, 14, 444_910_000, time.UTC), first.SourceVersion)
}

func TestSparsePersonEncodes(t *testing.T) {
	t.Parallel()
	person, err := salesloft.ParsePerson([]byte("{\"id\":1,\"updated_at\":\"2024-03-07T00:00:00Z\",\"unheard_of\":\"\xff\"}"))
	require.NoError(t, err)
	e, err := upsert(person, time.Now(), "run")
	require.NoError(t, err)
	encoded, err := people.Schema.Encode(e)
	require.NoError(t, err)
	var back people.Person
	_, err = people.Schema.Decode(encoded, &back)
	require.NoError(t, err)
	require.Equal(t, *e, back, "what is read is what was written, empty lists and maps included")
	require.True(t, json.Valid([]byte(back.Extra["unheard_of"])))
}

func TestDeletion(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 678_901_234, time.UTC)
	at := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	person := salesloft.Person{ID: 7, UpdatedAt: at}
	before, err := upsert(person, now, "poll")
	require.NoError(t, err)

	whole, err := deletion(salesloft.Event{PersonID: 7, UpdatedAt: at, Person: &person}, now, "webhook")
	require.NoError(t, err)
	require.NoError(t, event.Check(whole, []byte("salesloft:7")))
	require.Equal(t, event.Delete, whole.Operation)
	require.Equal(t, at, whole.SourceVersion)
	require.Greater(t, whole.EventID.String()[19:], before.EventID.String()[19:], "a delete sorts last at its version")

	bare, err := deletion(salesloft.Event{PersonID: 7}, now, "webhook")
	require.NoError(t, err)
	require.NoError(t, event.Check(bare, []byte("salesloft:7")))
	require.Equal(t, now.Truncate(time.Microsecond), bare.SourceVersion)
	require.Nil(t, bare.UpdatedAt)
}
