package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/revstream/revstream/dlq-replayer/desk"
	"github.com/revstream/revstream/pipeline/deadletter"
)

type statsCommand struct {
	filters
	revealing
	ASCII bool `name:"ascii" help:"Draw with ASCII alone."`
	JSON  bool `name:"json" help:"As one JSON object."`
}

// tally counts letters.
type tally struct {
	Open           int       `json:"open"`
	Replayed       int       `json:"replayed"`
	Parked         int       `json:"parked"`
	Discarded      int       `json:"discarded"`
	Undecipherable int       `json:"undecipherable"` // decided in a way that this version does not know
	OldestOpen     time.Time `json:"oldest_open,omitzero"`
}

func (t *tally) add(state string, failed time.Time) {
	switch state {
	case desk.Open:
		t.Open++
		if t.OldestOpen.IsZero() || failed.Before(t.OldestOpen) {
			t.OldestOpen = failed
		}
	case deadletter.Replayed:
		t.Replayed++
	case deadletter.Parked:
		t.Parked++
	case deadletter.Discarded:
		t.Discarded++
	default:
		t.Undecipherable++
	}
}

// merge adds other counts.
func (t *tally) merge(o *tally) {
	t.Open += o.Open
	t.Replayed += o.Replayed
	t.Parked += o.Parked
	t.Discarded += o.Discarded
	t.Undecipherable += o.Undecipherable
	if t.OldestOpen.IsZero() || !o.OldestOpen.IsZero() && o.OldestOpen.Before(t.OldestOpen) {
		t.OldestOpen = o.OldestOpen
	}
}

// oldest is the age of the oldest open letter.
func (t *tally) oldest(now time.Time) string {
	if t.OldestOpen.IsZero() {
		return "-"
	}
	return age(now.Sub(t.OldestOpen))
}

// stats are the counts: in all, by topic and class, and over time.
type stats struct {
	tally
	Topics    map[string]map[string]*tally `json:"topics"`
	Histogram []bucket                     `json:"histogram"`
	Stopped   []desk.Stopped               `json:"stopped"`

	times *timeline
}

// bucket is a span of time, up to the start of the next one, with the letters that failed last in it, by class.
type bucket struct {
	Start  time.Time      `json:"start"`
	Counts map[string]int `json:"counts"`
}

func (c *statsCommand) run(ctx context.Context, con *console) error {
	selection, err := c.selection()
	if err := errors.Join(err, c.checkSight(c.filters)); err != nil {
		return err
	}
	if len(c.States) == 0 {
		selection.States = desk.AllStates
	}
	if err := con.check(ctx, selection); err != nil {
		return err
	}
	if err := con.reveal(ctx, selection, c.Reason); err != nil {
		return err
	}
	s := stats{Topics: map[string]map[string]*tally{}, Histogram: []bucket{}, Stopped: []desk.Stopped{}, times: newTimeline()}
	err = con.desk.Letters(ctx, selection, func(e desk.Entry) error { s.count(e); return nil })
	if err != nil {
		return err
	}
	found, err := con.desk.Stopped(ctx)
	if err != nil {
		return err
	}
	s.Stopped = append(s.Stopped, found...)
	if c.JSON {
		s.buckets()
		return con.answer(s)
	}
	return s.print(con.out, con.width, c.ASCII)
}

func (s *stats) count(e desk.Entry) {
	at := e.Letter.LastFailure
	s.add(e.State, at)
	topic := s.Topics[e.ID.Topic]
	if topic == nil {
		topic = map[string]*tally{}
		s.Topics[e.ID.Topic] = topic
	}
	if topic[e.Letter.Reason] == nil {
		topic[e.Letter.Reason] = new(tally)
	}
	topic[e.Letter.Reason].add(e.State, at)
	s.times.add(at, e.Letter.Reason, e.State == desk.Open)
}

func (s *stats) buckets() {
	if len(s.times.slots) == 0 {
		return
	}
	s.times.fit(60)
	first, last := s.times.span()
	for start := first; start <= last; start++ {
		b := bucket{Start: time.Unix(start*s.times.width, 0).UTC(), Counts: map[string]int{}}
		if slot := s.times.slots[start]; slot != nil {
			b.Counts = slot.reasons
		}
		s.Histogram = append(s.Histogram, b)
	}
}

func (s *stats) print(out io.Writer, width int, plain bool) error {
	var text strings.Builder
	now := time.Now()
	table(&text, s.Topics, now)
	if s.Undecipherable > 0 {
		fmt.Fprintf(&text, "%d more were decided in a way that this version does not know\n", s.Undecipherable)
	}
	if len(s.times.slots) > 0 {
		if width == 0 {
			width = 80
		}
		g := blocks
		if plain {
			g = ascii
		}
		fmt.Fprintf(&text, "\nLast failures over time (%s open, %s decided)\n%s", g.open, g.decided, s.times.chart(width, g))
	}
	for i, f := range s.Stopped {
		if i == 0 {
			fmt.Fprintln(&text, "\nStopped consumers")
		}
		fmt.Fprintf(&text, "%s stopped on %s partition %d at offset %d, %s ago: %d of its last %d records could not succeed (%s). %s\n",
			printable(f.Group), printable(f.Topic), f.Partition, f.Offset, age(now.Sub(f.At)), f.Poison, f.Window, printable(f.Reason), printable(f.Advice))
	}
	_, err := fmt.Fprint(out, text.String())
	return err
}

// table prints counts by topic and class, and in all.
func table(text *strings.Builder, topics map[string]map[string]*tally, now time.Time) {
	w := tabwriter.NewWriter(text, 0, 0, 2, ' ', 0)
	line := func(topic, reason string, n *tally) {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%s\n", topic, printable(reason), n.Open, n.Replayed, n.Parked, n.Discarded, n.oldest(now))
	}
	fmt.Fprintln(w, "TOPIC\tREASON\tOPEN\tREPLAYED\tPARKED\tDISCARDED\tOLDEST")
	var all tally
	for _, topic := range slices.Sorted(maps.Keys(topics)) {
		for _, reason := range slices.Sorted(maps.Keys(topics[topic])) {
			n := topics[topic][reason]
			line(topic, reason, n)
			all.merge(n)
		}
	}
	line("in all", "", &all)
	_ = w.Flush() // into memory
}
