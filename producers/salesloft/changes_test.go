package salesloft_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/producers/chaos"
	"github.com/revstream/revstream/producers/salesloft"
	"github.com/revstream/revstream/producers/salesloft/salesloftest"
)

// version is one fact: a person as of one time.
type version struct {
	id int64
	at int64
}

// current is the newest version of everybody alive.
func current(t *testing.T, sim *salesloftest.Simulator) map[version]bool {
	t.Helper()
	all := map[version]bool{}
	for id, raw := range sim.People {
		var record struct {
			UpdatedAt time.Time `json:"updated_at"`
		}
		require.NoError(t, json.Unmarshal(raw, &record))
		all[version{id, record.UpdatedAt.UnixMicro()}] = true
	}
	return all
}

// collect walks to the end and counts how often each version was yielded; between is called after each batch.
func collect(t *testing.T, client *salesloft.Client, since, until time.Time, between func(int)) map[version]int {
	t.Helper()
	got := map[version]int{}
	cursor := since
	n := 0
	for batch, err := range client.Changes(t.Context(), since, until) {
		require.NoError(t, err)
		require.False(t, batch.Cursor.Before(cursor), "the cursor never steps back")
		cursor = batch.Cursor
		for _, p := range batch.People {
			got[version{p.ID, p.UpdatedAt.UnixMicro()}]++
		}
		if between != nil {
			between(n)
		}
		n++
	}
	return got
}

func requireOnce(t *testing.T, want map[version]bool, got map[version]int) {
	t.Helper()
	for v := range want {
		require.Equal(t, 1, got[v], "person %d", v.id)
	}
}

func TestChangesYieldEveryVersionOnce(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		people, ties, pageSize int
		shuffle                bool
	}{
		{0, 1, 10, false},
		{10, 1, 10, false}, // the last page is exactly full
		{95, 1, 10, false},
		{95, 4, 10, false},  // ties across page edges
		{95, 10, 10, false}, // a whole page ties
		{95, 33, 10, false}, // several do
		{40, 40, 10, false}, // everybody does
		{95, 4, 10, true},
		{60, 20, 5, true},
	} {
		t.Run(fmt.Sprintf("%+v", test), func(t *testing.T) {
			t.Parallel()
			sim := newSim(t, salesloftest.Config{Seed: 4, People: test.people, TieRun: test.ties, ShuffleTies: test.shuffle})
			client := newClient(t, sim, salesloft.Config{PageSize: test.pageSize})
			got := collect(t, client, time.Time{}, time.Time{}, nil)
			want := current(t, sim)
			require.Len(t, got, len(want))
			requireOnce(t, want, got)
		})
	}
}

func TestChangesNeverAskForDeepPages(t *testing.T) {
	t.Parallel()
	sim := newSim(t, salesloftest.Config{Seed: 4, People: 3000, TieRun: 3})
	client := newClient(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if page := r.URL.Query().Get("page"); page != "1" {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		sim.ServeHTTP(w, r)
	}), salesloft.Config{})
	require.Len(t, collect(t, client, time.Time{}, time.Time{}, nil), 3000)
	require.LessOrEqual(t, sim.Stats().Points, 32, "a page of 100 costs one point, and ties cost two records of it")
}

// With offsets the updates and deletions below would shift records past the reader.
func TestChangesLoseNothingWhileRecordsChange(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		ties    int
		shuffle bool
	}{{1, false}, {4, false}, {35, false}, {35, true}, {70, true}} {
		t.Run(fmt.Sprintf("%+v", test), func(t *testing.T) {
			t.Parallel()
			sim := newSim(t, salesloftest.Config{Seed: 8, People: 140, TieRun: test.ties, ShuffleTies: test.shuffle})
			client := newClient(t, sim, salesloft.Config{PageSize: 10})
			got := collect(t, client, time.Time{}, time.Time{}, func(batch int) {
				if batch > 30 {
					return
				}
				for _, change := range []func(salesloftest.Change) ([]int64, error){sim.Update, sim.Delete, sim.Create} {
					_, err := change(salesloftest.Change{Count: 2})
					require.NoError(t, err)
				}
				_, err := sim.Update(salesloftest.Change{Count: 3, SameInstant: true})
				require.NoError(t, err)
			})
			for v := range collect(t, client, newest(got), time.Time{}, nil) { // what changed after the last request
				got[v]++
			}
			for v := range current(t, sim) {
				require.Positive(t, got[v], "person %d", v.id)
			}
		})
	}
}

