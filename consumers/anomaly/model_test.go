package anomaly_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/consumers/anomaly"
)

// model is what a detector should find, by the plainest means: it holds every value in memory, in the order of arrival.
type model struct {
	cfg    anomaly.Config
	shown  map[string]version // user and kind → the version that the view forecast shows
	above  map[string]string  // place → the one above
	before map[string]version // shown when the run before ended
}

func (m *model) far(before, after decimal.Decimal) bool {
	moved := after.Sub(before).Abs()
	share := moved.Mul(decimal.NewFromInt(100))
	return moved.Cmp(m.cfg.Floor) >= 0 && !moved.IsZero() && (before.IsZero() || share.Cmp(before.Abs().Mul(m.cfg.Percent)) > 0)
}

func (v version) value(t *testing.T) decimal.Decimal {
	if v.deleted || v.amount == "" {
		return decimal.Zero
	}
	d, err := decimal.NewFromString(v.amount)
	require.NoError(t, err)
	return d
}

// arrive shows versions that come at the same time, and returns those that moved a value far.
func (m *model) arrive(t *testing.T, versions []version) (moved []string) {
	versions = slices.Clone(versions)
	slices.SortFunc(versions, func(a, b version) int { return int(a.at - b.at) })
	for _, v := range versions {
		key := v.user + " " + v.kind
		old, ok := m.shown[key]
		if ok && old.at > v.at {
			continue
		}
		m.shown[key] = v
		if ok && v.correlationID != "backfill" && old.currency == v.currency && m.far(old.value(t), v.value(t)) {
			moved = append(moved, fmt.Sprintf("user %s %s %s>%s", v.user, v.kind, old.value(t), v.value(t)))
		}
	}
	return moved
}

// belongs tells whether a place is below another.
func (m *model) belongs(place, to string) bool {
	for at := m.above[place]; at != ""; at = m.above[at] {
		if at == to {
			return true
		}
	}
	return false
}

// sums returns the places below which the sum moved far since the last call.
func (m *model) sums(t *testing.T) (moved []string) {
	for top := range m.above {
		for _, kind := range []string{"forecast", "quota"} {
			for _, currency := range []string{"USD", "EUR"} {
				var before, after decimal.Decimal
				some := false
				for key, v := range m.shown {
					if v.kind != kind || v.currency != currency || !m.belongs(v.place, top) {
						continue
					}
					after = after.Add(v.value(t))
					old, ok := m.before[key]
					if !ok || old.currency != currency || v.correlationID == "backfill" {
						before = before.Add(v.value(t))
						continue
					}
					before = before.Add(old.value(t))
					some = some || !old.value(t).Equal(v.value(t))
				}
				if some && m.far(before, after) {
					moved = append(moved, fmt.Sprintf("hierarchy %s %s %s>%s", top, kind, before, after))
				}
			}
		}
	}
	m.before = maps.Clone(m.shown)
	return moved
}

// TestTheModelFindsTheSame, value by value and place by place, over random versions: late ones, backfilled ones, deletes, nulls,
// several at once, in two currencies, of managers at all levels and of somebody whose place nobody knows.
func TestTheModelFindsTheSame(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := defaults()
	cfg.Storm = 1 << 20
	w.backfill("backfill")
	rng := rand.New(rand.NewPCG(7, 11))
	const people = 40
	m := &model{cfg: cfg, shown: map[string]version{}, before: map[string]version{}, above: map[string]string{"p0": ""}}
	for i := 1; i < people; i++ {
		m.above[fmt.Sprint("p", i)] = fmt.Sprint("p", (i-1)/3)
	}
	found, sums := 0, 0
	used := map[string]bool{}
	for round := range 12 {
		var want []string
		for range 3 { // inserts
			var batch []version
			for range 25 {
				i := rng.IntN(people + 1)
				v := version{
					user: fmt.Sprint("u", i), kind: []string{"forecast", "quota"}[rng.IntN(2)], currency: "USD", place: fmt.Sprint("p", i),
					at: int64(1_000_000*(round+1) - rng.IntN(2_500_000)), amount: fmt.Sprint(1000*rng.IntN(40), ".", 1+rng.IntN(9)), correlationID: "live",
				}
				v.above = m.above[v.place]
				if i == people {
					v.place = ""
				}
				switch rng.IntN(12) {
				case 0:
					v.correlationID = "backfill"
				case 1:
					v.deleted = true
				case 2:
					v.amount = ""
				case 3:
					v.currency = "EUR"
				}
				if key := fmt.Sprint(v.user, v.kind, v.at); !used[key] {
					used[key] = true
					batch = append(batch, v)
				}
			}
			w.put(batch...)
			want = append(want, m.arrive(t, batch)...)
		}
		moved := m.sums(t)
		found, sums = found+len(want), sums+len(moved)
		report, err := w.detector(cfg).Run(t.Context())
		require.NoError(t, err)
		for i := range report.Opened { // nothing is 0 to the model
			if report.Opened[i].Before == nil {
				report.Opened[i].Before = &decimal.Zero
			}
			if report.Opened[i].After == nil {
				report.Opened[i].After = &decimal.Zero
			}
		}
		require.ElementsMatch(t, append(want, moved...), told(report.Opened), "round %d", round)
	}
	t.Logf("%d values and %d sums moved far", found, sums)
	require.Greater(t, found, 50)
	require.Greater(t, sums, 20)
}
