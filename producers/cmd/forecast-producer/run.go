package main

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/daemon"
	"github.com/revstream/revstream/pipeline/kafkaclient"
	"github.com/revstream/revstream/pipeline/secret"
	"github.com/revstream/revstream/producers/forecast"
	"github.com/revstream/revstream/producers/forecast/connect"
	"github.com/revstream/revstream/producers/publish"
	"github.com/revstream/revstream/producers/state"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/exportrun"
	entity "github.com/revstream/revstream/schemas/forecast"
	"github.com/revstream/revstream/schemas/wire"
)

type runCommand struct {
	Kafka kafkaclient.Config `embed:""`

	SchemaRegistryURL secret.Ref `name:"schema-registry-url" env:"SCHEMA_REGISTRY_URL" required:"" placeholder:"URL" help:"Schema registry, such as http://user:password@host:8081." group:"Schema registry"`
	RegisterSchemas   bool       `name:"register-schemas" env:"REGISTER_SCHEMAS" default:"true" negatable:"" help:"Register the schemas at start; without it they must be there." group:"Kafka"`

	Clari     connect.Config `embed:""`
	RecordDir string         `name:"http-record-dir" env:"HTTP_RECORD_DIR" placeholder:"DIR" type:"path" help:"Record the exchanges with the source here, without secrets and personal data; nowhere if empty." group:"Process"`

	Forecast forecast.Config `embed:""`
	Once     bool            `name:"once" help:"Run one cycle, whatever was exported lately, and exit: 1 if a job failed." group:"Clari"`
}

func (c *runCommand) start(ctx context.Context, rt *daemon.Runtime) error {
	// What needs no Kafka goes first, so that a wrong setting is told of while Kafka is away too.
	if err := c.Forecast.Validate(); err != nil {
		return err
	}
	registryURL, err := secret.Read(ctx, "SCHEMA_REGISTRY_URL", c.SchemaRegistryURL)
	if err != nil {
		return err
	}
	registry, err := wire.NewRegistry(registryURL)
	if err != nil {
		return err
	}
	source, err := connect.Open(ctx, c.Clari, connect.Options{RecordDir: c.RecordDir}, rt)
	if err != nil {
		return err
	}
	client, err := kafkaclient.New(c.Kafka, rt.Logger, rt.Registry, publish.ClientOption())
	if err != nil {
		return err
	}
	rt.Defer("kafka client", func(context.Context) error { client.Close(); return nil })
	rt.Check("kafka", kafkaclient.Check(client, 2*time.Second))

	deps := forecast.Deps{Clari: source.Client, Kafka: client, Schemas: registry, Metrics: rt.Registry, Keys: forecast.LimitMemory()}
	if deps.Forecasts, err = c.open(ctx, rt, client, registry, schemas.ForecastTopic, entity.SchemaFile); err != nil {
		return err
	}
	if deps.Runs, err = c.open(ctx, rt, client, registry, schemas.ExportRunsTopic, exportrun.SchemaFile); err != nil {
		return err
	}
	if deps.State, err = state.Open(ctx, client, name); err != nil {
		return err
	}
	exporter, err := forecast.New(c.Forecast, rt.Logger, deps)
	if err != nil {
		return err
	}
	rt.Check("clari", source.Monitor.Check)
	rt.Check("export", exporter.Check)
	if c.Once {
		rt.Go("export", exporter.RunOnce)
	} else {
		rt.Go("export", exporter.Run)
	}
	return nil
}

func (c *runCommand) open(ctx context.Context, rt *daemon.Runtime, client *kgo.Client, registry *wire.Registry, topic, schema string) (*publish.Publisher, error) {
	cfg := publish.Config{Topic: topic, Source: "/clari", SchemaFile: schema, Register: c.RegisterSchemas, Version: daemon.Version()}
	return publish.Open(ctx, cfg, client, registry, rt.Registry, rt.Logger)
}
