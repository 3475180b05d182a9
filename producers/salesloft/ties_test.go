package salesloft_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/producers/salesloft"
	"github.com/revstream/revstream/producers/salesloft/salesloftest"
)

// inProcess is a transport that hands requests to a handler without a connection between.
type inProcess struct{ handler http.Handler }

func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	recorder := httptest.NewRecorder()
	p.handler.ServeHTTP(recorder, r)
	return recorder.Result(), r.Context().Err()
}

// spy notes which pages were asked for, and lets a test meddle.
type spy struct {
	*salesloftest.Simulator
	requests, deepest int
	before            func(n int, query url.Values)
}

func (s *spy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	page, _ := strconv.Atoi(query.Get("page"))
	s.requests, s.deepest = s.requests+1, max(s.deepest, page)
	if s.before != nil {
		s.before(s.requests, query)
		r.URL.RawQuery = query.Encode()
	}
	s.Simulator.ServeHTTP(w, r)
}

func connect(t *testing.T, pageSize int, handler http.Handler) (*salesloft.Client, fmt.Stringer) {
	t.Helper()
	logger, text := logText()
	client, err := salesloft.New(salesloft.Config{
		BaseURL: "http://simulator.test/v2", APIKey: constant(apiKey), PageSize: pageSize,
		Budget: salesloft.BudgetConfig{PerMinute: 1_000_000, Share: 1},
	}, logger, &http.Client{Transport: inProcess{handler}})
	require.NoError(t, err)
	return client, text
}

// newBurst is a simulator of people who have little but n of them one updated_at, between others: with creations at one time
// too, or spread over the past.
func newBurst(t *testing.T, cfg salesloftest.Config, n int, sameCreation bool) *salesloftest.Simulator {
	t.Helper()
	sim := newSim(t, cfg)
	at := time.Date(2025, 1, 2, 3, 4, 5, 678_901_000, time.UTC)
	var text bytes.Buffer
	text.WriteString(`{"data":[`)
	for i := range n + 35 {
		updated, created := at, at
		switch {
		case i < 20:
			updated = at.Add(time.Duration(i-20) * time.Second)
		case i >= n+20:
			updated = at.Add(time.Duration(i) * time.Second)
		}
		if !sameCreation {
			created = at.Add(-time.Duration(i*7919%n/3) * time.Second) // in another order than the IDs, in threes
		}
		if i > 0 {
			text.WriteByte(',')
		}
		writePerson(&text, i+1, updated, created)
	}
	text.WriteString(`]}`)
	require.NoError(t, sim.LoadRecorded(&text))
	return sim
}

func writePerson(w io.Writer, id int, updated, created time.Time) {
	const layout = "2006-01-02T15:04:05.000000Z07:00"
	_, _ = fmt.Fprintf(w, `{"id":%d,"updated_at":"%s","created_at":"%s"}`, id, updated.Format(layout), created.Format(layout))
}

