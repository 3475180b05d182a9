package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"

	"github.com/revstream/revstream/dlq-replayer/desk"
)

type statsCommand struct {
	filters
	JSON bool `name:"json" help:"As one JSON object."`
}

// tally counts letters.
type tally struct {
	Open     int `json:"open"`
	Replayed int `json:"replayed"`
	Other    int `json:"other"` // decided in a way that this version does not know
}

func (t *tally) add(state string) {
	switch state {
	case desk.Open:
		t.Open++
	case desk.Replayed:
		t.Replayed++
	default:
		t.Other++
	}
}

// stats are the counts: in all, and by topic and reason.
type stats struct {
	tally
	Topics map[string]map[string]*tally `json:"topics"`
}

func (c *statsCommand) run(ctx context.Context, d *desk.Desk, out io.Writer) error {
	selection, err := c.selection()
	if err != nil {
		return err
	}
	selection.All = true
	s := stats{Topics: map[string]map[string]*tally{}}
	err = d.Letters(ctx, selection, func(e desk.Entry) error {
		s.add(e.State)
		topic := s.Topics[e.ID.Topic]
		if topic == nil {
			topic = map[string]*tally{}
			s.Topics[e.ID.Topic] = topic
		}
		if topic[e.Letter.Reason] == nil {
			topic[e.Letter.Reason] = new(tally)
		}
		topic[e.Letter.Reason].add(e.State)
		return nil
	})
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(out).Encode(s)
	}
	return s.print(out)
}

func (s *stats) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TOPIC\tREASON\tOPEN\tREPLAYED\tOTHER")
	for _, topic := range slices.Sorted(maps.Keys(s.Topics)) {
		for _, reason := range slices.Sorted(maps.Keys(s.Topics[topic])) {
			n := s.Topics[topic][reason]
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\n", topic, printable(reason), n.Open, n.Replayed, n.Other)
		}
	}
	fmt.Fprintf(w, "in all\t\t%d\t%d\t%d\n", s.Open, s.Replayed, s.Other)
	return w.Flush() // which tells of the writes before
}
