// Command forecast-producer publishes Clari's forecasts: what changed in the current quarter and in those before it.
package main

import (
	"context"
	"net/http"
	"time"

	"github.com/alecthomas/kong"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/daemon"
	"github.com/revstream/revstream/pipeline/kafkaclient"
	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/pipeline/secret"
	"github.com/revstream/revstream/producers/clari"
	"github.com/revstream/revstream/producers/forecast"
	"github.com/revstream/revstream/producers/publish"
	"github.com/revstream/revstream/producers/state"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/exportrun"
	entity "github.com/revstream/revstream/schemas/forecast"
	"github.com/revstream/revstream/schemas/wire"
)

const name = "forecast-producer"

type settings struct {
	daemon.Config
	Kafka kafkaclient.Config `embed:""`

	SchemaRegistryURL secret.Ref `name:"schema-registry-url" env:"SCHEMA_REGISTRY_URL" required:"" placeholder:"URL" help:"Schema registry, such as http://user:password@host:8081." group:"Schema registry"`
	RegisterSchemas   bool       `name:"register-schemas" env:"REGISTER_SCHEMAS" default:"true" negatable:"" help:"Register the schemas at start; without it they must be there." group:"Kafka"`

	BaseURL    string     `name:"clari-base-url" env:"CLARI_BASE_URL" default:"${clari_base_url}" help:"Clari's API with its version." group:"Clari"`
	APIKey     secret.Ref `name:"clari-api-key" env:"CLARI_API_KEY" required:"" placeholder:"SECRET" help:"Clari API key." group:"Clari"`
	AuthScheme string     `name:"clari-auth-scheme" env:"CLARI_AUTH_SCHEME" enum:"apikey,bearer" default:"apikey" help:"How requests carry the key: as apikey or as bearer." group:"Clari"`

	Forecast forecast.Config `embed:""`
	Once     bool            `name:"once" help:"Run one cycle and exit: 1 if a job failed." group:"Clari"`
}

func main() {
	var s settings
	daemon.Main(name, "Publishes Clari's forecasts: what changed in the current quarter and in those before it.", &s, s.setup,
		kong.Vars{"http_addr": "127.0.0.1:8101", "clari_base_url": clari.DefaultBaseURL})
}

func (s *settings) setup(ctx context.Context, rt *daemon.Runtime) error {
	// What needs no Kafka goes first, so that a wrong setting is told of while Kafka is away too.
	if err := s.Forecast.Validate(); err != nil {
		return err
	}
	registryURL, err := secret.Read(ctx, "SCHEMA_REGISTRY_URL", s.SchemaRegistryURL)
	if err != nil {
		return err
	}
	registry, err := wire.NewRegistry(registryURL)
	if err != nil {
		return err
	}
	source, err := s.openClari(ctx, rt)
	if err != nil {
		return err
	}
	client, err := kafkaclient.New(s.Kafka, rt.Logger, rt.Registry, publish.ClientOption())
	if err != nil {
		return err
	}
	rt.Defer("kafka client", func(context.Context) error { client.Close(); return nil })
	rt.Check("kafka", kafkaclient.Check(client, 2*time.Second))

	deps := forecast.Deps{Clari: source, Kafka: client, Schemas: registry, Metrics: rt.Registry}
	if deps.Forecasts, err = s.open(ctx, rt, client, registry, schemas.ForecastTopic, entity.SchemaFile); err != nil {
		return err
	}
	if deps.Runs, err = s.open(ctx, rt, client, registry, schemas.ExportRunsTopic, exportrun.SchemaFile); err != nil {
		return err
	}
	if deps.State, err = state.Open(ctx, client, name); err != nil {
		return err
	}
	exporter, err := forecast.New(s.Forecast, rt.Logger, deps)
	if err != nil {
		return err
	}
	rt.Check("export", exporter.Check)
	if s.Once {
		rt.Go("export", exporter.RunOnce)
	} else {
		rt.Go("export", exporter.Run)
	}
	return nil
}

func (s *settings) openClari(ctx context.Context, rt *daemon.Runtime) (*clari.Client, error) {
	key, err := secret.Open(ctx, "CLARI_API_KEY", s.APIKey)
	if err != nil {
		return nil, err
	}
	rt.Defer("CLARI_API_KEY", func(context.Context) error { return key.Close() })
	transport := resilience.NewTransport(resilience.TransportConfig{}, rt.Logger, nil)
	return clari.New(clari.Config{
		BaseURL: s.BaseURL, AuthScheme: s.AuthScheme, APIKey: key.Get, CorrelationID: resilience.CorrelationID,
	}, rt.Logger, &http.Client{Transport: transport})
}

func (s *settings) open(ctx context.Context, rt *daemon.Runtime, client *kgo.Client, registry *wire.Registry, topic, schema string) (*publish.Publisher, error) {
	cfg := publish.Config{Topic: topic, Source: "/clari", SchemaFile: schema, Register: s.RegisterSchemas}
	return publish.Open(ctx, cfg, client, registry, rt.Registry, rt.Logger)
}
