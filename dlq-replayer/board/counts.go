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

// reasons numbers the reasons of the kinds.
func (p *picture) reasons() (of []uint32, reasons names[string]) {
	reasons = newNames[string]()
	for _, kind := range p.kinds.name {
		of = append(of, reasons.put(kind.reason))
	}
	return of, reasons
}

func (p *picture) stats() *Stats {
	of, reasons := p.reasons()
	// By partition, reason and state: a slice rather than a map, as it is counted in for each letter.
	counts := make([]int, len(p.all)*len(reasons.name)*len(states))
	oldest := make([]int64, len(p.all)*len(reasons.name)) // µs; 0: none is open
	open := uint8(slices.Index(states, desk.Open))
	for _, r := range p.order {
		page, i := p.pages[r.page()], r.row()
		at := page.part.index*len(reasons.name) + int(of[page.kind[i]])
		counts[at*len(states)+int(page.state[i])]++
		if page.state[i] == open && oldest[at] == 0 { // the order is by time
			oldest[at] = page.last[i]
		}
	}
	stats := &Stats{States: map[string]int{}, Letters: len(p.order)}
	for _, state := range states {
		stats.States[state] = 0
	}
	type name struct{ topic, reason string }
	topics := map[name]*TopicStats{}
	for at, first := range oldest {
		counted := counts[at*len(states) : (at+1)*len(states)]
		if slices.Max(counted) == 0 {
			continue
		}
		n := name{p.all[at/len(reasons.name)].topic, reasons.name[at%len(reasons.name)]}
		if topics[n] == nil {
			topics[n] = &TopicStats{Topic: n.topic, Reason: n.reason, States: map[string]int{}}
		}
		for i, letters := range counted {
			topics[n].States[states[i]] += letters
			stats.States[states[i]] += letters
		}
		if at := time.UnixMicro(first).UTC(); first != 0 && (topics[n].OldestOpen.IsZero() || at.Before(topics[n].OldestOpen)) {
			topics[n].OldestOpen = at
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
	From, To time.Time // of the selection, or of its first and last letter; zero if there is no letter
	Buckets  []Bucket
	Reasons  []string
	Partial  bool // time was up before all letters were seen
}

// Bucket is a span of time.
type Bucket struct {
	Start  time.Time      `json:"start"`
	Counts map[string]int `json:"counts"` // by reason
}

// Histogram counts a selection in a number of buckets. What Page says of time holds here too.
func (b *Board) Histogram(ctx context.Context, s desk.Selection, buckets int) (Histogram, error) {
	if !byContent(s) {
		b.mu.RLock()
		defer b.mu.RUnlock()
		return b.pic.histogram(s, buckets), nil
	}
	type point struct {
		last   int64
		reason uint32
	}
	var points []point
	reasons := newNames[string]()
	complete, _, err := b.scan(ctx, s, true, nil, func(row Row) bool {
		points = append(points, point{row.LastFailure.UnixMicro(), reasons.put(row.Reason)})
		return true
	})
	if err != nil || len(points) == 0 {
		return Histogram{Buckets: []Bucket{}, Reasons: []string{}, Partial: !complete}, err
	}
	c := newCounter(s, points[0].last, points[len(points)-1].last, buckets, len(reasons.name))
	for _, p := range points {
		c.count(p.last, p.reason)
	}
	h := c.histogram(reasons)
	h.Partial = !complete
	return h, nil
}

func (p *picture) histogram(s desk.Selection, buckets int) Histogram {
	matches := p.matcher(s)
	edge := func(oldest bool) (last int64, found bool) {
		p.each(oldest, nil, func(r ref) bool {
			if matches(r) {
				last, found = p.pages[r.page()].last[r.row()], true
			}
			return !found
		})
		return last, found
	}
	first, found := edge(true)
	if !found {
		return Histogram{Buckets: []Bucket{}, Reasons: []string{}}
	}
	last, _ := edge(false)
	of, reasons := p.reasons()
	c := newCounter(s, first, last, buckets, len(reasons.name))
	p.each(true, nil, func(r ref) bool {
		if matches(r) {
			page, i := p.pages[r.page()], r.row()
			c.count(page.last[i], of[page.kind[i]])
		}
		return true
	})
	return c.histogram(reasons)
}

// counter counts letters by bucket and reason.
type counter struct {
	from, to, width  int64 // µs
	buckets, reasons int
	counts           []int // by bucket and reason
}

// newCounter counts letters of which the first and the last failed then (µs), unless the selection says from when to when.
func newCounter(s desk.Selection, first, last int64, buckets, reasons int) *counter {
	c := &counter{from: first, to: last + 1, buckets: buckets, reasons: reasons, counts: make([]int, buckets*reasons)}
	if !s.Since.IsZero() {
		c.from = s.Since.UnixMicro()
	}
	if !s.Until.IsZero() {
		c.to = s.Until.UnixMicro()
	}
	c.width = max((c.to-c.from+int64(buckets)-1)/int64(buckets), 1)
	return c
}

func (c *counter) count(last int64, reason uint32) {
	bucket := min(max(last-c.from, 0)/c.width, int64(c.buckets-1))
	c.counts[int(bucket)*c.reasons+int(reason)]++
}

func (c *counter) histogram(reasons names[string]) Histogram {
	h := Histogram{From: time.UnixMicro(c.from).UTC(), To: time.UnixMicro(c.to).UTC()}
	seen := map[string]bool{}
	for i := range c.buckets {
		bucket := Bucket{Start: time.UnixMicro(c.from + int64(i)*c.width).UTC(), Counts: map[string]int{}}
		for j, reason := range reasons.name {
			if letters := c.counts[i*c.reasons+j]; letters > 0 {
				bucket.Counts[reason] = letters
				seen[reason] = true
			}
		}
		h.Buckets = append(h.Buckets, bucket)
	}
	h.Reasons = sorted(seen)
	return h
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
