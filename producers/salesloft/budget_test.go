package salesloft_test

import (
	"bytes"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/producers/salesloft"
	"github.com/revstream/revstream/producers/salesloft/salesloftest"
)

var syncPeople = flag.Int("sync-people", 100_000, "how many people TestFullSyncKeepsToTheBudget syncs")

// team is a simulator whose budget is shared by a client and others, all on one simulated clock.
type team struct {
	sim     *salesloftest.Simulator
	clock   *clock
	latency time.Duration // of the client's requests
	ours    int           // requests of clients
	refused int           // of them, with 429
	low     int           // of them, that left less than the reserve
}

func newTeam(t *testing.T, cfg salesloftest.Config) *team {
	t.Helper()
	tm := &team{clock: newClock(), latency: 40 * time.Millisecond}
	cfg.Budget, cfg.Now = 600, tm.clock.now
	tm.sim = newSim(t, cfg)
	return tm
}

func (tm *team) RoundTrip(r *http.Request) (*http.Response, error) {
	tm.clock.advance(tm.latency / 2)
	tm.ours++
	response, err := inProcess{tm.sim}.RoundTrip(r)
	if err == nil && response.StatusCode == http.StatusTooManyRequests {
		tm.refused++
	}
	if err == nil && remaining(response.Header) < 11 {
		tm.low++
	}
	tm.clock.advance(tm.latency / 2)
	return response, err
}

func (tm *team) client(t *testing.T, budget salesloft.BudgetConfig, reg prometheus.Registerer) *salesloft.Client {
	t.Helper()
	client, err := salesloft.New(salesloft.Config{
		BaseURL: "http://simulator.test/v2", APIKey: constant(apiKey), Budget: budget,
		Now: tm.clock.now, Sleep: tm.clock.sleep, Metrics: reg,
	}, slog.New(slog.DiscardHandler), &http.Client{Transport: tm})
	require.NoError(t, err)
	return client
}

// spend is another integration of the team: it sends so many requests, as long as there remain more than keep points.
func (tm *team) spend(points, keep int) {
	for range points {
		r := httptest.NewRequest(http.MethodGet, "/v2/me", nil)
		r.Header.Set("Authorization", "Bearer "+apiKey)
		recorder := httptest.NewRecorder()
		tm.sim.ServeHTTP(recorder, r)
		if remaining(recorder.Header()) <= keep {
			return
		}
	}
}

func remaining(header http.Header) int {
	points, _ := strconv.Atoi(header.Get("X-Ratelimit-Remaining-Minute"))
	return points
}

// for10Minutes asks as fast as the client lets it, and returns how often it could.
func (tm *team) for10Minutes(t *testing.T, client *salesloft.Client) int {
	t.Helper()
	begun, before := tm.clock.now(), tm.ours
	for tm.clock.now().Sub(begun) < 10*time.Minute {
		_, err := client.Count(t.Context(), time.Time{}, time.Time{})
		require.NoError(t, err)
	}
	return tm.ours - before
}

