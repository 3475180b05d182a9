package workload

import (
	"context"
	"fmt"
	"iter"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/kafkaclient"
	"github.com/revstream/revstream/producers/publish"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/wire"
)

// Target is where events are published.
type Target struct {
	Broker      string // address
	RegistryURL string
}

// Events makes the events of some numbers.
func Events[E event.Event](from, to int, make func(i int) (E, error)) iter.Seq2[event.Event, error] {
	return func(yield func(event.Event, error) bool) {
		for i := from; i < to; i++ {
			if e, err := make(i); !yield(e, err) {
				return
			}
		}
	}
}

// Publish publishes events as a producer does, and returns once all are acknowledged. Options go to the client.
func Publish(ctx context.Context, to Target, entity Entity, logger *slog.Logger, events iter.Seq2[event.Event, error], opts ...kgo.Opt) error {
	client, err := kafkaclient.New(kafkaclient.Config{Brokers: []string{to.Broker}, ClientID: "bench"}, logger, nil, opts...)
	if err != nil {
		return err
	}
	defer client.Close()
	registry, err := wire.NewRegistry(to.RegistryURL)
	if err != nil {
		return err
	}
	publisher, err := publish.Open(ctx, publish.Config{Topic: entity.Topic, Source: entity.Source, SchemaFile: entity.SchemaFile}, client, registry, prometheus.NewRegistry(), logger)
	if err != nil {
		return err
	}
	for e, err := range events {
		if err == nil {
			err = publisher.Publish(ctx, e)
		}
		if err != nil {
			return fmt.Errorf("publishing the workload: %w", err)
		}
	}
	return publisher.Flush(ctx)
}
