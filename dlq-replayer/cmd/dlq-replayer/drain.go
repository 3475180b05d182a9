package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/revstream/revstream/dlq-replayer/desk"
	"github.com/revstream/revstream/pipeline/daemon"
)

type drainCommand struct {
	replaying
	Wait time.Duration `name:"wait" default:"5m" help:"How long consumers may take to deal with what a round has replayed. Default: ${default}." group:"Acting"`
}

// Exit codes of drain, beside 0 for nothing left and 1 for an error.
const (
	exitSetAside = 3 // what is left is parked, or can never be replayed
	exitOpen     = 4
)

// drained is the outcome as JSON.
type drained struct {
	Runs         []string `json:"runs"`
	Rounds       int      `json:"rounds"`
	Replayed     int      `json:"replayed"`
	Parked       int      `json:"parked"`
	Open         int      `json:"open"`
	Unreplayable int      `json:"unreplayable"`
}

func (c *drainCommand) run(ctx context.Context, con *console) error {
	order, err := c.order(desk.Replay, con)
	if c.Wait < 0 {
		err = errors.Join(err, errors.New("--wait must not be negative"))
	}
	if err != nil {
		return err
	}
	if !c.Yes {
		return c.act(ctx, con, order)
	}
	if err := con.check(ctx, order.Selection); err != nil {
		return err
	}
	progress := newProgress(con, "drain", 0)
	left, err := con.desk.Drain(ctx, order, c.Wait, progress.show)
	progress.end()
	if err != nil && left.Rounds == 0 {
		return err
	}
	result := drained{left.Runs, left.Rounds, left.Replayed, left.Parked, left.Open, left.Unreplayable}
	if result.Runs == nil {
		result.Runs = []string{}
	}
	var printed error
	if c.JSON {
		printed = con.answer(result)
	} else {
		_, printed = fmt.Fprintf(con.out, "rounds=%d replayed=%d parked=%d open=%d unreplayable=%d\n",
			left.Rounds, left.Replayed, left.Parked, left.Open, left.Unreplayable)
	}
	switch {
	case errors.Is(err, context.Canceled):
		return errors.New("interrupted, nothing is half done: the same command goes on")
	case err != nil:
		return fmt.Errorf("%w; what was done stays, and the same command goes on", err)
	case printed != nil:
		return printed
	case left.Open > 0:
		return &daemon.ExitError{Code: exitOpen, Err: fmt.Errorf("%d letters are open still", left.Open)}
	case left.Parked+left.Unreplayable > 0:
		return &daemon.ExitError{Code: exitSetAside, Err: fmt.Errorf("%d letters are parked and %d can never be replayed: look at them, and repair or discard them", left.Parked, left.Unreplayable)}
	}
	return nil
}
