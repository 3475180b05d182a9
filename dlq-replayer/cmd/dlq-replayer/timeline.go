package main

import (
	"fmt"
	"strings"
	"time"
)

// timeline counts letters over time in a bounded number of slots: their width doubles when there are too many.
type timeline struct {
	width int64           // of a slot, in seconds
	slots map[int64]*slot // by the slot's start, in widths since 1970
}

// slot counts the letters that failed in it, by class.
type slot struct {
	open, decided int
	reasons       map[string]int
}

const (
	maxSlots   = 4096
	chartRows  = 20 // at most
	labelWidth = 17 // of "2026-01-31 12:00Z"
)

func newTimeline() *timeline { return &timeline{width: 60, slots: map[int64]*slot{}} }

func (t *timeline) add(at time.Time, reason string, open bool) {
	s := t.slot(floor(at.Unix(), t.width))
	if open {
		s.open++
	} else {
		s.decided++
	}
	s.reasons[reason]++
	if len(t.slots) > maxSlots {
		t.widen(2 * t.width)
	}
}

func (t *timeline) slot(start int64) *slot {
	if t.slots[start] == nil {
		t.slots[start] = &slot{reasons: map[string]int{}}
	}
	return t.slots[start]
}

// widen merges the slots into wider ones.
func (t *timeline) widen(width int64) {
	old, oldWidth := t.slots, t.width
	t.width, t.slots = width, map[int64]*slot{}
	for start, s := range old {
		into := t.slot(floor(start*oldWidth, width))
		into.open += s.open
		into.decided += s.decided
		for reason, n := range s.reasons {
			into.reasons[reason] += n
		}
	}
}

// floor divides, also what lies before 1970.
func floor(n, by int64) int64 {
	q := n / by
	if n%by < 0 {
		q--
	}
	return q
}

// span is the first and the last slot.
func (t *timeline) span() (first, last int64) {
	begun := false
	for start := range t.slots {
		if !begun {
			first, last, begun = start, start, true
		}
		first, last = min(first, start), max(last, start)
	}
	return first, last
}

// steps are the widths of a chart's rows, in seconds.
var steps = []int64{60, 300, 900, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86400, 7 * 86400, 30 * 86400, 365 * 86400}

// fit widens the slots until a chart shows the whole span.
func (t *timeline) fit(rows int64) {
	for _, step := range steps {
		if step < t.width {
			continue
		}
		first, last := t.span()
		if floor(last*t.width, step)-floor(first*t.width, step) < rows {
			t.widen(step)
			return
		}
	}
	for first, last := t.span(); last-first >= rows; first, last = t.span() {
		t.widen(2 * t.width)
	}
}

// glyphs are what bars are made of: full cells, eighths of the last one, and cells of what is decided.
type glyphs struct {
	open, decided string
	eighths       []string
}

var (
	blocks = glyphs{"█", "░", []string{"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"}}
	ascii  = glyphs{"#", ".", []string{"", "", "", "", "#", "#", "#", "#"}}
)

// chart draws a bar for each slot: of open letters, and then of decided ones.
func (t *timeline) chart(width int, g glyphs) string {
	if len(t.slots) == 0 {
		return ""
	}
	t.fit(chartRows)
	first, last := t.span()
	most := 0
	for _, s := range t.slots {
		most = max(most, s.open+s.decided)
	}
	digits := len(fmt.Sprint(most))
	room := max(width-labelWidth-digits-5, 10)
	var text strings.Builder
	for start := first; start <= last; start++ {
		s := t.slots[start]
		if s == nil {
			s = &slot{}
		}
		label := time.Unix(start*t.width, 0).UTC().Format("2006-01-02 15:04Z")
		line := fmt.Sprintf("%s  %*d  %s", label, digits, s.open+s.decided, g.bar(s, most, room))
		text.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return text.String()
}

// bar is proportional to the largest; what is there at all can be seen.
func (g glyphs) bar(s *slot, most, room int) string {
	open := (8*room*s.open + most - 1) / most
	decided := (room*s.decided + most - 1) / most
	bar := strings.Repeat(g.open, open/8) + g.eighths[open%8]
	if s.open > 0 && bar == "" {
		bar = g.open
	}
	return bar + strings.Repeat(g.decided, decided)
}
