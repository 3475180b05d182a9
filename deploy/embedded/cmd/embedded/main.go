// Command embedded runs one of the parts that revstream needs around it, as a process with no server installed: a Kafka
// broker, a schema registry, or ClickHouse. It is for development and tests.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

type cli struct {
	Broker     brokerCommand     `cmd:"" help:"Run a Kafka broker."`
	Registry   registryCommand   `cmd:"" help:"Run a schema registry (Confluent REST API, Avro)."`
	Clickhouse clickhouseCommand `cmd:"" help:"Run ClickHouse behind its HTTP interface."`

	UntilStdinEnds bool `help:"Stop when standard input ends, so that a parent that is killed leaves no process behind."`

	LogLevel slog.Level `help:"Least level that is logged: debug, info, warn, error." default:"info" env:"LOG_LEVEL"`
}

func main() {
	var args cli
	command := kong.Parse(&args,
		kong.Name("embedded"),
		kong.Description("Broker, schema registry and ClickHouse for one machine, without a server to install. For development and tests."),
		kong.UsageOnError(),
	)
	logger := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: args.LogLevel}))
	logger = logger.With("service", "embedded-"+command.Selected().Name)

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	// After the first signal the default action is back, so that a second one ends the process at once.
	context.AfterFunc(ctx, stop)

	if args.UntilStdinEnds {
		// A read of standard input cannot be cancelled: this goroutine ends with the process.
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin) // however it ends, it has ended
			stop()
		}()
	}
	command.BindTo(ctx, (*context.Context)(nil))
	if err := command.Run(logger); err != nil {
		fmt.Fprintf(os.Stderr, "embedded %s: %v\n", command.Selected().Name, err)
		os.Exit(1)
	}
}
