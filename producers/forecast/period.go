package forecast

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/revstream/revstream/producers/clari"
)

// otherPeriod is the failure of a run whose results are of another period than was asked for: to one that it does not know,
// Clari answers with the current quarter, without a word.
func otherPeriod(got, asked string) error {
	return fmt.Errorf("the results are of time period %s instead of %s: Clari has no such period, or none so early (a cycle asks for as many as CLARI_QUARTERS or --quarters says)", got, asked)
}

// periodOf returns which of the periods that an export describes its entries are of. Mostly there is but one.
func periodOf(ctx context.Context, export *clari.Export) (clari.TimePeriod, error) {
	listed := export.TimePeriods
	if len(listed) == 0 {
		return clari.TimePeriod{}, errors.New("the results do not say which time period they are of")
	}
	if len(listed) > 1 {
		for entry, err := range export.Entries(ctx) {
			if err != nil {
				continue // publishing will meet it again
			}
			if of := export.TimePeriod(entry.TimePeriodID); of != nil {
				return *of, nil
			}
		}
	}
	return listed[0], nil
}

// periodBefore is the period that ends on the day before another begins, if the export describes it; else by its ID.
func periodBefore(period clari.TimePeriod, listed []clari.TimePeriod) string {
	for _, p := range listed {
		if p.Type == period.Type && adjoin(p.EndDate, period.StartDate) == touching {
			return p.ID
		}
	}
	id, err := Previous(period.ID)
	if err != nil {
		return "" // who needs it says so
	}
	return id
}

// adjacency is how two periods lie.
type adjacency int

const (
	unknown  adjacency = iota // a date is missing or not readable
	touching                  // the one ends on the day before the other begins
	apart
)

func adjoin(end, start string) adjacency {
	last, first := day(end), day(start)
	switch {
	case last == nil || first == nil:
		return unknown
	case last.Add(24 * time.Hour).Equal(*first):
		return touching
	default:
		return apart
	}
}

var quarter = regexp.MustCompile(`^(\d{4})_Q([1-4])$`)

// Previous is the quarter before one: 2025_Q4 for 2026_Q1. A fiscal year has four of them, wherever it begins.
func Previous(period string) (string, error) {
	m := quarter.FindStringSubmatch(period)
	if m == nil {
		return "", fmt.Errorf("time period %q is not of the form 2026_Q1", period)
	}
	year, _ := strconv.Atoi(m[1])
	q, _ := strconv.Atoi(m[2])
	if q--; q == 0 {
		year, q = year-1, 4
	}
	return fmt.Sprintf("%04d_Q%d", year, q), nil
}
