package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/revstream/revstream/consumers/erasure"
	"github.com/revstream/revstream/pipeline/kafkaclient"
)

type eraseCommand struct {
	Kafka kafkaclient.Config `embed:""`

	Person string `placeholder:"KEY" xor:"whom" required:"" help:"Key of who is to be erased, such as salesloft:123."`
	Again  bool   `xor:"whom" required:"" help:"Erase what has arrived of erased people since, and finish what was interrupted."`
	Force  bool   `help:"Erase somebody whom the source has not deleted. The next change to them brings them back."`
	Reason string `placeholder:"TEXT" help:"Why, for the record. Needed to erase somebody."`
	Yes    bool   `help:"Do it. Without, only say what would go."`
	JSON   bool   `name:"json" help:"Print JSON."`
}

func (c *eraseCommand) run(ctx context.Context, w *warehouse) error {
	if c.Person != "" && c.Yes && c.Reason == "" {
		return errors.New("--reason is required: it is kept with the erasure")
	}
	conn, err := w.open(ctx)
	if err != nil {
		return err
	}
	client, err := w.kafka(ctx, c.Kafka)
	if err != nil {
		return err
	}
	eraser, err := erasure.New(w.logger, conn, client)
	if err != nil {
		return err
	}
	if c.Again {
		return c.again(ctx, w, eraser)
	}
	var f erasure.Found
	if c.Yes {
		f, err = eraser.Erase(ctx, erasure.Order{Key: c.Person, By: operator(), Why: c.Reason, Force: c.Force})
	} else {
		f, err = eraser.Look(ctx, c.Person)
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(w.out).Encode(struct {
			erasure.Found
			Done bool `json:"done"`
		}{f, c.Yes})
	}
	return c.print(w.out, f)
}

func (c *eraseCommand) print(out io.Writer, f erasure.Found) error {
	switch {
	case f.Newest == nil:
		fmt.Fprintf(out, "the warehouse has nothing of %s\n", f.Key)
	case f.Deleted:
		fmt.Fprintf(out, "%s was deleted at the source on %s\n", f.Key, f.Newest.Format(time.RFC3339))
	default:
		fmt.Fprintf(out, "%s is NOT deleted at the source; newest version of %s\n", f.Key, f.Newest.Format(time.RFC3339))
	}
	if f.Asked != nil {
		fmt.Fprintf(out, "erased before, last asked for on %s\n", f.Asked.Format(time.RFC3339))
	}
	tab := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tab, "TABLE\tROWS")
	for _, table := range slices.Sorted(maps.Keys(f.Rows)) {
		fmt.Fprintf(tab, "%s\t%d\n", table, f.Rows[table])
	}
	if err := tab.Flush(); err != nil {
		return err
	}
	if c.Yes {
		fmt.Fprintln(out, "erased: these rows are gone, and a tombstone is on the topic")
	} else {
		fmt.Fprintln(out, "nothing was changed; to erase, add --yes and --reason")
	}
	return nil
}

func (c *eraseCommand) again(ctx context.Context, w *warehouse, eraser *erasure.Eraser) error {
	do := eraser.Again
	if c.Yes {
		do = eraser.Run
	}
	report, err := do(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		if err := json.NewEncoder(w.out).Encode(struct {
			erasure.Report
			Done bool `json:"done"`
		}{report, c.Yes}); err != nil {
			return err
		}
	} else {
		for _, key := range report.Interrupted {
			fmt.Fprintf(w.out, "%s: was interrupted\n", key)
		}
		for _, f := range report.Returned {
			fmt.Fprintf(w.out, "%s: %d rows in current and %d in history had arrived since\n", f.Key, f.Rows["people_current"], f.Rows["people_history"])
		}
		fmt.Fprintf(w.out, "%d erasures, %d interrupted, %d returned\n", report.Erasures, len(report.Interrupted), len(report.Returned))
	}
	if due := len(report.Interrupted) + len(report.Returned); due > 0 && !c.Yes {
		return found("%d erasures are to be done again: add --yes", due)
	}
	return nil
}
