// Command people-producer publishes Salesloft people: it polls for what has changed and receives webhooks.
package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/alecthomas/kong"

	"github.com/revstream/revstream/pipeline/daemon"
	"github.com/revstream/revstream/pipeline/kafkaclient"
	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/pipeline/secret"
	"github.com/revstream/revstream/producers/people"
	"github.com/revstream/revstream/producers/publish"
	"github.com/revstream/revstream/producers/salesloft"
	"github.com/revstream/revstream/producers/state"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/exportrun"
	person "github.com/revstream/revstream/schemas/people"
	"github.com/revstream/revstream/schemas/wire"
)

const name = "people-producer"

type settings struct {
	daemon.Config
	Kafka     kafkaclient.Config `embed:""`
	Salesloft salesloftSettings  `embed:""`

	RegistryURL     secret.Ref `name:"schema-registry-url" env:"SCHEMA_REGISTRY_URL" required:"" placeholder:"URL" help:"Schema registry, such as http://user:password@host:8081." group:"Schema registry"`
	RegisterSchemas bool       `name:"register-schemas" env:"REGISTER_SCHEMAS" default:"true" negatable:"" help:"Register the schemas at start. Otherwise they must be registered already." group:"Kafka"`

	Polling people.Config `embed:""`
	Once    bool          `name:"once" help:"Run one sync window, without the webhook receiver, and exit." group:"Polling"`

	Receiver      people.ReceiverConfig `embed:""`
	WebhookSecret secret.Ref            `name:"webhook-secret" env:"SALESLOFT_WEBHOOK_SECRET" placeholder:"SECRET" help:"Callback token that deliveries are signed with. Without it there is no receiver." group:"Webhooks"`
	CallbackURL   string                `name:"webhook-callback-url" env:"SALESLOFT_WEBHOOK_CALLBACK_URL" placeholder:"URL" help:"Where Salesloft reaches the receiver: subscribes it at start to the person events that it is not subscribed to." group:"Webhooks"`
}

type salesloftSettings struct {
	BaseURL      string     `name:"salesloft-base-url" env:"SALESLOFT_BASE_URL" default:"https://api.salesloft.com/v2" help:"Salesloft's API." group:"Salesloft"`
	TokenURL     string     `name:"salesloft-token-url" env:"SALESLOFT_TOKEN_URL" default:"https://accounts.salesloft.com/oauth/token" help:"Salesloft's token endpoint." group:"Salesloft"`
	APIKey       secret.Ref `name:"salesloft-api-key" env:"SALESLOFT_API_KEY" placeholder:"SECRET" help:"API key; instead of the client's ID and secret." group:"Salesloft"`
	ClientID     string     `name:"salesloft-client-id" env:"SALESLOFT_CLIENT_ID" placeholder:"ID" help:"OAuth client." group:"Salesloft"`
	ClientSecret secret.Ref `name:"salesloft-client-secret" env:"SALESLOFT_CLIENT_SECRET" placeholder:"SECRET" help:"The OAuth client's secret." group:"Salesloft"`
	RefreshToken secret.Ref `name:"salesloft-refresh-token" env:"SALESLOFT_REFRESH_TOKEN" placeholder:"SECRET" help:"Refresh token of the OAuth authorisation; its successors are kept in the producer's state. Without it the client asks for its own token." group:"Salesloft"`
}

func main() {
	var s settings
	daemon.Main(name, "Publishes Salesloft people.", &s, s.setup, kong.Vars{"http_addr": "127.0.0.1:8102"})
}

func (s *settings) setup(ctx context.Context, rt *daemon.Runtime) error {
	// What needs no Kafka goes first, so that a wrong setting is told of while Kafka is away too.
	if err := s.validate(); err != nil {
		return err
	}
	var tokens people.Tokens
	client, err := s.Salesloft.client(ctx, rt, &tokens)
	if err != nil {
		return err
	}
	kafka, err := kafkaclient.New(s.Kafka, rt.Logger, rt.Registry)
	if err != nil {
		return err
	}
	rt.Defer("kafka client", func(context.Context) error { kafka.Close(); return nil })
	rt.Check("kafka", kafkaclient.Check(kafka, 2*time.Second))

	registryURL, err := secret.Read(ctx, "SCHEMA_REGISTRY_URL", s.RegistryURL)
	if err != nil {
		return err
	}
	registry, err := wire.NewRegistry(registryURL)
	if err != nil {
		return err
	}
	open := func(topic, schemaFile string) (*publish.Publisher, error) {
		cfg := publish.Config{Topic: topic, Source: people.EventSource, SchemaFile: schemaFile, Register: s.RegisterSchemas}
		return publish.Open(ctx, cfg, kafka, registry, rt.Registry, rt.Logger)
	}
	peopleTopic, err := open(schemas.PeopleTopic, person.SchemaFile)
	if err != nil {
		return err
	}
	runsTopic, err := open(schemas.ExportRunsTopic, exportrun.SchemaFile)
	if err != nil {
		return err
	}
	store, err := state.Open(ctx, kafka, name)
	if err != nil {
		return err
	}
	tokens.State = store
	producer, err := people.New(s.Polling, rt.Logger, people.Deps{
		Source: client, People: peopleTopic, Runs: runsTopic, State: store, Metrics: rt.Registry,
	})
	if err != nil {
		return err
	}
	if s.Once {
		return producer.RunOnce(ctx)
	}
	rt.Check("salesloft", producer.Check)
	if err := s.receive(ctx, rt, client, peopleTopic); err != nil {
		return err
	}
	rt.Go("polling", producer.Run)
	return nil
}

