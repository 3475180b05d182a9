// Package load owns the publishing of a plan: a worker that publishes its share of the steps as producers do, and that
// goes on where it was when it is killed.
package load

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/revstream/revstream/deploy/local/faults/plan"
	"github.com/revstream/revstream/pipeline/kafkaclient"
	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/pipeline/secret"
	"github.com/revstream/revstream/producers/publish"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/forecast"
	"github.com/revstream/revstream/schemas/people"
	"github.com/revstream/revstream/schemas/wire"
)

const (
	// checkpointEvery is how often the checkpoint is written: what a kill makes the next start publish again.
	checkpointEvery = 250 * time.Millisecond
	// inFlight bounds the records that no broker has acknowledged yet.
	inFlight = 4096
)

// Config says which steps to publish, and where.
type Config struct {
	Kafka       kafkaclient.Config `embed:""`
	RegistryURL secret.Ref         `name:"schema-registry-url" env:"SCHEMA_REGISTRY_URL" required:"" placeholder:"URL" help:"Schema registry, which has the topics' schemas and not those of the next version." group:"Schema registry"`

	Seed            uint64 `name:"seed" required:"" help:"Seed of the plan." group:"Plan"`
	Events          int    `name:"events" required:"" help:"Records of the plan." group:"Plan"`
	ForecastEvolved int    `name:"forecast-evolved-id" required:"" help:"ID that the registry will give the forecast topic's next schema." group:"Plan"`
	PeopleEvolved   int    `name:"people-evolved-id" required:"" help:"ID that the registry will give the people topic's next schema." group:"Plan"`

	Worker     int       `name:"worker" help:"Number of this worker, from 0." group:"Plan"`
	Workers    int       `name:"workers" default:"1" help:"Workers that share the plan." group:"Plan"`
	Checkpoint string    `name:"checkpoint" required:"" type:"path" help:"File that says how far the worker is." group:"Plan"`
	Rate       float64   `name:"rate" help:"Records a second that all workers together publish at most, counted from --start; 0 for no bound." group:"Plan"`
	Start      time.Time `name:"start" format:"2006-01-02T15:04:05.999999999Z07:00" placeholder:"RFC3339" help:"When step 0 is due. A worker that starts late catches up." group:"Plan"`

	ClockOffset time.Duration `name:"clock-offset" help:"How far this worker's clock is ahead: in observed_at and in the records' timestamps, but not in poison, whose bytes the plan decides." group:"Plan"`
}

func (c Config) validate() error {
	var errs []error
	need := func(ok bool, what string) {
		if !ok {
			errs = append(errs, errors.New(what))
		}
	}
	need(c.RegistryURL != "", "SCHEMA_REGISTRY_URL is required (or --schema-registry-url)")
	need(c.Events > 0, "--events must be positive")
	need(c.Workers > 0 && c.Worker >= 0 && c.Worker < c.Workers, "--worker must be from 0 to one less than --workers")
	need(c.Checkpoint != "", "--checkpoint is required")
	need(c.Rate >= 0, "--rate must not be negative")
	need(c.Rate == 0 || !c.Start.IsZero(), "--rate needs --start")
	return errors.Join(errs...)
}

// Worker publishes its share of a plan.
type Worker struct {
	cfg     Config
	logger  *slog.Logger
	metrics prometheus.Registerer
}

// New checks the settings.
func New(cfg Config, logger *slog.Logger, metrics prometheus.Registerer) (*Worker, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &Worker{cfg: cfg, logger: logger, metrics: metrics}, nil
}

// Run publishes what the checkpoint says is missing, and returns nil once all of it is acknowledged and the checkpoint
// says so. With any error, ctx's included, the checkpoint stands at or before the first step that was not acknowledged,
// and another Run goes on from there.
func (w *Worker) Run(ctx context.Context) error {
	opts := []kgo.Opt{kgo.MaxBufferedRecords(inFlight)}
	if w.cfg.ClockOffset != 0 {
		opts = append(opts, kgo.WithHooks(clock{w.cfg.ClockOffset}))
	}
	client, err := kafkaclient.New(w.cfg.Kafka, w.logger, w.metrics, opts...)
	if err != nil {
		return err
	}
	defer client.Close()
	run := &run{cfg: w.cfg, client: client, outlets: make(map[string]outlet), checkpoint: checkpoint{
		path: w.cfg.Checkpoint,
		of:   share{Seed: w.cfg.Seed, Events: w.cfg.Events, Worker: w.cfg.Worker, Workers: w.cfg.Workers},
	}}
	if run.from, err = run.checkpoint.read(); err != nil {
		return err
	}
	err = resilience.Forever(ctx, resilience.ForeverConfig{}, w.logger, "topics and schemas", func(ctx context.Context) error { return w.open(ctx, run) })
	if err != nil {
		return err
	}
	w.logger.InfoContext(ctx, "publishing the plan", "worker", w.cfg.Worker, "from", run.from, "events", w.cfg.Events)
	return run.all(ctx)
}

