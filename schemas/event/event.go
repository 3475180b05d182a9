// Package event owns what every event has: its identity, its envelope and its headers.
package event

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Operation says what an event does to its entity.
type Operation string

// The operations of the Avro enum.
const (
	Upsert Operation = "UPSERT"
	Delete Operation = "DELETE"
)

// Envelope is what every event begins with. Its fields stand first in every
// schema, so that a subscriber needs no header to dedupe and to order.
type Envelope struct {
	EventID       uuid.UUID `avro:"event_id"`
	SourceVersion time.Time `avro:"source_version"` // the source's clock, to the microsecond
	ObservedAt    time.Time `avro:"observed_at"`
	Operation     Operation `avro:"operation"`
	CorrelationID string    `avro:"correlation_id"`
}

// Event is what the runtime needs to know of any event.
type Event interface {
	// Head returns the envelope.
	Head() *Envelope
	// Entity names the kind of thing that the event is about, such as "forecast".
	Entity() string
	// Key is the entity's stable ID: the record's key.
	Key() string
	// AppendKey appends Key to dst.
	AppendKey(dst []byte) []byte
	// Validate says what is wrong with the content. Its errors name fields, never values.
	Validate() error
}

// ErrVersionRange is returned for a source version that an event ID cannot
// carry: before 1970, or in the year 10889 and later.
var ErrVersionRange = errors.New("source version outside what 48 bits of milliseconds since 1970 hold")

// Bounds of the times that an event may carry: a warehouse column holds none
// before 1900, and a database driver that counts 64 bits of nanoseconds turns
// what is beyond April 2262 into another time, silently.
var (
	minTime = time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)
	maxTime = time.Date(2262, 1, 1, 0, 0, 0, 0, time.UTC)
)

// ErrTimeRange is returned by Seal, Check and CheckTimes for a time that the warehouse
// cannot hold: before 1900, or in 2262 and later.
var ErrTimeRange = errors.New("not a time from 1900 to 2261")

// Moment is a named time of an event; nil is one that the event has not.
type Moment struct {
	Name string
	Time *time.Time
}

func holds(t time.Time) bool { return !t.Before(minTime) && t.Before(maxTime) }

// CheckTimes says which of an event's times the warehouse cannot hold.
func CheckTimes(moments ...Moment) error {
	var errs []error
	for _, m := range moments {
		if m.Time != nil && !holds(*m.Time) {
			errs = append(errs, fmt.Errorf("%s: %w", m.Name, ErrTimeRange))
		}
	}
	return errors.Join(errs...)
}

// NewID derives the ID of a fact: a UUID of version 8 that holds 48 bits of
// the version's milliseconds, 12 bits of its microseconds within the
// millisecond, one bit that is set for a DELETE, and 61 bits of SHA-256 over
// (entity, key, version, operation).
//
// Compared as a big-endian number, IDs sort by the source's clock, and at one
// version a delete sorts last. ClickHouse compares a UUID by its second half:
// there, order by toUInt128(event_id).
func NewID(entity, key string, version time.Time, op Operation) (uuid.UUID, error) {
	return newID(entity, key, version, op)
}

func newID[K string | []byte](entity string, key K, version time.Time, op Operation) (uuid.UUID, error) {
	micros := version.UnixMicro()
	ms := micros / 1000
	if micros < 0 || ms >= 1<<48 {
		return uuid.Nil, ErrVersionRange
	}
	var id uuid.UUID
	binary.BigEndian.PutUint64(id[:8], uint64(ms)<<16|0x8000|uint64(micros%1000))
	sum := fingerprint(entity, key, micros, op)
	low := binary.BigEndian.Uint64(sum[:8]) >> 3 // 61 bits
	if op == Delete {
		low |= 1 << 61
	}
	binary.BigEndian.PutUint64(id[8:], 1<<63|low)
	return id, nil
}

// fingerprint hashes the identity with each text prefixed by its length, so
// that no two identities share their bytes.
func fingerprint[K string | []byte](entity string, key K, micros int64, op Operation) [sha256.Size]byte {
	buf := make([]byte, 0, 256) // on the stack: hardly a key is longer
	buf = append(binary.AppendUvarint(buf, uint64(len(entity))), entity...)
	buf = append(binary.AppendUvarint(buf, uint64(len(key))), key...)
	buf = append(binary.AppendUvarint(buf, uint64(len(op))), op...)
	return sha256.Sum256(binary.BigEndian.AppendUint64(buf, uint64(micros)))
}

// keys holds room for keys that are compared and forgotten: what goes through
// an interface would otherwise be allocated anew for each event.
var keys = sync.Pool{New: func() any { b := make([]byte, 0, 256); return &b }}

// hasKey tells whether the key is the event's.
func hasKey(e Event, key []byte) bool {
	room := keys.Get().(*[]byte)
	*room = e.AppendKey((*room)[:0])
	same := string(*room) == string(key)
	keys.Put(room)
	return same
}

// Seal fills in the envelope of a fact: its ID, and its times in UTC to the
// microsecond, which is all that the schema carries.
func Seal(e Event, op Operation, version, observed time.Time, correlationID string) error {
	version = version.UTC().Truncate(time.Microsecond)
	room := keys.Get().(*[]byte)
	*room = e.AppendKey((*room)[:0])
	id, err := newID(e.Entity(), *room, version, op)
	keys.Put(room)
	if err == nil && (!holds(version) || !holds(observed)) {
		v, o := version, observed // what CheckTimes is given is allocated
		err = CheckTimes(Moment{"source_version", &v}, Moment{"observed_at", &o})
	}
	if err != nil {
		return fmt.Errorf("sealing %s event: %w", e.Entity(), err)
	}
	*e.Head() = Envelope{
		EventID:       id,
		SourceVersion: version,
		ObservedAt:    observed.UTC().Truncate(time.Microsecond),
		Operation:     op,
		CorrelationID: correlationID,
	}
	return nil
}

// Check validates an event that arrived with the given record key: the key is
// the entity's, the ID is the one that the content decides, and the content
// itself is valid. Errors name fields, never values.
//
// The ID is checked because the warehouse orders versions by it: an event with
// a foreign ID could hide a newer one for ever.
func Check(e Event, recordKey []byte) error {
	head := e.Head()
	switch {
	case len(recordKey) == 0:
		return errors.New("the record has no key")
	case head.Operation != Upsert && head.Operation != Delete:
		return errors.New("operation is not UPSERT or DELETE")
	}
	if err := CheckTimes(Moment{"source_version", &head.SourceVersion}, Moment{"observed_at", &head.ObservedAt}); err != nil {
		return err
	}
	if err := e.Validate(); err != nil {
		return err
	}
	if !hasKey(e, recordKey) {
		return errors.New("the record's key is not the key of its value")
	}
	id, err := newID(e.Entity(), recordKey, head.SourceVersion, head.Operation)
	if err != nil {
		return fmt.Errorf("source_version: %w", err)
	}
	if id != head.EventID {
		return errors.New("event_id is not the ID of (key, source_version, operation)")
	}
	return nil
}
