package main

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/daemon"
	"github.com/revstream/revstream/pipeline/kafkaclient"
	"github.com/revstream/revstream/pipeline/secret"
	"github.com/revstream/revstream/producers/people"
	"github.com/revstream/revstream/producers/people/connect"
	"github.com/revstream/revstream/producers/publish"
	"github.com/revstream/revstream/producers/salesloft"
	"github.com/revstream/revstream/producers/state"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/exportrun"
	person "github.com/revstream/revstream/schemas/people"
	"github.com/revstream/revstream/schemas/wire"
)

type runCommand struct {
	Kafka     kafkaclient.Config `embed:""`
	Salesloft connect.Config     `embed:""`

	RegistryURL     secret.Ref `name:"schema-registry-url" env:"SCHEMA_REGISTRY_URL" required:"" placeholder:"URL" help:"Schema registry, such as http://user:password@host:8081." group:"Schema registry"`
	RegisterSchemas bool       `name:"register-schemas" env:"REGISTER_SCHEMAS" default:"true" negatable:"" help:"Register the schemas at start. Otherwise they must be registered already." group:"Kafka"`

	Polling people.Config `embed:""`
	Once    bool          `name:"once" help:"Run one sync window, without the webhook receiver, and exit." group:"Polling"`

	Reconcile people.ReconcileConfig `embed:""`

	Receiver people.ReceiverConfig `embed:""`
	Webhooks webhookSettings       `embed:""`
	Rotation rotationSettings      `embed:""`
}

type webhookSettings struct {
	Secret      secret.Ref `name:"webhook-secret" env:"SALESLOFT_WEBHOOK_SECRET" placeholder:"SECRET" help:"Callback token that deliveries are signed with. Without it there is no receiver." group:"Webhooks"`
	CallbackURL string     `name:"webhook-callback-url" env:"SALESLOFT_WEBHOOK_CALLBACK_URL" placeholder:"URL" help:"Where Salesloft reaches the receiver: the producer keeps it subscribed to person events." group:"Webhooks"`
}

type rotationSettings struct {
	Previous secret.Ref    `name:"webhook-secret-previous" env:"SALESLOFT_WEBHOOK_SECRET_PREVIOUS" placeholder:"SECRET" help:"Callback token before the present one, where the producer was restarted with a new one: deliveries may be signed with either." group:"Webhooks"`
	Overlap  time.Duration `name:"webhook-secret-overlap" env:"WEBHOOK_SECRET_OVERLAP" default:"24h" help:"For how long a token that was replaced while the producer runs is accepted." group:"Webhooks"`
}

// validate names every setting that is wrong, as far as that can be told without I/O.
func (c *runCommand) validate() error {
	errs := []error{connect.Validate(c.Salesloft), c.Polling.Validate(), c.Reconcile.Validate()}
	if c.Webhooks.Secret != "" {
		errs = append(errs, c.Receiver.Validate())
	} else if c.Webhooks.CallbackURL != "" {
		errs = append(errs, errors.New("SALESLOFT_WEBHOOK_SECRET (or SALESLOFT_WEBHOOK_SECRET_FILE) is required with SALESLOFT_WEBHOOK_CALLBACK_URL"))
	}
	return errors.Join(errs...)
}

func (c *runCommand) start(ctx context.Context, rt *daemon.Runtime) error {
	// What needs no Kafka goes first, so that a wrong setting is told of while Kafka is away too.
	if err := c.validate(); err != nil {
		return err
	}
	source, err := connect.Open(ctx, c.Salesloft, rt)
	if err != nil {
		return err
	}
	kafka, err := openKafka(c.Kafka, rt)
	if err != nil {
		return err
	}
	rt.Check("kafka", kafkaclient.Check(kafka, 2*time.Second))
	registryURL, err := secret.Read(ctx, "SCHEMA_REGISTRY_URL", c.RegistryURL)
	if err != nil {
		return err
	}
	registry, err := wire.NewRegistry(registryURL)
	if err != nil {
		return err
	}
	topics, err := c.openTopics(ctx, rt, kafka, registry)
	if err != nil {
		return err
	}
	store, err := state.Open(ctx, kafka, name)
	if err != nil {
		return err
	}
	source.Keep(store)
	producer, err := people.New(c.Polling, rt.Logger, people.Deps{
		Source: source.Client, People: topics.people, Runs: topics.runs, State: store, Locks: store, Metrics: rt.Registry,
	})
	if err != nil {
		return err
	}
	if c.Once {
		return producer.RunOnce(ctx)
	}
	rt.Check("salesloft", source.Monitor.Check)
	rt.Check("polling", producer.Check)
	if err := c.receive(ctx, rt, source.Client, topics.people); err != nil {
		return err
	}
	if c.Reconcile.Interval > 0 {
		if err := c.reconcile(ctx, rt, source, kafka, registry, store); err != nil {
			return err
		}
	}
	rt.Go("polling", producer.Run)
	return nil
}

