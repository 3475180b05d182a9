package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/revstream/revstream/consumers/reconcile"
	"github.com/revstream/revstream/pipeline/kafkaclient"
)

type reconcileCommand struct {
	Kafka   kafkaclient.Config `embed:""`
	Since   time.Duration      `name:"since" default:"48h" help:"Runs that were completed within it."`
	RunID   string             `name:"run" placeholder:"ID" help:"This export run alone, whenever it was, without the keys."`
	Missing int                `name:"missing" default:"100" help:"How many missing keys to list, by entity."`
	JSON    bool               `name:"json" help:"As one JSON object."`
}

func (c *reconcileCommand) run(ctx context.Context, w *warehouse) error {
	conn, err := w.open(ctx)
	if err != nil {
		return err
	}
	client, err := w.kafka(ctx, c.Kafka)
	if err != nil {
		return err
	}
	reconciler, err := reconcile.New(reconcile.Config{Since: c.Since, RunID: c.RunID, Listed: c.Missing}, w.logger, client, conn)
	if err != nil {
		return err
	}
	report, err := reconciler.Run(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		err = json.NewEncoder(w.out).Encode(report)
	} else {
		err = printReconciliation(w.out, report)
	}
	if gap := report.Gap(); err == nil && gap > 0 {
		return found("%d rows that should be there are not", gap)
	}
	return err
}

// printReconciliation prints the keys of each entity, its runs in all, and by themselves those of which there is more to say
// than that everything is there.
func printReconciliation(out io.Writer, report reconcile.Report) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ENTITY\tOF\tRUN\tOUTCOME\tEXPECTED\tPUBLISHED\tON TOPIC\tSTORED\tCOMPACTED\tPENDING\tDEAD-LETTERED\tGONE\tMISSING\tLOST\tUNTOLD\tUNACCOUNTED\tGAP")
	line := func(r reconcile.Result, run string) {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\n", r.Entity, r.Subject, run, r.Outcome, r.RowsExpected, r.RowsPublished,
			r.OnTopic, r.Stored, r.Compacted, r.Pending, r.DeadLettered, r.Erased+r.Expired, r.Missing, r.Lost, r.Untold, r.RowsUnaccounted, r.Gap)
	}
	for _, sum := range reconcile.Sums(report) {
		line(sum.Result, runs(sum))
		for _, r := range sum.Notable {
			line(r, r.RunID)
		}
	}
	if err := table.Flush(); err != nil || len(report.Missing) == 0 {
		return err
	}
	fmt.Fprintln(table, "\nMISSING\tKEY\tEVENT\tPARTITION\tOFFSET\tRUN")
	for _, m := range report.Missing {
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%d\t%s\n", m.What, m.Key, m.EventID, m.Partition, m.Offset, m.RunID)
	}
	return table.Flush()
}

// runs says how many runs a line is of.
func runs(sum reconcile.Sum) string {
	if sum.Subject == reconcile.SubjectKeys {
		return ""
	}
	return fmt.Sprintf("all %d", sum.Count)
}