// TestFullSyncKeepsToTheBudget takes no longer than the arithmetic says, and is never refused. A million people:
// go test ./salesloft -run TestFullSyncKeepsToTheBudget -sync-people 1000000
func TestFullSyncKeepsToTheBudget(t *testing.T) {
	t.Parallel()
	begin := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	for n, fromFirst := range map[int]bool{*syncPeople: false, *syncPeople / 5: true} {
		t.Run(fmt.Sprintf("%d people, minute from first request %t", n, fromFirst), func(t *testing.T) {
			t.Parallel()
			var recorded bytes.Buffer
			recorded.WriteString(`{"data":[`)
			for i := range n {
				if i > 0 {
					recorded.WriteByte(',')
				}
				at := begin.Add(time.Duration(i/3) * 17 * time.Millisecond) // ties of three
				writePerson(&recorded, i+1, at, at)
			}
			recorded.WriteString(`]}`)
			tm := newTeam(t, salesloftest.Config{MinuteFromFirst: fromFirst})
			require.NoError(t, tm.sim.LoadRecorded(&recorded))
			reg := prometheus.NewRegistry()
			client := tm.client(t, salesloft.BudgetConfig{Share: 0.5}, reg)
			begun := tm.clock.now()
			met := make([]bool, n+1)
			for batch, err := range client.Changes(t.Context(), time.Time{}, time.Time{}) {
				require.NoError(t, err)
				for _, person := range batch.People {
					require.False(t, met[person.ID], "yielded twice")
					met[person.ID] = true
				}
			}
			for id := 1; id <= n; id++ {
				require.True(t, met[id], "person %d", id)
			}
			took := tm.clock.now().Sub(begun)
			least := (n + 99) / 100
			t.Logf("%d people, %d points, %s simulated", n, tm.ours, took)
			require.Zero(t, tm.refused)
			require.LessOrEqual(t, tm.ours, least+least/25+2, "ties repeat up to three records of a hundred")
			require.LessOrEqual(t, took, time.Duration(tm.ours)*time.Minute/300+time.Second)
			require.Greater(t, took, time.Duration(tm.ours/300)*time.Minute-time.Second, "no more than the share in any minute")
			require.InDelta(t, tm.ours, metric(t, reg, "revstream_salesloft_points_total"), 0)
			require.Equal(t, tm.ours > 300, metric(t, reg, "revstream_salesloft_budget_wait_seconds_total") > 0)
		})
	}
}

func metric(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	require.NoError(t, err)
	for _, family := range families {
		if family.GetName() == name {
			m := family.GetMetric()[0]
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	require.Fail(t, "no such metric", name)
	return 0
}

// TestOthersUseUpTheBudget: the team's other integrations come in bursts, at any point of the minute, and take all there is.
// Whichever way minutes are counted, the client waits for their turn and is never refused, and it gets its part.
func TestOthersUseUpTheBudget(t *testing.T) {
	t.Parallel()
	for seed := range uint64(16) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 1))
			tm := newTeam(t, salesloftest.Config{MinuteFromFirst: seed%2 == 0})
			tm.clock.advance(time.Duration(random.IntN(60)) * time.Second)
			client := tm.client(t, salesloft.BudgetConfig{Share: 1}, nil)
			bursts := 0
			next := tm.clock.now().Add(time.Duration(random.IntN(90)) * time.Second)
			tm.clock.tick = func(now time.Time) {
				if now.Before(next) {
					return
				}
				// All but what the reserve covers: a request that is on its way when somebody takes the very last point is
				// refused, whoever sends it.
				tm.spend(600, 11)
				bursts++
				next = now.Add(time.Duration(20+random.IntN(150)) * time.Second)
			}
			n := tm.for10Minutes(t, client)
			require.Zero(t, tm.refused)
			require.LessOrEqual(t, tm.low, bursts, "whoever sees that nothing is left does not look again before the turn")
			require.Greater(t, n, 300)
		})
	}
}

// TestBackgroundMakesRoom: what the team uses altogether stays at the share, evenly over the minute, and a client in the
// background gets what that leaves, a few points at least.
func TestBackgroundMakesRoom(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		others   int // points a minute, in 60 parts
		min, max int // the client's points in 10 minutes
	}{
		{0, 2800, 3100},
		{120, 1650, 1900},
		{240, 500, 700},
		{400, 60, 130},
		{588, 10, 130}, // nothing is left at times
	} {
		for _, fromFirst := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d by others, minute from first request %t", test.others, fromFirst), func(t *testing.T) {
				t.Parallel()
				tm := newTeam(t, salesloftest.Config{MinuteFromFirst: fromFirst})
				owed := 0.0
				last := tm.clock.now()
				tm.clock.tick = func(now time.Time) {
					owed += now.Sub(last).Minutes() * float64(test.others)
					last = now
					tm.spend(int(owed), 0)
					owed -= float64(int(owed))
				}
				client := tm.client(t, salesloft.BudgetConfig{Share: 0.5, Background: true}, nil)
				n := tm.for10Minutes(t, client)
				require.Zero(t, tm.refused)
				require.GreaterOrEqual(t, n, test.min)
				require.LessOrEqual(t, n, test.max)
			})
		}
	}
}

