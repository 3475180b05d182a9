// Package publish owns the way of an event onto its topic.
package publish

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/snapshot"
	"github.com/revstream/revstream/pipeline/tracing"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/wire"
)

// ErrInvalid is returned by Publish for an event that no retry makes publishable: its content is not valid, does not fit
// its schema, or is larger than a batch may be.
var ErrInvalid = errors.New("not a valid event")

// Config says where to publish and as what.
type Config struct {
	Topic      string // required
	Source     string // ce_source: URI reference of the system of origin, such as "/clari"; required
	SchemaFile string // file of the topic's schema, such as "forecast.v1.avsc"; required
	// Register makes the schema the subject's newest version if it is not one yet. Otherwise it must be there already.
	Register bool
	Version  string // of the program, which its dead letters name
}

const zstdFastest = 1 // as the zstd package of kgo's counts its levels

// ClientOption is for the client of who publishes in bulk. zstd's fastest level makes 2 % more bytes than its default, and takes
// a fifth off all that a publisher does.
func ClientOption() kgo.Opt {
	return kgo.ProducerBatchCompression(kgo.ZstdCompression().WithLevel(zstdFastest), kgo.NoCompression())
}

// Publisher publishes the events of one topic. It is safe for concurrent use.
type Publisher struct {
	topic, schemaFile string
	schemaID          int
	client            *kgo.Client
	encoder           *wire.Encoder
	source, version   []byte // headers that all events share
	letters           *deadletter.Writer
	published, failed prometheus.Counter
	rejected          prometheus.Counter
	maxBytes          int         // of a record with all that is around it
	answered          func(error) // end, for every event of Publish

	mu       sync.Mutex
	pending  int           // events of Publish that the broker has not answered yet
	idle     chan struct{} // closed when pending falls to 0; nil while it is 0
	err      error         // the first failure of Publish since the last Flush
	shipment *shipment     // since the last Flush; nil while there was nothing
}

// Open makes sure that the topic exists and the registry knows its schema. The client needs to be one that waits for all
// in-sync replicas; it stays the caller's to close.
func Open(ctx context.Context, cfg Config, client *kgo.Client, registry *wire.Registry, reg prometheus.Registerer, logger *slog.Logger) (*Publisher, error) {
	text, err := schemas.Avro(cfg.SchemaFile)
	if err != nil {
		return nil, fmt.Errorf("opening a publisher of %q: %w", cfg.Topic, err)
	}
	schema, err := avro.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("opening a publisher of %q: parsing %s: %w", cfg.Topic, cfg.SchemaFile, err)
	}
	if err := snapshot.Exists(ctx, client, cfg.Topic); err != nil {
		return nil, err
	}
	find := registry.Lookup
	if cfg.Register {
		find = registry.Register
	}
	registered, err := find(ctx, cfg.Topic, text)
	if err != nil {
		return nil, err
	}
	published, err := counter(reg, "revstream_publish_events_total", "Events that the brokers have acknowledged.", cfg.Topic)
	if err != nil {
		return nil, err
	}
	failed, err := counter(reg, "revstream_publish_failures_total", "Events that were not published.", cfg.Topic)
	if err != nil {
		return nil, err
	}
	rejected, err := counter(reg, "revstream_publish_rejections_total", "Records of the source that the brokers have acknowledged as dead letters.", cfg.Topic)
	if err != nil {
		return nil, err
	}
	logger.DebugContext(ctx, "publisher opened", "topic", cfg.Topic, "schema_id", registered.ID, "schema_version", registered.Version)
	maxBatch, _ := client.OptValue(kgo.ProducerBatchMaxBytes).(int32)
	p := &Publisher{
		topic: cfg.Topic, schemaFile: cfg.SchemaFile, schemaID: registered.ID, source: []byte(cfg.Source), version: []byte(registered.String()),
		client: client, encoder: wire.NewEncoder(schema, registered.ID),
		letters:   deadletter.NewWriter(client, "", cfg.Version), // no consumer group
		published: published, failed: failed, rejected: rejected, maxBytes: int(maxBatch),
	}
	p.answered = p.end
	return p, nil
}

