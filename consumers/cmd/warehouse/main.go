// Command warehouse looks after the tables in ClickHouse: it makes them, holds them to their contracts, and tells what is wrong
// with the data.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/clickhousesink"
	"github.com/revstream/revstream/pipeline/daemon"
	"github.com/revstream/revstream/pipeline/kafkaclient"
	"github.com/revstream/revstream/pipeline/secret"
)

// exitFound is the exit code of a command that did its work and found something wrong with the data.
const exitFound = 3

type settings struct {
	daemon.Config
	ClickHouseURL secret.Ref `name:"clickhouse-url" env:"CLICKHOUSE_URL" placeholder:"URL" help:"ClickHouse with the database, such as http://user:password@host:8123/revenue." group:"ClickHouse"`

	Migrate migrateCommand `cmd:"" help:"Create the database, its tables and its views, or bring them up to date. Safe to run again."`

	Contract  contractCommand  `cmd:"" help:"Hold the warehouse to what BI was promised, or compare two promises."`
	Reconcile reconcileCommand `cmd:"" help:"Hold what the sources handed over against what is in the history, run by run."`
	Analyze   analyzeCommand   `cmd:"" help:"Look for what is wrong with people's data, in a sample of the masked view."`
	Anomalies anomaliesCommand `cmd:"" help:"Find forecast amounts that moved too far, and review them."`
	Retention retentionCommand `cmd:"" help:"Let go of what is older than the rolling quarters. Without --yes, only say what would go."`
	Erase     eraseCommand     `cmd:"" help:"Erase a person from the tables and from the topic. Without --yes, only say what would go."`
	Report    reportCommand    `cmd:"" help:"Draw the health of the last days as one HTML page."`
	Watch     watchCommand     `cmd:"" help:"Do all of the checks again and again, and serve what they find as metrics."`
}

// command is one of the settings' commands.
type command interface {
	run(ctx context.Context, w *warehouse) error
}

// commands by kong's name of them.
func (s *settings) commands() map[string]command {
	return map[string]command{
		"migrate": &s.Migrate, "contract check": &s.Contract.Check, "contract diff": &s.Contract.Diff,
		"reconcile": &s.Reconcile, "analyze": &s.Analyze,
		"anomalies detect": &s.Anomalies.Detect, "anomalies list": &s.Anomalies.List, "anomalies ack": &s.Anomalies.Ack,
		"retention": &s.Retention, "erase": &s.Erase, "report": &s.Report, "watch": &s.Watch,
	}
}

// warehouse is what the commands work with.
type warehouse struct {
	rt     *daemon.Runtime
	logger *slog.Logger
	out    io.Writer
	ref    secret.Ref // of ClickHouse's URL
}

func main() {
	var s settings
	daemon.Main("warehouse", "Looks after revstream's tables in ClickHouse.", &s, s.setup)
}

// setup does the whole work of every command that starts nothing.
func (s *settings) setup(ctx context.Context, rt *daemon.Runtime) error {
	name, _, _ := strings.Cut(rt.Command, " <")
	return s.commands()[name].run(ctx, &warehouse{rt: rt, logger: rt.Logger, out: os.Stdout, ref: s.ClickHouseURL})
}

// url of ClickHouse, with the password in it.
func (w *warehouse) url(ctx context.Context) (string, error) {
	if w.ref == "" {
		return "", errors.New("CLICKHOUSE_URL is required (or CLICKHOUSE_URL_FILE or --clickhouse-url)")
	}
	return secret.Read(ctx, "CLICKHOUSE_URL", w.ref)
}

// open connects to ClickHouse until the process ends, and finds out early, and in words of the settings, that it is not there.
func (w *warehouse) open(ctx context.Context) (clickhouse.Conn, error) {
	conn, err := w.conn(ctx)
	if err != nil {
		return nil, err
	}
	reaching, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	if err := conn.Ping(reaching); err != nil {
		if network, ok := errors.AsType[*net.OpError](err); ok {
			err = network // without the request's address, which has the user in it
		}
		return nil, fmt.Errorf("CLICKHOUSE_URL (--clickhouse-url): reaching ClickHouse: %w", err)
	}
	return conn, nil
}

// conn is a connection to ClickHouse until the process ends. It does no I/O.
func (w *warehouse) conn(ctx context.Context) (clickhouse.Conn, error) {
	url, err := w.url(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := clickhousesink.Open(url)
	if err != nil {
		return nil, err
	}
	w.rt.Defer("clickhouse", func(context.Context) error { return conn.Close() })
	return conn, nil
}

// reachTimeout is how long a server may take to answer at first.
const reachTimeout = 15 * time.Second

// kafka connects to Kafka until the process ends, and finds out early, and in words of the settings, that there is no broker.
func (w *warehouse) kafka(ctx context.Context, cfg kafkaclient.Config) (*kgo.Client, error) {
	client, err := kafkaclient.New(cfg, w.logger, nil)
	if err != nil {
		return nil, err
	}
	w.rt.Defer("kafka client", func(context.Context) error { client.Close(); return nil })
	reaching, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	if err := client.Ping(reaching); err != nil {
		return nil, fmt.Errorf("KAFKA_BROKERS (--kafka-brokers): reaching %s: %w", strings.Join(cfg.Brokers, ","), err)
	}
	return client, nil
}

// found ends a command whose work was done and whose answer is no.
func found(format string, args ...any) error {
	return &daemon.ExitError{Code: exitFound, Err: fmt.Errorf(format, args...)}
}
