package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/revstream/revstream/dlq-replayer/desk"
	"github.com/revstream/revstream/pipeline/deadletter"
)

type auditCommand struct {
	pastFilters
	Limit int `name:"limit" default:"100" placeholder:"N" help:"No more entries than these; 0 for all. Default: ${default}."`
}

// entry is a fact of the audit as JSON.
type entry struct {
	At     time.Time       `json:"at"`
	By     string          `json:"by"`
	From   string          `json:"from,omitempty"`
	What   string          `json:"what"`
	Why    string          `json:"reason,omitempty"`
	RunID  string          `json:"run_id,omitempty"`
	Letter string          `json:"letter,omitempty"`
	Note   string          `json:"note,omitempty"`
	Detail json.RawMessage `json:"detail,omitempty"` // of a run: what was asked for, with the change of a repair

	offset int64
}

func newEntry(f desk.Fact) entry {
	if r := f.Run; r != nil {
		note := fmt.Sprintf("%s: done %d, parked %d, skipped %d, failed %d, came back %d", r.Status, r.Done, r.Parked, r.Skipped, r.Failed, r.Returned)
		if r.Note != "" {
			note += "; " + r.Note
		}
		return entry{
			At: r.UpdatedAt, By: r.By, From: r.From, What: string(actionOf(*r)) + " run", Why: r.Why, RunID: r.ID, Note: note,
			Detail: r.Order, offset: f.Offset,
		}
	}
	d := f.Decision
	e := entry{At: d.At, By: d.By, From: d.From, What: d.Decision, Why: d.Why, RunID: d.RunID, offset: f.Offset}
	e.Letter = desk.ID{Topic: strings.TrimSuffix(f.Place.Topic, deadletter.Suffix), Partition: f.Place.Partition, Offset: f.Place.Offset}.String()
	if d.Patched {
		e.Note = "with a change"
	}
	return e
}

// newest keeps the last entries of those that come in order, and of a run its last record alone.
type newest struct {
	limit   int // 0: all
	entries []entry
	runs    map[string]int64 // offsets of the runs' last records
}

func (n *newest) add(e entry) {
	if e.Letter == "" {
		n.runs[e.RunID] = e.offset
	}
	n.entries = append(n.entries, e)
	if n.limit > 0 && len(n.entries) >= 2*max(n.limit, 1000) {
		n.trim()
	}
}

func (n *newest) trim() {
	n.entries = slices.DeleteFunc(n.entries, func(e entry) bool { return e.Letter == "" && n.runs[e.RunID] != e.offset })
	if over := len(n.entries) - n.limit; n.limit > 0 && over > 0 {
		n.entries = slices.Delete(n.entries, 0, over)
	}
}

func (c *auditCommand) run(ctx context.Context, con *console) error {
	if c.Limit < 0 {
		return errors.New("--limit must not be negative")
	}
	found := newest{limit: c.Limit, runs: map[string]int64{}}
	_, err := con.desk.Decisions(ctx, nil, func(f desk.Fact) error {
		if e := newEntry(f); c.match(e.At, e.By) {
			found.add(e)
		}
		return nil
	})
	if err != nil {
		return err
	}
	found.trim()
	slices.Reverse(found.entries)
	if !c.JSON {
		return printAudit(con.out, found.entries)
	}
	enc := json.NewEncoder(con.out)
	for _, e := range found.entries {
		if err := enc.Encode(e); err != nil {
			return err
		}
	}
	return nil
}

func printAudit(out io.Writer, entries []entry) error {
	if len(entries) == 0 {
		_, err := fmt.Fprintln(out, "nothing was decided")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "AT\tBY\tWHAT\tLETTER OR RUN\tWHY\tNOTE")
	for _, e := range entries {
		on := e.Letter
		if on == "" {
			on = e.RunID
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", e.At.Format(time.RFC3339), printable(e.By), printable(e.What), printable(on), printable(e.Why), printable(e.Note))
	}
	return w.Flush() // which tells of the writes before
}
