// Package clickhousesink owns the way of events into ClickHouse: columns, dedupe, then the current, history and ledger tables.
package clickhousesink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/table"
	"github.com/revstream/revstream/pipeline/tracing"
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
	Columns   []table.Column[E]
	NewReader func() Reader[E]
	// Dates are those of an event: when it happened by the source's clock, and when its producer saw it. Optional.
	Dates func(E) (happened, observed time.Time)
}

// Reader returns the event of a record, valid until it is asked for the next, and the event's ID.
// Its errors are as consume.Batch has them.
type Reader[E any] func(context.Context, *kgo.Record) (E, uuid.UUID, error)

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

	used  chan *batch[E] // that are stored, for their memory
	fresh *rows[E]       // memory for what is left of a batch when the ledger has some of it
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
		used:    make(chan *batch[E], 2), // one is being filled, and one stored
	}, nil
}

// reuse leaves a batch's memory to the next one.
func (s *Sink[E]) reuse(b *batch[E]) {
	if b.rows.lingering {
		return
	}
	b.reset()
	select {
	case s.used <- b:
	default:
	}
}

// refusal is a row that ClickHouse can never take.
type refusal struct {
	id uuid.UUID
	consume.Refused
}

// store stores rows, each of another one of the events, and says how many of them the ledger knew. It leaves the rows as
// they are.
func (s *Sink[E]) store(ctx context.Context, r *rows[E], events map[uuid.UUID]struct{}) (refused []refusal, duplicates int, err error) {
	if r.len() == 0 {
		return nil, 0, nil
	}
	known, err := s.lookUp(ctx, events)
	if err != nil {
		return nil, 0, err
	}
	fresh := s.without(r, known)
	refused, err = s.write(ctx, fresh, isolateAtOnce)
	return refused, r.len() - fresh.len(), err
}

// lookUp is step 1.
func (s *Sink[E]) lookUp(ctx context.Context, events map[uuid.UUID]struct{}) (known map[uuid.UUID]struct{}, err error) {
	start := time.Now()
	ctx, span := startSpan(ctx, "look up", s.lookups.ledger, len(events))
	defer func() {
		span.SetAttributes(attribute.Int("revstream.known", len(known)))
		tracing.End(span, err)
	}()
	if known, err = s.known(ctx, events); err != nil {
		s.metrics.lookupErrors.WithLabelValues(codeOf(err)).Inc()
		return nil, err
	}
	s.metrics.lookupSeconds.Observe(time.Since(start).Seconds())
	return known, nil
}

// startSpan starts the span of one call of ClickHouse, to which Open's connections pass it on.
func startSpan(ctx context.Context, what, table string, rows int) (context.Context, trace.Span) {
	return tracing.Start(ctx, what+" "+table, trace.WithSpanKind(trace.SpanKindClient), tracing.With(
		attribute.String("db.system.name", "clickhouse"), attribute.String("db.collection.name", table), attribute.Int("revstream.rows", rows)))
}

// without copies those rows that the ledger does not know, if it knows any.
func (s *Sink[E]) without(r *rows[E], known map[uuid.UUID]struct{}) *rows[E] {
	fresh, left := r.mask(func(_ int, o origin) bool { return !has(known, o.id) })
	if left == r.len() {
		return r
	}
	if s.fresh == nil || s.fresh.lingering {
		s.fresh = newRows(s.tables.Columns)
	}
	s.fresh.reset()
	s.fresh.appendFrom(r, fresh)
	return s.fresh
}

// isolateAtOnce is how many bad rows are looked for before the loop is asked
// whether to go on: as many as its cap is by default.
const isolateAtOnce = 100

// write inserts rows that the ledger does not know. Where ClickHouse says
// that it can never take them, it splits them until the bad ones stand alone:
// k bad rows among n cost O(k·log n) inserts, and the rest goes in. With the
// last of so many bad rows as it may find, it returns consume.ErrUnfinished. With any other
// error it returns nothing else.
func (s *Sink[E]) write(ctx context.Context, r *rows[E], most int) ([]refusal, error) {
	if r.len() == 0 {
		return nil, nil
	}
	err := s.insertAll(ctx, r)
	if err == nil {
		s.metrics.stored.Add(float64(r.len()))
		return nil, nil
	}
	rejected := rejection(err)
	if rejected == "" {
		return nil, err
	}
	if r.len() == 1 {
		o := r.origins[0]
		refused := []refusal{{o.id, consume.Refused{
			Place: o.at, Reason: ReasonRejected, Message: "ClickHouse cannot take the row: " + rejected, Failed: time.Now(),
		}}}
		if most == 1 {
			return refused, consume.ErrUnfinished
		}
		return refused, nil
	}
	half := r.len() / 2
	left, err := s.write(ctx, r.pick(func(i int, _ origin) bool { return i < half }), most)
	if err != nil {
		return left, err
	}
	right, err := s.write(ctx, r.pick(func(i int, _ origin) bool { return i >= half }), most-len(left))
	if err != nil && !errors.Is(err, consume.ErrUnfinished) {
		return nil, err
	}
	return append(left, right...), err
}

// insertAll is steps 2 and 3.
func (s *Sink[E]) insertAll(ctx context.Context, r *rows[E]) error {
	current, history := make(chan error, 1), make(chan error, 1)
	go func() { current <- s.run(ctx, &s.current, r.content) }()
	go func() { history <- s.run(ctx, &s.history, r.content, r.origin) }()
	err := outageFirst(<-current, <-history)
	if err == nil {
		err = s.run(ctx, &s.ledger, r.ids, r.origin)
	}
	r.lingering = r.lingering || err != nil
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

func (s *Sink[E]) run(ctx context.Context, in *insert, parts ...table.Part) (err error) {
	start := time.Now()
	ctx, span := startSpan(ctx, "insert", in.table, parts[0].Rows())
	defer func() { tracing.End(span, err) }()
	if err := in.run(ctx, s.conn, s.timeout, parts); err != nil {
		s.metrics.errors.WithLabelValues(in.table, codeOf(err)).Inc()
		return fmt.Errorf("inserting %d rows into %s: %w", parts[0].Rows(), in.table, err)
	}
	s.metrics.insertSeconds.WithLabelValues(in.table).Observe(time.Since(start).Seconds())
	return nil
}

var _ consume.Sink = (*Sink[*kgo.Record])(nil)
