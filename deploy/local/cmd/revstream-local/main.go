// Command revstream-local runs the whole pipeline on one machine: it starts and stops its processes, shows how they are,
// leads through a tour of them, and is the simulators of the two sources.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/revstream/revstream/deploy/local/stack"
	"github.com/revstream/revstream/pipeline/daemon"
)

type settings struct {
	daemon.Config

	Up     upCommand     `cmd:"" help:"Start everything that does not run, and wait until it is healthy."`
	Down   downCommand   `cmd:"" help:"Stop what up has started. The data stays."`
	Status statusCommand `cmd:"" help:"Show processes, topics, lag, rows and dead letters."`
	Demo   demoCommand   `cmd:"" help:"Run a tour through the pipeline in a temporary folder, and check every number."`
	Kafka  kafkaCommand  `cmd:"" help:"Run an Apache Kafka cluster of three nodes on this machine, alone or for a command."`

	Registry registryCommand `cmd:"" help:"Run Apicurio Registry on this machine, alone or for a command."`

	Sim struct {
		Clari     clariCommand     `cmd:"" help:"Simulate Clari."`
		Salesloft salesloftCommand `cmd:"" help:"Simulate Salesloft."`
	} `cmd:"" help:"Simulate a source."`
}

// command is one of the settings' commands.
type command interface {
	run(ctx context.Context, rt *daemon.Runtime) error
}

func main() {
	var s settings
	daemon.Main("revstream-local", "Runs the whole pipeline on one machine.", &s, func(ctx context.Context, rt *daemon.Runtime) error {
		commands := map[string]command{
			"up": &s.Up, "down": &s.Down, "status": &s.Status, "demo": &s.Demo, "kafka": &s.Kafka, "kafka <command>": &s.Kafka,
			"registry": &s.Registry, "registry <command>": &s.Registry, "sim clari": &s.Sim.Clari, "sim salesloft": &s.Sim.Salesloft,
		}
		return commands[rt.Command].run(ctx, rt)
	})
}

// folder is where the stack of up lives.
type folder struct {
	Dir string `name:"dir" env:"STACK_DIR" default:"build/stack" type:"path" help:"Folder of the stack's data and logs."`
}

type upCommand struct {
	folder
	stack.Addrs
	stack.Sources
	stack.Servers
}

func (c *upCommand) run(ctx context.Context, _ *daemon.Runtime) error {
	bin, err := stack.BinDir()
	if err != nil {
		return err
	}
	s, err := stack.New(stack.Config{Dir: c.Dir, BinDir: bin, Addrs: c.Addrs, Sources: c.Sources, Servers: c.Servers})
	if err != nil {
		return err
	}
	started, err := start(ctx, s)
	if err != nil {
		// What was started for this is of no use without the rest.
		if len(started) > 0 {
			_, _ = s.Stop(context.WithoutCancel(ctx), started...) // the first error says what to mend
		}
		return err
	}
	if len(started) == 0 {
		fmt.Fprintln(os.Stdout, "everything runs already")
	}
	fmt.Fprintf(os.Stdout, "\nhealthy. ClickHouse: http://%s  Kafka: %s  logs: %s/logs\nDead letters: %s (token: %s)\n`make status` shows what flows, `make down` stops it.\n",
		c.ClickHouse, c.Broker, s.Config().Dir, s.Config().DeskURL(), s.Config().DeskToken())
	return nil
}

// start brings everything up in order, and says so.
func start(ctx context.Context, s *stack.Stack) ([]string, error) {
	surroundings, err := s.Start(ctx, stack.Surroundings...)
	announce(surroundings)
	if err != nil {
		return surroundings, err
	}
	if err := s.Prepare(ctx); err != nil {
		return surroundings, err
	}
	fmt.Fprintln(os.Stdout, "prepared  topics, schemas, tables")
	services, err := s.Start(ctx, stack.Services...)
	announce(services)
	return append(surroundings, services...), err
}

func announce(names []string) {
	for _, name := range names {
		fmt.Fprintln(os.Stdout, "started  ", name)
	}
}

type downCommand struct{ folder }

func (c *downCommand) run(ctx context.Context, _ *daemon.Runtime) error {
	s, err := stack.Open(c.Dir)
	if err != nil {
		return err
	}
	stopped, err := s.Stop(ctx)
	for _, name := range stopped {
		fmt.Fprintln(os.Stdout, "stopped", name)
	}
	if len(stopped) == 0 {
		fmt.Fprintln(os.Stdout, "nothing runs")
	}
	return err
}