// TestBackgroundDoesNotStarve: the team has used up the share as soon as the minute begins.
func TestBackgroundDoesNotStarve(t *testing.T) {
	t.Parallel()
	tm := newTeam(t, salesloftest.Config{})
	var spent time.Time
	tm.clock.tick = func(now time.Time) {
		if began := now.Truncate(time.Minute); began != spent {
			spent = began
			tm.spend(400, 0)
		}
	}
	n := tm.for10Minutes(t, tm.client(t, salesloft.BudgetConfig{Share: 0.5, Background: true}, nil))
	require.Zero(t, tm.refused)
	require.InDelta(t, 65, n, 15)
}

// TestBackgroundSharesWithLive: a backfill in another process takes what producing leaves of the share that both have.
func TestBackgroundSharesWithLive(t *testing.T) {
	t.Parallel()
	tm := newTeam(t, salesloftest.Config{})
	live := tm.client(t, salesloft.BudgetConfig{Share: 0.5}, nil)
	backfill := tm.client(t, salesloft.BudgetConfig{Share: 0.5, Background: true}, nil)
	asked, busy := 0, false
	last := tm.clock.now()
	tm.clock.tick = func(now time.Time) { // two requests a second
		if busy || now.Sub(last) < 500*time.Millisecond {
			return
		}
		busy = true // its own requests take time too
		last = now
		_, err := live.Count(t.Context(), time.Time{}, time.Time{})
		busy = false
		require.NoError(t, err)
		asked++
	}
	both := tm.for10Minutes(t, backfill)
	require.Zero(t, tm.refused)
	require.Greater(t, asked, 550, "producing goes on as if it were alone")
	require.InDelta(t, 3000, both, 150)
}

// TestRefusedForTheBudget: when it happens all the same, a request waits for its turn, as long as the answer says if it does.
func TestRefusedForTheBudget(t *testing.T) {
	t.Parallel()
	for _, says := range []bool{true, false} {
		tm := newTeam(t, salesloftest.Config{RetryAfter: says})
		client := tm.client(t, salesloft.BudgetConfig{}, nil)
		tm.spend(600, 0)
		left := tm.clock.now().Truncate(time.Minute).Add(time.Minute).Sub(tm.clock.now())
		begun := tm.clock.now()
		_, err := client.CreateSubscription(t.Context(), "person_updated", "https://hooks.example/x", "token")
		require.NoError(t, err, "a request that was refused for the budget was not processed, so that a POST too comes again")
		require.Equal(t, 1, tm.refused)
		took := tm.clock.now().Sub(begun)
		if says {
			require.InDelta(t, left.Seconds(), took.Seconds(), 1.1)
		} else {
			require.LessOrEqual(t, took, 62*time.Second)
		}
	}

	c := newClock()
	begun := c.now()
	client := newClient(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "45")
		w.WriteHeader(http.StatusTooManyRequests)
	}), salesloft.Config{Now: c.now, Sleep: c.sleep})
	_, err := client.Me(t.Context())
	require.ErrorIs(t, err, salesloft.ErrRateLimited)
	require.Equal(t, begun, c.now(), "it tells of the source, and does not wait")
	_, err = client.Count(t.Context(), time.Time{}, time.Time{})
	require.ErrorIs(t, err, salesloft.ErrRateLimited)
	var failure *salesloft.APIError
	require.ErrorAs(t, err, &failure)
	require.Equal(t, 45*time.Second, failure.RetryAfter)
	require.Equal(t, 4*45*time.Second, c.now().Sub(begun), "it gives up some time")
}
