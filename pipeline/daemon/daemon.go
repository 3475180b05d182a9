// Package daemon owns what every binary shares: settings, logs, signals, health, metrics, traces and an ordered
// shutdown, so that a main function only wires.
//
//	func main() {
//		var settings struct {
//			daemon.Config
//			Kafka kafkaclient.Config `embed:""`
//		}
//		daemon.Main("people-producer", "Publishes Salesloft people.", &settings,
//			func(ctx context.Context, rt *daemon.Runtime) error {
//				client, err := kafkaclient.New(settings.Kafka, rt.Logger, rt.Registry)
//				if err != nil {
//					return err
//				}
//				rt.Defer("kafka client", func(context.Context) error { client.Close(); return nil })
//				rt.Check("kafka", kafkaclient.Check(client, 2*time.Second))
//				rt.Go("producer", producer.Run)
//				return nil
//			}, kong.Vars{"http_addr": "127.0.0.1:8082"})
//	}
package daemon

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// ExitError is an error of setup whose kind is told by the process's exit code.
type ExitError struct {
	Code int
	Err  error
}

// Error implements error.
func (e *ExitError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *ExitError) Unwrap() error { return e.Err }

// Main is the whole of a binary. It parses args and environment into settings, starts the HTTP server, calls setup
// and then waits until every component that setup has started (Runtime.Go) has returned, one has failed, or a signal
// has come; it stops what is left and exits: 0 if nothing failed, else 1, or the code of an
// ExitError that setup returned.
//
// setup may also do the whole work itself and start nothing: the process then ends with it. Until setup has returned,
// /readyz says that the process is starting.
//
// opts go to kong: kong.Vars{"http_addr": "127.0.0.1:8081"} is the default of HTTP_ADDR, without which there is no
// HTTP server unless it is asked for.
func Main(name, description string, settings Settings, setup func(context.Context, *Runtime) error, opts ...kong.Option) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	// With the first signal the handler goes, so that a second one ends the process at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, name, description, settings, setup, os.Args[1:], os.Stdout, os.Stderr, opts))
}

// run is Main without what is the process's: signals, arguments, exit.
func run(ctx context.Context, name, description string, settings Settings, setup func(context.Context, *Runtime) error,
	args []string, stdout, stderr io.Writer, opts []kong.Option) (code int) {
	parsed, err := parse(name, description, settings, args, stdout, opts)
	if errors.Is(err, errHelped) {
		return 0
	}
	if err != nil {
		printError(stderr, name, err)
		return 1
	}
	rt := newRuntime(name, parsed.Command(), *settings.daemon(), stderr)
	err = rt.run(ctx, setup)
	if err == nil {
		return 0
	}
	if !errors.Is(err, errComponent) { // which the log has
		printError(stderr, name, err)
	}
	if exit, ok := errors.AsType[*ExitError](err); ok {
		return exit.Code
	}
	return 1
}
