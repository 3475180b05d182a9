package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/revstream/revstream/dlq-replayer/desk"
	"github.com/revstream/revstream/pipeline/deadletter"
)

type resumeCommand struct {
	ID       string `arg:"" optional:"" name:"id" help:"ID of the run, as runs prints it. Default: the one that was interrupted, if it is only one."`
	Reason   string `name:"reason" placeholder:"TEXT" help:"Why: required, and kept with every decision."`
	TakeOver bool   `name:"take-over" help:"Go on although another replayer is at work, which then ends."`
	JSON     bool   `name:"json" help:"As one JSON object."`
}

func (c *resumeCommand) run(ctx context.Context, con *console) error {
	if strings.TrimSpace(c.Reason) == "" {
		return errors.New("--reason is required: it is kept with every decision")
	}
	runs, err := con.desk.Runs(ctx)
	if err != nil {
		return err
	}
	run, err := c.pick(runs)
	if err != nil {
		return err
	}
	action := actionOf(run)
	progress := newProgress(con, action, 0)
	report, err := con.desk.Resume(ctx, run.ID, desk.Order{By: con.by, Why: c.Reason, From: con.from, TakeOver: c.TakeOver}, progress.show)
	progress.end()
	return con.ended(action, report, err, c.JSON)
}

// pick finds the run that is meant.
func (c *resumeCommand) pick(runs []deadletter.Run) (deadletter.Run, error) {
	var open []deadletter.Run
	for _, run := range runs {
		if c.ID != "" && run.ID == c.ID {
			return run, nil
		}
		// One that was killed could not say so: its record says that it runs.
		resumable := run.Action != deadletter.Exported && run.Action != deadletter.Imported
		if resumable && (run.Status == deadletter.Interrupted || run.Status == deadletter.Running) {
			open = append(open, run)
		}
	}
	switch {
	case c.ID != "":
		return deadletter.Run{}, fmt.Errorf("%s: %w", printable(c.ID), desk.ErrUnknownRun)
	case len(open) == 0:
		return deadletter.Run{}, errors.New("no run was interrupted: `runs` lists them all")
	case len(open) > 1:
		var list strings.Builder
		for _, run := range open {
			fmt.Fprintf(&list, "\n%s %s by %s at %s", run.ID, actionOf(run), printable(run.By), run.StartedAt.Format(time.RFC3339))
		}
		return deadletter.Run{}, fmt.Errorf("%d runs were interrupted, give the ID of one:%s", len(open), list.String())
	}
	return open[0], nil
}
