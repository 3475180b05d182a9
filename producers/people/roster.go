package people

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/snapshot"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/people"
	"github.com/revstream/revstream/schemas/wire"
)

// member is a person's newest event: 16 bytes, of which there are as many as people.
type member struct {
	id int64
	// order is the source version in Unix microseconds, times two, plus one for a DELETE: the order of event IDs, in which a
	// DELETE is the last of its version.
	order int64
}

func (m member) alive() bool        { return m.order&1 == 0 }
func (m member) version() time.Time { return time.UnixMicro(m.order >> 1).UTC() }

// roster is who is on the topic, each as of the newest event. Its memory stays within twice that of its members, whatever
// the topic has of events.
type roster struct {
	members []member
	sorted  int // members before this one are in order and each of another person
	// buried are those whose last record is a tombstone: the topic has nothing of them. They are few.
	buried map[int64]struct{}
}

const rosterSlack = 1 << 16 // members that are added before the first look for repetitions

func (r *roster) add(m member) {
	delete(r.buried, m.id)
	r.members = append(r.members, m)
	if len(r.members)-r.sorted > max(rosterSlack, r.sorted) {
		r.settle()
	}
}

// bury takes in a tombstone.
func (r *roster) bury(id int64) {
	if r.buried == nil {
		r.buried = make(map[int64]struct{})
	}
	r.buried[id] = struct{}{}
}

// settle leaves each person's newest event.
func (r *roster) settle() {
	slices.SortFunc(r.members, func(a, b member) int { return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(b.order, a.order)) })
	r.members = slices.CompactFunc(r.members, func(a, b member) bool { return a.id == b.id })
	r.sorted = len(r.members)
}

// Roster reads who is on the topic.
type Roster struct {
	client  *kgo.Client
	decoder *wire.Decoder
}

// NewRoster makes a reader of the topic. The client stays the caller's to close.
func NewRoster(client *kgo.Client, source wire.SchemaSource) *Roster {
	return &Roster{client: client, decoder: wire.NewDecoder(people.Schema, source)}
}

// alive returns the people who are not deleted, by ID. What is no valid person is passed over, as consumers do.
func (r *Roster) alive(ctx context.Context) ([]member, error) {
	var all roster
	err := snapshot.Read(ctx, r.client, schemas.PeopleTopic, func(record *kgo.Record) error {
		if record.Value == nil {
			if id, ok := people.ParseKey(string(record.Key)); ok {
				all.bury(id)
			}
			return nil
		}
		m, ok, err := r.read(ctx, record)
		if ok {
			all.add(m)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading who is on the topic: %w", err)
	}
	all.settle()
	return slices.DeleteFunc(all.members, func(m member) bool {
		_, buried := all.buried[m.id]
		return buried || !m.alive()
	}), nil
}

func (r *Roster) read(ctx context.Context, record *kgo.Record) (m member, ok bool, err error) {
	var person people.Person
	err = r.decoder.Decode(ctx, record.Value, &person)
	if _, invalid := errors.AsType[*wire.InvalidError](err); invalid {
		return member{}, false, nil
	}
	if err != nil || event.Check(&person, record.Key) != nil {
		return member{}, false, err
	}
	m = member{person.PersonID, person.SourceVersion.UnixMicro() * 2}
	if person.Operation == event.Delete {
		m.order++
	}
	return m, true, nil
}