// counter returns the topic's counter of a family that the publishers of a process share.
func counter(reg prometheus.Registerer, name, help, topic string) (prometheus.Counter, error) {
	family := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"topic"})
	if err := reg.Register(family); err != nil {
		var registered prometheus.AlreadyRegisteredError
		if !errors.As(err, &registered) {
			return nil, fmt.Errorf("registering metric %s: %w", name, err)
		}
		family = registered.ExistingCollector.(*prometheus.CounterVec)
	}
	return family.WithLabelValues(topic), nil
}

// Publish checks and encodes a sealed event and hands it to the client, which sends it in the background; while the
// client's buffer is full, Publish waits. An event that cannot be published is ErrInvalid. What happens to it later is
// told by Flush. ctx must stay open until then.
func (p *Publisher) Publish(ctx context.Context, e event.Event) error {
	traceparent := p.begin(ctx)
	if err := p.send(ctx, e, traceparent, p.answered); err != nil {
		p.end(nil) // the caller has the error: Flush need not tell it again
		return err
	}
	return nil
}

// PublishFunc is Publish for those who need to know of each event by itself: answered is called once the brokers have
// acknowledged it, with nil, or when it has failed for good. It is not called if PublishFunc returns an error, and Flush
// has no part in it. Calls come one at a time from a goroutine of the client, which they must not block.
func (p *Publisher) PublishFunc(ctx context.Context, e event.Event, answered func(error)) error {
	ctx, span := p.startSpan(ctx)
	err := p.send(ctx, e, tracing.Traceparent(ctx), func(err error) {
		tracing.End(span, err)
		answered(err)
	})
	if err != nil {
		tracing.End(span, err)
	}
	return err
}

func (p *Publisher) send(ctx context.Context, e event.Event, traceparent []byte, answered func(error)) error {
	o := &outgoing{publisher: p, id: e.Head().EventID, answered: answered}
	if err := o.write(e, traceparent); err != nil {
		p.failed.Inc()
		return fmt.Errorf("publishing event %s to %s: %w: %w", o.id, p.topic, ErrInvalid, err)
	}
	p.client.Produce(ctx, &o.record, o.done)
	return nil
}

// shipment is what Publish and Reject are given between two Flushes. It has one span, which all of its records name: one
// for each record would take more memory than the record.
type shipment struct {
	span        trace.Span
	traceparent []byte
	records     int
}

func (p *Publisher) startSpan(ctx context.Context) (context.Context, trace.Span) {
	return tracing.Start(ctx, p.topic+" publish", trace.WithSpanKind(trace.SpanKindProducer), tracing.With(
		attribute.String("messaging.system", "kafka"), attribute.String("messaging.operation.type", "send"), attribute.String(tracing.Topic, p.topic)))
}

// begin counts a record of Publish or Reject, and returns the traceparent of the shipment that it is part of.
func (p *Publisher) begin(ctx context.Context) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pending == 0 {
		p.idle = make(chan struct{})
	}
	p.pending++
	if p.shipment == nil {
		ctx, span := p.startSpan(ctx)
		p.shipment = &shipment{span: span, traceparent: tracing.Traceparent(ctx)}
	}
	p.shipment.records++
	return p.shipment.traceparent
}

func (p *Publisher) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
	if p.pending--; p.pending == 0 {
		close(p.idle)
		p.idle = nil
	}
}

// Flush waits until everything that was given to Publish is acknowledged, and returns the first failure since the last
// Flush. If ctx ends earlier, the events may still arrive.
func (p *Publisher) Flush(ctx context.Context) (err error) {
	p.mu.Lock()
	idle, sent := p.idle, p.shipment
	p.shipment = nil
	p.mu.Unlock()
	if sent != nil {
		defer func() {
			sent.span.SetAttributes(attribute.Int(tracing.Records, sent.records))
			tracing.End(sent.span, err)
		}()
	}
	if idle != nil {
		select {
		case <-idle:
		case <-ctx.Done():
			return fmt.Errorf("waiting for the brokers to acknowledge events on %s: %w", p.topic, ctx.Err())
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	err, p.err = p.err, nil
	return err
}
