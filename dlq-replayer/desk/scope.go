package desk

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/snapshot"
	"github.com/revstream/revstream/schemas"
)

// stretch is a range of a dead-letter topic's partition, without its end.
type stretch struct {
	topic     string
	partition int32
	from, to  int64
}

// log names its partition.
func (s stretch) log() string { return s.topic + "/" + strconv.Itoa(int(s.partition)) }

// idGap is how many letters may lie between two that are named for both to be read in one go.
const idGap = 1000

// scope returns what has to be read for a selection, in the order in which letters are told: by topic, partition and
// offset. It ends where the partitions end now.
func (d *Desk) scope(ctx context.Context, selection Selection) ([]stretch, error) {
	topics, err := d.topics(ctx, selection)
	if err != nil {
		return nil, err
	}
	named := make(map[string][]int64) // offsets of the IDs, by partition
	for _, id := range selection.IDs {
		named[id.log()] = append(named[id.log()], id.Offset)
	}
	var scope []stretch
	for _, topic := range topics {
		starts, ends, err := snapshot.Bounds(ctx, d.client, topic)
		if err != nil {
			return nil, explainRead(topic, err)
		}
		for _, partition := range slices.Sorted(maps.Keys(ends)) {
			s := stretch{topic: topic, partition: partition, from: starts[partition], to: ends[partition]}
			if len(selection.Partitions) > 0 && !slices.Contains(selection.Partitions, partition) {
				continue
			}
			if o := selection.Offsets; o != nil {
				s.from = max(s.from, o.From)
				if o.To >= 0 {
					s.to = min(s.to, o.To+1)
				}
			}
			if len(selection.IDs) > 0 {
				scope = append(scope, s.around(named[s.log()])...)
			} else if s.from < s.to {
				scope = append(scope, s)
			}
		}
	}
	return scope, nil
}

// around returns the parts of a stretch that hold the offsets.
func (s stretch) around(offsets []int64) (parts []stretch) {
	slices.Sort(offsets)
	for _, offset := range offsets {
		switch last := len(parts) - 1; {
		case offset < s.from || offset >= s.to:
		case last >= 0 && offset-parts[last].to < idGap:
			parts[last].to = offset + 1
		default:
			parts = append(parts, stretch{topic: s.topic, partition: s.partition, from: offset, to: offset + 1})
		}
	}
	return parts
}

// read calls each for the committed records of a stretch.
func (d *Desk) read(ctx context.Context, s stretch, each func(*kgo.Record) error) error {
	if s.from >= s.to {
		return nil
	}
	return explainRead(s.topic, snapshot.ReadRange(ctx, d.client, s.topic, s.partition, s.from, s.to, each))
}

// topics returns the dead-letter topics of a selection. Those that are named must exist.
func (d *Desk) topics(ctx context.Context, selection Selection) ([]string, error) {
	names := make(map[string]bool)
	for _, topic := range selection.Topics {
		names[schemas.DLQTopic(originalTopic(topic))] = true
	}
	if len(selection.IDs) > 0 {
		of := make(map[string]bool)
		for _, id := range selection.IDs {
			if dlq := schemas.DLQTopic(id.Topic); len(names) == 0 || names[dlq] {
				of[dlq] = true
			}
		}
		names = of
	}
	if len(selection.IDs)+len(selection.Topics) > 0 {
		return d.existing(ctx, names, true)
	}
	catalogue, err := schemas.Topics()
	if err != nil {
		return nil, err
	}
	for _, topic := range catalogue {
		if strings.HasSuffix(topic.Name, deadletter.Suffix) {
			names[topic.Name] = true
		}
	}
	return d.existing(ctx, names, false)
}

// existing sorts the names of the topics that exist; all of them must if so asked.
func (d *Desk) existing(ctx context.Context, names map[string]bool, all bool) ([]string, error) {
	var found []string
	for name := range names {
		err := snapshot.Exists(ctx, d.client, name)
		switch {
		case err == nil:
			found = append(found, name)
		case all || !errors.Is(err, snapshot.ErrNoTopic):
			return nil, explainRead(name, err)
		}
	}
	slices.Sort(found)
	return found, nil
}

func originalTopic(topic string) string { return strings.TrimSuffix(topic, deadletter.Suffix) }

// check finds out whether all letters that are named are there: one of them may be wrong, and that must be known before
// anything is done about the first.
func (d *Desk) check(ctx context.Context, selection Selection, scope []stretch) error {
	missing := make(map[ID]bool, len(selection.IDs))
	for _, id := range selection.IDs {
		missing[id] = true
	}
	for _, s := range scope {
		if len(missing) == 0 {
			return nil
		}
		if err := d.read(ctx, s, func(rec *kgo.Record) error {
			delete(missing, ID{Topic: originalTopic(rec.Topic), Partition: rec.Partition, Offset: rec.Offset})
			return nil
		}); err != nil {
			return err
		}
	}
	for _, id := range selection.IDs {
		if missing[id] {
			return fmt.Errorf("%s: %w", id, ErrUnknownLetter)
		}
	}
	return nil
}
