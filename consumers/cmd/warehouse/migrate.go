package main

import (
	"context"
	"fmt"

	"github.com/revstream/revstream/consumers/migrations"
)

type migrateCommand struct{}

func (c *migrateCommand) run(ctx context.Context, w *warehouse) error {
	url, err := w.url(ctx)
	if err != nil {
		return err
	}
	applied, err := migrations.Up(ctx, url)
	for _, m := range applied {
		fmt.Fprintf(w.out, "applied %s\n", m.File)
	}
	if err != nil {
		return err
	}
	if len(applied) == 0 {
		fmt.Fprintln(w.out, "nothing to apply")
	}
	return nil
}
