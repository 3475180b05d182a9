package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/producers/topics"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/wire"
)

// createTopics creates the topics that are missing, and prints a line for each of the catalogue. Where one exists it only
// says what differs: to change a topic that others read is its owner's decision.
func createTopics(ctx context.Context, out io.Writer, client *kgo.Client, catalogue []schemas.Topic, replicas int16) error {
	admin := kadm.NewClient(client)
	var errs []error
	for _, topic := range catalogue {
		_, err := admin.CreateTopic(ctx, topic.Partitions, replicas, topic.Configs(), topic.Name)
		report := "created"
		if errors.Is(err, kerr.TopicAlreadyExists) { // before, or by another of us just now
			report, err = find(ctx, admin, topic)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("creating topic %s: %w", topic.Name, err))
			continue
		}
		if _, err := fmt.Fprintf(out, "topic   %-32s %s\n", topic.Name, report); err != nil {
			return fmt.Errorf("writing the report: %w", err)
		}
	}
	return errors.Join(errs...)
}

// A broker hears of a topic that another of us has created a moment after that.
const (
	findTries = 40
	findWait  = 250 * time.Millisecond
)

// find compares a topic that exists, as soon as the brokers that are asked know it.
func find(ctx context.Context, admin *kadm.Client, topic schemas.Topic) (string, error) {
	for tries := 1; ; tries++ {
		report, err := compare(ctx, admin, topic)
		if !errors.Is(err, kerr.UnknownTopicOrPartition) || tries == findTries {
			return report, err
		}
		select {
		case <-time.After(findWait):
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// compare says how a topic differs from the catalogue.
func compare(ctx context.Context, admin *kadm.Client, topic schemas.Topic) (string, error) {
	differs, err := topics.Compare(ctx, admin, topic)
	if err != nil || len(differs) == 0 {
		return "exists", err
	}
	words := make([]string, len(differs))
	for i, d := range differs {
		words[i] = d.String()
	}
	return "exists and differs: " + strings.Join(words, "; "), nil
}

// registerSchemas registers the schemas of the topics that have one, and prints a line for each.
func registerSchemas(ctx context.Context, out io.Writer, registry *wire.Registry, catalogue []schemas.Topic) error {
	var errs []error
	for _, topic := range catalogue {
		if topic.Schema == "" {
			continue
		}
		text, err := schemas.Avro(topic.Schema)
		if err != nil {
			return err
		}
		registered, err := registry.Register(ctx, topic.Name, text)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if _, err := fmt.Fprintf(out, "schema  %-32s %s: version %d, ID %d\n", schemas.Subject(topic.Name), topic.Schema, registered.Version, registered.ID); err != nil {
			return fmt.Errorf("writing the report: %w", err)
		}
	}
	return errors.Join(errs...)
}
