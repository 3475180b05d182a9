package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/revstream/revstream/dlq-replayer/desk"
	"github.com/revstream/revstream/pipeline/daemon"
	"github.com/revstream/revstream/pipeline/deadletter"
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

// drained is the outcome as JSON. Left are the letters that the drain was to leave none of.
type drained struct {
	Runs     []string `json:"runs"`
	Rounds   int      `json:"rounds"`
	Replayed int      `json:"replayed"`
	Parked   int      `json:"parked"`   // by this drain
	Unjudged int      `json:"unjudged"` // replayed, but consumed by nobody within --wait
	Left     left     `json:"left"`
}

type left struct {
	Open         int `json:"open"`
	Parked       int `json:"parked"` // by this drain or before
	Unreplayable int `json:"unreplayable"`
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
	outcome, err := con.desk.Drain(ctx, order, c.Wait, progress.show)
	progress.end()
	if err != nil && outcome.Rounds == 0 {
		return err
	}
	result := drained{
		Runs: slices.AppendSeq([]string{}, slices.Values(outcome.Runs)), Rounds: outcome.Rounds, Replayed: outcome.Replayed,
		Parked: outcome.Parked, Unjudged: outcome.Unjudged, Left: left{Open: outcome.Open, Unreplayable: outcome.Unreplayable},
	}
	if err == nil {
		parked := order.Selection
		parked.States = []string{deadletter.Parked}
		err = con.desk.Letters(ctx, parked, func(desk.Entry) error { result.Left.Parked++; return nil })
	}
	if printed := c.print(con, result); err == nil {
		err = printed
	}
	switch {
	case errors.Is(err, context.Canceled):
		return errors.New("interrupted, nothing is half done: the same command goes on")
	case err != nil:
		return fmt.Errorf("%w; what was done stays, and the same command goes on", err)
	}
	return result.Left.verdict()
}

func (c *drainCommand) print(con *console, d drained) error {
	if c.JSON {
		return con.answer(d)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "rounds=%d replayed=%d parked=%d\n", d.Rounds, d.Replayed, d.Parked)
	if d.Unjudged > 0 {
		fmt.Fprintf(&text, "%d of the replayed letters were consumed by nobody yet: they may come back\n", d.Unjudged)
	}
	fmt.Fprintf(&text, "left: open=%d parked=%d unreplayable=%d\n", d.Left.Open, d.Left.Parked, d.Left.Unreplayable)
	_, err := fmt.Fprint(con.out, text.String())
	return err
}

// verdict is the exit code.
func (l left) verdict() error {
	switch {
	case l.Open > 0:
		return &daemon.ExitError{Code: exitOpen, Err: fmt.Errorf("%d letters are open still", l.Open)}
	case l.Parked+l.Unreplayable > 0:
		return &daemon.ExitError{Code: exitSetAside, Err: fmt.Errorf(
			"%d letters are parked and %d can never be replayed: look at them, and repair or discard them", l.Parked, l.Unreplayable)}
	}
	return nil
}
