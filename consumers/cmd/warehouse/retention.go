package main

import (
	"context"
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/revstream/revstream/consumers/retention"
)

type retentionCommand struct {
	Quarters int  `env:"RETENTION_QUARTERS" default:"8" help:"Whole quarters to keep before the present one."`
	DryRun   bool `name:"dry-run" xor:"do" help:"Say what would go. It is what happens without --yes, too."`
	Yes      bool `xor:"do" help:"Let it go."`
	JSON     bool `name:"json" help:"Print JSON."`
}

func (c *retentionCommand) run(ctx context.Context, w *warehouse) error {
	conn, err := w.open(ctx)
	if err != nil {
		return err
	}
	r, err := retention.New(retention.Config{Quarters: c.Quarters, By: operator()}, w.logger, conn)
	if err != nil {
		return err
	}
	do := r.Plan
	if c.Yes {
		do = r.Run
	}
	report, err := do(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(w.out).Encode(struct {
			retention.Report
			Done bool `json:"done"`
		}{report, c.Yes})
	}
	if len(report.Shares) == 0 {
		fmt.Fprintf(w.out, "nothing is of before %s\n", report.Cutoff.Format(time.DateOnly))
		return nil
	}
	tab := tabwriter.NewWriter(w.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tab, "TABLE\tQUARTER\tROWS\tBYTES\tOLDEST")
	for _, s := range report.Shares {
		fmt.Fprintf(tab, "%s\t%s\t%d\t%d\t%s\n", s.Table, s.Quarter, s.Rows, s.Bytes, s.Oldest.Format(time.DateOnly))
	}
	if err := tab.Flush(); err != nil {
		return err
	}
	if c.Yes {
		fmt.Fprintf(w.out, "gone: what was over before %s\n", report.Cutoff.Format(time.DateOnly))
	} else {
		fmt.Fprintf(w.out, "nothing was changed; what was over before %s goes with --yes\n", report.Cutoff.Format(time.DateOnly))
	}
	return nil
}
