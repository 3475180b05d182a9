package forecast

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/producers/clari"
)

// TestWhatIsLeftToPeople: a share of the quota, and a slot where there is more than one. A limit of 0 is one that is not known.
func TestWhatIsLeftToPeople(t *testing.T) {
	t.Parallel()
	e := &Exporter{cfg: Config{QuotaReserve: 0.1, ConcurrencyReserve: 1}}
	for name, c := range map[string]struct {
		quota, left, slots, free int
		want                     bool
	}{
		"plenty":                  {1000, 500, 3, 3, true},
		"the last before theirs":  {1000, 101, 3, 3, true},
		"theirs":                  {1000, 100, 3, 3, false},
		"a small quota":           {9, 1, 3, 3, true},
		"none left":               {9, 0, 3, 3, false},
		"the slot before theirs":  {1000, 500, 3, 2, true},
		"their slot":              {1000, 500, 3, 1, false},
		"the only slot":           {1000, 500, 1, 1, true},
		"the only slot is taken":  {1000, 500, 1, 0, false},
		"limits that are unknown": {0, 0, 0, 0, true},
	} {
		require.Equal(t, c.want, e.affordable(clari.Limits{
			MonthlyQuota: c.quota, AvailableMonthlyQuota: c.left, ConcurrentLimit: c.slots, AvailableConcurrentLimit: c.free,
		}), name)
	}
}

// TestThePeriodBefore is what the source lists as such, whatever it calls it, and else goes by its ID.
func TestThePeriodBefore(t *testing.T) {
	t.Parallel()
	quarter := func(id, start, end string) clari.TimePeriod {
		return clari.TimePeriod{ID: id, Type: "QUARTER", StartDate: start, EndDate: end}
	}
	current := quarter("FY26-P3", "2026-02-07", "2026-05-08")
	listed := []clari.TimePeriod{
		current, quarter("FY26-P1", "2025-08-09", "2025-11-07"), {ID: "FY26-M6", Type: "MONTH", StartDate: "2026-01-10", EndDate: "2026-02-06"},
		quarter("FY26-P2", "2025-11-08", "2026-02-06"),
	}
	require.Equal(t, "FY26-P2", periodBefore(current, listed))
	require.Empty(t, periodBefore(current, listed[:2]), "which is not the one that ends months before")
	require.Equal(t, "2025_Q4", periodBefore(quarter("2026_Q1", "2026-02-07", "2026-05-08"), nil))
}
