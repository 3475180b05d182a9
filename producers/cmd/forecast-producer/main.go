// Command forecast-producer publishes Clari's forecasts: what changed in the current quarter and in those before it.
package main

import (
	"context"
	"os"
	"runtime/debug"

	"github.com/alecthomas/kong"

	"github.com/revstream/revstream/pipeline/daemon"
)

const name = "forecast-producer"

// memoryLimit is how much the Go runtime may have before it collects garbage more often than it else would. A process that knows two
// million keys needs less than it at a time, but without a limit it would use twice that. Whoever has more of them raises it:
// GOMEMLIMIT overrides it.
const memoryLimit = 90 << 20

type settings struct {
	daemon.Config

	Run   runCommand   `cmd:"" default:"withargs" help:"Export and publish, until stopped: what happens without a command."`
	Check checkCommand `cmd:"" help:"Check what must be right before going live, and say what to do about the rest."`
}

func main() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
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
