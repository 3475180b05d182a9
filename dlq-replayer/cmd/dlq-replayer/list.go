package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"

	"github.com/revstream/revstream/dlq-replayer/desk"
)

type listCommand struct {
	filters
	revealing
	All  bool `name:"all" help:"Letters in every state: the same as --state=all."`
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
	Group         string    `json:"group,omitempty"`
	Version       string    `json:"version,omitempty"`
	Schema        int       `json:"schema,omitempty"`
	Attempts      int       `json:"attempts"`
	Replays       int       `json:"replays"`
	ReplayID      string    `json:"replay_id,omitempty"`
	FirstFailure  time.Time `json:"first_failure,omitzero"`
	LastFailure   time.Time `json:"last_failure"`
	EventID       string    `json:"event_id,omitempty"`
	CorrelationID string    `json:"correlation_id,omitempty"`
	Flaw          string    `json:"flaw,omitempty"` // why it cannot be replayed
	Bytes         int       `json:"bytes"`          // of the value
}

func newRow(e desk.Entry) row {
	l := e.Letter
	return row{
		ID: e.ID, State: e.State, Topic: e.ID.Topic, Key: string(l.Key), Reason: l.Reason, Message: l.Message, Stage: l.Stage,
		Group: l.Group, Version: l.Version, Schema: e.Schema, Attempts: l.Attempts, Replays: l.Replays, ReplayID: l.ReplayID,
		FirstFailure: l.FirstFailure, LastFailure: l.LastFailure, EventID: l.EventID, CorrelationID: l.CorrelationID,
		Flaw: e.Flaw, Bytes: len(l.Value),
	}
}

// run prints while it reads, and buffers nothing: a topic may hold millions of letters, and the few that match may be far
// apart.
func (c *listCommand) run(ctx context.Context, con *console) error {
	if c.All {
		c.States = []string{"all"}
	}
	selection, err := c.selection()
	if err := errors.Join(err, c.checkSight(c.filters)); err != nil {
		return err
	}
	if err := con.check(ctx, selection); err != nil {
		return err
	}
	if err := con.reveal(ctx, selection, c.Reason); err != nil {
		return err
	}
	show := c.table(con.out, con.width, len(selection.States)+len(selection.IDs) > 0)
	if c.JSON {
		enc := json.NewEncoder(con.out)
		show = func(e desk.Entry) error { return enc.Encode(newRow(e)) }
	}
	states, reasons, listed := map[string]int{}, map[string]int{}, 0
	err = con.desk.Letters(ctx, selection, func(e desk.Entry) error {
		states[e.State]++
		reasons[e.Letter.Reason]++
		listed++
		return show(e)
	})
	if err == nil && !c.JSON {
		_, err = fmt.Fprintln(con.out, c.summary(listed, states, reasons))
	}
	return err
}

// wide is how many columns a terminal must have to show all that the table has.
const wide = 120

// table prints entries as lines under a head. The columns have fixed widths, which a longer text exceeds in its own line
// alone, and a terminal's line is cut where it ends.
func (c *listCommand) table(w io.Writer, width int, states bool) func(desk.Entry) error {
	all := width == 0 || width >= wide
	line := func(id, age, reason, state, replays, key, message string) error {
		cells := []string{fmt.Sprintf("%-30s  %4s  %s", id, age, runewidth.FillRight(reason, 16))}
		if states {
			cells = append(cells, runewidth.FillRight(state, 9))
		}
		if all {
			cells = append(cells, fmt.Sprintf("%7s", replays), runewidth.FillRight(key, 30), message)
		} else {
			cells = append(cells, key)
		}
		_, err := fmt.Fprintln(w, clip(strings.TrimRight(strings.Join(cells, "  "), " "), width))
		return err
	}
	headed, now := false, time.Now()
	return func(e desk.Entry) error {
		if !headed {
			headed = true
			if err := line("ID", "AGE", "REASON", "STATE", "REPLAYS", "KEY", "MESSAGE"); err != nil {
				return err
			}
		}
		l := e.Letter
		return line(e.ID.String(), age(now.Sub(l.LastFailure)), printable(l.Reason), printable(e.State),
			strconv.Itoa(l.Replays), printable(string(l.Key)), printable(l.Message))
	}
}

func (c *listCommand) summary(listed int, states, reasons map[string]int) string {
	text := strconv.Itoa(listed)
	switch names := slices.Sorted(maps.Keys(states)); len(names) {
	case 0:
		text += " letters"
	case 1:
		text += " " + printable(names[0])
	default:
		text += " letters:" + counts(states)
	}
	if listed > 0 {
		text += ":" + counts(reasons)
	}
	if listed == c.Limit && c.Limit > 0 {
		text += " (as many as --limit allows)"
	}
	return text
}
