package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

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
	details, err := admin.ListTopics(ctx, topic.Name)
	if err == nil {
		err = details[topic.Name].Err
	}
	if err != nil {
		return "", fmt.Errorf("reading its partitions: %w", err)
	}
	described, err := admin.DescribeTopicConfigs(ctx, topic.Name)
	if err != nil {
		return "", fmt.Errorf("reading its configuration: %w", err)
	}
	configs, err := described.On(topic.Name, nil)
	if err = errors.Join(err, configs.Err); err != nil {
		return "", fmt.Errorf("reading its configuration: %w", err)
	}
	have := map[string]string{}
	for _, c := range configs.Configs {
		have[c.Key] = c.MaybeValue()
	}
	var differs []string
	if n := len(details[topic.Name].Partitions); n != int(topic.Partitions) {
		differs = append(differs, fmt.Sprintf("partitions is %d, catalogue says %d", n, topic.Partitions))
	}
	want := topic.Configs()
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if have[key] != *want[key] {
			differs = append(differs, fmt.Sprintf("%s is %q, catalogue says %q", key, have[key], *want[key]))
		}
	}
	if len(differs) > 0 {
		return "exists and differs: " + strings.Join(differs, "; "), nil
	}
	return "exists", nil
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
