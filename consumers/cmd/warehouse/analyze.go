package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/revstream/revstream/consumers/quality"
)

type analyzeCommand struct {
	Sample int64 `name:"sample" default:"100000" help:"How many people to look at, about: the same ones each time. 0 for all."`
	JSON   bool  `name:"json" help:"As one JSON object."`
}

func (c *analyzeCommand) run(ctx context.Context, w *warehouse) error {
	conn, err := w.open(ctx)
	if err != nil {
		return err
	}
	analyzer, err := quality.New(quality.Config{Sample: c.Sample}, w.logger, conn)
	if err != nil {
		return err
	}
	report, err := analyzer.Run(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		err = json.NewEncoder(w.out).Encode(report)
	} else {
		err = printQuality(w.out, report)
	}
	if n := report.Criticals(); err == nil && n > 0 {
		return found("%d findings are critical", n)
	}
	return err
}

func printQuality(out io.Writer, report quality.Report) error {
	fmt.Fprintf(out, "%d of %d people, chosen by cityHash64(person_id)", report.Sampled, report.People)
	if report.Compared {
		fmt.Fprintf(out, "; compared with %d as of %s\n\n", report.BaselineSampled, report.BaselineAt.Format(time.DateTime))
	} else {
		fmt.Fprintf(out, "; not compared with last week, as of which there are %d\n\n", report.BaselineSampled)
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if len(report.Findings) == 0 {
		fmt.Fprintln(table, "nothing was found")
	} else {
		fmt.Fprintln(table, "SEVERITY\tCHECK\tCOLUMN\tFINDING")
	}
	for _, f := range report.Findings {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", f.Severity, f.Check, f.Column, f.Text)
	}
	fmt.Fprintln(table, "\nCOLUMN\tNULL\tLAST WEEK")
	for _, rate := range report.NullRates { // of columns that have any
		if rate.Share == 0 && (rate.Baseline == nil || *rate.Baseline == 0) {
			continue
		}
		before := "-"
		if rate.Baseline != nil {
			before = fmt.Sprintf("%.1f %%", 100**rate.Baseline)
		}
		fmt.Fprintf(table, "%s\t%.1f %%\t%s\n", rate.Column, 100*rate.Share, before)
	}
	if !report.Recorded {
		fmt.Fprintln(table, "\nnot written down: this user may only read")
	}
	return table.Flush()
}
