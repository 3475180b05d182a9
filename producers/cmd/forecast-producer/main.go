// Command forecast-producer publishes Clari's forecasts: what changed in the current quarter and in those before it.
package main

import (
	"context"
	"os"

	"github.com/alecthomas/kong"

	"github.com/revstream/revstream/pipeline/daemon"
)

const name = "forecast-producer"

type settings struct {
	daemon.Config

	Run   runCommand   `cmd:"" default:"withargs" help:"Export and publish, until stopped: what happens without a command."`
	Check checkCommand `cmd:"" help:"Check what must be right before going live, and say what to do about the rest."`
}

func main() {
	var s settings
	daemon.Main(name, "Publishes Clari's forecasts: what changed in the current quarter and in those before it.", &s, s.setup, options()...)
}

// options are kong's for the settings.
func options() []kong.Option {
	return []kong.Option{kong.Vars{"http_addr": "127.0.0.1:8101"}}
}

func (s *settings) setup(ctx context.Context, rt *daemon.Runtime) error {
	if rt.Command == "check" {
		return s.Check.run(ctx, rt, os.Stdout)
	}
	return s.Run.start(ctx, rt)
}
