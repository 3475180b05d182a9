package verify

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/revstream/revstream/deploy/local/faults/plan"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
)

// Committed are the offsets that a group has committed, by topic and partition: the next record to read.
type Committed map[string]map[int32]int64

// Violation is a committed offset that ran ahead of a record that was neither stored nor dead-lettered.
type Violation struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"` // of that record
	Record    string `json:"record"` // its event ID and what the plan knows of it
}

// String names the record.
func (v Violation) String() string {
	return fmt.Sprintf("%s partition %d offset %d: %s", v.Topic, v.Partition, v.Offset, v.Record)
}

// Sampler looks, whenever it is asked, at what was committed since. It is not safe for concurrent use.
type Sampler struct {
	brokers       []string
	clickhouseURL string
	model         *plan.Model

	settled Committed                  // everything below is known to be stored or dead-lettered, or was reported
	read    Committed                  // where to go on in the dead-letter topics
	letters map[string]map[origin]bool // originals that have a letter, by their topic
	found   []Violation                // not returned yet: an error came between
}

// NewSampler makes a sampler that has seen nothing.
func NewSampler(brokers []string, clickhouseURL string, model *plan.Model) *Sampler {
	s := &Sampler{brokers: brokers, clickhouseURL: clickhouseURL, model: model,
		settled: make(Committed), read: make(Committed), letters: make(map[string]map[origin]bool)}
	for _, topic := range plan.Topics() {
		s.settled[topic], s.read[topic], s.letters[topic] = make(map[int32]int64), make(map[int32]int64), make(map[origin]bool)
	}
	return s
}

// Settled returns which records below the committed offsets are neither stored nor dead-lettered, each once. The offsets
// must have been fetched before the call, so that what is missing was missing when they were committed. After an error,
// as while something is away, the next call goes on where this one was, and returns what this one has found as well.
func (s *Sampler) Settled(ctx context.Context, committed Committed) (violations []Violation, err error) {
	for _, topic := range plan.Topics() {
		for _, partition := range slices.Sorted(maps.Keys(committed[topic])) {
			from, to := s.settled[topic][partition], committed[topic][partition]
			records, err := Read(ctx, s.brokers, topic, partition, from, to)
			if err != nil {
				return nil, err
			}
			open, err := s.open(ctx, topic, records)
			if err != nil {
				return nil, fmt.Errorf("sampling topic %s partition %d: %w", topic, partition, err)
			}
			s.found = append(s.found, open...)
			s.settled[topic][partition] = max(from, to)
		}
	}
	violations, s.found = s.found, nil
	return violations, nil
}

// Checked is the number of offsets that have been looked at.
func (s *Sampler) Checked() (offsets int64) {
	for _, partitions := range s.settled {
		for _, offset := range partitions {
			offsets += offset
		}
	}
	return offsets
}

// open returns which of a partition's records are neither stored nor dead-lettered.
func (s *Sampler) open(ctx context.Context, topic string, records []Record) (violations []Violation, err error) {
	stored, err := s.stored(ctx, topic, records)
	if err != nil {
		return nil, err
	}
	unsettled := func(r Record) bool {
		return !stored[r.Offset] && !s.letters[topic][origin{r.Partition, r.Offset}]
	}
	for _, read := range []func(context.Context, string) error{s.newLetters, s.allLetters} {
		if records = slices.DeleteFunc(records, func(r Record) bool { return !unsettled(r) }); len(records) == 0 {
			return nil, nil
		}
		if err := read(ctx, topic); err != nil {
			return nil, err
		}
	}
	for _, r := range records {
		if unsettled(r) {
			kind := s.model.Topics[topic].Poison[plan.Print(r.Key, r.Value)].Kind
			violations = append(violations, Violation{Topic: topic, Partition: r.Partition, Offset: r.Offset,
				Record: fmt.Sprintf("%s, event %s", kind, r.Header(event.HeaderID))})
		}
	}
	return violations, nil
}

// stored returns the offsets of the records that the warehouse has.
func (s *Sampler) stored(ctx context.Context, topic string, records []Record) (map[int64]bool, error) {
	ids := make(map[int64]uuid.UUID)   // of the records that may be in the warehouse, by offset
	unique := make(map[uuid.UUID]bool) // of ids: whether it is
	for _, r := range records {
		kind := s.model.Topics[topic].Poison[plan.Print(r.Key, r.Value)].Kind
		if kind == plan.Invalid || kind == plan.Corrupt {
			continue // no consumer can store it, whatever else of its event is stored
		}
		id, err := uuid.Parse(r.Header(event.HeaderID))
		if err != nil {
			return nil, fmt.Errorf("offset %d: header %s: %w", r.Offset, event.HeaderID, err)
		}
		ids[r.Offset], unique[id] = id, true
	}
	missing, err := Stored(ctx, s.clickhouseURL, topic, slices.Collect(maps.Keys(unique)))
	if err != nil {
		return nil, err
	}
	for _, id := range missing {
		unique[id] = false
	}
	stored := make(map[int64]bool, len(ids))
	for offset, id := range ids {
		stored[offset] = unique[id]
	}
	return stored, nil
}

// newLetters reads on in the dead-letter topic, where it has read before.
func (s *Sampler) newLetters(ctx context.Context, topic string) error {
	dlq := schemas.DLQTopic(topic)
	for _, partition := range slices.Sorted(maps.Keys(s.read[topic])) {
		letters, next, err := Tail(ctx, s.brokers, dlq, partition, s.read[topic][partition])
		if err != nil {
			return err
		}
		for _, r := range letters {
			s.note(topic, r)
		}
		s.read[topic][partition] = next
	}
	return nil
}

// allLetters reads the whole dead-letter topic, and so finds its partitions, those that were added as well.
func (s *Sampler) allLetters(ctx context.Context, topic string) error {
	dlq := schemas.DLQTopic(topic)
	ends, err := consume(ctx, s.brokers, []string{"-t", dlq, "-o", "beginning"}, func(r Record) error {
		s.note(topic, r)
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading topic %s: %w", dlq, err)
	}
	s.read[topic] = ends
	return nil
}

func (s *Sampler) note(topic string, letter Record) {
	if of, ok := originOf(letter, topic); ok {
		s.letters[topic][of] = true
	}
}
