package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/daemon"
	"github.com/revstream/revstream/pipeline/kafkaclient"
	"github.com/revstream/revstream/producers/check"
	"github.com/revstream/revstream/producers/people"
	"github.com/revstream/revstream/producers/people/connect"
	"github.com/revstream/revstream/producers/salesloft"
	"github.com/revstream/revstream/producers/state"
	"github.com/revstream/revstream/schemas"
)

type checkCommand struct {
	Command  check.Command `embed:""`
	Settings runCommand    `embed:""` // those that are checked
}

// Names of the checks that others need.
const (
	keySet      = "API Key Set"
	secretSet   = "Client Secret Set"
	brokersSet  = "Kafka Brokers Set"
	registrySet = "Schema Registry Set"
)

func (c *checkCommand) run(ctx context.Context, rt *daemon.Runtime, out io.Writer) error {
	rt.Logger = slog.New(slog.DiscardHandler) // what goes wrong has a line of its own
	s := &c.Settings
	kafka, kafkaErr := kafkaclient.New(s.Kafka, rt.Logger, nil)
	if kafkaErr == nil {
		rt.Defer("kafka client", func(context.Context) error { kafka.Close(); return nil })
	}
	source := check.SalesloftConfig{
		Needs: []string{keySet}, BaseURL: s.Salesloft.BaseURL, HTTP: &http.Client{},
		EventTypes: people.EventTypes(), CallbackURL: s.Webhooks.CallbackURL, WebhookSecret: s.Webhooks.Secret,
		Open: func(ctx context.Context) (*salesloft.Client, error) { return c.open(ctx, rt, kafka, kafkaErr) },
	}
	if !c.byKey() {
		source.Needs = []string{secretSet}
	}
	report := check.Run(ctx, c.settings(),
		check.Salesloft(source),
		check.Kafka(check.KafkaConfig{
			Needs: []string{brokersSet}, Client: kafka, Err: kafkaErr, Producer: name, Topic: schemas.PeopleTopic, Locks: people.LockNames(),
		}),
		check.Registry(check.RegistryConfig{
			Needs: []string{registrySet}, URL: s.RegistryURL, Register: s.RegisterSchemas,
			Topics: []string{schemas.PeopleTopic, schemas.ExportRunsTopic},
		}))
	return c.Command.Print(out, report)
}

// byKey tells an API key, also one that is missing, from an OAuth client.
func (c *checkCommand) byKey() bool {
	api := c.Settings.Salesloft
	return api.ClientID == "" && api.ClientSecret == "" && api.RefreshToken == ""
}

// settings are checks of those that are needed.
func (c *checkCommand) settings() []check.Check {
	s, command := &c.Settings, &c.Command
	api := s.Salesloft
	var checks []check.Check
	if c.byKey() {
		checks = append(checks, command.Secret(keySet, "SALESLOFT_API_KEY", api.APIKey))
	} else {
		checks = append(checks,
			command.Given("Client ID Set", "SALESLOFT_CLIENT_ID", api.ClientID != ""),
			command.Secret(secretSet, "SALESLOFT_CLIENT_SECRET", api.ClientSecret))
	}
	if api.RefreshToken != "" {
		checks = append(checks,
			command.Secret("Refresh Token Set", "SALESLOFT_REFRESH_TOKEN", api.RefreshToken),
			command.Secret("State Keeper Set", "STATE_KEEPER_URL", api.KeeperURL))
	}
	if s.Webhooks.Secret != "" || s.Webhooks.CallbackURL != "" {
		checks = append(checks, command.Secret("Webhook Secret Set", "SALESLOFT_WEBHOOK_SECRET", s.Webhooks.Secret))
	}
	return append(checks,
		command.Given(brokersSet, "KAFKA_BROKERS", len(s.Kafka.Brokers) > 0),
		command.Secret(registrySet, "SCHEMA_REGISTRY_URL", s.RegistryURL),
		command.Valid(s.validate))
}

// open makes a client. A shared grant is in the producer's state, from where it takes it as a producer does, and renews it if need be.
func (c *checkCommand) open(ctx context.Context, rt *daemon.Runtime, kafka *kgo.Client, kafkaErr error) (*salesloft.Client, error) {
	api := c.Settings.Salesloft
	if err := connect.Validate(api); err != nil {
		return nil, err
	}
	source, err := connect.Open(ctx, api, rt)
	if err != nil {
		return nil, err
	}
	if !api.SharesGrant() {
		return source.Client, nil
	}
	if kafkaErr != nil {
		return nil, kafkaErr
	}
	store, err := state.Open(ctx, kafka, name)
	if err != nil {
		return nil, fmt.Errorf("Salesloft's grant is kept in the producer's state: %w", err)
	}
	source.Keep(store)
	return source.Client, nil
}
