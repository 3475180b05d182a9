package desk

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/schemas/wire"
)

// ReasonNotALetter is the reason of a record on a dead-letter topic that is no dead letter.
const ReasonNotALetter = "not_a_dead_letter"

// Entry is a dead letter with what was decided about it.
type Entry struct {
	ID     ID
	Letter deadletter.Letter
	State  string // one of AllStates
	// Flaw says why the letter can never be replayed; empty for one that can. Of a record that is no dead letter, only
	// the key, the value, the headers and the time, as LastFailure, are known.
	Flaw string
	// Schema is the ID in the registry that the value names; 0 if it names none.
	Schema int
}

// NewEntry makes an entry of a dead-letter topic's record. Its state is Open, as the record does not know of decisions.
// It shares the record's memory.
func NewEntry(rec *kgo.Record) Entry {
	id := ID{Topic: originalTopic(rec.Topic), Partition: rec.Partition, Offset: rec.Offset}
	letter, err := deadletter.Parse(rec)
	e := Entry{ID: id, Letter: letter, State: Open}
	switch {
	case err != nil:
		e.Flaw = err.Error()
		e.Letter = deadletter.Letter{
			Partition: rec.Partition, Offset: rec.Offset, Topic: id.Topic, Reason: ReasonNotALetter,
			Key: rec.Key, Value: rec.Value, Headers: rec.Headers, LastFailure: rec.Timestamp,
		}
	case letter.Stage == string(deadletter.StageProduce):
		e.Flaw = "it is what the source sent and was never an event: the source's next change brings it anew"
		return e // its value is the source's own
	case letter.Topic != id.Topic:
		// Whoever may write to a dead-letter topic must not thereby write to any other.
		e.Flaw = "its header names a topic that this is not the dead-letter topic of"
	}
	if schema, _, err := wire.Split(rec.Value); err == nil {
		e.Schema = schema
	}
	return e
}

// detach gives the entry memory of its own. A record shares that of all that was fetched with it, so a few letters that
// are kept for a transaction would keep megabytes each.
func (e *Entry) detach() {
	l := &e.Letter
	size := len(l.Key) + len(l.Value)
	for _, h := range l.Headers {
		size += len(h.Value)
	}
	memory := make([]byte, 0, size)
	clone := func(b []byte) []byte {
		if b == nil {
			return nil // a tombstone stays one
		}
		from := len(memory)
		memory = append(memory, b...)
		return memory[from:len(memory):len(memory)]
	}
	l.Key, l.Value = clone(l.Key), clone(l.Value)
	l.Headers = slices.Clone(l.Headers)
	for i := range l.Headers {
		l.Headers[i].Value = clone(l.Headers[i].Value)
	}
}

// size of a letter in a transaction, without its decision.
func (e *Entry) size() int {
	size := len(e.Letter.Key) + len(e.Letter.Value)
	for _, h := range e.Letter.Headers {
		size += len(h.Key) + len(h.Value)
	}
	return size
}
