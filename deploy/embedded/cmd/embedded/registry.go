package main

import (
	"context"
	"errors"
	"log/slog"

	"github.com/revstream/revstream/deploy/embedded/registry"
)

type registryCommand struct {
	Addr    string `help:"Address of the REST API; port 0 takes a free one." default:"127.0.0.1:8081" env:"EMBEDDED_REGISTRY_ADDR"`
	DataDir string `help:"Folder of subjects, versions and IDs." default:"build/data/registry" env:"EMBEDDED_REGISTRY_DATA_DIR"`
}

func (c *registryCommand) Run(ctx context.Context, logger *slog.Logger) error {
	listener, err := listen(ctx, c.Addr)
	if err != nil {
		return err
	}
	defer listener.Close()
	schemas, err := registry.New(registry.Config{DataDir: c.DataDir}, logger)
	if err != nil {
		return err
	}
	if err := schemas.Open(); err != nil {
		return err
	}
	return errors.Join(serve(ctx, logger, listener, schemas), schemas.Close())
}
