package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/revstream/revstream/dlq-replayer/desk"
	"github.com/revstream/revstream/pipeline/deadletter"
)

// pastFilters are the flags that say which part of what was done is meant.
type pastFilters struct {
	Since moment `name:"since" placeholder:"TIME" help:"At this time or later: RFC 3339, or how long ago, such as 90m."`
	By    string `name:"by" placeholder:"NAME" help:"Who did it."`
	JSON  bool   `name:"json" help:"One JSON object per line."`
}

func (f *pastFilters) match(at time.Time, by string) bool {
	return !at.Before(f.Since.Time) && (f.By == "" || f.By == by)
}

type runsCommand struct{ pastFilters }

func (c *runsCommand) run(ctx context.Context, con *console) error {
	runs, err := con.desk.Runs(ctx)
	if err != nil {
		return err
	}
	shown := runs[:0]
	for _, run := range runs {
		if c.match(run.UpdatedAt, run.By) {
			shown = append(shown, run)
		}
	}
	if c.JSON {
		enc := json.NewEncoder(con.out)
		for _, run := range shown {
			if err := enc.Encode(run); err != nil {
				return err
			}
		}
		return nil
	}
	return printRuns(con.out, shown)
}

func printRuns(out io.Writer, runs []deadletter.Run) error {
	if len(runs) == 0 {
		_, err := fmt.Fprintln(out, "no runs")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "RUN\tSTARTED\tWHAT\tSTATUS\tDONE\tPARKED\tSKIPPED\tFAILED\tCAME BACK\tBY\tWHY")
	for _, r := range runs {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%s\t%s\n", printable(r.ID), r.StartedAt.Format(time.RFC3339), actionOf(r), printable(r.Status),
			r.Done, r.Parked, r.Skipped, r.Failed, r.Returned, printable(r.By), printable(strings.TrimSpace(r.Why+clause(" ; ", r.Note))))
	}
	return w.Flush() // which tells of the writes before
}

// actionOf is what a run was asked to do.
func actionOf(run deadletter.Run) desk.Action {
	var order desk.Order
	if json.Unmarshal(run.Order, &order) == nil && order.Action != "" {
		return order.Action
	}
	return desk.Action(strings.TrimSuffix(run.Action, "ed"))
}
