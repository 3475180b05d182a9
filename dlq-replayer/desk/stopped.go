package desk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/revstream/revstream/pipeline/clickhousesink"
	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/schemas/wire"
)

// Stopped is a consumer that its cap of poison has stopped on a partition.
type Stopped struct {
	Group     string    `json:"group"`
	Topic     string    `json:"topic"`
	Partition int32     `json:"partition"`
	Offset    int64     `json:"offset"`  // at which the group goes on
	At        time.Time `json:"at"`      // when it stopped
	Reason    string    `json:"reason"`  // of the newest poison record
	Poison    int       `json:"poison"`  // records of the window
	Window    int       `json:"window"`  // records that it looked at
	Members   int       `json:"members"` // that the group has now
	Advice    string    `json:"advice"`  // for people
}

// Stopped returns the consumers that have said, with their committed offsets, that their cap has stopped them, and whose
// partitions nobody has taken on since. Groups that the user may not describe are not looked at.
func (d *Desk) Stopped(ctx context.Context) ([]Stopped, error) {
	admin := kadm.NewClient(d.client)
	listed, err := admin.ListGroups(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing the consumer groups: %w", err)
	}
	found := make(map[string][]Stopped)
	for group, answer := range admin.FetchManyOffsets(ctx, listed.Groups()...) {
		switch {
		case errors.Is(answer.Err, kerr.GroupAuthorizationFailed), errors.Is(answer.Err, kerr.GroupIDNotFound):
			continue
		case answer.Err != nil:
			return nil, fmt.Errorf("reading what group %s has committed: %w", group, answer.Err)
		}
		answer.Fetched.Each(func(at kadm.OffsetResponse) {
			if note, ok := consume.ParseCapNote(at.Metadata); ok && at.Err == nil {
				found[group] = append(found[group], Stopped{
					Group: group, Topic: at.Topic, Partition: at.Partition, Offset: at.At,
					At: note.At, Reason: note.Reason, Poison: note.Poison, Window: note.Window,
				})
			}
		})
	}
	present, err := members(ctx, admin, slices.Collect(maps.Keys(found)))
	if err != nil {
		return nil, err
	}
	var all []Stopped
	for group, stopped := range found {
		for _, s := range stopped {
			s.Members = present[group]
			s.Advice = s.advice()
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b Stopped) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return all, nil
}

// members counts the members that groups have, of either protocol.
func members(ctx context.Context, admin *kadm.Client, groups []string) (map[string]int, error) {
	counts := make(map[string]int, len(groups))
	if len(groups) == 0 {
		return counts, nil // the requests below would be for all groups
	}
	classic, err := admin.DescribeGroups(ctx, groups...)
	if err != nil {
		return nil, fmt.Errorf("describing consumer groups: %w", err)
	}
	for group, described := range classic {
		counts[group] = len(described.Members)
	}
	// Brokers before Kafka 4.0 know no such groups.
	described, err := admin.DescribeConsumerGroups(ctx, groups...)
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("describing consumer groups: %w", err)
	}
	for group, described := range described {
		counts[group] += len(described.Members)
	}
	return counts, nil
}

// causes are what to look at first, by the reason of the poison.
var causes = map[string]string{
	wire.ReasonUnknownSchema:      "The registry does not know the schema of these records: check SCHEMA_REGISTRY_URL of the consumer, and that the registry has lost nothing.",
	wire.ReasonIncompatible:       "These records were written with a schema that the consumer cannot read: check who writes to the topic and what was registered last.",
	wire.ReasonMagic:              "These records are not of this topic's format: check who writes to the topic.",
	wire.ReasonTruncated:          "These records are not of this topic's format: check who writes to the topic.",
	wire.ReasonCorrupt:            "These records are not what their schema says: check who writes to the topic, and that the registry is the one that they use.",
	wire.ReasonValidation:         "These records are no valid events: check the version of the producer.",
	consume.ReasonTooLarge:        "These records are larger than the consumer takes: check MAX_VALUE_BYTES.",
	clickhousesink.ReasonRejected: "ClickHouse takes none of these records: check that its tables are as the migrations leave them.",
}

// advice says what to do.
func (s Stopped) advice() string {
	cause := causes[s.Reason]
	if cause == "" {
		cause = "Find out what these records have in common."
	}
	again := "Then start the consumer again: it goes on where it stopped, and nothing is lost."
	if s.Members > 0 {
		again = "The group has members: the consumer was started again, and this goes away when it is past these records."
	}
	return cause + " " + again + " Only if the records themselves are at fault, start it with POISON_SHARE=1, which dead-letters them, and take that back afterwards."
}
