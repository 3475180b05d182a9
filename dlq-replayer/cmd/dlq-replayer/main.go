// Command dlq-replayer is the dead-letter desk: it lists, shows, repairs and replays dead letters, in a terminal and as a web page.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/alecthomas/kong"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/term"

	"github.com/revstream/revstream/dlq-replayer/desk"
	"github.com/revstream/revstream/dlq-replayer/payload"
	"github.com/revstream/revstream/pipeline/daemon"
	"github.com/revstream/revstream/pipeline/kafkaclient"
	"github.com/revstream/revstream/pipeline/secret"
	"github.com/revstream/revstream/schemas/wire"
)

const name = "dlq-replayer"

// reachTimeout is how long the brokers may take to answer at first.
const reachTimeout = 15 * time.Second

type settings struct {
	daemon.Config
	Kafka       kafkaclient.Config `embed:""`
	RegistryURL secret.Ref         `name:"schema-registry-url" env:"SCHEMA_REGISTRY_URL" placeholder:"URL" help:"Schema registry, such as http://user:password@host:8081. Needed for whatever decodes values." group:"Schema registry"`

	Stats   statsCommand   `cmd:"" help:"Count dead letters by topic and class, draw them over time, and tell which consumers have stopped."`
	List    listCommand    `cmd:"" help:"List dead letters: those that are open, unless told otherwise."`
	Show    showCommand    `cmd:"" help:"Show a dead letter: why it is there, its headers, its value and what was decided."`
	Replay  replayCommand  `cmd:"" help:"Put open dead letters back on their topics. Without --yes, only say what that would do."`
	Repair  repairCommand  `cmd:"" help:"Replay letters with a change, which is checked before anything is sent."`
	Park    parkCommand    `cmd:"" help:"Set letters aside, so that no replay takes them."`
	Unpark  unparkCommand  `cmd:"" help:"Make parked letters open again."`
	Discard discardCommand `cmd:"" help:"Decide for good that letters are not to be replayed."`
	Resume  resumeCommand  `cmd:"" help:"Go on with a run that was interrupted or has stopped."`
	Drain   drainCommand   `cmd:"" help:"Replay until no letter is open: a job for cron or Kubernetes."`
	Export  exportCommand  `cmd:"" help:"Write letters to a file: JSON lines or Parquet."`
	Import  importCommand  `cmd:"" help:"Put letters of an export back on their dead-letter topics."`
	Watch   watchCommand   `cmd:"" help:"Show the counts as they change."`
	Runs    runsCommand    `cmd:"" help:"List what was run, newest first."`
	Audit   auditCommand   `cmd:"" help:"List who decided what, when and why, newest first."`
	Serve   serveCommand   `cmd:"" help:"Serve the desk as a web page, on this machine alone unless told otherwise."`
}

// command is one of the settings' commands.
type command interface {
	run(ctx context.Context, c *console) error
}

func (s *settings) commands() map[string]command {
	return map[string]command{
		"stats": &s.Stats, "list": &s.List, "show": &s.Show, "replay": &s.Replay, "repair": &s.Repair, "park": &s.Park,
		"unpark": &s.Unpark, "discard": &s.Discard, "resume": &s.Resume, "drain": &s.Drain, "export": &s.Export,
		"import": &s.Import, "watch": &s.Watch, "runs": &s.Runs, "audit": &s.Audit,
	}
}

// memoryLimit is how much the Go runtime may have before it collects garbage more often than it else would: a command needs
// less at a time, whatever number of letters it reads, but would use twice that while it reads fast. GOMEMLIMIT overrides it.
const memoryLimit = 80 << 20

// vars are the defaults that the help tells.
var vars = kong.Vars{"max_replays": strconv.Itoa(desk.DefaultMaxReplays), "stop_share": fmt.Sprint(desk.DefaultStopShare)}

func main() {
	var s settings
	daemon.Main(name, "The dead-letter desk: lists, shows, repairs and replays dead letters.", &s, s.setup, vars)
}

// setup does the whole work of every command but serve.
func (s *settings) setup(ctx context.Context, rt *daemon.Runtime) error {
	c := &console{
		logger: rt.Logger, in: os.Stdin, out: os.Stdout, err: os.Stderr,
		terminal: term.IsTerminal(int(os.Stderr.Fd())), by: operator(), from: place(),
	}
	if width, _, err := term.GetSize(int(os.Stdout.Fd())); err == nil {
		c.width = width
	}
	stop, err := s.open(ctx, c)
	if err != nil {
		return err
	}
	rt.Defer("desk", func(context.Context) error { stop(); return nil })
	command, _, _ := strings.Cut(rt.Command, " ")
	if command == "serve" {
		return s.Serve.start(ctx, c, rt)
	}
	if command != "watch" && os.Getenv("GOMEMLIMIT") == "" { // a picture of all letters grows with them
		debug.SetMemoryLimit(memoryLimit)
	}
	err = s.commands()[command].run(ctx, c)
	c.strange.tell(c.err)
	return err
}

// open connects a console to Kafka. The caller must call stop.
func (s *settings) open(ctx context.Context, c *console) (stop func(), err error) {
	if c.client, err = kafkaclient.New(s.Kafka, c.logger, nil); err != nil {
		return nil, err
	}
	if err := reach(ctx, c.client, s.Kafka.Brokers); err != nil {
		c.client.Close()
		return nil, err
	}
	c.reader = s.reader(ctx)
	c.desk = desk.New(desk.Config{Compile: c.compile, Changer: c}, c.logger, c.client, func() (*kgo.Client, error) {
		return kafkaclient.New(s.Kafka, c.logger, nil, desk.Options()...)
	})
	return func() { c.desk.Close(); c.client.Close() }, nil
}

// reader makes the reader of values when it is first needed: most commands do without a registry.
func (s *settings) reader(ctx context.Context) func() (*payload.Reader, error) {
	return sync.OnceValues(func() (*payload.Reader, error) {
		if s.RegistryURL == "" {
			return nil, errors.New("SCHEMA_REGISTRY_URL is required (or --schema-registry-url)")
		}
		url, err := secret.Read(ctx, "SCHEMA_REGISTRY_URL", s.RegistryURL)
		if err != nil {
			return nil, err
		}
		registry, err := wire.NewRegistry(url)
		if err != nil {
			return nil, err
		}
		return payload.NewReader(registry), nil
	})
}

// reach finds out early, and in words of the settings, that there is no broker.
func reach(ctx context.Context, client *kgo.Client, brokers []string) error {
	reaching, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	if err := client.Ping(reaching); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("KAFKA_BROKERS (--kafka-brokers): reaching %s: %w", strings.Join(brokers, ","), err)
	}
	return nil
}
