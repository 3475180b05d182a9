package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"

	"github.com/revstream/revstream/pipeline/daemon"
	"github.com/revstream/revstream/pipeline/kafkaclient"
	"github.com/revstream/revstream/producers/check"
	"github.com/revstream/revstream/producers/clari"
	"github.com/revstream/revstream/producers/forecast"
	"github.com/revstream/revstream/producers/forecast/connect"
	"github.com/revstream/revstream/schemas"
)

type checkCommand struct {
	Command  check.Command `embed:""`
	Deep     bool          `name:"deep" help:"Start an export job, and cancel it, of each forecast of which nothing else says whether it is accessible: costs one job of the quota for each."`
	Settings runCommand    `embed:""` // those that are checked
}

// Names of the checks that others need.
const (
	keySet       = "API Key Set"
	forecastsSet = "Forecast IDs Set"
	brokersSet   = "Kafka Brokers Set"
	registrySet  = "Schema Registry Set"
)

func (c *checkCommand) run(ctx context.Context, rt *daemon.Runtime, out io.Writer) error {
	rt.Logger = slog.New(slog.DiscardHandler) // what goes wrong has a line of its own
	s, command := &c.Settings, &c.Command
	kafka, kafkaErr := kafkaclient.New(s.Kafka, rt.Logger, nil)
	if kafkaErr == nil {
		rt.Defer("kafka client", func(context.Context) error { kafka.Close(); return nil })
	}
	report := check.Run(ctx,
		[]check.Check{
			command.Secret(keySet, "CLARI_API_KEY", s.Clari.APIKey),
			command.Given(forecastsSet, "CLARI_FORECAST_IDS", len(s.Forecast.ForecastIDs) > 0),
			command.Given(brokersSet, "KAFKA_BROKERS", len(s.Kafka.Brokers) > 0),
			command.Secret(registrySet, "SCHEMA_REGISTRY_URL", s.SchemaRegistryURL),
			command.Valid(s.Forecast.Validate),
		},
		check.Clari(check.ClariConfig{
			Needs: []string{keySet}, BaseURL: s.Clari.BaseURL, HTTP: &http.Client{}, Deep: c.Deep,
			ForecastIDs: s.Forecast.ForecastIDs, Quarters: s.Forecast.Quarters, Interval: s.Forecast.Interval,
			Reserve: s.Forecast.QuotaReserve,
			Open: func(ctx context.Context) (*clari.Client, error) {
				source, err := connect.Open(ctx, s.Clari, connect.Options{RecordDir: s.RecordDir}, rt)
				if err != nil {
					return nil, err
				}
				return source.Client, nil
			},
		}),
		check.Kafka(check.KafkaConfig{
			Needs: []string{brokersSet}, Client: kafka, Err: kafkaErr, Producer: name, Topic: schemas.ForecastTopic,
			Locks: []string{forecast.LockName},
		}),
		check.Registry(check.RegistryConfig{
			Needs: []string{registrySet}, URL: s.SchemaRegistryURL, Register: s.RegisterSchemas,
			Topics: []string{schemas.ForecastTopic, schemas.ExportRunsTopic},
		}))
	return command.Print(out, report)
}
