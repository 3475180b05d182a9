package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/revstream/revstream/deploy/local/ports"
	"github.com/revstream/revstream/deploy/local/registry"
	"github.com/revstream/revstream/pipeline/daemon"
)

type registryCommand struct {
	Addr    string   `name:"addr" env:"REGISTRY_ADDR" default:"127.0.0.1:8081" help:"Address to listen on; empty for a free port."`
	Dir     string   `name:"data-dir" default:"build/registry/data" type:"path" help:"Folder of the data and the log."`
	Lib     string   `name:"registry-lib" env:"REGISTRY_LIB" default:"build/registry/lib" type:"path" help:"Folder of Apicurio Registry; make kafka fetches it."`
	Command []string `arg:"" optional:"" passthrough:"" help:"Command to run with the registry's URL in SCHEMA_REGISTRY_URL and TEST_SCHEMA_REGISTRY_URL; the registry ends with it."`
}

func (c *registryCommand) run(ctx context.Context, rt *daemon.Runtime) error {
	if c.Addr == "" {
		addr, err := ports.Free(ctx)
		if err != nil {
			return err
		}
		c.Addr = addr
	}
	p, err := registry.Start(ctx, registry.Config{Addr: c.Addr, Dir: c.Dir, Lib: c.Lib})
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), javaPatience)
		defer cancel()
		if err := p.Stop(ctx); err != nil {
			rt.Logger.ErrorContext(ctx, "stopping Apicurio Registry", "error", err)
		}
	}()
	url := registry.URL(c.Addr)
	fmt.Fprintf(os.Stdout, "Apicurio Registry answers at %s\n", url)
	if len(c.Command) > 0 {
		return with(ctx, c.Command, "SCHEMA_REGISTRY_URL="+url, "TEST_SCHEMA_REGISTRY_URL="+url)
	}
	select {
	case <-ctx.Done():
		return nil
	case <-p.Exited():
		return errors.Join(fmt.Errorf("the registry has ended (log: %s)", c.Dir), p.Err())
	}
}