// newest is the cursor that a walk ended with.
func newest(got map[version]int) time.Time {
	var at int64
	for v := range got {
		at = max(at, v.at)
	}
	return time.UnixMicro(at)
}

// Within one timestamp pages have to be turned; here each first visit of a page takes its first record away, so that the first
// record of the next page slips onto it.
func TestChangesLoseNothingWithinATie(t *testing.T) {
	t.Parallel()
	sim := newSim(t, salesloftest.Config{Seed: 8, People: 50, TieRun: 50})
	var ids []int64
	for id := range sim.People {
		ids = append(ids, id)
	}
	slices.Sort(ids) // the order among equals
	visited := map[string]bool{}
	client := newClient(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sim.ServeHTTP(w, r)
		query := r.URL.Query()
		page, _ := strconv.Atoi(query.Get("page"))
		if query.Has("updated_at[lte]") && page < 5 && !visited[query.Get("page")] {
			visited[query.Get("page")] = true
			_, _ = sim.Delete(salesloftest.Change{IDs: ids[(page-1)*10 : (page-1)*10+1]})
		}
	}), salesloft.Config{PageSize: 10})
	got := collect(t, client, time.Time{}, time.Time{}, nil)
	require.Len(t, visited, 4)
	requireOnce(t, current(t, sim), got)
}

func TestChangesGoOnFromAnyCursor(t *testing.T) {
	t.Parallel()
	sim := newSim(t, salesloftest.Config{Seed: 8, People: 90, TieRun: 13})
	client := newClient(t, sim, salesloft.Config{PageSize: 10})
	for crash := range 9 {
		got := map[version]bool{}
		var cursor time.Time
		n := 0
		for batch, err := range client.Changes(t.Context(), time.Time{}, time.Time{}) {
			require.NoError(t, err)
			for _, p := range batch.People {
				got[version{p.ID, p.UpdatedAt.UnixMicro()}] = true
			}
			if cursor = batch.Cursor; n == crash {
				break
			}
			n++
		}
		for v := range collect(t, client, cursor, time.Time{}, nil) {
			got[v] = true
		}
		require.Equal(t, current(t, sim), got, "crash after batch %d", crash)
	}
}

func TestWindowsTile(t *testing.T) {
	t.Parallel()
	sim := newSim(t, salesloftest.Config{Seed: 8, People: 60, TieRun: 5})
	client := newClient(t, sim, salesloft.Config{PageSize: 7})
	page, err := client.People(t.Context(), salesloft.Query{Page: 31, PerPage: 1, SortDirection: "ASC"})
	require.NoError(t, err)
	middle := page.People[0].UpdatedAt
	before := collect(t, client, time.Time{}, middle, nil)
	after := collect(t, client, middle, time.Time{}, nil)
	require.Len(t, before, 30)
	require.Len(t, after, 30)
	for v := range before {
		require.NotContains(t, after, v)
	}
}

func TestBadRecordsDoNotTakeTheirPageWithThem(t *testing.T) {
	t.Parallel()
	sim := newSim(t, salesloftest.Config{Seed: 8, People: 40, TieRun: 3})
	bad, err := sim.Create(salesloftest.Change{Count: 12, SameInstant: true, Fields: map[string]json.RawMessage{"first_name": []byte(`["Secret"]`)}})
	require.NoError(t, err)
	nameless, err := sim.Create(salesloftest.Change{Count: 1, Fields: map[string]json.RawMessage{"id": []byte(`"x"`), "updated_at": []byte(`7`)}})
	require.NoError(t, err)
	require.Len(t, nameless, 1)
	client := newClient(t, sim, salesloft.Config{PageSize: 5})
	var failed []salesloft.RecordError
	people := 0
	for batch, err := range client.Changes(t.Context(), time.Time{}, time.Time{}) {
		require.NoError(t, err)
		people += len(batch.People)
		failed = append(failed, batch.Failed...)
	}
	require.Equal(t, 40, people)
	require.Len(t, failed, 13)
	for _, f := range failed[:12] {
		require.Contains(t, bad, f.ID)
		require.Contains(t, string(f.Raw), "Secret")
		require.ErrorContains(t, &f, `field "first_name" is not a string`)
		require.NotContains(t, f.Error(), "Secret")
	}
	require.Zero(t, failed[12].ID)
	require.True(t, failed[12].UpdatedAt.IsZero())
}

