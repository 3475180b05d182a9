// Command warehouse looks after the tables in ClickHouse.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/revstream/revstream/consumers/migrations"
	"github.com/revstream/revstream/pipeline/daemon"
	"github.com/revstream/revstream/pipeline/secret"
)

type settings struct {
	daemon.Config
	ClickHouseURL secret.Ref `name:"clickhouse-url" env:"CLICKHOUSE_URL" required:"" placeholder:"URL" help:"ClickHouse with the database, such as http://user:password@host:8123/revenue." group:"ClickHouse"`

	Migrate struct{} `cmd:"" help:"Create the database, its tables and its views, or bring them up to date. Safe to run again."`
}

func main() {
	var cli settings
	daemon.Main("warehouse", "Looks after revstream's tables in ClickHouse.", &cli, func(ctx context.Context, _ *daemon.Runtime) error {
		return migrate(ctx, cli.ClickHouseURL)
	})
}

func migrate(ctx context.Context, ref secret.Ref) error {
	url, err := secret.Read(ctx, "CLICKHOUSE_URL", ref)
	if err != nil {
		return err
	}
	applied, err := migrations.Up(ctx, url)
	for _, m := range applied {
		fmt.Fprintf(os.Stdout, "applied %s\n", m.File)
	}
	if err != nil {
		return err
	}
	if len(applied) == 0 {
		fmt.Fprintln(os.Stdout, "nothing to apply")
	}
	return nil
}
