// Package service owns how a consumer binary is put together: which topics go into which tables, and the parts between them.
package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"time"

	"github.com/alecthomas/kong"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/clickhousesink"
	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/daemon"
	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/kafkaclient"
	"github.com/revstream/revstream/pipeline/secret"
	"github.com/revstream/revstream/pipeline/snapshot"
	"github.com/revstream/revstream/pipeline/table"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/wire"
)

// checkTimeout bounds a readiness check.
const checkTimeout = 2 * time.Second

// memoryLimit is how much the Go runtime may have before it collects garbage
// more often than it else would. A process needs less than it at a time, but
// without a limit it would use twice that in a backlog. Whoever raises BATCH_ROWS
// or BATCH_BYTES raises this, too: GOMEMLIMIT overrides it.
const memoryLimit = 160 << 20

// Settings are a consumer binary's.
type Settings struct {
	daemon.Config
	Kafka   kafkaclient.Config    `embed:""`
	Consume consume.Config        `embed:""`
	Sink    clickhousesink.Config `embed:""`

	SchemaRegistryURL secret.Ref `name:"schema-registry-url" env:"SCHEMA_REGISTRY_URL" required:"" placeholder:"URL" help:"Schema registry, such as http://user:password@host:8081." group:"Schema registry"`
	ClickHouseURL     secret.Ref `name:"clickhouse-url" env:"CLICKHOUSE_URL" required:"" placeholder:"URL" help:"ClickHouse with the database, such as http://user:password@host:8123/revenue." group:"ClickHouse"`
}

// Main is a consumer binary of these streams.
func Main(name, description, httpAddr string, streams ...Stream) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	var settings Settings
	daemon.Main(name, description, &settings, func(ctx context.Context, rt *daemon.Runtime) error {
		return start(ctx, rt, settings, streams)
	}, kong.Vars{"http_addr": httpAddr, "kafka_client_id": name})
}

// Parts are what the streams of one process share.
type Parts struct {
	Consume  consume.Config
	Sink     clickhousesink.Config
	Logger   *slog.Logger
	Metrics  prometheus.Registerer
	Registry *wire.Registry
	Conn     clickhousesink.Conn
	Letters  *kgo.Client // made with deadletter.Options
}

func start(ctx context.Context, rt *daemon.Runtime, settings Settings, streams []Stream) error {
	parts, err := open(ctx, rt, settings)
	if err != nil {
		return err
	}
	for _, stream := range streams {
		loop, err := stream.Loop(parts)
		if err != nil {
			return fmt.Errorf("starting on topic %s: %w", stream.Topic, err)
		}
		if err := topicsExist(ctx, rt.Logger, parts.Letters, stream.topics()...); err != nil {
			return err
		}
		client, err := newClient(rt, settings, stream.Topic, loop.Options())
		if err != nil {
			return err
		}
		rt.Check("consume "+stream.Topic, loop.Check)
		rt.Go("consume "+stream.Topic, func(ctx context.Context) error { return loop.Run(ctx, client) })
	}
	return nil
}

// topicsExist says at the start that a topic is missing: a group without its
// topic would wait for it in silence. That Kafka is away is no reason to end.
func topicsExist(ctx context.Context, logger *slog.Logger, client *kgo.Client, topics ...string) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	for _, name := range topics {
		err := snapshot.Exists(ctx, client, name)
		if errors.Is(err, snapshot.ErrNoTopic) {
			return err
		}
		if err != nil {
			logger.WarnContext(ctx, "looking for the topics", "topic", name, "error", err)
			return nil
		}
	}
	return nil
}

