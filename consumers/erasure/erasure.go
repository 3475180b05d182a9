// Package erasure owns how a person is erased from tables and topic, and kept from coming back.
package erasure

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/consumers/migrations"
	"github.com/revstream/revstream/pipeline/clickhousesink"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/people"
)

// Producer is what the eraser needs of a Kafka client, which must wait for all in-sync replicas.
type Producer interface {
	ProduceSync(context.Context, ...*kgo.Record) kgo.ProduceResults
}

// Eraser erases people. A person is erased up to an event, the newest that is known of them, and this in steps:
//
//  1. a row in erasures says that it is to be done;
//  2. a tombstone on the topic makes compaction let go of the records before it;
//  3. into current goes a row of the person's number alone, deleted, whose version is that of the event: what arrives late
//     loses against it, as every older version does;
//  4. the other rows in current, and all in history, are deleted;
//  5. the row in erasures says that it was done.
//
// Doing any of it again is harmless, so what was interrupted is done again from the beginning. What arrives late is hidden
// in current by 3, and stands in history until Run lets go of it.
type Eraser struct {
	logger *slog.Logger
	conn   clickhouse.Conn
	kafka  Producer
	now    func() time.Time
}

// New makes an eraser. It does no I/O. Connection and client stay the caller's to close.
func New(logger *slog.Logger, conn clickhouse.Conn, kafka Producer) (*Eraser, error) {
	if logger == nil || conn == nil || kafka == nil {
		return nil, errors.New("erasure: logger, connection and producer are required")
	}
	return &Eraser{logger: logger, conn: conn, kafka: kafka, now: time.Now}, nil
}

// Order says whom to erase.
type Order struct {
	Key     string // such as salesloft:123
	By, Why string // both required
	Force   bool   // also if the source has not deleted the person
}

// Found is what the warehouse has of a person.
type Found struct {
	Key     string            `json:"key"`
	Deleted bool              `json:"deleted"`          // at the source, in the newest version
	Newest  *time.Time        `json:"newest_version"`   // source version; nil where there is nothing
	Rows    map[string]uint64 `json:"rows"`             // by table, superseded ones included
	Erased  *time.Time        `json:"erased_at"`        // when the person was last erased; nil if never, or not to the end
	Asked   *time.Time        `json:"erasure_asked_at"` // nil if never

	id    int64
	noted *note
}

// Look says what there is of a person. It changes nothing.
func (e *Eraser) Look(ctx context.Context, key string) (Found, error) {
	id, ok := people.ParseKey(key)
	if !ok {
		return Found{}, errors.New("the key of a person is salesloft:<ID>, such as salesloft:123 (--person)")
	}
	f := Found{Key: key, Rows: map[string]uint64{}, id: id}
	var newest uuid.UUID
	for _, table := range tables {
		var (
			rows    uint64
			last    uuid.UUID
			version time.Time
			deleted uint8
		)
		err := e.conn.QueryRow(ctx, fmt.Sprintf("SELECT countIf(correlation_id != '%s'), argMax(event_id, toUInt128(event_id)), argMax(source_version, toUInt128(event_id)), argMax(is_deleted, toUInt128(event_id)) FROM %s WHERE person_id = %d",
			mark, table, id)).Scan(&rows, &last, &version, &deleted)
		if err != nil {
			return f, fmt.Errorf("looking for the person in %s: %w", table, clickhousesink.Safe(err))
		}
		f.Rows[table] = rows
		if bytes.Compare(last[:], newest[:]) > 0 {
			newest, f.Newest, f.Deleted = last, &version, deleted == 1
		}
	}
	notes, err := e.notes(ctx, "WHERE key = ?", key)
	if err != nil {
		return f, err
	}
	if len(notes) > 0 {
		f.noted, f.Asked, f.Erased = &notes[0], &notes[0].At, notes[0].FinishedAt
	}
	return f, nil
}

