// Package topics owns how a topic on the brokers is compared with the catalogue.
package topics

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/revstream/revstream/schemas"
)

// Partitions is the Setting of a Difference in the number of partitions. The others are Kafka's names.
const Partitions = "partitions"

// Difference is a setting in which a topic is not as the catalogue says.
type Difference struct{ Setting, Have, Want string }

func (d Difference) String() string {
	if d.Setting == Partitions {
		return fmt.Sprintf("%s is %s, catalogue says %s", d.Setting, d.Have, d.Want)
	}
	return fmt.Sprintf("%s is %q, catalogue says %q", d.Setting, d.Have, d.Want)
}

// Compare says how a topic that exists differs from the catalogue. The error of one that does not exist is
// kerr.UnknownTopicOrPartition.
func Compare(ctx context.Context, admin *kadm.Client, topic schemas.Topic) ([]Difference, error) {
	details, err := admin.ListTopics(ctx, topic.Name)
	if err == nil {
		err = details[topic.Name].Err
	}
	if err != nil {
		return nil, fmt.Errorf("reading its partitions: %w", err)
	}
	described, err := admin.DescribeTopicConfigs(ctx, topic.Name)
	if err != nil {
		return nil, fmt.Errorf("reading its configuration: %w", err)
	}
	configs, err := described.On(topic.Name, nil)
	if err = errors.Join(err, configs.Err); err != nil {
		return nil, fmt.Errorf("reading its configuration: %w", err)
	}
	have := map[string]string{}
	for _, c := range configs.Configs {
		have[c.Key] = c.MaybeValue()
	}
	var differs []Difference
	if n := len(details[topic.Name].Partitions); n != int(topic.Partitions) {
		differs = append(differs, Difference{Partitions, strconv.Itoa(n), strconv.Itoa(int(topic.Partitions))})
	}
	want := topic.Configs()
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if have[key] != *want[key] {
			differs = append(differs, Difference{key, have[key], *want[key]})
		}
	}
	return differs, nil
}