func open(ctx context.Context, rt *daemon.Runtime, settings Settings) (Parts, error) {
	parts := Parts{Consume: settings.Consume, Sink: settings.Sink, Logger: rt.Logger, Metrics: rt.Registry}
	registryURL, err := secret.Read(ctx, "SCHEMA_REGISTRY_URL", settings.SchemaRegistryURL)
	if err != nil {
		return parts, err
	}
	if parts.Registry, err = wire.NewRegistry(registryURL); err != nil {
		return parts, err
	}
	clickhouseURL, err := secret.Read(ctx, "CLICKHOUSE_URL", settings.ClickHouseURL)
	if err != nil {
		return parts, err
	}
	conn, err := clickhousesink.Open(clickhouseURL)
	if err != nil {
		return parts, err
	}
	parts.Conn = conn
	rt.Defer("clickhouse", func(context.Context) error { return conn.Close() })
	if parts.Letters, err = newClient(rt, settings, "dead-letters", deadletter.Options()); err != nil {
		return parts, err
	}
	rt.Check("kafka", kafkaclient.Check(parts.Letters, checkTimeout))
	rt.Check("clickhouse", timed(conn.Ping))
	rt.Check("schema_registry", timed(parts.Registry.Ping))
	return parts, nil
}

// newClient makes a Kafka client of this process, closed when it stops.
func newClient(rt *daemon.Runtime, settings Settings, purpose string, opts []kgo.Opt) (*kgo.Client, error) {
	cfg := settings.Kafka
	cfg.ClientID += "-" + purpose
	client, err := kafkaclient.New(cfg, rt.Logger, rt.Registry, opts...)
	if err != nil {
		return nil, err
	}
	rt.Defer("kafka client "+purpose, func(context.Context) error { client.Close(); return nil })
	return client, nil
}

func timed(ping func(context.Context) error) func(context.Context) (map[string]any, error) {
	return func(ctx context.Context) (map[string]any, error) {
		ctx, cancel := context.WithTimeout(ctx, checkTimeout)
		defer cancel()
		start := time.Now()
		if err := ping(ctx); err != nil {
			return map[string]any{"connected": false}, err
		}
		return map[string]any{"connected": true, "latency_ms": time.Since(start).Milliseconds()}, nil
	}
}

// Loop is a consume.Loop of some event type.
type Loop interface {
	Options() []kgo.Opt
	Check(context.Context) (map[string]any, error)
	Run(context.Context, *kgo.Client) error
}

// Stream is the way of one topic into its tables.
type Stream struct {
	Topic     string
	Group     string                    // consumer group, whose members share the topic's partitions
	NoLetters bool                      // nothing on the topic is poison, and it has no dead-letter topic
	Loop      func(Parts) (Loop, error) // does no I/O
}

// topics are those that must exist.
func (s Stream) topics() []string {
	if s.NoLetters {
		return []string{s.Topic}
	}
	return []string{s.Topic, schemas.DLQTopic(s.Topic)}
}

// Of makes the stream of a topic whose events, of Go type E, are read by a
// schema and fill the tables of a prefix. Members of one group share the topic's
// partitions.
func Of[E any, P interface {
	*E
	event.Event
}](topic, group string, reader *avro.Schema, tables string, columns []table.Column[P]) Stream {
	return Stream{Topic: topic, Group: group, Loop: func(p Parts) (Loop, error) {
		decoder := wire.NewDecoder(reader, p.Registry)
		sink, err := clickhousesink.New(p.Sink, p.Metrics, p.Conn, clickhousesink.Tables[P]{
			Entity: tables, Columns: columns, NewReader: func() clickhousesink.Reader[P] { return newReader[E, P](decoder) },
			Dates: func(e P) (happened, observed time.Time) {
				head := e.Head()
				return head.SourceVersion, head.ObservedAt
			},
		})
		if err != nil {
			return nil, err
		}
		p.Consume.Topic, p.Consume.Group = topic, group
		return consume.New(p.Consume, p.Logger, p.Metrics, sink, deadletter.NewWriter(p.Letters, group, daemon.Version()))
	}}
}

// newReader makes what reads records into one event, and validates it against the record's key.
func newReader[E any, P interface {
	*E
	event.Event
}](decoder *wire.Decoder) clickhousesink.Reader[P] {
	e := P(new(E))
	scanner := wire.NewScanner(decoder, e)
	return func(ctx context.Context, rec *kgo.Record) (P, uuid.UUID, error) {
		if err := scanner.Scan(ctx, rec.Value); err != nil {
			return nil, uuid.Nil, err
		}
		if err := event.Check(e, rec.Key); err != nil {
			return nil, uuid.Nil, &wire.InvalidError{Class: wire.ReasonValidation, Message: err.Error()}
		}
		return e, e.Head().EventID, nil
	}
}
