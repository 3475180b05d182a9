// Command people-producer publishes Salesloft people: it polls for what has changed and receives webhooks.
package main

import (
	"context"
	"os"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/revstream/revstream/pipeline/daemon"
)

const name = "people-producer"

type settings struct {
	daemon.Config

	Run      runCommand      `cmd:"" default:"withargs" help:"Poll for changes and receive webhooks, until stopped: what happens without a command."`
	Webhooks webhooksCommand `cmd:"" help:"Look after the subscriptions to webhooks."`
	Check    checkCommand    `cmd:"" help:"Check what must be right before going live, and say what to do about the rest."`
}

func main() {
	var s settings
	daemon.Main(name, "Publishes Salesloft people.", &s, s.setup, append(options(), kong.Bind(&s.Config))...)
}

// options are kong's for the settings.
func options() []kong.Option {
	return []kong.Option{kong.Vars{"http_addr": "127.0.0.1:8102"}, kong.PostBuild(kafkaOnDemand)}
}

// kafkaOnDemand lets the commands under webhooks do without Kafka, which they need for a shared grant alone.
func kafkaOnDemand(k *kong.Kong) error {
	return kong.Visit(k.Model, func(node kong.Visitable, next kong.Next) error {
		if command, ok := node.(*kong.Node); ok && command.Name == "webhooks" {
			for _, flag := range command.Flags {
				flag.Required = false
			}
		}
		return next(nil)
	})
}

func (s *settings) setup(ctx context.Context, rt *daemon.Runtime) error {
	if command, ok := strings.CutPrefix(rt.Command, "webhooks "); ok {
		return s.Webhooks.run(ctx, rt, command)
	}
	if rt.Command == "check" {
		return s.Check.run(ctx, rt, os.Stdout)
	}
	return s.Run.start(ctx, rt)
}
