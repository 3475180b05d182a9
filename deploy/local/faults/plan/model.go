package plan

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/revstream/revstream/schemas/event"
)

// Model is what must come of a plan, whatever died on the way.
type Model struct {
	Plan   Plan
	Topics map[string]*Topic
	Roles  map[Role]int       // steps of each role
	Poison map[PoisonKind]int // steps of each kind of poison
	// Deletes and EqualVersions count facts: those that delete, and those of a key that share a source version.
	Deletes, EqualVersions int
}

// Topic is what must come of one topic's records.
type Topic struct {
	Name string
	// Facts are the events that are valid, or become so by a repair, each once, in the order of their IDs.
	Facts []Fact
	// Poison counts the steps that publish a poison record, by its bytes.
	Poison map[Fingerprint]Letters

	plan  Plan
	keys  map[string]int32 // number of a key in names and newest
	names []string
	// newest is the index in Facts of each key's newest fact, or -1: of the sound ones, and of all.
	newest [2][]int32
}

// Fact is an event of the model.
type Fact struct {
	ID uuid.UUID
	// Kind is Sound for an event that is published valid, and else says which repair makes it so.
	Kind PoisonKind
	Step int32 // one that publishes it
	key  int32
}

// Letters is how often a plan publishes the same poison record.
type Letters struct {
	Kind  PoisonKind
	Steps int
}

// Fingerprint stands for a record's key and value.
type Fingerprint [sha256.Size]byte

// Print is the fingerprint of a record. A null value has another one than an empty value.
func Print(key, value []byte) Fingerprint {
	buf := binary.AppendUvarint(make([]byte, 0, len(key)+len(value)+16), uint64(len(key)))
	buf = append(buf, key...)
	if value != nil {
		buf = append(append(buf, 1), value...)
	}
	return sha256.Sum256(buf)
}

// Model works out what must come of the plan: some 60 bytes and 2 microseconds a step.
func (p Plan) Model() *Model {
	m := &Model{Plan: p, Topics: make(map[string]*Topic), Roles: make(map[Role]int), Poison: make(map[PoisonKind]int)}
	topics := make([]*Topic, len(Topics()))
	for i, name := range Topics() {
		topics[i] = &Topic{Name: name, Poison: make(map[Fingerprint]Letters), plan: p, keys: make(map[string]int32), names: make([]string, p.keys())}
		m.Topics[name] = topics[i]
	}
	for i := range p.Events {
		role := p.role(i)
		m.Roles[role]++
		if role == Duplicate || role == Reexport {
			continue // of facts that another step states
		}
		f, _ := p.resolve(i)
		t, kind := topics[f.topic], Sound
		if role == Poisoned {
			kind = p.poisonKind(i)
			m.Poison[kind]++
			step := p.Step(i)
			print := Print([]byte(step.Event.Key()), step.Poison.Value)
			t.Poison[print] = Letters{Kind: kind, Steps: t.Poison[print].Steps + 1}
		}
		if kind == Corrupt {
			continue
		}
		t.add(f, kind, i)
	}
	for _, t := range topics {
		t.settle(p.keys(), m)
	}
	return m
}

func (t *Topic) add(f fact, kind PoisonKind, step int) {
	key := t.names[f.key]
	if key == "" {
		key = t.plan.event(f, step).Key()
		t.names[f.key] = key
		t.keys[key] = int32(f.key)
	}
	t.Facts = append(t.Facts, Fact{ID: f.id(key), Kind: kind, Step: int32(step), key: int32(f.key)})
}

// settle puts the facts in order, drops those that twins state twice, and finds each key's newest.
func (t *Topic) settle(keys int, m *Model) {
	slices.SortFunc(t.Facts, func(a, b Fact) int {
		if c := bytes.Compare(a.ID[:], b.ID[:]); c != 0 {
			return c
		}
		return int(a.Step) - int(b.Step)
	})
	t.Facts = slices.Clip(slices.CompactFunc(t.Facts, func(a, b Fact) bool { return a.ID == b.ID }))
	for i := range t.newest {
		t.newest[i] = slices.Repeat([]int32{-1}, keys)
	}
	for i, f := range t.Facts {
		if deletes(f.ID) {
			m.Deletes++
		}
		if before := t.newest[1][f.key]; before >= 0 && version(t.Facts[before].ID) == version(f.ID) {
			m.EqualVersions++
		}
		t.newest[1][f.key] = int32(i)
		if f.Kind == Sound {
			t.newest[0][f.key] = int32(i)
		}
	}
}

// id is the ID of a fact about the entity of a key.
func (f fact) id(key string) uuid.UUID {
	id, err := event.NewID(entities[f.topic], key, time.UnixMicro(f.micros), f.op)
	if err != nil {
		panic(err) // the plan's clock runs within a few days of 2026
	}
	return id
}

// deletes reads the operation off an ID.
func deletes(id uuid.UUID) bool { return id[8]&0x20 != 0 }

// version reads the source version off an ID, in a form that can be compared.
func version(id uuid.UUID) uint64 { return binary.BigEndian.Uint64(id[:8]) }

// Find returns the index of a fact in Facts.
func (t *Topic) Find(id uuid.UUID) (index int, found bool) {
	return slices.BinarySearchFunc(t.Facts, id, func(f Fact, id uuid.UUID) int { return bytes.Compare(f.ID[:], id[:]) })
}

// Event is what the fact of an index states.
func (t *Topic) Event(index int) event.Event { return t.plan.Step(int(t.Facts[index].Step)).Event }

// Key is the key that the fact of an index is about.
func (t *Topic) Key(index int) string { return t.names[t.Facts[index].key] }

// Deletes says whether the fact of an index deletes its key.
func (t *Topic) Deletes(index int) bool { return deletes(t.Facts[index].ID) }

// Has says whether any fact is about a key.
func (t *Topic) Has(key string) bool {
	_, ok := t.keys[key]
	return ok
}

// Newest returns the index of the fact that a key must show, or false if the key must not be seen: because its newest
// fact is a delete, because none of its facts is valid, or because there is no such key.
func (t *Topic) Newest(key string, repaired bool) (index int, visible bool) {
	n, ok := t.keys[key]
	if !ok {
		return 0, false
	}
	i := t.newest[number(repaired)][n]
	return int(i), i >= 0 && !deletes(t.Facts[i].ID)
}

// Visible returns the indexes of the facts that must be seen, one of each key that has one.
func (t *Topic) Visible(repaired bool) []int {
	var visible []int
	for _, i := range t.newest[number(repaired)] {
		if i >= 0 && !deletes(t.Facts[i].ID) {
			visible = append(visible, int(i))
		}
	}
	return visible
}

func number(repaired bool) int {
	if repaired {
		return 1
	}
	return 0
}
