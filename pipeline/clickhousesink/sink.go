// Package clickhousesink owns the way of a batch into ClickHouse: dedupe, then the current, history and ledger tables.
package clickhousesink

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/table"
)

// Conn is what the sink needs of a ClickHouse connection.
type Conn interface {
	PrepareBatch(ctx context.Context, query string, opts ...driver.PrepareBatchOption) (driver.Batch, error)
	Query(ctx context.Context, query string, args ...any) (driver.Rows, error)
}

// Tables describes where the events of one entity go: to <Entity>_current,
// <Entity>_history and <Entity>_ledger of the connection's database.
type Tables[E any] struct {
	Entity string // such as "forecast"
	// ID returns the event's ID, which the ledger knows it by.
	ID func(E) uuid.UUID
	// Columns fill current and history alike.
	Columns []table.Column[E]
}

// Config bounds a sink.
type Config struct {
	InsertTimeout time.Duration `name:"insert-timeout" env:"INSERT_TIMEOUT" default:"60s" help:"Time for one insert; a longer one is tried again." group:"ClickHouse"`
}

// Sink stores events, each visible once. It is a consume.Sink.
//
// A batch goes in by this order, each step whole before the next begins:
//
//  1. drop what the ledger knows;
//  2. insert into current, where a row's version is its event ID: the newest
//     source version wins, whenever it arrives;
//  3. insert into history, whose sorting key ends in the event ID;
//  4. insert into the ledger.
//
// An insert that ended in an error may be there all the same, in whole or in
// part, so what is not known is done again. Doing it again is harmless in
// every table: the same rows merge into one. Only the ledger makes the sink
// skip an event, and it is written last, so nothing is skipped that is not in
// both tables before it. Were it written first, a crash between it and the
// others would lose the batch.
type Sink[E any] struct {
	tables  Tables[E]
	conn    Conn
	timeout time.Duration
	metrics *metrics

	current, history, ledger insert[consume.Item[E]]
	lookup                   string
}

