package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/revstream/revstream/dlq-replayer/desk"
	"github.com/revstream/revstream/pipeline/deadletter"
)

// acting are the flags of whatever changes letters.
type acting struct {
	filters
	consent
	Rate        float64 `name:"rate" default:"0" placeholder:"N" help:"Letters per second; 0 for as fast as it goes." group:"Acting"`
	Concurrency int     `name:"concurrency" default:"0" placeholder:"N" help:"Partitions that are read and matched at once; 0 for one per CPU." group:"Acting"`
}

// consent are the flags without which nothing is changed.
type consent struct {
	Yes      bool   `name:"yes" xor:"act" help:"Act. Without it nothing is written." group:"Acting"`
	DryRun   bool   `name:"dry-run" xor:"act" help:"Only say what --yes would do: the default." group:"Acting"`
	Reason   string `name:"reason" placeholder:"TEXT" help:"Why: required with --yes, and kept with every decision." group:"Acting"`
	TakeOver bool   `name:"take-over" help:"Act although another replayer is at work, which then ends." group:"Acting"`
	JSON     bool   `name:"json" help:"As one JSON object."`
}

func (c *consent) check() error {
	if c.Yes && strings.TrimSpace(c.Reason) == "" {
		return errors.New("--reason is required with --yes: it is kept with every decision")
	}
	return nil
}

// replaying are the flags of what puts records back on their topics.
type replaying struct {
	acting
	MaxReplays int     `name:"max-replays" default:"${max_replays}" placeholder:"N" help:"Park a letter that was replayed so often, instead of replaying it again. Default: ${max_replays}." group:"Acting"`
	StopShare  float64 `name:"stop-at-failed-share" default:"${stop_share}" placeholder:"SHARE" help:"Stop when this share of what consumers have dealt with came back, of 100 letters or more; 1 for never. Default: ${stop_share}." group:"Acting"`
}

type (
	replayCommand  struct{ replaying }
	parkCommand    struct{ acting }
	unparkCommand  struct{ acting }
	discardCommand struct{ acting }
)

func (c *replayCommand) run(ctx context.Context, con *console) error {
	order, err := c.order(desk.Replay, con)
	if err != nil {
		return err
	}
	return c.act(ctx, con, order)
}

func (c *parkCommand) run(ctx context.Context, con *console) error {
	return c.decide(ctx, con, desk.Park)
}

func (c *unparkCommand) run(ctx context.Context, con *console) error {
	return c.decide(ctx, con, desk.Unpark)
}

func (c *discardCommand) run(ctx context.Context, con *console) error {
	return c.decide(ctx, con, desk.Discard)
}

func (c *acting) decide(ctx context.Context, con *console, action desk.Action) error {
	order, err := c.order(action, con)
	if err != nil {
		return err
	}
	return c.act(ctx, con, order)
}

// order checks the flags. Its error joins all that is wrong.
func (c *acting) order(action desk.Action, con *console) (desk.Order, error) {
	selection, err := c.selection()
	errs := []error{err, c.check()}
	if c.Rate < 0 {
		errs = append(errs, errors.New("--rate must not be negative"))
	}
	if c.Concurrency < 0 {
		errs = append(errs, errors.New("--concurrency must not be negative"))
	}
	if c.Reveal && strings.TrimSpace(c.Reason) == "" {
		errs = append(errs, errors.New("--reason is required with --reveal: it is kept who saw personal data, and why"))
	}
	return desk.Order{
		Action: action, Selection: selection, Rate: c.Rate, Concurrency: c.Concurrency, TakeOver: c.TakeOver,
		By: con.by, Why: c.Reason, From: con.from,
	}, errors.Join(errs...)
}

func (c *replaying) order(action desk.Action, con *console) (desk.Order, error) {
	order, err := c.acting.order(action, con)
	errs := []error{err}
	if c.MaxReplays < 1 {
		errs = append(errs, errors.New("--max-replays must be at least 1"))
	}
	if c.StopShare <= 0 || c.StopShare > 1 {
		errs = append(errs, errors.New("--stop-at-failed-share must be more than 0 and no more than 1"))
	}
	order.MaxReplays, order.StopShare = c.MaxReplays, c.StopShare
	return order, errors.Join(errs...)
}

// act carries an order out, or says what that would do.
func (c *acting) act(ctx context.Context, con *console, order desk.Order) error {
	if err := con.check(ctx, order.Selection); err != nil {
		return err
	}
	if !c.Yes {
		// The record of a run says by itself what it was let see; a plan has none.
		if err := con.reveal(ctx, order.Selection, order.Why); err != nil {
			return err
		}
		return c.plan(ctx, con, order)
	}
	total := 0
	if con.terminal { // for a bar with an end
		plan, err := con.desk.Plan(ctx, order, nil)
		if err != nil {
			return err
		}
		total = plan.Done + plan.Parked + plan.Skipped.Letters
	}
	progress := newProgress(con, order.Action, total)
	report, err := con.desk.Run(ctx, order, progress.show)
	progress.end()
	return con.ended(order.Action, report, err, c.JSON)
}

// plan says what an order would do.
func (c *acting) plan(ctx context.Context, con *console, order desk.Order) error {
	report, err := con.desk.Plan(ctx, order, nil)
	if err != nil {
		return err
	}
	return con.printPlan(order, report, c.JSON)
}

// ended prints the report of a run, and says what is to be done if not all of it was.
func (c *console) ended(action desk.Action, report desk.Report, err error, asJSON bool) error {
	if report.RunID == "" { // it has not begun
		return err
	}
	if printed := c.printReport(action, report, asJSON); err == nil {
		err = printed
	}
	resume := fmt.Sprintf("%s resume %s --reason=TEXT goes on", name, report.RunID)
	switch {
	case report.Status == deadletter.Stopped:
		return fmt.Errorf("stopped: %s; once the cause is mended, %s", report.Note, resume)
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("interrupted, nothing is half done: %s", resume)
	case errors.As(err, new(*desk.BusyError)):
		return err
	case err != nil:
		return fmt.Errorf("%w; what was done stays, and %s", err, resume)
	}
	return report.Shortfall()
}
