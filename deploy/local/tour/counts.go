package tour

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/deploy/local/status"
	"github.com/revstream/revstream/pipeline/snapshot"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
)

// drainPatience is how long the consumers may take to catch up.
const drainPatience = 60 * time.Second

// entity is a topic with its view and tables.
type entity struct{ topic, table string }

var entities = []entity{
	{schemas.ForecastTopic, "forecast"}, {schemas.PeopleTopic, "people"}, {schemas.ExportRunsTopic, "export_runs"},
}

// tally is what Kafka and ClickHouse say of one entity.
type tally struct {
	Published   int64 `json:"published"`     // records on the topic
	EventIDs    int64 `json:"event_ids"`     // distinct ones among their headers
	DeadLetters int64 `json:"dead_lettered"` // records on its dead-letter topic
	History     int64 `json:"history"`       // rows, as they are stored: nothing merged away by the reader
	Unique      int64 `json:"unique"`        // distinct event IDs among them
	Rows        int64 `json:"rows"`          // of the view: one for each key
}

// counts are the tallies by table.
type counts map[string]tally

func (c counts) sum(of func(tally) int64) (n int64) {
	for _, t := range c {
		n += of(t)
	}
	return n
}

// settle waits until the consumers have caught up, and counts anew.
func (t *Tour) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drainPatience)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		lag, err := status.Lag(ctx, kadm.NewClient(t.kafka))
		if err == nil && lag == 0 {
			break
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("the consumers are %d records behind after %s (last error: %w)", lag, drainPatience, err)
		}
	}
	now := make(counts)
	for _, e := range entities {
		count, err := t.count(ctx, e)
		if err != nil {
			return err
		}
		now[e.table] = count
	}
	t.counts = now
	return nil
}

func (t *Tour) count(ctx context.Context, e entity) (tally, error) {
	var n tally
	ids := make(map[string]struct{})
	err := snapshot.Read(ctx, t.kafka, e.topic, func(rec *kgo.Record) error {
		if rec.Value == nil {
			return nil // a tombstone, which no consumer stores
		}
		n.Published++
		for _, h := range rec.Headers {
			if h.Key == event.HeaderID {
				ids[string(h.Value)] = struct{}{}
			}
		}
		return nil
	})
	if err != nil {
		return n, err
	}
	n.EventIDs = int64(len(ids))
	err = snapshot.Read(ctx, t.kafka, schemas.DLQTopic(e.topic), func(*kgo.Record) error {
		n.DeadLetters++
		return nil
	})
	if err != nil {
		return n, err
	}
	err = t.numbers(ctx, fmt.Sprintf("SELECT (SELECT count() FROM %[1]s_history), (SELECT uniqExact(event_id) FROM %[1]s_history), (SELECT count() FROM %[1]s)", e.table),
		&n.History, &n.Unique, &n.Rows)
	return n, err
}

func (t *Tour) query(ctx context.Context, statement string) (string, error) {
	return status.Query(ctx, t.stack.Config().ClickHouseURL(), statement)
}

// numbers runs a statement that answers with one row of numbers.
func (t *Tour) numbers(ctx context.Context, statement string, into ...*int64) error {
	answer, err := t.query(ctx, statement)
	if err != nil {
		return err
	}
	fields := strings.Fields(answer)
	if len(fields) != len(into) {
		return fmt.Errorf("ClickHouse answered %q where %d numbers were expected", answer, len(into))
	}
	for i, number := range into {
		if *number, err = strconv.ParseInt(fields[i], 10, 64); err != nil {
			return fmt.Errorf("ClickHouse answered %q where a number was expected", fields[i])
		}
	}
	return nil
}

// equal is a check: what came of a step against what should have.
func equal[T comparable](what string, got, want T) error {
	if got != want {
		return fmt.Errorf("%s: %v, should be %v", what, got, want)
	}
	return nil
}
