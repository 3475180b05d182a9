// Command bench measures how fast the pipeline is: topic to ClickHouse, source to topic, publish to visible, as ratios within
// one run.
package main

import (
	"context"
	"os"

	"github.com/revstream/revstream/deploy/local/bench"
	"github.com/revstream/revstream/deploy/local/stack"
	"github.com/revstream/revstream/pipeline/daemon"
)

type settings struct {
	daemon.Config

	Run runCommand `cmd:"" help:"Measure the figures and write the report."`
}

// command is one of the settings' commands.
type command interface {
	run(ctx context.Context, rt *daemon.Runtime) error
}

func main() {
	var s settings
	daemon.Main("bench", "Measures how fast the pipeline is, as ratios within one run.", &s, func(ctx context.Context, rt *daemon.Runtime) error {
		commands := map[string]command{"run": &s.Run}
		return commands[rt.Command].run(ctx, rt)
	})
}

type runCommand struct {
	bench.Config
	Out string `name:"out" default:"build/bench.json" type:"path" help:"File for the report as JSON."`
}

func (c *runCommand) run(ctx context.Context, rt *daemon.Runtime) (err error) {
	if c.BinDir, err = stack.BinDir(); err != nil {
		return err
	}
	report, err := bench.Run(ctx, c.Config, rt.Logger, os.Stdout)
	if err != nil {
		return err
	}
	if err := report.Write(c.Out); err != nil {
		return err
	}
	return report.Print(os.Stdout)
}
