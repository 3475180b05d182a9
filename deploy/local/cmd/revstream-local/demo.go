package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/revstream/revstream/deploy/local/stack"
	"github.com/revstream/revstream/deploy/local/tour"
	"github.com/revstream/revstream/pipeline/daemon"
)

type demoCommand struct {
	People int    `name:"people" default:"20000" help:"People in the Salesloft simulator, which keeps the rate limit of the API: 50,000 at most."`
	Users  int    `name:"users" default:"50" help:"Users in the Clari simulator."`
	Seed   uint64 `name:"seed" default:"1" help:"Seed of the generated data."`
	Result string `name:"result" default:"build/demo.json" help:"File for the numbers."`
}

// run makes the tour on free ports in a temporary folder, and leaves nothing
// behind unless something is wrong: then the logs stay.
func (c *demoCommand) run(ctx context.Context, _ *daemon.Runtime) (err error) {
	if c.Users < 6 || c.People < 100 {
		return errors.New("the tour needs 6 users (--users) and 100 people (--people) to change some of them")
	}
	bin, err := stack.BinDir()
	if err != nil {
		return err
	}
	addrs, err := stack.FreeAddrs(ctx)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "revstream-demo-")
	if err != nil {
		return fmt.Errorf("making a folder for the demo: %w", err)
	}
	s, err := stack.New(stack.Config{Dir: dir, BinDir: bin, Addrs: addrs,
		Sources: stack.Sources{Seed: c.Seed, People: strconv.Itoa(c.People), Users: c.Users}})
	if err != nil {
		return err
	}
	result, err := tour.New(s, os.Stdout).Run(ctx)
	_, stopErr := s.Stop(context.WithoutCancel(ctx))
	if err = errors.Join(err, stopErr); err != nil {
		return fmt.Errorf("%w\nlogs: %s", err, filepath.Join(dir, "logs"))
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("removing the demo's folder: %w", err)
	}
	raw, err := json.MarshalIndent(result, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(c.Result), 0o755); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	if err := os.WriteFile(c.Result, append(raw, '\n'), 0o644); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	fmt.Fprintln(os.Stdout, result.Line())
	return nil
}
