// Command dlq-replayer lists dead letters, shows them, and replays them onto their topics.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/dlq-replayer/desk"
	"github.com/revstream/revstream/pipeline/daemon"
	"github.com/revstream/revstream/pipeline/kafkaclient"
)

// reachTimeout is how long the brokers may take to answer at first.
const reachTimeout = 15 * time.Second

type settings struct {
	daemon.Config
	Kafka kafkaclient.Config `embed:""`

	List   listCommand   `cmd:"" help:"List dead letters: those that are open, unless told otherwise."`
	Show   showCommand   `cmd:"" help:"Show a dead letter: why it is there, its headers and its value."`
	Stats  statsCommand  `cmd:"" help:"Count dead letters by topic and reason."`
	Replay replayCommand `cmd:"" help:"Put open dead letters back on their topics. Without --yes, only say what that would do."`
}

// command is one of the settings' commands.
type command interface {
	run(ctx context.Context, d *desk.Desk, out io.Writer) error
}

func main() {
	var s settings
	daemon.Main("dlq-replayer", "Lists, shows and replays dead letters.", &s, s.setup)
}

// setup does the whole work.
func (s *settings) setup(ctx context.Context, rt *daemon.Runtime) error {
	// A second client for nothing but reading would be one more connection: a client that begins no transaction does not
	// use its transactional ID.
	client, err := kafkaclient.New(s.Kafka, rt.Logger, nil, desk.Options()...)
	if err != nil {
		return err
	}
	rt.Defer("kafka client", func(context.Context) error { client.Close(); return nil })
	if err := reach(ctx, client, s.Kafka.Brokers); err != nil {
		return err
	}
	name, _, _ := strings.Cut(rt.Command, " ")
	commands := map[string]command{"list": &s.List, "show": &s.Show, "stats": &s.Stats, "replay": &s.Replay}
	return commands[name].run(ctx, desk.New(client, rt.Logger), os.Stdout)
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
