package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/revstream/revstream/consumers/migrations"
)

type migrateCommand struct {
	Cluster string `env:"CLICKHOUSE_CLUSTER" placeholder:"NAME" help:"Cluster on which a new database is made, as replicated tables on its shards. A database that exists is taken as it lies."`
	Status  bool   `xor:"what" help:"Say what has been applied, and apply nothing."`
	DownTo  *int64 `xor:"what" placeholder:"VERSION" help:"Take back what was applied after this version. 0 takes everything back, and all data with it."`
	Yes     bool   `help:"Do it; without, --down-to only says what it would take back."`
	JSON    bool   `help:"With --status, print one JSON document."`
}

func (c *migrateCommand) run(ctx context.Context, w *warehouse) error {
	url, err := w.url(ctx)
	if err != nil {
		return err
	}
	target := migrations.Target{URL: url, Cluster: c.Cluster}
	switch {
	case c.JSON && !c.Status:
		return errors.New("--json is for --status")
	case c.Yes && c.DownTo == nil:
		return errors.New("--yes is for --down-to")
	case c.Status:
		return c.status(ctx, w, target)
	case c.DownTo != nil:
		return c.down(ctx, w, target)
	}
	applied, err := target.Up(ctx)
	return w.migrated("applied", applied, err)
}

func (w *warehouse) migrated(how string, applied []migrations.Applied, err error) error {
	for _, m := range applied {
		fmt.Fprintf(w.out, "%s %s\n", how, m.File)
	}
	if err == nil && len(applied) == 0 {
		fmt.Fprintln(w.out, "nothing to apply")
	}
	return err
}

func (c *migrateCommand) status(ctx context.Context, w *warehouse, target migrations.Target) error {
	states, err := target.Status(ctx)
	if err != nil {
		return err
	}
	type row struct {
		Version   int64      `json:"version"`
		File      string     `json:"file"`
		AppliedAt *time.Time `json:"applied_at"`
	}
	rows := make([]row, len(states))
	for i, s := range states {
		rows[i] = row{Version: s.Version, File: s.File}
		if !s.At.IsZero() {
			rows[i].AppliedAt = new(s.At.UTC())
		}
	}
	if c.JSON {
		return json.NewEncoder(w.out).Encode(rows)
	}
	table := tabwriter.NewWriter(w.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "VERSION\tFILE\tAPPLIED (UTC)")
	for _, r := range rows {
		at := "-"
		if r.AppliedAt != nil {
			at = r.AppliedAt.Format(time.DateTime)
		}
		fmt.Fprintf(table, "%d\t%s\t%s\n", r.Version, r.File, at)
	}
	return table.Flush()
}

func (c *migrateCommand) down(ctx context.Context, w *warehouse, target migrations.Target) error {
	if c.Yes {
		taken, err := target.Down(ctx, *c.DownTo)
		return w.migrated("took back", taken, err)
	}
	states, err := target.Status(ctx)
	if err != nil {
		return err
	}
	for _, s := range slices.Backward(states) {
		if s.Version > *c.DownTo && !s.At.IsZero() {
			fmt.Fprintf(w.out, "would take back %s\n", s.File)
		}
	}
	return errors.New("nothing was changed; give --yes to take the migrations back, with the data of the tables that they made")
}