// topics are publishers for one that flushes them.
type topics struct{ people, runs *publish.Publisher }

func (c *runCommand) openTopics(ctx context.Context, rt *daemon.Runtime, kafka *kgo.Client, registry *wire.Registry) (t topics, err error) {
	open := func(topic, schemaFile string) (*publish.Publisher, error) {
		cfg := publish.Config{
			Topic: topic, Source: people.EventSource, SchemaFile: schemaFile, Register: c.RegisterSchemas, Version: daemon.Version(),
		}
		return publish.Open(ctx, cfg, kafka, registry, rt.Registry, rt.Logger)
	}
	if t.people, err = open(schemas.PeopleTopic, person.SchemaFile); err != nil {
		return t, err
	}
	t.runs, err = open(schemas.ExportRunsTopic, exportrun.SchemaFile)
	return t, err
}

// reconcile starts reconciling, in the background of the budget.
func (c *runCommand) reconcile(ctx context.Context, rt *daemon.Runtime, source *connect.Connection, kafka *kgo.Client, registry *wire.Registry, store *state.Store) error {
	topics, err := c.openTopics(ctx, rt, kafka, registry)
	if err != nil {
		return err
	}
	client, err := source.Background()
	if err != nil {
		return err
	}
	reconciler, err := people.NewReconciler(c.Reconcile, rt.Logger, people.ReconcileDeps{
		Source: client, Roster: people.NewRoster(kafka, registry), People: topics.people, Runs: topics.runs,
		State: store, Locks: store, Metrics: rt.Registry,
	})
	if err != nil {
		return err
	}
	rt.Check("reconciliation", reconciler.Check)
	rt.Go("reconciliation", reconciler.Run)
	return nil
}

// linger is for how long an event waits for others to be sent with. Webhooks wait with it, by the client's default 10 ms; who
// publishes in bulk fills batches sooner in any case.
const linger = 2 * time.Millisecond

// openKafka opens a client, which is closed when everything that was started after it has stopped.
func openKafka(cfg kafkaclient.Config, rt *daemon.Runtime) (*kgo.Client, error) {
	client, err := kafkaclient.New(cfg, rt.Logger, rt.Registry, kgo.ProducerLinger(linger))
	if err != nil {
		return nil, err
	}
	rt.Defer("kafka client", func(context.Context) error { client.Close(); return nil })
	return client, nil
}

// receive starts the webhook receiver, if there is a secret to verify deliveries with.
func (c *runCommand) receive(ctx context.Context, rt *daemon.Runtime, client *salesloft.Client, publisher *publish.Publisher) error {
	if c.Webhooks.Secret == "" {
		rt.Logger.InfoContext(ctx, "no webhook receiver, as SALESLOFT_WEBHOOK_SECRET is not set; polling alone brings changes")
		return nil
	}
	token, err := connect.Secret(ctx, rt, "SALESLOFT_WEBHOOK_SECRET", c.Webhooks.Secret)
	if err != nil {
		return err
	}
	accepted := func() []string { return token.Accepted(c.Rotation.Overlap) }
	if c.Rotation.Previous != "" {
		previous, err := connect.Secret(ctx, rt, "SALESLOFT_WEBHOOK_SECRET_PREVIOUS", c.Rotation.Previous)
		if err != nil {
			return err
		}
		accepted = func() []string { return append(token.Accepted(c.Rotation.Overlap), previous.Get()) }
	}
	receiver, err := people.NewReceiver(c.Receiver, rt.Logger, publisher, accepted, rt.Registry)
	if err != nil {
		return err
	}
	listener, err := receiver.Listen(ctx)
	if err != nil {
		return err
	}
	rt.Go("webhook receiver", func(ctx context.Context) error { return receiver.Serve(ctx, listener) })
	if c.Webhooks.CallbackURL != "" {
		rt.Go("webhook subscriptions", func(ctx context.Context) error {
			return people.KeepSubscribed(ctx, client, c.Webhooks.CallbackURL, token.Get, rt.Logger)
		})
	}
	return nil
}
