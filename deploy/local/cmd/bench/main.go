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

	Run     runCommand     `cmd:"" help:"Measure the figures and write the report."`
	Scale   scaleCommand   `cmd:"" help:"Measure groups of several sizes on topics of several sizes."`
	Profile profileCommand `cmd:"" help:"Take profiles of a consumer at full speed and draw them as flame graphs."`
}

// command is one of the settings' commands.
type command interface {
	run(ctx context.Context, rt *daemon.Runtime, bin string) error
}

func main() {
	var s settings
	daemon.Main("bench", "Measures how fast the pipeline is, as ratios within one run.", &s, func(ctx context.Context, rt *daemon.Runtime) error {
		bin, err := stack.BinDir()
		if err != nil {
			return err
		}
		commands := map[string]command{"run": &s.Run, "scale": &s.Scale, "profile": &s.Profile}
		return commands[rt.Command].run(ctx, rt, bin)
	})
}

type runCommand struct {
	bench.Config
	Out string `name:"out" default:"build/bench.json" type:"path" help:"File for the report as JSON."`
}

func (c *runCommand) run(ctx context.Context, rt *daemon.Runtime, bin string) error {
	c.BinDir = bin
	report, err := bench.Run(ctx, c.Config, rt.Logger, os.Stdout)
	if err != nil {
		return err
	}
	if err := report.Write(c.Out); err != nil {
		return err
	}
	return report.Print(os.Stdout)
}

type scaleCommand struct {
	bench.ScaleConfig
	Out string `name:"out" default:"build/bench-scale.json" type:"path" help:"File for the report as JSON."`
}

func (c *scaleCommand) run(ctx context.Context, rt *daemon.Runtime, bin string) error {
	c.BinDir = bin
	report, err := bench.Scale(ctx, c.ScaleConfig, rt.Logger, os.Stdout)
	if err != nil {
		return err
	}
	if err := report.Write(c.Out); err != nil {
		return err
	}
	return report.Print(os.Stdout)
}

type profileCommand struct{ bench.ProfileConfig }

func (c *profileCommand) run(ctx context.Context, rt *daemon.Runtime, bin string) error {
	c.BinDir = bin
	return bench.Profile(ctx, c.ProfileConfig, rt.Logger, os.Stdout)
}
