// Command backfill publishes a range of the past again, beside the live producers: Clari's forecasts or Salesloft's people.
package main

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/term"

	"github.com/revstream/revstream/pipeline/daemon"
	"github.com/revstream/revstream/pipeline/kafkaclient"
	"github.com/revstream/revstream/pipeline/secret"
	"github.com/revstream/revstream/producers/backfill"
	"github.com/revstream/revstream/producers/forecast"
	clariconnect "github.com/revstream/revstream/producers/forecast/connect"
	"github.com/revstream/revstream/producers/people"
	salesloftconnect "github.com/revstream/revstream/producers/people/connect"
	"github.com/revstream/revstream/producers/publish"
	"github.com/revstream/revstream/producers/state"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/exportrun"
	forecastentity "github.com/revstream/revstream/schemas/forecast"
	person "github.com/revstream/revstream/schemas/people"
	"github.com/revstream/revstream/schemas/wire"
)

const name = "backfill"

type settings struct {
	daemon.Config
	Order backfill.Config `embed:""`

	Kafka           kafkaclient.Config `embed:""`
	RegistryURL     secret.Ref         `name:"schema-registry-url" env:"SCHEMA_REGISTRY_URL" required:"" placeholder:"URL" help:"Schema registry, such as http://user:password@host:8081." group:"Schema registry"`
	RegisterSchemas bool               `name:"register-schemas" env:"REGISTER_SCHEMAS" default:"true" negatable:"" help:"Register the schemas at start; without it they must be there." group:"Kafka"`

	Clari     clariconnect.Config     `embed:""`
	Forecast  forecastSettings        `embed:""`
	Salesloft salesloftconnect.Config `embed:""`
}

// forecastSettings are forecast.Config without its methods: kong would validate them for a backfill of people too.
type forecastSettings forecast.Config

func main() {
	var s settings
	daemon.Main(name, "Publishes a range of the past again, beside the live producers: Clari's forecasts or Salesloft's people.",
		&s, s.run, kong.PostBuild(clariOnDemand))
}

// clariOnDemand lets a backfill of people do without what one of forecasts requires; that says itself what it lacks.
func clariOnDemand(k *kong.Kong) error {
	return kong.Visit(k.Model, func(node kong.Visitable, next kong.Next) error {
		if flag, ok := node.(*kong.Flag); ok && strings.HasPrefix(flag.Name, "clari-") {
			flag.Required = false
		}
		return next(nil)
	})
}

func (s *settings) run(ctx context.Context, rt *daemon.Runtime) error {
	if err := s.validate(); err != nil {
		return err
	}
	p := &process{settings: s, rt: rt}
	// What needs no Kafka goes first, so that a wrong setting is told of while Kafka is away too.
	err := p.connect(ctx)
	if err != nil {
		return err
	}
	if p.kafka, err = kafkaclient.New(s.Kafka, rt.Logger, rt.Registry, publish.ClientOption()); err != nil {
		return err
	}
	rt.Defer("kafka client", func(context.Context) error { p.kafka.Close(); return nil })
	registryURL, err := secret.Read(ctx, "SCHEMA_REGISTRY_URL", s.RegistryURL)
	if err != nil {
		return err
	}
	if p.registry, err = wire.NewRegistry(registryURL); err != nil {
		return err
	}
	deps := backfill.Deps{Out: os.Stdout, Terminal: term.IsTerminal(int(os.Stdout.Fd()))}
	if !s.Order.DryRun {
		if p.runs, err = p.open(ctx, "/backfill", schemas.ExportRunsTopic, exportrun.SchemaFile); err != nil {
			return err
		}
		deps.Runs = p.runs
	}
	if s.Order.Entity == backfill.Forecast {
		deps.Source, err = p.forecasts(ctx)
	} else {
		deps.Source, err = p.people(ctx)
	}
	if err != nil {
		return err
	}
	b, err := backfill.New(s.Order, rt.Logger, deps)
	if err != nil {
		return err
	}
	return b.Run(ctx)
}

