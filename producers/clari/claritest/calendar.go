package claritest

import (
	"fmt"
	"time"
)

const dateLayout = "2006-01-02"

// quarter counts the quarters of the fiscal calendar since year 0.
type quarter int

// quarterOf is the quarter of a time.
func (s *Simulator) quarterOf(t time.Time) quarter {
	t = t.UTC()
	return quarter((t.Year()*12 + int(t.Month()-s.cfg.FiscalStart)) / 3)
}

// id is such as 2024_Q3.
func (s *Simulator) id(q quarter) string { return fmt.Sprintf("%d_Q%d", s.year(q), q%4+1) }

// year is the one in which the fiscal year ends.
func (s *Simulator) year(q quarter) int {
	year := int(q / 4)
	if s.cfg.FiscalStart != time.January {
		year++
	}
	return year
}

// span is a quarter's first and last day.
func (s *Simulator) span(q quarter) (first, last time.Time) {
	month := int(q)*3 + int(s.cfg.FiscalStart) // of year 0, from 1; time.Date carries it over
	first = time.Date(0, time.Month(month), 1, 0, 0, 0, 0, time.UTC)
	return first, first.AddDate(0, 3, -1)
}

// find is the quarter of that ID, of those that exist at a time; else the current one, as the API does it.
func (s *Simulator) find(id string, now time.Time) quarter {
	current := s.quarterOf(now)
	for q := current; q > current-quarter(s.cfg.Quarters); q-- {
		if s.id(q) == id {
			return q
		}
	}
	return current
}

// weeks lists the first days of the weeks, Monday to Sunday, that have begun by now and overlap the quarter. One that lies in two
// quarters is a week of both.
func (s *Simulator) weeks(q quarter, now time.Time) []time.Time {
	first, last := s.span(q)
	if now.Before(last) {
		last = now.UTC()
	}
	var weeks []time.Time
	monday := first.AddDate(0, 0, -(int(first.Weekday())+6)%7)
	for ; !monday.After(last); monday = monday.AddDate(0, 0, 7) {
		weeks = append(weeks, monday)
	}
	if n := s.cfg.Weeks; n > 0 && n < len(weeks) {
		weeks = weeks[len(weeks)-n:]
	}
	return weeks
}

func frameID(week time.Time) string { return "TF:" + week.Format(dateLayout) }
