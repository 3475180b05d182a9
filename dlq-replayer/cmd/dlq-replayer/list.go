package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/revstream/revstream/dlq-replayer/desk"
)

type listCommand struct {
	filters
	All  bool `name:"all" help:"Replayed letters too."`
	JSON bool `name:"json" help:"One JSON object per letter and line."`
}

// row is a letter as JSON. It has neither the value nor headers, which may hold personal data.
type row struct {
	ID            desk.ID   `json:"id"`
	State         string    `json:"state"`
	Topic         string    `json:"topic"`
	Key           string    `json:"key"`
	Reason        string    `json:"reason"`
	Message       string    `json:"message"`
	Stage         string    `json:"stage"`
	Attempts      int       `json:"attempts"`
	Replays       int       `json:"replays"`
	ReplayID      string    `json:"replay_id,omitempty"`
	FirstFailure  time.Time `json:"first_failure,omitzero"`
	LastFailure   time.Time `json:"last_failure"`
	EventID       string    `json:"event_id,omitempty"`
	CorrelationID string    `json:"correlation_id,omitempty"`
	Flaw          string    `json:"flaw,omitempty"` // why it cannot be replayed
}

func newRow(e desk.Entry) row {
	l := e.Letter
	return row{
		ID: e.ID, State: e.State, Topic: e.ID.Topic, Key: string(l.Key), Reason: l.Reason, Message: l.Message, Stage: l.Stage,
		Attempts: l.Attempts, Replays: l.Replays, ReplayID: l.ReplayID, FirstFailure: l.FirstFailure, LastFailure: l.LastFailure,
		EventID: l.EventID, CorrelationID: l.CorrelationID, Flaw: e.Flaw,
	}
}

// run prints while it reads: a topic may hold millions of letters. The columns therefore have fixed widths, which a
// longer text exceeds in its own line alone.
func (c *listCommand) run(ctx context.Context, d *desk.Desk, out io.Writer) error {
	selection, err := c.selection()
	if err != nil {
		return err
	}
	selection.All = c.All
	w := bufio.NewWriter(out)
	print := c.table(w)
	if c.JSON {
		enc := json.NewEncoder(w)
		print = func(e desk.Entry) error { return enc.Encode(newRow(e)) }
	}
	reasons, listed := map[string]int{}, 0
	err = d.Letters(ctx, selection, func(e desk.Entry) error {
		reasons[e.Letter.Reason]++
		listed++
		return print(e)
	})
	if err == nil && !c.JSON {
		_, err = fmt.Fprintln(w, c.summary(listed, reasons))
	}
	if flushed := w.Flush(); err == nil {
		err = flushed
	}
	return err
}

// table prints entries as lines under a head.
func (c *listCommand) table(w io.Writer) func(desk.Entry) error {
	line := func(id, age, reason, stage, replays, state, key string) error {
		if c.All {
			stage = fmt.Sprintf("%-8s  %-8s", stage, state)
		}
		_, err := fmt.Fprintf(w, "%-34s  %5s  %-20s  %-8s  %7s  %s\n", id, age, reason, stage, replays, key)
		return err
	}
	headed, now := false, time.Now()
	return func(e desk.Entry) error {
		if !headed {
			headed = true
			if err := line("ID", "AGE", "REASON", "STAGE", "REPLAYS", "STATE", "KEY"); err != nil {
				return err
			}
		}
		l := e.Letter
		return line(e.ID.String(), age(now.Sub(l.LastFailure)), printable(l.Reason), printable(l.Stage),
			strconv.Itoa(l.Replays), printable(e.State), printable(string(l.Key)))
	}
}

func (c *listCommand) summary(listed int, reasons map[string]int) string {
	kind := "open"
	if c.All {
		kind = "in all"
	}
	text := fmt.Sprintf("%d %s", listed, kind)
	if listed > 0 {
		text += ":" + counts(reasons)
	}
	if listed == c.Limit && c.Limit > 0 {
		text += " (as many as --limit allows)"
	}
	return text
}

// counts renders " name=n name=n".
func counts(of map[string]int) string {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(of)) {
		fmt.Fprintf(&text, " %s=%d", printable(name), of[name])
	}
	return text.String()
}

// age is a duration at a glance.
func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(max(d, 0).Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}

// printable quotes what a terminal would not show as it is: anyone who may write to the topics chooses keys and headers.
func printable(text string) string {
	if utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return text
	}
	return strconv.QuoteToGraphic(text)
}