func TestChangesRefuseAListThatWouldLoseRecords(t *testing.T) {
	t.Parallel()
	serve := func(body string) *salesloft.Client {
		return newClient(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, body)
		}), salesloft.Config{PageSize: 2})
	}
	record := func(id, second int) string {
		return fmt.Sprintf(`{"id":%d,"updated_at":"2025-01-01T00:00:%02dZ"}`, id, second)
	}
	for name, body := range map[string]string{
		"descending":       `{"data":[` + record(1, 9) + `,` + record(2, 8) + `]}`,
		"always the same":  `{"metadata":{"paging":{"total_count":2}},"data":[` + record(1, 9) + `]}`,
		"no time anywhere": `{"data":[{"id":1},{"id":2}]}`,
	} {
		if name == "always the same" {
			// The bounds are ignored: after the tie at :09 comes the same page again.
			calls := 0
			client := newClient(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if calls++; r.URL.Query().Has("updated_at[lte]") {
					_, _ = io.WriteString(w, body)
					return
				}
				_, _ = io.WriteString(w, `{"data":[`+record(1, 9)+`,`+record(2, 9)+`]}`)
			}), salesloft.Config{PageSize: 2})
			requireListOrder(t, client, name)
			require.Less(t, calls, 30)
			continue
		}
		requireListOrder(t, serve(body), name)
	}
}

func requireListOrder(t *testing.T, client *salesloft.Client, name string) {
	t.Helper()
	var last error
	for _, err := range client.Changes(t.Context(), time.Time{}, time.Time{}) {
		last = err
	}
	require.ErrorIs(t, last, salesloft.ErrListOrder, name)
}

// TestClockThatStepsBack: a record that is stamped with a time the walk has passed already is found by the next walk, if that
// looks back as far as the clock was off.
func TestClockThatStepsBack(t *testing.T) {
	t.Parallel()
	sim := newSim(t, salesloftest.Config{Seed: 5, People: 200, TieRun: 3})
	client := newClient(t, sim, salesloft.Config{PageSize: 10})
	const overlap = 5 * time.Minute
	var behind []int64
	var end time.Time
	got := collect(t, client, time.Time{}, time.Time{}, func(batch int) {
		if batch != 19 { // near the end
			return
		}
		changed, err := sim.Update(salesloftest.Change{Count: 1})
		require.NoError(t, err)
		end = sim.Stats().MaxUpdatedAt
		behind, err = sim.Update(salesloftest.Change{Count: 7, UpdatedAt: end.Add(-overlap + time.Second)})
		require.NoError(t, err)
		behind = slices.DeleteFunc(behind, func(id int64) bool { return id == changed[0] })
		_, err = sim.Create(salesloftest.Change{Count: 2, UpdatedAt: end.Add(-overlap)})
		require.NoError(t, err)
	})
	require.NotEmpty(t, behind)
	for v := range collect(t, client, newest(got).Add(-overlap), time.Time{}, nil) {
		got[v]++
	}
	for v := range current(t, sim) {
		require.Positive(t, got[v], "person %d", v.id)
	}
}

// TestChangesThroughAFailingNetwork goes on from the last cursor whenever a walk fails.
func TestChangesThroughAFailingNetwork(t *testing.T) {
	t.Parallel()
	w := newWorld(t, salesloftest.Config{Seed: 5, People: 2000, TieRun: 30})
	client, _ := w.throughTransport(t, salesloft.Config{PageSize: 10})
	require.NoError(t, w.Chaos(chaos.Config{
		Unauthorized: 0.05, RateLimited: 0.05, ServerError: 0.05, Reset: 0.05, Stall: 0.01, HalfBody: 0.05, WrongType: 0.05, HTML: 0.05,
		StallFor: time.Minute, RetryAfter: chaos.RetryAfterNone, Seed: 9,
	}))
	got := map[version]bool{}
	var cursor time.Time
	walks := 0
	for failed := true; failed; walks++ {
		failed = false
		for batch, err := range client.Changes(t.Context(), cursor, time.Time{}) {
			cursor = batch.Cursor
			failed = failed || err != nil
			for _, person := range batch.People {
				got[version{person.ID, person.UpdatedAt.UnixMicro()}] = true
			}
		}
		require.Less(t, walks, 20, "most of it is mended without the walk's noticing")
	}
	require.Equal(t, current(t, w.Simulator), got)
	require.Greater(t, len(w.Stats().Chaos), 6)
	t.Logf("%d walks, %v", walks, w.Stats().Chaos)
}
