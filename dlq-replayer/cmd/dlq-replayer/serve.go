package main

import (
	"context"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/revstream/revstream/dlq-replayer/web"
	"github.com/revstream/revstream/pipeline/clickhousesink"
	"github.com/revstream/revstream/pipeline/daemon"
	"github.com/revstream/revstream/pipeline/secret"
)

type serveCommand struct {
	Web web.Config `embed:""`
}

// start starts the page's server, which goes on until the process is told to stop.
func (c *serveCommand) start(ctx context.Context, con *console, rt *daemon.Runtime) error {
	reader, err := con.reader()
	if err != nil {
		return err
	}
	deps := web.Deps{
		Desk: con.desk, Kafka: con.client, Values: reader, Compile: con.compile, Registerer: rt.Registry, Version: daemon.Version(),
	}
	if deps.Warehouse, err = c.warehouse(ctx, rt); err != nil {
		return err
	}
	if deps.Secrets, err = c.Web.Open(ctx); err != nil {
		return err
	}
	rt.Defer("secrets", func(context.Context) error { return deps.Secrets.Close() })
	server, err := web.New(c.Web, rt.Logger, deps)
	if err != nil {
		return err
	}
	listener, err := server.Listen(ctx)
	if err != nil {
		return err
	}
	rt.Check("letters", server.Check)
	rt.Go("desk page", func(ctx context.Context) error { return server.Serve(ctx, listener) })
	rt.Logger.InfoContext(ctx, "the desk is open", "addr", listener.Addr().String())
	return nil
}

// warehouse opens ClickHouse, if there is one.
func (c *serveCommand) warehouse(ctx context.Context, rt *daemon.Runtime) (clickhouse.Conn, error) {
	if c.Web.ClickHouseURL == "" {
		return nil, nil
	}
	url, err := secret.Read(ctx, "CLICKHOUSE_URL", c.Web.ClickHouseURL)
	if err != nil {
		return nil, err
	}
	conn, err := clickhousesink.Open(url)
	if err != nil {
		return nil, err
	}
	rt.Defer("clickhouse", func(context.Context) error { return conn.Close() })
	return conn, nil
}
