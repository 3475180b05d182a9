// Package clickhousesink owns the way of a batch into ClickHouse: dedupe, then the current, history and ledger tables.
package clickhousesink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/table"
)

// Conn is what the sink needs of a ClickHouse connection. Open makes one.
type Conn interface {
	InsertFormat(ctx context.Context, format, query string, data io.Reader) error
	QueryFormat(ctx context.Context, format, query string, args ...any) (io.ReadCloser, error)
}

// Tables describes where the events of one entity go: to <Entity>_current,
// <Entity>_history and <Entity>_ledger of the connection's database.
type Tables[E any] struct {
	Entity string // such as "forecast"
	// Columns fill current and history alike.
	Columns []table.Column[E]
	// NewReader makes what returns the events of records that were identified before.
	// Who has a reader is done with an event when it asks for the next.
	NewReader func() func(context.Context, *kgo.Record) (E, error)
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
//     source version wins, whenever it arrives; and, at the same time, into
//     history, whose sorting key ends in the event ID;
//  3. insert into the ledger.
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
	lookups lookups

	current, history, ledger insert

	used chan *rows[E] // memory of batches that are stored, for the next ones
}

var entityName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// New makes a sink. It does no I/O.
func New[E any](cfg Config, reg prometheus.Registerer, conn Conn, t Tables[E]) (*Sink[E], error) {
	var errs []error
	if !entityName.MatchString(t.Entity) {
		errs = append(errs, errors.New("clickhousesink: the entity is not a snake_case name"))
	}
	if t.NewReader == nil || len(t.Columns) == 0 {
		errs = append(errs, errors.New("clickhousesink: NewReader and columns are required"))
	}
	if cfg.InsertTimeout <= 0 {
		errs = append(errs, errors.New("INSERT_TIMEOUT must be positive (or --insert-timeout)"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	names := columnNames(t.Columns)
	return &Sink[E]{
		tables: t, conn: conn, timeout: cfg.InsertTimeout, metrics: newMetrics(reg, t.Entity), lookups: newLookups(t.Entity),
		current: newInsert(t.Entity+"_current", names),
		history: newInsert(t.Entity+"_history", names, columnNames(originColumns)),
		ledger:  newInsert(t.Entity+"_ledger", columnNames(idColumns), columnNames(originColumns)),
		used:    make(chan *rows[E], 2), // one is being prepared, and one stored
	}, nil
}

// Prepare implements consume.Sink. It encodes the batch as if the ledger knew none of
// it, which mostly is so.
func (s *Sink[E]) Prepare(ctx context.Context, batch []consume.Item) consume.Store {
	var r *rows[E]
	select {
	case r = <-s.used:
	default:
		r = newRows(s.tables)
	}
	unique := r.dedupe(batch)
	_ = r.encode(ctx, unique) // what fails here fails again where it can be told
	return func(ctx context.Context) ([]consume.Poison, error) {
		poison, err := s.store(ctx, batch, unique, r)
		if err == nil {
			r.items = nil
			select {
			case s.used <- r:
			default:
			}
		}
		return poison, err
	}
}

// store stores a batch that is deduped and encoded.
func (s *Sink[E]) store(ctx context.Context, batch, unique []consume.Item, r *rows[E]) ([]consume.Poison, error) {
	known, err := s.known(ctx, unique)
	if err != nil {
		return nil, err
	}
	fresh := unique
	if len(known) > 0 {
		fresh = slices.DeleteFunc(slices.Clone(unique), func(i consume.Item) bool { return has(known, i.ID) })
	}
	poison, err := s.write(ctx, r, fresh, isolateAtOnce)
	if errors.Is(err, consume.ErrUnfinished) {
		return poison, err
	}
	if err != nil {
		return nil, err
	}
	copies := copiesOf(batch, poison)
	s.metrics.duplicates.Add(float64(len(batch) - len(fresh) - len(copies)))
	if len(copies) == 0 {
		return poison, nil
	}
	more, err := s.store(ctx, copies, r.dedupe(copies), r)
	return append(poison, more...), err
}

func has(set map[uuid.UUID]struct{}, id uuid.UUID) bool {
	_, ok := set[id]
	return ok
}

// copiesOf are the batch's other items of the events that were rejected. An event
// keeps its ID when it is repaired, so one of them may be good.
func copiesOf(batch []consume.Item, rejected []consume.Poison) []consume.Item {
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
			ids[item.ID] = true
		}
	}
	var copies []consume.Item
	for _, item := range batch {
		if ids[item.ID] && !records[item.Record] {
			copies = append(copies, item)
		}
	}
	return copies
}

// isolateAtOnce is how many bad rows are looked for before the loop is asked
// whether to go on: as many as its cap is by default.
const isolateAtOnce = 100

// write inserts items that the ledger does not know. Where ClickHouse says
// that it can never take them, it splits them until the bad ones stand alone:
// k bad rows among n cost O(k·log n) inserts, and the rest goes in. With the
// last of so many bad rows as it may find, it returns consume.ErrUnfinished.
func (s *Sink[E]) write(ctx context.Context, r *rows[E], items []consume.Item, most int) ([]consume.Poison, error) {
	if len(items) == 0 {
		return nil, nil
	}
	err := s.insertAll(ctx, r, items)
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
	left, err := s.write(ctx, r, items[:half], most)
	if err != nil {
		return left, err
	}
	right, err := s.write(ctx, r, items[half:], most-len(left))
	return append(left, right...), err
}

// insertAll is steps 2 and 3.
func (s *Sink[E]) insertAll(ctx context.Context, r *rows[E], items []consume.Item) error {
	if err := r.encode(ctx, items); err != nil {
		return err
	}
	current, history := make(chan error, 1), make(chan error, 1)
	go func() { current <- s.run(ctx, &s.current, r.content) }()
	go func() { history <- s.run(ctx, &s.history, r.content, r.origin) }()
	err := outageFirst(<-current, <-history)
	if err == nil {
		err = s.run(ctx, &s.ledger, r.ids, r.origin)
	}
	r.sending = r.sending || err != nil
	return err
}

// outageFirst returns one of two errors: a rejection makes the sink split the
// batch, which is in vain while the other table is away.
func outageFirst(a, b error) error {
	if a == nil || b != nil && rejection(b) == "" {
		return b
	}
	return a
}

func (s *Sink[E]) run(ctx context.Context, in *insert, parts ...table.Part) error {
	start := time.Now()
	if err := in.run(ctx, s.conn, s.timeout, parts); err != nil {
		s.metrics.errors.WithLabelValues(in.table, codeOf(err)).Inc()
		return fmt.Errorf("inserting %d rows into %s: %w", parts[0].Rows(), in.table, err)
	}
	s.metrics.insertSeconds.WithLabelValues(in.table).Observe(time.Since(start).Seconds())
	return nil
}

var _ consume.Sink = (*Sink[*kgo.Record])(nil)
