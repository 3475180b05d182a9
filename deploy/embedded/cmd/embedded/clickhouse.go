package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/revstream/revstream/deploy/embedded/clickhouse"
)

type clickhouseCommand struct {
	Addr    string `help:"Address of the HTTP interface; port 0 takes a free one." default:"127.0.0.1:8123" env:"EMBEDDED_CLICKHOUSE_ADDR"`
	DataDir string `help:"Folder of databases and tables." default:"build/data/clickhouse" env:"EMBEDDED_CLICKHOUSE_DATA_DIR"`
	Library string `name:"chdb-lib" help:"Path of libchdb; found in deploy/embedded/node_modules by default." env:"CHDB_LIB"`
}

func (c *clickhouseCommand) Run(ctx context.Context, logger *slog.Logger) (err error) {
	// The port comes first: a second process on it should not boot an engine to find out.
	listener, err := listen(ctx, c.Addr)
	if err != nil {
		return err
	}
	defer listener.Close()
	library, err := c.library()
	if err != nil {
		return err
	}
	server, err := clickhouse.New(clickhouse.Config{Library: library, DataDir: c.DataDir}, logger)
	if err != nil {
		return err
	}
	if err := server.Open(); err != nil {
		return err
	}
	return errors.Join(serve(ctx, logger, listener, server), server.Close())
}

func (c *clickhouseCommand) library() (string, error) {
	if c.Library != "" {
		return c.Library, nil
	}
	executable, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding the ClickHouse engine: %w", err)
	}
	return clickhouse.FindLibrary(filepath.Dir(executable), ".")
}