// outlet is the way onto one topic.
type outlet struct {
	publisher *publish.Publisher
	source    string
	schema    wire.Registered
}

// open makes the outlets, and the plan from what the registry calls the topics' schemas.
func (w *Worker) open(ctx context.Context, run *run) error {
	registryURL, err := secret.Read(ctx, "SCHEMA_REGISTRY_URL", w.cfg.RegistryURL)
	if err != nil {
		return err
	}
	registry, err := wire.NewRegistry(registryURL)
	if err != nil {
		return err
	}
	for _, cfg := range []publish.Config{
		{Topic: schemas.ForecastTopic, Source: "/clari", SchemaFile: forecast.SchemaFile},
		{Topic: schemas.PeopleTopic, Source: "/salesloft", SchemaFile: people.SchemaFile},
	} {
		out := outlet{source: cfg.Source}
		if out.publisher, err = publish.Open(ctx, cfg, run.client, registry, w.metrics, w.logger); err != nil {
			return err
		}
		if out.schema, err = registry.Lookup(ctx, cfg.Topic, schemas.MustAvro(cfg.SchemaFile)); err != nil {
			return err
		}
		run.outlets[cfg.Topic] = out
	}
	run.plan = plan.Plan{
		Seed: w.cfg.Seed, Events: w.cfg.Events,
		Forecast: plan.SchemaIDs{Registered: run.outlets[schemas.ForecastTopic].schema.ID, Evolved: w.cfg.ForecastEvolved},
		People:   plan.SchemaIDs{Registered: run.outlets[schemas.PeopleTopic].schema.ID, Evolved: w.cfg.PeopleEvolved},
	}
	return run.plan.Validate()
}

// run is one Run of a worker.
type run struct {
	cfg        Config
	client     *kgo.Client
	plan       plan.Plan
	outlets    map[string]outlet
	checkpoint checkpoint
	from       int
	progress   progress
}

// all publishes the steps, beside a goroutine that keeps the checkpoint. The first step that fails ends both.
func (r *run) all(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	r.progress.next = r.from
	done := make(chan struct{})
	group.Go(func() error { return r.keep(ctx, done) })
	group.Go(func() error {
		defer close(done)
		for i, step := range r.plan.Steps(r.cfg.Worker, r.cfg.Workers, r.from) {
			if err := r.due(ctx, i); err != nil {
				return err
			}
			if err := r.publish(ctx, i, step); err != nil {
				return err
			}
		}
		return r.progress.wait(ctx)
	})
	if err := group.Wait(); err != nil {
		return fmt.Errorf("publishing the plan: %w", err)
	}
	return r.checkpoint.write(r.plan.Events)
}

// due waits until the rate allows a step.
func (r *run) due(ctx context.Context, step int) error {
	if r.cfg.Rate == 0 {
		return ctx.Err()
	}
	return resilience.Sleep(ctx, time.Until(r.cfg.Start.Add(time.Duration(float64(step)/r.cfg.Rate*float64(time.Second)))))
}

// publish hands a step to the client. A step that cannot be published for good stays the first of those that are not
// acknowledged, and is what wait returns.
func (r *run) publish(ctx context.Context, i int, step plan.Step) error {
	out, acknowledged := r.outlets[step.Topic], r.progress.begin(i)
	if step.Poison == nil {
		head := step.Event.Head()
		head.ObservedAt = head.ObservedAt.Add(r.cfg.ClockOffset) // no part of the event's ID
		return out.publisher.PublishFunc(ctx, step.Event, acknowledged)
	}
	// A publisher refuses poison, so it goes past it, dressed as the publisher's records are.
	version := out.schema
	if step.Poison.SchemaID != version.ID {
		version.Version++
	}
	record := &kgo.Record{Topic: step.Topic, Key: []byte(step.Event.Key()), Value: step.Poison.Value}
	for _, h := range event.Headers(step.Event, out.source, version.String()) {
		record.Headers = append(record.Headers, kgo.RecordHeader{Key: h.Key, Value: []byte(h.Value)})
	}
	r.client.Produce(ctx, record, func(_ *kgo.Record, err error) { acknowledged(err) })
	return nil
}

// keep writes the checkpoint until everything is published or something fails.
func (r *run) keep(ctx context.Context, done <-chan struct{}) error {
	tick := time.NewTicker(checkpointEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-done:
			return nil
		case <-ctx.Done():
			return nil // whoever ended it returns why
		}
		next, err := r.progress.standing()
		if err == nil {
			err = r.checkpoint.write(next)
		}
		if err != nil {
			return err
		}
	}
}

// clock makes the client stamp records as a machine does whose clock is ahead by an offset.
type clock struct{ offset time.Duration }

// OnProduceRecordBuffered implements kgo.HookProduceRecordBuffered, which sees a record after it was stamped and before
// it is part of a batch.
func (c clock) OnProduceRecordBuffered(r *kgo.Record) { r.Timestamp = r.Timestamp.Add(c.offset) }
