package salesloft_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/producers/salesloft"
	"github.com/revstream/revstream/producers/salesloft/salesloftest"
)

const minimal = `{"id":9007199254740993,"updated_at":"2024-03-07T04:26:14.444910-05:00"`

func parse(t *testing.T, rest string) salesloft.Person {
	t.Helper()
	p, err := salesloft.ParsePerson([]byte(minimal + rest + "}"))
	require.NoError(t, err)
	return p
}

func TestPersonKeepsNullApartFromEmpty(t *testing.T) {
	t.Parallel()
	p := parse(t, `,"first_name":"","last_name":null,"starred":false,"tags":[],"cadences":[],"custom_fields":{},"home_phone":"0"`)
	require.Equal(t, int64(9007199254740993), p.ID, "no float on the way")
	require.Equal(t, "2024-03-07T04:26:14.44491-05:00", p.UpdatedAt.Format(time.RFC3339Nano))
	require.Empty(t, *p.FirstName)
	require.Nil(t, p.LastName)
	require.Nil(t, p.Title)
	require.False(t, *p.Starred)
	require.Nil(t, p.Bouncing)
	require.Equal(t, []string{}, p.Tags)
	require.Nil(t, p.ContactRestrictions)
	require.Equal(t, []int64{}, p.CadenceIDs)
	require.Equal(t, map[string]string{}, p.CustomFields)
	require.Nil(t, parse(t, `,"custom_fields":null`).CustomFields)
	require.Nil(t, p.Counts)
	require.Nil(t, p.Extra)
}

func TestPersonKeepsEveryKindOfValue(t *testing.T) {
	t.Parallel()
	p := parse(t, `,"custom_fields":{"s":"a \"b\" \u00e9","n":12.50,"big":12345678901234567890.1,"t":true,"nil":null,"l":[1, "x<"],"o":{ "k": 1 }},
		"hot_lead":true,"external_source":7,"job_function":"sales","owner":{"id":3,"_href":"x"},"account":{"id":null},
		"cadences":[{"id":1},{"id":2,"_href":"y"}],"counts":{"calls":2,"faxes":1},"shoe_size":{"eu": 44.5},"new_null":null`)
	require.Equal(t, map[string]string{
		"s": `a "b" é`, "n": "12.50", "big": "12345678901234567890.1", "t": "true", "nil": "null", "l": `[1,"x<"]`, "o": `{"k":1}`,
	}, p.CustomFields)
	require.Equal(t, []string{"true", "7", "sales"}, []string{*p.HotLead, *p.ExternalSource, *p.JobFunction})
	require.Equal(t, int64(3), *p.OwnerID)
	require.Nil(t, p.AccountID)
	require.Equal(t, []int64{1, 2}, p.CadenceIDs)
	require.Equal(t, int64(2), *p.Counts.Calls)
	require.Nil(t, p.Counts.EmailsSent)
	require.Equal(t, map[string]string{"counts.faxes": "1", "shoe_size": `{"eu": 44.5}`, "new_null": "null"}, p.Extra)
}