// receive starts the webhook receiver, if there is a secret to verify deliveries with.
func (s *settings) receive(ctx context.Context, rt *daemon.Runtime, client *salesloft.Client, publisher *publish.Publisher) error {
	if s.WebhookSecret == "" {
		rt.Logger.InfoContext(ctx, "no webhook receiver, as SALESLOFT_WEBHOOK_SECRET is not set; polling alone brings changes, and no deletions")
		return nil
	}
	secretValue, err := openSecret(ctx, rt, "SALESLOFT_WEBHOOK_SECRET", s.WebhookSecret)
	if err != nil {
		return err
	}
	accepted := func() []string { return []string{secretValue()} }
	receiver, err := people.NewReceiver(s.Receiver, rt.Logger, publisher, accepted, rt.Registry)
	if err != nil {
		return err
	}
	listener, err := receiver.Listen(ctx)
	if err != nil {
		return err
	}
	rt.Go("webhook receiver", func(ctx context.Context) error { return receiver.Serve(ctx, listener) })
	if s.CallbackURL != "" {
		rt.Go("webhook subscriptions", func(ctx context.Context) error {
			return people.KeepSubscribing(ctx, client, s.CallbackURL, secretValue, rt.Logger)
		})
	}
	return nil
}

// validate names every setting that is wrong, as far as that can be told without I/O.
func (s *settings) validate() error {
	errs := []error{s.Salesloft.validate(), s.Polling.Validate()}
	if s.WebhookSecret != "" {
		errs = append(errs, s.Receiver.Validate())
	} else if s.CallbackURL != "" {
		errs = append(errs, errors.New("SALESLOFT_WEBHOOK_SECRET (or SALESLOFT_WEBHOOK_SECRET_FILE) is required with SALESLOFT_WEBHOOK_CALLBACK_URL"))
	}
	return errors.Join(errs...)
}

func (a *salesloftSettings) validate() error {
	switch {
	case a.APIKey == "" && a.ClientID == "" && a.ClientSecret == "" && a.RefreshToken == "":
		return errors.New("no Salesloft credentials: set SALESLOFT_API_KEY, or SALESLOFT_CLIENT_ID and SALESLOFT_CLIENT_SECRET")
	case a.APIKey != "" && (a.ClientID != "" || a.ClientSecret != "" || a.RefreshToken != ""):
		return errors.New("SALESLOFT_API_KEY excludes SALESLOFT_CLIENT_ID, SALESLOFT_CLIENT_SECRET and SALESLOFT_REFRESH_TOKEN: unset the one or the others")
	case a.APIKey == "" && (a.ClientID == "" || a.ClientSecret == ""):
		return errors.New("SALESLOFT_CLIENT_ID and SALESLOFT_CLIENT_SECRET (or SALESLOFT_CLIENT_SECRET_FILE) go together: one of them is not set")
	}
	return nil
}

// client opens the credentials that are set and makes a client with them.
func (a *salesloftSettings) client(ctx context.Context, rt *daemon.Runtime, tokens salesloft.TokenStore) (*salesloft.Client, error) {
	cfg := salesloft.Config{BaseURL: a.BaseURL, TokenURL: a.TokenURL, ClientID: a.ClientID, TokenStore: tokens}
	for _, credential := range []struct {
		name string
		ref  secret.Ref
		into *func() string
	}{
		{"SALESLOFT_API_KEY", a.APIKey, &cfg.APIKey},
		{"SALESLOFT_CLIENT_SECRET", a.ClientSecret, &cfg.ClientSecret},
		{"SALESLOFT_REFRESH_TOKEN", a.RefreshToken, &cfg.RefreshToken},
	} {
		if credential.ref == "" {
			continue
		}
		var err error
		if *credential.into, err = openSecret(ctx, rt, credential.name, credential.ref); err != nil {
			return nil, err
		}
	}
	transport := resilience.NewTransport(resilience.TransportConfig{}, rt.Logger, nil)
	return salesloft.New(cfg, rt.Logger, &http.Client{Transport: transport})
}

// openSecret follows a secret until the process stops.
func openSecret(ctx context.Context, rt *daemon.Runtime, name string, ref secret.Ref) (func() string, error) {
	value, err := secret.Open(ctx, name, ref)
	if err != nil {
		return nil, err
	}
	rt.Defer(name, func(context.Context) error { return value.Close() })
	return value.Get, nil
}
