package samples

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/revstream/revstream/pipeline/clickhousesink"
	"github.com/revstream/revstream/pipeline/snapshot"
	"github.com/revstream/revstream/pipeline/table"
)

const lagTable = "consumer_lag_samples"

// lag is how far a group is behind on a topic.
type lag struct {
	at             time.Time
	group, topic   string
	partitions     int32
	committed, end int64
	behind         int64
}

var lagColumns = []table.Column[lag]{
	table.Of("at", "DateTime64(6, 'UTC')", func(l lag) time.Time { return l.at }),
	table.Of("consumer_group", "LowCardinality(String)", func(l lag) string { return l.group }),
	table.Of("topic", "LowCardinality(String)", func(l lag) string { return l.topic }),
	table.Of("partitions", "Int32", func(l lag) int32 { return l.partitions }),
	table.Of("committed_offset", "Int64", func(l lag) int64 { return l.committed }),
	table.Of("end_offset", "Int64", func(l lag) int64 { return l.end }),
	table.Of("lag", "Int64", func(l lag) int64 { return l.behind }),
}

// Lag writes down how far every group is behind that has committed offsets on a topic of the catalogue, for the present minute.
// What it could not learn of one group or topic does not keep it from writing down the others; it returns the error afterwards.
func (s *Sampler) Lag(ctx context.Context) error {
	at := s.now().UTC().Truncate(time.Minute)
	committed, err := s.committed(ctx)
	errs := []error{err}
	bounds := map[string][2]snapshot.Position{} // beginning and end, by topic
	rows := table.NewBlock(lagColumns)
	for _, group := range slices.Sorted(maps.Keys(committed)) {
		for _, topic := range slices.Sorted(maps.Keys(committed[group])) {
			if _, known := bounds[topic]; !known {
				starts, ends, err := snapshot.Bounds(ctx, s.kafka, topic)
				if err != nil && !errors.Is(err, snapshot.ErrNoTopic) { // a group remembers topics that are gone
					errs = append(errs, err)
				}
				bounds[topic] = [2]snapshot.Position{starts, ends}
			}
			if starts, ends := bounds[topic][0], bounds[topic][1]; len(ends) > 0 {
				l := behind(committed[group][topic], starts, ends)
				l.at, l.group, l.topic = at, group, topic
				rows.Append(l)
			}
		}
	}
	if rows.Rows() > 0 {
		errs = append(errs, clickhousesink.Insert(ctx, s.cfg, s.conn, lagTable, lagColumns, rows))
	}
	return errors.Join(errs...)
}

// committed are the offsets that groups go on from, by group and topic of the catalogue.
func (s *Sampler) committed(ctx context.Context) (map[string]kadm.Offsets, error) {
	admin := kadm.NewClient(s.kafka)
	groups, err := admin.ListGroups(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing the consumer groups: %w", err)
	}
	found := map[string]kadm.Offsets{}
	var errs []error
	for name, answer := range admin.FetchManyOffsets(ctx, groups.Groups()...) {
		if errors.Is(answer.Err, kerr.GroupAuthorizationFailed) || errors.Is(answer.Err, kerr.GroupIDNotFound) {
			continue // not ours to see, or gone meanwhile
		}
		if answer.Err != nil {
			errs = append(errs, fmt.Errorf("asking for the offsets of group %s: %w", name, answer.Err))
			continue
		}
		offsets := answer.Fetched.Offsets()
		for topic := range offsets {
			if _, ours := s.topics[topic]; !ours {
				delete(offsets, topic)
			}
		}
		if len(offsets) > 0 {
			found[name] = offsets
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return found, errors.Join(errs...)
}

// behind sums a topic's partitions up. A group that has committed nothing on one begins with its first record; one that has
// committed what the partition no longer has, or never had since it was made anew, begins at its first or stands at its end.
func behind(committed map[int32]kadm.Offset, starts, ends snapshot.Position) lag {
	l := lag{partitions: int32(len(ends))}
	for partition, end := range ends {
		at := starts[partition]
		if offset, ok := committed[partition]; ok {
			at = min(max(at, offset.At), end)
		}
		l.committed, l.end, l.behind = l.committed+at, l.end+end, l.behind+end-at
	}
	return l
}
