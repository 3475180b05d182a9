package samples

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/clickhousesink"
	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/snapshot"
	"github.com/revstream/revstream/pipeline/table"
)

const (
	lettersTable   = "dead_letters"
	positionsTable = "dead_letter_positions"

	lettersBatch = 10_000       // letters in memory at a time
	unreadable   = "unreadable" // reason of a record that is no dead letter
	longestName  = 200          // of what a header says, which may be anything on a record that others wrote
)

// letterRow is a letter without what is in it.
type letterRow struct {
	deadletter.Letter
	topic   string
	topicID uuid.UUID
	eventID *uuid.UUID
	written time.Time
}

var letterColumns = []table.Column[*letterRow]{
	table.Of("topic", "LowCardinality(String)", func(r *letterRow) string { return r.topic }),
	table.Of("partition", "Int32", func(r *letterRow) int32 { return r.Partition }),
	table.Of("offset", "Int64", func(r *letterRow) int64 { return r.Offset }),
	table.Of("topic_id", "UUID", func(r *letterRow) uuid.UUID { return r.topicID }),
	table.Of("original_topic", "LowCardinality(String)", func(r *letterRow) string { return short(r.Topic) }),
	table.Of("original_partition", "Int32", func(r *letterRow) int32 { return r.OriginalPartition }),
	table.Of("original_offset", "Int64", func(r *letterRow) int64 { return r.OriginalOffset }),
	table.Of("reason", "LowCardinality(String)", func(r *letterRow) string { return short(r.Reason) }),
	table.Of("stage", "LowCardinality(String)", func(r *letterRow) string { return short(r.Stage) }),
	table.Of("consumer_group", "LowCardinality(String)", func(r *letterRow) string { return short(r.Group) }),
	table.Of("event_id", "Nullable(UUID)", func(r *letterRow) *uuid.UUID { return r.eventID }),
	table.Of("attempts", "Int32", func(r *letterRow) int32 { return int32(r.Attempts) }),
	table.Of("replays", "Int32", func(r *letterRow) int32 { return int32(r.Replays) }),
	table.Of("first_failure", "DateTime64(6, 'UTC')", func(r *letterRow) time.Time { return moment(r.FirstFailure) }),
	table.Of("last_failure", "DateTime64(6, 'UTC')", func(r *letterRow) time.Time { return moment(r.LastFailure) }),
	table.Of("written_at", "DateTime64(6, 'UTC')", func(r *letterRow) time.Time { return moment(r.written) }),
}

// position is how far a partition was copied.
type position struct {
	topic       string
	partition   int32
	topicID     uuid.UUID
	first, next int64
	at          time.Time
}

var positionColumns = []table.Column[position]{
	table.Of("topic", "LowCardinality(String)", func(p position) string { return p.topic }),
	table.Of("partition", "Int32", func(p position) int32 { return p.partition }),
	table.Of("topic_id", "UUID", func(p position) uuid.UUID { return p.topicID }),
	table.Of("first_offset", "Int64", func(p position) int64 { return p.first }),
	table.Of("next_offset", "Int64", func(p position) int64 { return p.next }),
	table.Of("at", "DateTime64(6, 'UTC')", func(p position) time.Time { return p.at }),
}

