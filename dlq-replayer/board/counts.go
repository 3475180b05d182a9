package board

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/revstream/revstream/dlq-replayer/desk"
)

// Stats count all letters.
type Stats struct {
	States  map[string]int
	Topics  []TopicStats // by topic and reason
	Letters int
}

// TopicStats count the letters of one topic and reason.
type TopicStats struct {
	Topic      string         `json:"topic"`
	Reason     string         `json:"reason"`
	States     map[string]int `json:"-"`
	OldestOpen time.Time      `json:"oldest_open,omitzero"` // last failure of the oldest one that is open
}

// Stats counts all letters. Nobody may change what it returns.
func (b *Board) Stats() Stats {
	b.mu.RLock()
	kept := b.stats
	b.mu.RUnlock()
	if kept != nil {
		return *kept
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stats == nil {
		b.stats = b.pic.stats()
	}
	return *b.stats
}

func (p *picture) stats() *Stats {
	type group struct {
		part *partition
		kind uint32
	}
	counts := map[group][]int{}
	oldest := map[group]int64{}
	var at group
	var row []int
	for _, r := range p.order {
		page, i := p.pages[r.page()], r.row()
		if g := (group{page.part, page.kind[i]}); g != at || row == nil { // neighbours are mostly alike
			at, row = g, counts[g]
			if row == nil {
				row = make([]int, len(states))
				counts[g] = row
			}
		}
		row[page.state[i]]++
		if states[page.state[i]] == desk.Open {
			if _, ok := oldest[at]; !ok { // the order is by time
				oldest[at] = page.last[i]
			}
		}
	}
	stats := &Stats{States: map[string]int{}, Letters: len(p.order)}
	for _, state := range states {
		stats.States[state] = 0
	}
	type name struct{ topic, reason string }
	topics := map[name]*TopicStats{}
	for g, counted := range counts {
		n := name{g.part.topic, p.kinds.name[g.kind].reason}
		if topics[n] == nil {
			topics[n] = &TopicStats{Topic: n.topic, Reason: n.reason, States: map[string]int{}}
		}
		for i, letters := range counted {
			topics[n].States[states[i]] += letters
			stats.States[states[i]] += letters
		}
		if first, ok := oldest[g]; ok {
			if at := time.UnixMicro(first).UTC(); topics[n].OldestOpen.IsZero() || at.Before(topics[n].OldestOpen) {
				topics[n].OldestOpen = at
			}
		}
	}
	for _, t := range topics {
		stats.Topics = append(stats.Topics, *t)
	}
	slices.SortFunc(stats.Topics, func(a, b TopicStats) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Reason, b.Reason))
	})
	return stats
}

// Histogram counts the letters of a selection by time of the last failure and by reason.
type Histogram struct {
	From, To time.Time // of the selection, or of its first and last letter; zero if there is none
	Buckets  []Bucket
	Reasons  []string
	Partial  bool // time was up before all letters were seen

	width int64 // of a bucket, µs
}

// Bucket is a span of time.
type Bucket struct {
	Start  time.Time      `json:"start"`
	Counts map[string]int `json:"counts"` // by reason
}

// Histogram counts a selection in a number of buckets. What Page says of time holds here too.
func (b *Board) Histogram(ctx context.Context, s desk.Selection, buckets int) (Histogram, error) {
	type point struct {
		last   int64
		reason string
	}
	h := Histogram{From: s.Since, To: s.Until, Buckets: []Bucket{}, Reasons: []string{}}
	if byContent(s) {
		var points []point
		complete, _, err := b.scan(ctx, s, true, nil, func(row Row) bool {
			points = append(points, point{row.LastFailure.UnixMicro(), row.Reason})
			return true
		})
		if h.Partial = !complete; err != nil || len(points) == 0 {
			return h, err
		}
		h.span(points[0].last, points[len(points)-1].last, buckets)
		for _, p := range points {
			h.count(p.last, p.reason)
		}
	} else {
		b.mu.RLock()
		defer b.mu.RUnlock()
		matches := b.pic.matcher(s)
		edge := func(oldest bool) (last int64, found bool) {
			b.pic.each(oldest, nil, func(r ref) bool {
				if matches(r) {
					last, found = b.pic.pages[r.page()].last[r.row()], true
				}
				return !found
			})
			return last, found
		}
		first, found := edge(true)
		if !found {
			return h, nil
		}
		last, _ := edge(false)
		h.span(first, last, buckets)
		b.pic.each(true, nil, func(r ref) bool {
			if matches(r) {
				page, i := b.pic.pages[r.page()], r.row()
				h.count(page.last[i], b.pic.kinds.name[page.kind[i]].reason)
			}
			return true
		})
	}
	reasons := map[string]bool{}
	for _, bucket := range h.Buckets {
		for reason := range bucket.Counts {
			reasons[reason] = true
		}
	}
	h.Reasons = sorted(reasons)
	return h, nil
}

// span makes the buckets, for letters of which the first and the last failed then (µs).
func (h *Histogram) span(first, last int64, buckets int) {
	if h.From.IsZero() {
		h.From = time.UnixMicro(first).UTC()
	}
	if h.To.IsZero() {
		h.To = time.UnixMicro(last + 1).UTC()
	}
	h.width = max((h.To.UnixMicro()-h.From.UnixMicro()+int64(buckets)-1)/int64(buckets), 1)
	for i := range int64(buckets) {
		h.Buckets = append(h.Buckets, Bucket{Start: time.UnixMicro(h.From.UnixMicro() + i*h.width).UTC(), Counts: map[string]int{}})
	}
}

func (h *Histogram) count(last int64, reason string) {
	h.Buckets[min((last-h.From.UnixMicro())/h.width, int64(len(h.Buckets)-1))].Counts[reason]++
}

// Names are what there is to filter by.
type Names struct{ Topics, Groups, Reasons []string }

// Names returns the topics, consumer groups and reasons of the letters.
func (b *Board) Names() Names {
	b.mu.RLock()
	defer b.mu.RUnlock()
	groups, reasons := map[string]bool{}, map[string]bool{}
	for _, kind := range b.pic.kinds.name {
		reasons[kind.reason] = true
		if kind.group != "" {
			groups[kind.group] = true
		}
	}
	return Names{Topics: sorted(b.pic.parts), Groups: sorted(groups), Reasons: sorted(reasons)}
}

// sorted is never nil: it becomes JSON.
func sorted[T any](set map[string]T) []string {
	names := slices.AppendSeq([]string{}, maps.Keys(set))
	slices.Sort(names)
	return names
}
