package salesloftest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/revstream/revstream/producers/chaos"
	"github.com/revstream/revstream/producers/salesloft/salesloftest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const key = "test-key"

type server struct {
	*salesloftest.Simulator
	t    *testing.T
	base string
	http *http.Client
}

func start(t *testing.T, cfg salesloftest.Config) server {
	t.Helper()
	if cfg.APIKeys == nil {
		cfg.APIKeys = []string{key}
	}
	sim, err := salesloftest.New(cfg)
	require.NoError(t, err)
	listener := httptest.NewServer(sim)
	t.Cleanup(func() {
		sim.Close()
		listener.Close()
	})
	return server{Simulator: sim, t: t, base: listener.URL, http: listener.Client()}
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

func (s server) do(method, path string, body any) answer {
	s.t.Helper()
	payload, err := json.Marshal(body)
	require.NoError(s.t, err)
	request, err := http.NewRequestWithContext(s.t.Context(), method, s.base+path, bytes.NewReader(payload))
	require.NoError(s.t, err)
	request.Header.Set("Authorization", "Bearer "+key)
	response, err := s.http.Do(request)
	require.NoError(s.t, err)
	defer func() { require.NoError(s.t, response.Body.Close()) }()
	text, err := io.ReadAll(response.Body)
	require.NoError(s.t, err)
	return answer{status: response.StatusCode, header: response.Header, body: text}
}

type list struct {
	Metadata struct {
		Filtering map[string]any `json:"filtering"`
		Paging    map[string]any `json:"paging"`
		Sorting   map[string]any `json:"sorting"`
	} `json:"metadata"`
	Data []json.RawMessage `json:"data"`
}

func (s server) list(query string) list {
	s.t.Helper()
	got := s.do(http.MethodGet, "/v2/people.json?"+query, nil)
	require.Equal(s.t, http.StatusOK, got.status, string(got.body))
	var l list
	require.NoError(s.t, json.Unmarshal(got.body, &l))
	return l
}

type stamps struct {
	ID        int64     `json:"id"`
	UpdatedAt time.Time `json:"updated_at"`
	CreatedAt time.Time `json:"created_at"`
	Name      string    `json:"display_name"`
}

func (l list) stamps(t *testing.T) []stamps {
	t.Helper()
	all := make([]stamps, len(l.Data))
	for i, raw := range l.Data {
		require.NoError(t, json.Unmarshal(raw, &all[i]))
	}
	return all
}

func TestNewNamesEveryMistake(t *testing.T) {
	t.Parallel()
	_, err := salesloftest.New(salesloftest.Config{People: -1, ClientSecret: "s", InvalidGrantStatus: 500})
	for _, part := range []string{"people: -1", "no credentials", "set both or neither", "not 500"} {
		require.ErrorContains(t, err, part)
	}
}

func TestListPagesCoverEverybodyOnceInEitherDirection(t *testing.T) {
	t.Parallel()
	s := start(t, salesloftest.Config{Seed: 3, People: 60, TieRun: 4})
	for _, direction := range []string{"ASC", "DESC"} {
		var all []stamps
		for page := 1; page <= 3; page++ {
			l := s.list(fmt.Sprintf("sort_direction=%s&page=%d&include_paging_counts=true", direction, page))
			require.EqualValues(t, 25, l.Metadata.Paging["per_page"])
			require.EqualValues(t, 60, l.Metadata.Paging["total_count"])
			require.EqualValues(t, 3, l.Metadata.Paging["total_pages"])
			all = append(all, l.stamps(t)...)
		}
		require.Len(t, all, 60)
		ids := map[int64]bool{}
		for i, p := range all {
			ids[p.ID] = true
			if i > 0 && direction == "ASC" {
				require.False(t, p.UpdatedAt.Before(all[i-1].UpdatedAt))
			} else if i > 0 {
				require.False(t, p.UpdatedAt.After(all[i-1].UpdatedAt))
			}
		}
		require.Len(t, ids, 60)
	}
	first := s.list("page=-4")
	require.EqualValues(t, 1, first.Metadata.Paging["current_page"], "a page out of range is corrected")
	require.EqualValues(t, 2, first.Metadata.Paging["next_page"])
	require.NotContains(t, first.Metadata.Paging, "total_count")
	require.Equal(t, "DESC NULLS LAST", first.Metadata.Sorting["sort_direction"])
	past := s.list("page=9")
	require.Empty(t, past.Data)
	require.NotNil(t, past.Data)
	require.Nil(t, past.Metadata.Paging["next_page"])
}

func TestListFilters(t *testing.T) {
	t.Parallel()
	s := start(t, salesloftest.Config{Seed: 5, People: 40})
	all := s.list("per_page=100&sort_direction=ASC").stamps(t)
	at := all[10].UpdatedAt.UTC().Format("2006-01-02T15:04:05.000000Z")
	require.NotZero(t, all[10].UpdatedAt.Nanosecond()%1_000_000, "the stamps have microseconds")
	count := func(query string) int { return len(s.list("per_page=100&" + query).Data) }
	require.Equal(t, 30, count("updated_at[gte]="+at))
	require.Equal(t, 29, count("updated_at[gt]="+at))
	require.Equal(t, 11, count("updated_at[lte]="+at))
	require.Equal(t, 10, count("updated_at[lt]="+at))
	require.Equal(t, 1, count("updated_at[lte]="+at+"&updated_at[gte]="+at))
	require.Equal(t, 0, count("updated_at[lt]="+at+"&updated_at[gt]="+at))
	require.Equal(t, 40, count("no_such_filter=1"), "an unknown filter is ignored")
	require.Equal(t, 2, count(fmt.Sprintf("ids[]=%d&ids[]=%d&ids[]=5", all[0].ID, all[7].ID)))
	require.Equal(t, 2, count(fmt.Sprintf("ids=%d,%d", all[0].ID, all[7].ID)))

	var one struct {
		Email string `json:"email_address"`
		CRMID string `json:"crm_id"`
	}
	for _, raw := range s.list("per_page=100").Data {
		if require.NoError(t, json.Unmarshal(raw, &one)); one.Email != "" && one.CRMID != "" {
			break
		}
	}
	require.Equal(t, 1, count("email_addresses[]="+strings.ToUpper(one.Email)))
	require.Equal(t, 1, count("crm_id="+one.CRMID))

	names := s.list("per_page=100&sort_by=name&sort_direction=ASC").stamps(t)
	require.True(t, slices.IsSortedFunc(names, func(a, b stamps) int { return strings.Compare(a.Name, b.Name) }))
	created := s.list("per_page=100&sort_by=created_at&sort_direction=ASC").stamps(t)
	require.True(t, slices.IsSortedFunc(created, func(a, b stamps) int { return a.CreatedAt.Compare(b.CreatedAt) }))

	for _, query := range []string{
		"ids=x", "updated_at[gte]=yesterday", "sort_by=shoe_size", "sort_direction=UP", "page=two", "owner_id=me",
	} {
		got := s.do(http.MethodGet, "/v2/people?"+query, nil)
		require.Equal(t, http.StatusUnprocessableEntity, got.status, query)
		require.Contains(t, string(got.body), `"errors":{`)
	}
	require.EqualValues(t, 100, s.list("per_page=500").Metadata.Paging["per_page"])
	strict := start(t, salesloftest.Config{StrictPerPage: true})
	require.Equal(t, http.StatusUnprocessableEntity, strict.do(http.MethodGet, "/v2/people?per_page=101", nil).status)
}

func TestGeneratedPeople(t *testing.T) {
	t.Parallel()
	a := start(t, salesloftest.Config{Seed: 9, People: 300})
	b := start(t, salesloftest.Config{Seed: 9, People: 300})
	c := start(t, salesloftest.Config{Seed: 10, People: 300})
	collect := func(s server) map[int64]string {
		all := map[int64]string{}
		for id, raw := range s.People {
			all[id] = string(raw)
		}
		return all
	}
	require.Equal(t, collect(a), collect(b), "the seed decides")
	require.NotEqual(t, collect(a), collect(c))
	offsets, nulls, types := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, raw := range collect(a) {
		var fields map[string]any
		require.NoError(t, json.Unmarshal([]byte(raw), &fields))
		offsets[fields["updated_at"].(string)[26:]] = true
		for name, value := range fields {
			if value == nil {
				nulls[name] = true
			}
		}
		for _, value := range fields["custom_fields"].(map[string]any) {
			types[fmt.Sprintf("%T", value)] = true
		}
	}
	require.Greater(t, len(offsets), 5)
	require.Greater(t, len(nulls), 15)
	require.Len(t, types, 6, "string, number, boolean, null, list, object")
}

func TestCostsAndBudget(t *testing.T) {
	t.Parallel()
	now := time.Date(2025, 6, 1, 12, 0, 10, 0, time.UTC)
	s := start(t, salesloftest.Config{Now: func() time.Time { return now }, Budget: 60, RetryAfter: true})
	remaining := 60
	for page, cost := range map[int]int{1: 1, 100: 1, 101: 3, 150: 3, 151: 8, 250: 8, 251: 10, 500: 10} {
		got := s.do(http.MethodGet, fmt.Sprintf("/v2/people?page=%d", page), nil)
		remaining -= cost
		require.Equal(t, fmt.Sprint(cost), got.header.Get("x-ratelimit-endpoint-cost"))
		require.Equal(t, fmt.Sprint(remaining), got.header.Get("x-ratelimit-remaining-minute"))
	}
	got := s.do(http.MethodGet, "/v2/people?page=501", nil)
	require.Equal(t, http.StatusTooManyRequests, got.status)
	require.Equal(t, "30", got.header.Get("x-ratelimit-endpoint-cost"))
	require.Equal(t, "50", got.header.Get("Retry-After"), "until the clock's minute is over")
	require.Equal(t, http.StatusOK, s.do(http.MethodGet, "/v2/me", nil).status, "what is left is still there")
	now = now.Add(50 * time.Second)
	require.Equal(t, http.StatusOK, s.do(http.MethodGet, "/v2/people?page=501", nil).status)
	require.Equal(t, 1, s.Stats().RateLimited)
}

func TestWrites(t *testing.T) {
	t.Parallel()
	s := start(t, salesloftest.Config{Seed: 1, People: 5})
	created := s.do(http.MethodPost, "/v2/people", map[string]any{"email_address": "New.One@example.com", "starred": true})
	require.Equal(t, http.StatusOK, created.status, string(created.body))
	var person struct {
		Data map[string]any `json:"data"`
	}
	require.NoError(t, json.Unmarshal(created.body, &person))
	require.Equal(t, true, person.Data["starred"])
	require.Contains(t, person.Data, "title")
	require.Nil(t, person.Data["title"])
	path := fmt.Sprintf("/v2/people/%.0f", person.Data["id"])

	for body, field := range map[string]string{
		`{"first_name":"x"}`:                                          "email_address",
		`{"email_address":"new.one@EXAMPLE.com"}`:                     "email_address",
		`{"phone":"1","last_name":"x","crm_id":"short"}`:              "crm_id",
		`{"phone":"1","last_name":"x","crm_id":"003000000000000ABC"}`: "crm_id_type",
	} {
		got := s.do(http.MethodPost, "/v2/people", json.RawMessage(body))
		require.Equal(t, http.StatusUnprocessableEntity, got.status, body)
		require.Contains(t, string(got.body), `"`+field+`":[`)
	}
	before := maps.Clone(person.Data)
	updated := s.do(http.MethodPut, path, map[string]any{"title": "Boss", "id": 1})
	require.Equal(t, http.StatusOK, updated.status)
	require.NoError(t, json.Unmarshal(updated.body, &person))
	require.NotEqual(t, before["updated_at"], person.Data["updated_at"])
	maps.DeleteFunc(person.Data, func(name string, value any) bool {
		return name == "updated_at" || name == "title" || fmt.Sprint(value) == fmt.Sprint(before[name])
	})
	require.Empty(t, person.Data, "nothing else has changed")

	upsert := map[string]any{"upsert_key": "email_address", "email_address": "new.one@example.com", "title": "Chief"}
	require.Contains(t, string(s.do(http.MethodPost, "/v2/person_upserts", upsert).body), `"upsert_type":"update"`)
	upsert["email_address"] = "second@example.com"
	require.Contains(t, string(s.do(http.MethodPost, "/v2/person_upserts", upsert).body), `"upsert_type":"create"`)
	require.Contains(t, string(s.do(http.MethodPost, "/v2/person_upserts", upsert).body), `"upsert_type":"update"`)
	require.Equal(t, 7, s.Stats().People)

	require.Equal(t, http.StatusNoContent, s.do(http.MethodDelete, path, nil).status)
	require.Equal(t, http.StatusNoContent, s.do(http.MethodDelete, path, nil).status, "repeatable")
	require.Equal(t, http.StatusNotFound, s.do(http.MethodPut, path, map[string]any{}).status)
	require.Equal(t, http.StatusNotFound, s.do(http.MethodGet, "/v2/shoes", nil).status)
	require.Equal(t, 6, s.Stats().People)
}

func TestRecordedPeopleAreServedAsTheyAre(t *testing.T) {
	t.Parallel()
	s := start(t, salesloftest.Config{Seed: 1, People: 50})
	const first = `{"id":12,"updated_at":"2024-02-03T04:05:06.789012+02:00","shoe":{"size":[44.50,null]},"name":"A<&>\u00e9"}`
	const second = `{"updated_at":"2024-02-03T04:05:06.789011+02:00","id":11,"note":"x"}`
	require.NoError(t, s.LoadRecorded(strings.NewReader(`{"data":[`+first+`]} {"metadata":{},"data":[`+second+`]}`)))
	l := s.list("sort_direction=ASC")
	require.Len(t, l.Data, 2)
	require.Equal(t, second, string(l.Data[0])) //nolint:testifylint // byte for byte, where JSONEq takes the same content
	require.Equal(t, first, string(l.Data[1]))  //nolint:testifylint // likewise

	changed := s.do(http.MethodPost, "/_sim/update", map[string]any{"ids": []int{12}})
	require.JSONEq(t, `{"ids":[12]}`, string(changed.body))
	l = s.list("sort_direction=DESC&per_page=1")
	require.Contains(t, string(l.Data[0]), `"shoe":{"size":[44.50,null]}`, "an update keeps what it does not change")
	require.ErrorContains(t, s.LoadRecorded(strings.NewReader(`[]`)), "want documents")
	require.ErrorContains(t, s.LoadRecorded(strings.NewReader(`{}`)), "no list")
	require.ErrorContains(t, s.LoadRecorded(strings.NewReader(`{"data":[{"id":1}]}`)), "record 0")
}

func TestControlRoutes(t *testing.T) {
	t.Parallel()
	s := start(t, salesloftest.Config{Seed: 2, People: 30})
	for i, step := range []struct {
		path, body string
		status     int
	}{
		{"update", `{"count":4}`, 200},
		{"update", `{"count":31}`, 400},
		{"update", `{}`, 400},
		{"update", `{"cuont":1}`, 400},
		{"update", `{"ids":[1]}`, 400},
		{"create", `{"count":3,"fields":{"first_name":7}}`, 200},
		{"delete", `{"count":2}`, 200},
		{"fail", `{"count":1,"status":200}`, 400},
		{"fail", `{"count":1,"status":503}`, 204},
		{"chaos", `{"HTLM":1}`, 400},
		{"chaos", `{"reset":1.5}`, 400},
	} {
		got := s.do(http.MethodPost, "/_sim/"+step.path, json.RawMessage(step.body))
		require.Equal(t, step.status, got.status, "step %d: %s", i, got.body)
	}
	require.Equal(t, http.StatusServiceUnavailable, s.do(http.MethodGet, "/v2/me", nil).status)
	require.Equal(t, http.StatusOK, s.do(http.MethodGet, "/v2/me", nil).status)
	require.Equal(t, http.StatusNoContent, s.do(http.MethodPost, "/_sim/chaos", json.RawMessage(`{"RateLimited":1,"max":1,"RetryAfter":"seconds","RetrySecs":9}`)).status)
	limited := s.do(http.MethodGet, "/v2/me", nil)
	require.Equal(t, http.StatusTooManyRequests, limited.status)
	require.Equal(t, "9", limited.header.Get("Retry-After"))
	require.Equal(t, http.StatusOK, s.do(http.MethodGet, "/v2/me", nil).status)
	var stats salesloftest.Stats
	require.NoError(t, json.Unmarshal(s.do(http.MethodGet, "/_sim/stats", nil).body, &stats))
	require.Equal(t, []int{31, 3, 4, 2, 1}, []int{stats.People, stats.Created, stats.Updated, stats.Deleted, stats.Failed})
	require.Equal(t, map[chaos.Kind]int{chaos.RateLimited: 1}, stats.Chaos)
	lines := strings.Split(strings.TrimSpace(string(s.do(http.MethodGet, "/_sim/people", nil).body)), "\n")
	require.Len(t, lines, 31)
	require.Equal(t, 3, strings.Count(strings.Join(lines, ""), `"first_name":7`))
}

func BenchmarkListPage(b *testing.B) {
	sim, err := salesloftest.New(salesloftest.Config{Seed: 1, People: 20_000, APIKeys: []string{key}, Budget: 1 << 40})
	require.NoError(b, err)
	request := httptest.NewRequest(http.MethodGet, "/v2/people?per_page=100&sort_direction=ASC&updated_at[gte]=2024-10-01T00:00:00Z", nil)
	request.Header.Set("Authorization", "Bearer "+key)
	for b.Loop() {
		sim.ServeHTTP(httptest.NewRecorder(), request)
	}
}