var entityName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// New makes a sink. It does no I/O.
func New[E any](cfg Config, reg prometheus.Registerer, conn Conn, t Tables[E]) (*Sink[E], error) {
	var errs []error
	if !entityName.MatchString(t.Entity) {
		errs = append(errs, errors.New("clickhousesink: the entity is not a snake_case name"))
	}
	if t.ID == nil || len(t.Columns) == 0 {
		errs = append(errs, errors.New("clickhousesink: ID and columns are required"))
	}
	if cfg.InsertTimeout <= 0 {
		errs = append(errs, errors.New("INSERT_TIMEOUT must be positive (or --insert-timeout)"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	columns := make([]table.Column[consume.Item[E]], len(t.Columns))
	for i, c := range t.Columns {
		columns[i] = ofItems(c)
	}
	origin := originColumns(t.ID)
	return &Sink[E]{
		tables: t, conn: conn, timeout: cfg.InsertTimeout, metrics: newMetrics(reg, t.Entity),
		current: newInsert(t.Entity+"_current", columns),
		history: newInsert(t.Entity+"_history", append(slices.Clip(columns), origin[1:]...)),
		ledger:  newInsert(t.Entity+"_ledger", origin),
		lookup:  "SELECT DISTINCT event_id FROM " + t.Entity + "_ledger WHERE event_id IN (SELECT id FROM format(TSV, 'id UUID', '%s'))",
	}, nil
}

// ofItems lifts a column of events to the items that carry them.
func ofItems[E any](c table.Column[E]) table.Column[consume.Item[E]] {
	return table.Column[consume.Item[E]]{Name: c.Name, Type: c.Type, Values: func(items []consume.Item[E]) any {
		events := make([]E, len(items))
		for i, item := range items {
			events[i] = item.Event
		}
		return c.Values(events)
	}}
}

// originColumns say where an event was read. Event ID first: the ledger's key.
func originColumns[E any](id func(E) uuid.UUID) []table.Column[consume.Item[E]] {
	return []table.Column[consume.Item[E]]{
		table.Of("event_id", "UUID", func(i consume.Item[E]) uuid.UUID { return id(i.Event) }),
		table.Of("kafka_topic", "LowCardinality(String)", func(i consume.Item[E]) string { return i.Record.Topic }),
		table.Of("kafka_partition", "Int32", func(i consume.Item[E]) int32 { return i.Record.Partition }),
		table.Of("kafka_offset", "Int64", func(i consume.Item[E]) int64 { return i.Record.Offset }),
	}
}

// Store implements consume.Sink.
func (s *Sink[E]) Store(ctx context.Context, batch []consume.Item[E]) ([]consume.Poison, error) {
	unique := s.dedupe(batch)
	known, err := s.known(ctx, unique)
	if err != nil {
		return nil, err
	}
	fresh := unique[:0:len(unique)]
	for _, item := range unique {
		if _, ok := known[s.tables.ID(item.Event)]; !ok {
			fresh = append(fresh, item)
		}
	}
	poison, err := s.write(ctx, fresh, isolateAtOnce)
	if errors.Is(err, consume.ErrUnfinished) {
		return poison, err
	}
	if err != nil {
		return nil, err
	}
	copies := s.copies(batch, poison)
	s.metrics.duplicates.Add(float64(len(batch) - len(fresh) - len(copies)))
	if len(copies) == 0 {
		return poison, nil
	}
	more, err := s.Store(ctx, copies)
	return append(poison, more...), err
}

// copies are the batch's other items of the events that were rejected. An event
// keeps its ID when it is repaired, so one of them may be good.
func (s *Sink[E]) copies(batch []consume.Item[E], rejected []consume.Poison) []consume.Item[E] {
	if len(rejected) == 0 {
		return nil
	}
	records := make(map[*kgo.Record]bool, len(rejected))
	for _, p := range rejected {
		records[p.Record] = true
	}
	ids := make(map[uuid.UUID]bool, len(rejected))
	for _, item := range batch {
		if records[item.Record] {
			ids[s.tables.ID(item.Event)] = true
		}
	}
	var copies []consume.Item[E]
	for _, item := range batch {
		if ids[s.tables.ID(item.Event)] && !records[item.Record] {
			copies = append(copies, item)
		}
	}
	return copies
}

// dedupe keeps the first item of each event ID, in a slice of its own.
func (s *Sink[E]) dedupe(batch []consume.Item[E]) []consume.Item[E] {
	seen := make(map[uuid.UUID]struct{}, len(batch))
	unique := make([]consume.Item[E], 0, len(batch))
	for _, item := range batch {
		id := s.tables.ID(item.Event)
		if _, dup := seen[id]; dup {
			continue
		}
		seen[id] = struct{}{}
		unique = append(unique, item)
	}
	return unique
}

// isolateAtOnce is how many bad rows are looked for before the loop is asked
// whether to go on: as many as its cap is by default.
const isolateAtOnce = 100

// write inserts items that the ledger does not know. Where ClickHouse says
// that it can never take them, it splits them until the bad ones stand alone:
// k bad rows among n cost O(k·log n) inserts, and the rest goes in. With the
// last of so many bad rows as it may find, it returns consume.ErrUnfinished.
func (s *Sink[E]) write(ctx context.Context, items []consume.Item[E], most int) ([]consume.Poison, error) {
	if len(items) == 0 {
		return nil, nil
	}
	err := s.insertAll(ctx, items)
	if err == nil {
		s.metrics.stored.Add(float64(len(items)))
		return nil, nil
	}
	rejected := rejection(err)
	if rejected == "" {
		return nil, err
	}
	if len(items) == 1 {
		poison := []consume.Poison{{
			Record: items[0].Record, Stage: consume.StageSink, Reason: ReasonRejected,
			Message: "ClickHouse cannot take the row: " + rejected, Failed: time.Now(),
		}}
		if most == 1 {
			return poison, consume.ErrUnfinished
		}
		return poison, nil
	}
	half := len(items) / 2
	left, err := s.write(ctx, items[:half], most)
	if err != nil {
		return left, err
	}
	right, err := s.write(ctx, items[half:], most-len(left))
	return append(left, right...), err
}

// insertAll is steps 2 to 4.
func (s *Sink[E]) insertAll(ctx context.Context, items []consume.Item[E]) error {
	for _, in := range []*insert[consume.Item[E]]{&s.current, &s.history, &s.ledger} {
		start := time.Now()
		if err := in.run(ctx, s.conn, s.timeout, items); err != nil {
			s.metrics.errors.WithLabelValues(in.table, codeOf(err)).Inc()
			return fmt.Errorf("inserting %d rows into %s: %w", len(items), in.table, err)
		}
		s.metrics.insertSeconds.WithLabelValues(in.table).Observe(time.Since(start).Seconds())
	}
	return nil
}

var _ consume.Sink[*kgo.Record] = (*Sink[*kgo.Record])(nil)
