package salesloft_test

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/producers/salesloft"
	"github.com/revstream/revstream/producers/salesloft/salesloftest"
)

func TestCount(t *testing.T) {
	t.Parallel()
	sim := newSim(t, salesloftest.Config{Seed: 3, People: 60, TieRun: 5})
	client := newClient(t, sim, salesloft.Config{})
	page, err := client.People(t.Context(), salesloft.Query{Page: 31, PerPage: 1, SortDirection: "ASC"})
	require.NoError(t, err)
	middle := page.People[0].UpdatedAt
	for _, test := range []struct {
		since, until time.Time
		want         int
	}{{want: 60}, {since: middle, want: 30}, {until: middle, want: 30}, {middle, middle.Add(time.Microsecond), 5}, {middle, middle, 0}} {
		n, err := client.Count(t.Context(), test.since, test.until)
		require.NoError(t, err)
		require.Equal(t, test.want, n)
	}
	uncounted := newClient(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"data":[]}`)
	}), salesloft.Config{})
	_, err = uncounted.Count(t.Context(), time.Time{}, time.Time{})
	require.ErrorIs(t, err, salesloft.ErrMalformed, "no count is not a count of 0")
}

func TestPresent(t *testing.T) {
	t.Parallel()
	sim := newSim(t, salesloftest.Config{Seed: 3, People: 200})
	client := newClient(t, sim, salesloft.Config{})
	var ids []int64
	for id := range sim.People {
		ids = append(ids, id)
	}
	asked := ids[:100]
	gone, err := sim.Delete(salesloftest.Change{IDs: asked[:9]})
	require.NoError(t, err)
	bad, err := sim.Update(salesloftest.Change{IDs: asked[9:10], Fields: map[string]json.RawMessage{"first_name": []byte(`7`)}})
	require.NoError(t, err)
	requests := sim.Stats().Requests
	present, err := client.Present(t.Context(), asked)
	require.NoError(t, err)
	require.Equal(t, requests+1, sim.Stats().Requests)
	require.Len(t, present, 91)
	for _, id := range gone {
		require.NotContains(t, present, id)
	}
	require.Contains(t, present, bad[0], "it exists, whatever else it is")
	for v := range current(t, sim) {
		if at, found := present[v.id]; found {
			require.Equal(t, v.at, at.UnixMicro())
		}
	}

	none, err := client.Present(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, none)
	require.Equal(t, requests+1, sim.Stats().Requests, "without IDs the list is everybody")
	_, err = client.Present(t.Context(), ids[:101])
	require.ErrorContains(t, err, "at most 100 IDs, not 101")

	for _, id := range []int64{gone[0], asked[50]} {
		exists, err := client.Exists(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, id == asked[50], exists)
	}
}

// TestDoubtfulLookUpsAreErrors: taken for the truth each of these would be a person who is deleted by mistake.
func TestDoubtfulLookUpsAreErrors(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"filter ignored":     `{"data":[{"id":4,"updated_at":"2025-01-01T00:00:00Z"}]}`,
		"unreadable ID":      `{"data":[{"id":"x","updated_at":"2025-01-01T00:00:00Z"}]}`,
		"more pages":         `{"metadata":{"paging":{"next_page":2}},"data":[{"id":1,"updated_at":"2025-01-01T00:00:00Z"}]}`,
		"nothing":            `{}`,
		"a page of the shop": `<html>`,
	} {
		client := newClient(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, body)
		}), salesloft.Config{})
		_, err := client.Present(t.Context(), []int64{1, 2})
		require.ErrorIs(t, err, salesloft.ErrMalformed, name)
		_, err = client.Exists(t.Context(), 1)
		require.ErrorIs(t, err, salesloft.ErrMalformed, name)
	}
	failing := newClient(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadGateway)
	}), salesloft.Config{})
	_, err := failing.Exists(t.Context(), 1)
	require.Error(t, err)
}