// Erase erases a person, and returns what there was of them.
func (e *Eraser) Erase(ctx context.Context, o Order) (Found, error) {
	if o.By == "" || o.Why == "" {
		return Found{}, errors.New("an erasure needs somebody who asks for it and a reason (--reason)")
	}
	f, err := e.Look(ctx, o.Key)
	if err != nil {
		return f, err
	}
	switch {
	case o.Force, f.Newest != nil && f.Deleted:
	case f.Newest == nil:
		return f, fmt.Errorf("%w: with --force a tombstone is put on the topic all the same, and what arrives late is erased", ErrUnknown)
	default:
		return f, fmt.Errorf("%w: the next change to them would bring them back; delete them in Salesloft and wait for that to arrive, or give --force", ErrAlive)
	}
	n, err := e.newNote(f, o)
	if err != nil {
		return f, err
	}
	return f, e.carryOut(ctx, f.id, n)
}

// newNote is what an order comes to, on top of earlier ones for the same person.
func (e *Eraser) newNote(f Found, o Order) (note, error) {
	now := e.now().UTC().Truncate(time.Microsecond)
	n := note{Key: o.Key, Until: now, At: now, By: o.By, Why: o.Why, Forced: !f.Deleted, Rows: maps.Clone(f.Rows)}
	if f.Newest != nil {
		n.Until = *f.Newest
	}
	if f.noted != nil {
		n.add(*f.noted)
	}
	// As a DELETE, which sorts last at its version, so that the version itself is erased whatever it was.
	id, err := event.NewID(people.Entity, o.Key, n.Until, event.Delete)
	if err != nil {
		return n, fmt.Errorf("deciding up to which event to erase: %w", err)
	}
	n.UntilEventID = id
	return n, nil
}

// Report is what Run did.
type Report struct {
	Erasures    int      `json:"erasures"`    // all that were ever asked for
	Interrupted []string `json:"interrupted"` // keys whose erasure had not come to its end
	Returned    []Found  `json:"returned"`    // what had arrived of others since; their Rows are those that go
}

// Again says what Run would do. It changes nothing.
func (e *Eraser) Again(ctx context.Context) (Report, error) {
	_, report, err := e.due(ctx)
	return report, err
}

// Run lets go of what has arrived of erased people since, and carries out what was interrupted.
func (e *Eraser) Run(ctx context.Context) (Report, error) {
	due, report, err := e.due(ctx)
	for _, n := range due {
		id, _ := people.ParseKey(n.Key)
		if err := e.carryOut(ctx, id, n); err != nil {
			return report, err
		}
		e.logger.InfoContext(ctx, "erased again", "key", n.Key)
	}
	return report, err
}

func (e *Eraser) due(ctx context.Context) (due []note, report Report, err error) {
	notes, err := e.notes(ctx, "")
	if err != nil {
		return nil, report, err
	}
	returned, err := e.returned(ctx)
	if err != nil {
		return nil, report, err
	}
	report = Report{Erasures: len(notes), Interrupted: []string{}, Returned: []Found{}}
	for _, n := range notes {
		rows, back := returned[n.Key]
		switch {
		case n.FinishedAt == nil:
			report.Interrupted = append(report.Interrupted, n.Key)
		case back:
			report.Returned = append(report.Returned, Found{Key: n.Key, Rows: maps.Clone(rows), Asked: &n.At, Erased: n.FinishedAt})
			n.add(note{Rows: rows})
		default:
			continue
		}
		due = append(due, n)
	}
	return due, report, nil
}

// carryOut takes the steps.
func (e *Eraser) carryOut(ctx context.Context, id int64, n note) error {
	layout, err := migrations.Find(ctx, e.conn)
	if err != nil {
		return err
	}
	n.FinishedAt = nil
	if err := e.write(ctx, &n); err != nil {
		return err
	}
	tombstone := &kgo.Record{Topic: schemas.PeopleTopic, Key: []byte(n.Key)}
	if err := e.kafka.ProduceSync(ctx, tombstone).FirstErr(); err != nil {
		return fmt.Errorf("putting a tombstone on %s: %w", schemas.PeopleTopic, err)
	}
	if err := e.hide(ctx, id, n); err != nil {
		return err
	}
	for _, table := range tables {
		if err := e.remove(ctx, layout.Storage(table), id, n); err != nil {
			return err
		}
	}
	finished := e.now().UTC()
	n.FinishedAt = &finished
	return e.write(ctx, &n)
}
