// Command provision creates the topics of the catalogue and registers their schemas. It leaves alone what exists, so it
// can be run at any time, any number of times and by several at once.
package main

import (
	"context"
	"os"

	"github.com/revstream/revstream/pipeline/daemon"
	"github.com/revstream/revstream/pipeline/kafkaclient"
	"github.com/revstream/revstream/pipeline/secret"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/wire"
)

type settings struct {
	daemon.Config
	Kafka kafkaclient.Config `embed:""`

	SchemaRegistryURL secret.Ref `name:"schema-registry-url" env:"SCHEMA_REGISTRY_URL" required:"" placeholder:"URL" help:"Schema registry, such as http://user:password@host:8081." group:"Schema registry"`
	ReplicationFactor int16      `name:"replication-factor" env:"KAFKA_REPLICATION_FACTOR" default:"-1" help:"Replicas of the topics that are created; -1 for the brokers' default." group:"Kafka"`
}

func main() {
	var s settings
	daemon.Main("provision", "Creates the topics of the catalogue that are missing and registers the schemas. Changes nothing that exists.",
		&s, s.run)
}

func (s *settings) run(ctx context.Context, rt *daemon.Runtime) error {
	registryURL, err := secret.Read(ctx, "SCHEMA_REGISTRY_URL", s.SchemaRegistryURL)
	if err != nil {
		return err
	}
	registry, err := wire.NewRegistry(registryURL)
	if err != nil {
		return err
	}
	catalogue, err := schemas.Topics()
	if err != nil {
		return err
	}
	client, err := kafkaclient.New(s.Kafka, rt.Logger, nil)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := createTopics(ctx, os.Stdout, client, catalogue, s.ReplicationFactor); err != nil {
		return err
	}
	return registerSchemas(ctx, os.Stdout, registry, catalogue)
}