// validate names every setting that is wrong, as far as that can be told without I/O.
func (s *settings) validate() error {
	errs := []error{s.Order.Validate(time.Now())}
	if s.Order.Entity == backfill.People {
		errs = append(errs, salesloftconnect.Validate(s.Salesloft))
	} else {
		errs = append(errs, forecast.Config(s.Forecast).Validate())
	}
	return errors.Join(errs...)
}

// process is what either entity needs.
type process struct {
	*settings
	rt       *daemon.Runtime
	kafka    *kgo.Client
	registry *wire.Registry
	runs     *publish.Publisher // nil in a dry run, which publishes nothing

	clari     *clariconnect.Connection     // of forecasts
	salesloft *salesloftconnect.Connection // of people
	budget    salesloftconnect.Config      // what of it is spent
}

// connect opens the source's credentials.
func (p *process) connect(ctx context.Context) (err error) {
	if p.Order.Entity == backfill.Forecast {
		p.clari, err = clariconnect.Open(ctx, p.Clari, clariconnect.Options{
			RecordDir: p.Salesloft.RecordDir, RequestsPerMinute: p.Order.RateLimit,
		}, p.rt)
		return err
	}
	p.budget = p.Salesloft
	if limit := p.Order.RateLimit; limit > 0 {
		p.budget.BudgetShare = min(p.budget.BudgetShare, float64(limit)/float64(p.budget.BudgetPerMinute))
	}
	p.salesloft, err = salesloftconnect.Open(ctx, p.budget, p.rt)
	return err
}

func (p *process) open(ctx context.Context, source, topic, schema string) (*publish.Publisher, error) {
	cfg := publish.Config{Topic: topic, Source: source, SchemaFile: schema, Register: p.RegisterSchemas, Version: daemon.Version()}
	return publish.Open(ctx, cfg, p.kafka, p.registry, p.rt.Registry, p.rt.Logger)
}

// forecasts reads with the live producer's state, where the lock and the job in hand are.
func (p *process) forecasts(ctx context.Context) (*backfill.Forecasts, error) {
	var err error
	deps := forecast.Deps{Clari: p.clari.Client, Kafka: p.kafka, Schemas: p.registry, Metrics: p.rt.Registry, Runs: p.runs, Keys: forecast.LimitMemory()}
	if deps.State, err = state.Open(ctx, p.kafka, "forecast-producer"); err != nil {
		return nil, err
	}
	if !p.Order.DryRun {
		if deps.Forecasts, err = p.open(ctx, "/clari", schemas.ForecastTopic, forecastentity.SchemaFile); err != nil {
			return nil, err
		}
	}
	exporter, err := forecast.New(forecast.Config(p.Forecast), p.rt.Logger, deps)
	if err != nil {
		return nil, err
	}
	return &backfill.Forecasts{
		Exporter: exporter, Clari: p.clari.Client, Accounts: backfill.Accounts{Kafka: p.kafka, Schemas: p.registry},
		Config: forecast.Config(p.Forecast), BaseURL: p.Clari.BaseURL,
	}, nil
}

// people reads with the live producer's grant, and makes room for it in the team's budget.
func (p *process) people(ctx context.Context) (*backfill.Persons, error) {
	store, err := state.Open(ctx, p.kafka, "people-producer")
	if err != nil {
		return nil, err
	}
	p.salesloft.Keep(store)
	client, err := p.salesloft.Background()
	if err != nil {
		return nil, err
	}
	deps := people.Deps{Source: client, State: store, Metrics: p.rt.Registry, Runs: p.runs}
	if !p.Order.DryRun {
		if deps.People, err = p.open(ctx, people.EventSource, schemas.PeopleTopic, person.SchemaFile); err != nil {
			return nil, err
		}
	}
	producer, err := people.New(people.Config{Interval: time.Minute}, p.rt.Logger, deps)
	if err != nil {
		return nil, err
	}
	return &backfill.Persons{
		Producer: producer, Client: client, BaseURL: p.budget.BaseURL,
		PointsPerMinute: max(1, int(p.budget.BudgetShare*float64(p.budget.BudgetPerMinute))),
	}, nil
}