// Letters copies what has come onto the dead-letter topics since the last time. The letters go in before the position does: a crash
// in between, and another sampler at the same time, copy some again, onto the rows that are there. A topic that fails does
// not keep it from copying the others.
func (s *Sampler) Letters(ctx context.Context) error {
	positions, err := s.positions(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, topic := range s.letters {
		if err := s.copyTopic(ctx, topic, positions); err != nil {
			errs = append(errs, fmt.Errorf("copying the dead letters of %s: %w", topic, err))
		}
	}
	return errors.Join(errs...)
}

type place struct {
	topic     string
	partition int32
}

func (s *Sampler) positions(ctx context.Context) (map[place]position, error) {
	var rows []struct {
		Topic     string    `ch:"topic"`
		Partition int32     `ch:"partition"`
		TopicID   uuid.UUID `ch:"topic_id"`
		First     int64     `ch:"first_offset"`
		Next      int64     `ch:"next_offset"`
	}
	if err := s.conn.Select(ctx, &rows, "SELECT topic, partition, topic_id, first_offset, next_offset FROM "+positionsTable+" FINAL"); err != nil {
		return nil, fmt.Errorf("reading %s: %w", positionsTable, err)
	}
	found := make(map[place]position, len(rows))
	for _, r := range rows {
		found[place{r.Topic, r.Partition}] = position{topicID: r.TopicID, first: r.First, next: r.Next}
	}
	return found, nil
}

func (s *Sampler) copyTopic(ctx context.Context, topic string, positions map[place]position) error {
	details, err := kadm.NewClient(s.kafka).ListTopics(ctx, topic)
	if err != nil {
		return fmt.Errorf("looking for the topic: %w", err)
	}
	id := uuid.UUID(details[topic].ID)
	starts, ends, err := snapshot.Bounds(ctx, s.kafka, topic)
	if err != nil {
		return err
	}
	for partition, end := range ends {
		was := positions[place{topic, partition}]
		p := position{topic: topic, partition: partition, topicID: id, first: starts[partition], next: was.next}
		// A topic that was made anew begins again; so does one that has lost records, whose offsets are given anew.
		if was.topicID != id || was.next > end {
			p.next = 0
		}
		p.next = max(p.next, p.first)
		if p.next == end && p.first == was.first && p.topicID == was.topicID && p.next == was.next {
			continue
		}
		if err := s.copyPartition(ctx, p, end); err != nil {
			return fmt.Errorf("partition %d: %w", partition, err)
		}
	}
	return nil
}

// copyPartition copies from p.next to before end, and writes down how far it has come batch by batch: after a crash in the
// middle of a million letters the next one goes on there.
func (s *Sampler) copyPartition(ctx context.Context, p position, end int64) error {
	rows := table.NewBlock(letterColumns)
	flush := func(next int64) error {
		if rows.Rows() > 0 {
			if err := clickhousesink.Insert(ctx, s.cfg, s.conn, lettersTable, letterColumns, rows); err != nil {
				return err
			}
			rows.Reset()
		}
		p.next, p.at = next, s.now().UTC()
		at := table.NewBlock(positionColumns)
		at.Append(p)
		return clickhousesink.Insert(ctx, s.cfg, s.conn, positionsTable, positionColumns, at)
	}
	err := snapshot.ReadRange(ctx, s.kafka, p.topic, p.partition, p.next, end, func(rec *kgo.Record) error {
		rows.Append(newLetterRow(rec, p))
		if rows.Rows() < lettersBatch {
			return nil
		}
		return flush(rec.Offset + 1)
	})
	if err != nil {
		return err
	}
	return flush(end)
}

func newLetterRow(rec *kgo.Record, p position) *letterRow {
	l, err := deadletter.Parse(rec)
	if err != nil {
		l = deadletter.Letter{
			Partition: rec.Partition, Offset: rec.Offset, Reason: unreadable, OriginalPartition: -1, OriginalOffset: -1,
			FirstFailure: rec.Timestamp, LastFailure: rec.Timestamp,
		}
	}
	row := &letterRow{Letter: l, topic: p.topic, topicID: p.topicID, written: rec.Timestamp}
	if id, err := uuid.Parse(l.EventID); err == nil {
		row.eventID = &id
	}
	return row
}

// moment is a time that a DateTime64 holds; another is the beginning of 1970.
func moment(at time.Time) time.Time {
	if at.Year() < 1970 || at.Year() > 2200 {
		return time.Unix(0, 0)
	}
	return at
}

func short(name string) string { return strings.ToValidUTF8(name[:min(len(name), longestName)], "") }
