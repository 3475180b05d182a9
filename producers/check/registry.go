package check

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/revstream/revstream/pipeline/secret"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/wire"
)

const registryName = "Schema Registry"

// RegistryConfig is what a producer needs of the schema registry.
type RegistryConfig struct {
	Needs    []string   // checks that the registry's settings are there
	URL      secret.Ref // of the registry
	Register bool       // the producer registers what is missing
	Topics   []string   // whose schemas it writes with
}

// Registry checks the registry, and that it takes the schemas that are built in. It registers nothing.
func Registry(cfg RegistryConfig) []Check {
	var registry *wire.Registry
	checks := []Check{{Name: registryName, Needs: cfg.Needs, Run: func(ctx context.Context) Result {
		url, err := secret.Read(ctx, "SCHEMA_REGISTRY_URL", cfg.URL)
		if err == nil {
			registry, err = wire.NewRegistry(url)
		}
		if err != nil {
			return failed("set SCHEMA_REGISTRY_URL to http://host:8081 or http://user:password@host:8081", "%v", err)
		}
		start := time.Now()
		if err := registry.Ping(ctx); err != nil {
			return failed("check SCHEMA_REGISTRY_URL, its user and password, and the network", "UNREACHABLE: %v", err)
		}
		return connected(start)
	}}}
	catalogue, err := schemas.Topics()
	for _, name := range cfg.Topics {
		checks = append(checks, Check{Name: "Schema of " + name, Needs: []string{registryName}, Run: func(ctx context.Context) Result {
			if err != nil {
				return failed("build the program from a clean tree", "%v", err)
			}
			for _, t := range catalogue {
				if t.Name == name {
					return schema(ctx, registry, t, cfg.Register)
				}
			}
			return failed("build the program from a clean tree", "the catalogue does not have it")
		}})
	}
	return checks
}

func schema(ctx context.Context, registry *wire.Registry, topic schemas.Topic, register bool) Result {
	text, err := schemas.Avro(topic.Schema)
	if err != nil {
		return failed("build the program from a clean tree", "%v", err)
	}
	registered, err := registry.Lookup(ctx, topic.Name, text)
	switch {
	case err == nil:
		return passed("Registered as version %d", registered.Version)
	case !errors.Is(err, wire.ErrNotRegistered):
		return failed("look at the registry", "%v", err)
	}
	problems, err := registry.Incompatibilities(ctx, topic.Name, text)
	switch {
	case err != nil:
		return failed("look at the registry", "%v", err)
	case len(problems) > 0:
		return failed("run the release that has registered the newest version, or a newer one", "INCOMPATIBLE with what is registered: %s", strings.Join(problems, "; "))
	case !register:
		return failed("run `provision`, or set REGISTER_SCHEMAS=true", "NOT REGISTERED; it is compatible")
	}
	return passed("Compatible; the producer registers it when it starts")
}