// A page of 10 makes 1,000 records what 10,000 are with a page of 100: as many as cheap pages hold.
func TestBurstsLargerThanTheCheapPages(t *testing.T) {
	t.Parallel()
	const deep = "cost more"
	for name, test := range map[string]struct {
		pageSize, burst int
		sameCreation    bool
		sim             salesloftest.Config
		noCount, refuse bool // total_count, sort_by=created_at
		deep            bool
	}{
		"25,000 of one updated_at":           {pageSize: 100, burst: 25_000},
		"just as many as the cheap pages":    {pageSize: 10, burst: 1000, sameCreation: true},
		"created at various times":           {pageSize: 10, burst: 2500},
		"created at one time":                {pageSize: 10, burst: 1900, sameCreation: true},
		"more of one creation than 20,000":   {pageSize: 10, burst: 2150, sameCreation: true, deep: true},
		"filter ignored":                     {pageSize: 10, burst: 1900, sim: salesloftest.Config{IgnoreCreatedAt: true}},
		"filter ignored, more than 20,000":   {pageSize: 10, burst: 2150, sim: salesloftest.Config{IgnoreCreatedAt: true}, deep: true},
		"order refused":                      {pageSize: 10, burst: 1900, refuse: true},
		"no count":                           {pageSize: 10, burst: 2500, noCount: true},
		"no count, created at one time":      {pageSize: 10, burst: 1900, sameCreation: true, noCount: true},
		"no count, more than 20,000":         {pageSize: 10, burst: 2150, sameCreation: true, noCount: true, deep: true},
		"in another order each time":         {pageSize: 10, burst: 1050, sim: salesloftest.Config{ShuffleTies: true}},
		"in another order, created together": {pageSize: 10, burst: 1050, sameCreation: true, sim: salesloftest.Config{ShuffleTies: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim := newBurst(t, test.sim, test.burst, test.sameCreation)
			s := &spy{Simulator: sim, before: func(_ int, query url.Values) {
				if test.noCount {
					query.Del("include_paging_counts")
				}
				if test.refuse && query.Get("sort_by") == "created_at" {
					query.Set("sort_by", "nothing")
				}
			}}
			client, text := connect(t, test.pageSize, s)
			want := current(t, sim)
			got := collect(t, client, time.Time{}, time.Time{}, nil)
			require.Len(t, got, len(want))
			requireOnce(t, want, got)
			if !test.sim.ShuffleTies && !test.noCount { // either takes more passes
				pages := (len(want) + test.pageSize - 1) / test.pageSize
				require.LessOrEqual(t, s.requests, pages+pages/3+25, "ties of creation repeat, and what is given up early does")
			}
			if test.deep {
				require.Contains(t, text.String(), deep)
				return
			}
			require.NotContains(t, text.String(), deep)
			require.LessOrEqual(t, s.deepest, 100)
		})
	}
}

// Whoever is changed or deleted while a burst is listed moves everybody behind him up one place.
func TestBurstThatChangesWhileItIsListed(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		sameCreation bool
		sim          salesloftest.Config
	}{
		"created at various times": {},
		"created at one time":      {sameCreation: true},
		"filter ignored":           {sim: salesloftest.Config{IgnoreCreatedAt: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim := newBurst(t, test.sim, 1900, test.sameCreation)
			s := &spy{Simulator: sim}
			s.before = func(n int, _ url.Values) {
				if n%7 == 0 && n < 400 {
					_, err := sim.Update(salesloftest.Change{Count: 3})
					require.NoError(t, err)
					_, err = sim.Delete(salesloftest.Change{Count: 3})
					require.NoError(t, err)
				}
			}
			client, _ := connect(t, 10, s)
			got := collect(t, client, time.Time{}, time.Time{}, nil)
			for v := range current(t, sim) {
				require.Positive(t, got[v], "person %d", v.id)
			}
			for v, n := range got {
				require.Equal(t, 1, n, "person %d", v.id)
			}
			require.LessOrEqual(t, s.deepest, 100)
		})
	}
}

// TestBurstWithPeopleWithoutACreation: no bound of created_at selects them, so that a scan along it passes them by.
func TestBurstWithPeopleWithoutACreation(t *testing.T) {
	t.Parallel()
	sim := newBurst(t, salesloftest.Config{}, 1100, false)
	hidden := map[int64]bool{}
	client, _ := connect(t, 10, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		recorder := httptest.NewRecorder()
		sim.ServeHTTP(recorder, r)
		query := r.URL.Query()
		if !query.Has("created_at[gte]") && !query.Has("created_at[gt]") {
			_, _ = w.Write(recorder.Body.Bytes())
			return
		}
		var page struct {
			Metadata json.RawMessage   `json:"metadata"`
			Data     []json.RawMessage `json:"data"`
		}
		if json.Unmarshal(recorder.Body.Bytes(), &page) != nil {
			return
		}
		page.Data = slices.DeleteFunc(page.Data, func(raw json.RawMessage) bool {
			person, err := salesloft.ParsePerson(raw)
			if err == nil && person.ID%50 == 0 {
				hidden[person.ID] = true
			}
			return err != nil || person.ID%50 == 0
		})
		_ = json.NewEncoder(w).Encode(page)
	}))
	want := current(t, sim)
	got := collect(t, client, time.Time{}, time.Time{}, nil)
	require.NotEmpty(t, hidden)
	require.Len(t, got, len(want))
	requireOnce(t, want, got)
}