func TestBadPersonNamesTheFieldAndNoValue(t *testing.T) {
	t.Parallel()
	for body, field := range map[string]string{
		`{"updated_at":"2024-03-07T04:26:14Z"}`:          `"id"`,
		`{"id":0,"updated_at":"2024-03-07T04:26:14Z"}`:   `"id"`,
		`{"id":1.5,"updated_at":"2024-03-07T04:26:14Z"}`: `"id"`,
		`{"id":1}`:                                 `"updated_at"`,
		`{"id":1,"updated_at":"SECRET"}`:           `"updated_at"`,
		minimal + `,"first_name":["SECRET"]}`:      `"first_name"`,
		minimal + `,"created_at":"SECRET"}`:        `"created_at"`,
		minimal + `,"bouncing":"SECRET"}`:          `"bouncing"`,
		minimal + `,"success_count":1e3}`:          `"success_count"`,
		minimal + `,"tags":["SECRET",null]}`:       `"tags"`,
		minimal + `,"custom_fields":["SECRET"]}`:   `"custom_fields"`,
		minimal + `,"counts":{"calls":"SECRET"}}`:  `"counts.calls"`,
		minimal + `,"owner":"SECRET"}`:             `"owner"`,
		minimal + `,"cadences":[{"id":"SECRET"}]}`: `"cadences"`,
		`["SECRET"]`:      "not a JSON object",
		`{"id":1,"SECRET`: "not a JSON object",
		`null`:            "not a JSON object",
	} {
		_, err := salesloft.ParsePerson([]byte(body))
		var fieldError *salesloft.FieldError
		require.ErrorAs(t, err, &fieldError, body)
		require.ErrorContains(t, err, field, body)
		require.NotContains(t, err.Error(), "SECRET")
	}
}

// Every field of the type must come from some field of the API: a misspelt name would stay nil, its value in Extra.
func TestPersonKnowsEveryFieldOfTheAPI(t *testing.T) {
	t.Parallel()
	sim := newSim(t, salesloftest.Config{Seed: 1, People: 500})
	filled := map[string]bool{}
	for _, raw := range sim.People {
		p, err := salesloft.ParsePerson(raw)
		require.NoError(t, err)
		require.Nil(t, p.Extra)
		value := reflect.ValueOf(p)
		for i := range value.NumField() {
			if !value.Field(i).IsZero() {
				filled[value.Type().Field(i).Name] = true
			}
		}
	}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[salesloft.Person]()) {
		switch field.Name {
		case "Extra", "LastRepliedAt", "WorkState", "ExternalSource": // the simulator leaves these null
		default:
			require.True(t, filled[field.Name], field.Name)
		}
	}
	p := parse(t, `,"last_replied_at":"2024-03-07T04:26:14Z","work_state":"x","external_source":"y"`)
	require.NotNil(t, p.LastRepliedAt)
	require.NotNil(t, p.WorkState)
	require.NotNil(t, p.ExternalSource)
}

func FuzzPerson(f *testing.F) {
	sim, err := salesloftest.New(salesloftest.Config{Seed: 2, People: 5, APIKeys: []string{"k"}})
	require.NoError(f, err)
	for _, raw := range sim.People {
		f.Add([]byte(raw))
	}
	f.Add([]byte(minimal + `,"custom_fields":{"a":[null]},"owner":{"id":1}}`))
	f.Add([]byte(`{"id":1,"updated_at":null}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := salesloft.ParsePerson(raw)
		if err != nil {
			require.LessOrEqual(t, len(err.Error()), 120, "an error quotes no value")
			return
		}
		require.Positive(t, p.ID)
		require.False(t, p.UpdatedAt.IsZero())
		require.True(t, p.UpdatedAt.Equal(p.UpdatedAt.Truncate(time.Microsecond)))
		for _, text := range p.Extra {
			require.True(t, json.Valid([]byte(text)))
		}
	})
}

func FuzzWebhook(f *testing.F) {
	f.Add("person_updated", []byte(minimal+"}"))
	f.Add("person_created", []byte(`{"data":`+minimal+`}}`))
	f.Add("person_deleted", []byte(`{"id":5}`))
	f.Add("task_created", []byte(`{`))
	f.Fuzz(func(t *testing.T, name string, body []byte) {
		event, err := salesloft.ParseWebhook(name, body)
		switch {
		case err != nil:
			require.True(t, strings.HasPrefix(strings.ToLower(strings.TrimSpace(name)), "person_"))
		case event.Kind == salesloft.UnknownEvent:
			require.Nil(t, event.Person)
		default:
			require.Positive(t, event.PersonID)
			require.True(t, event.Kind == salesloft.PersonDeleted || event.Person != nil)
		}
	})
}
