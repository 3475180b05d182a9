// Command faults shows that nothing is lost and nothing doubled: it publishes a known history through the pipeline while
// everything that can die does, and holds what other clients read at the end against it.
package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/revstream/revstream/deploy/local/faults"
	"github.com/revstream/revstream/deploy/local/faults/load"
	"github.com/revstream/revstream/deploy/local/faults/mutants"
	"github.com/revstream/revstream/deploy/local/stack"
	"github.com/revstream/revstream/pipeline/daemon"
)

type settings struct {
	daemon.Config

	Run     runCommand     `cmd:"" help:"Carry a fault run out and check every invariant."`
	Mutants mutantsCommand `cmd:"" help:"Carry the run out against consumers that are wrong on purpose, each of which must be caught."`
	Load    loadCommand    `cmd:"" help:"Publish a share of the history; the run starts this."`
}

// command is one of the settings' commands.
type command interface {
	run(ctx context.Context, rt *daemon.Runtime) error
}

func main() {
	var s settings
	daemon.Main("faults", "Shows that nothing is lost and nothing doubled, whatever dies.", &s, func(ctx context.Context, rt *daemon.Runtime) error {
		commands := map[string]command{"run": &s.Run, "mutants": &s.Mutants, "load": &s.Load}
		return commands[rt.Command].run(ctx, rt)
	})
}

type runCommand struct {
	faults.Config
	Report string `name:"report" default:"build/faults.json" type:"path" help:"File for the report as JSON."`
}

func (c *runCommand) run(ctx context.Context, rt *daemon.Runtime) error {
	report, err := carryOut(ctx, rt, c.Config)
	if err != nil {
		return fmt.Errorf("seed %d: %w", report.Seed, err)
	}
	if err := report.Write(c.Report); err != nil {
		return err
	}
	if err := report.Print(os.Stdout); err != nil {
		return err
	}
	if wrong := report.Wrong(); len(wrong) > 0 {
		return fmt.Errorf("%s; SEED=%d repeats the run (logs: %s)", strings.Join(wrong, ", "), report.Seed, filepath.Join(c.Dir, "logs"))
	}
	fmt.Fprintln(os.Stdout, "nothing lost, nothing doubled, newest wins")
	return nil
}

// carryOut fills in what the flags leave open.
func carryOut(ctx context.Context, rt *daemon.Runtime, cfg faults.Config) (report faults.Report, err error) {
	if cfg.Seed == 0 {
		cfg.Seed = rand.Uint64N(1 << 32) //nolint:gosec // any number will do
	}
	if cfg.BinDir == "" {
		if cfg.BinDir, err = stack.BinDir(); err != nil {
			return report, err
		}
	}
	return faults.Run(ctx, cfg, rt.Logger, os.Stdout)
}

type loadCommand struct{ load.Config }

func (c *loadCommand) run(ctx context.Context, rt *daemon.Runtime) error {
	worker, err := load.New(c.Config, rt.Logger, rt.Registry)
	if err != nil {
		return err
	}
	return worker.Run(ctx)
}

type mutantsCommand struct {
	faults.Config
	Root string   `name:"root" default:"." type:"path" help:"Folder of the sources."`
	Only []string `name:"only" placeholder:"NAME" help:"Names of the mutants to run instead of all."`
}

func (c *mutantsCommand) run(ctx context.Context, rt *daemon.Runtime) error {
	bin, err := stack.BinDir()
	if err != nil {
		return err
	}
	dir, escaped := c.Dir+"-mutants", 0
	for _, mutant := range mutants.All {
		if len(c.Only) > 0 && !slices.Contains(c.Only, mutant.Name) {
			continue
		}
		fmt.Fprintf(os.Stdout, "\n== %s: %s\n", mutant.Name, mutant.Mistake)
		c.Mutant, c.Dir, c.BinDir = mutant.Name, filepath.Join(dir, mutant.Name), filepath.Join(dir, mutant.Name+"-bin")
		if err := os.RemoveAll(c.BinDir); err != nil {
			return fmt.Errorf("emptying the folder of mutant %s: %w", mutant.Name, err)
		}
		if err := mutants.Build(ctx, mutant, c.Root, bin, c.BinDir); err != nil {
			return err
		}
		report, err := carryOut(ctx, rt, c.Config)
		if err != nil {
			return fmt.Errorf("mutant %s, seed %d: %w", mutant.Name, report.Seed, err)
		}
		if err := report.Print(os.Stdout); err != nil {
			return err
		}
		if report.Count(mutant.Shows) == 0 {
			escaped++
			fmt.Fprintf(os.Stdout, "ESCAPED: %s is 0\n", mutant.Shows)
			continue
		}
		fmt.Fprintf(os.Stdout, "caught: %s is %d\n", mutant.Shows, report.Count(mutant.Shows))
	}
	if escaped > 0 {
		return fmt.Errorf("%d mutants escaped: the checker does not prove what they break", escaped)
	}
	return nil
}
