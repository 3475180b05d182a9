package desk

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/snapshot"
	"github.com/revstream/revstream/schemas"
)

// States of a dead letter: open, or what was decided.
const (
	Open     = "open"
	Replayed = "replayed"
	// Undecipherable is the state of a letter whose decision is not of a known form. It is not open, for something was
	// decided about it.
	Undecipherable = "undecipherable"
)

// Decision is what was decided about a dead letter: the JSON value of a record on the topic of decisions, whose key is
// <DLQ topic>/<partition>/<offset>. The newest one of a key counts; a letter without one is open.
type Decision struct {
	Decision string    `json:"decision"` // Replayed
	ReplayID string    `json:"replay_id"`
	At       time.Time `json:"at"` // UTC
	By       string    `json:"by"` // user of the operating system
	Why      string    `json:"why,omitempty"`
	Patched  bool      `json:"patched"` // the value was changed before it was replayed
}

// parseDecision reads a record's value, which is a tombstone if it is empty.
func parseDecision(value []byte) (d Decision, exists bool) {
	if len(value) == 0 {
		return Decision{}, false
	}
	if json.Unmarshal(value, &d) != nil || d.Decision == "" {
		d.Decision = Undecipherable
	}
	return d, true
}

// record is the decision as a record.
func (d Decision) record(id ID) (*kgo.Record, error) {
	value, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("encoding the decision on %s: %w", id, err)
	}
	return &kgo.Record{Topic: schemas.DLQDecisionsTopic, Key: []byte(id.key()), Value: value}, nil
}

// decided holds the states of letters that are not open, by partition of the dead-letter topic and by offset: some 30
// bytes each.
type decided map[string]map[int64]string

func (s decided) of(id ID) string {
	if state, ok := s[id.log()][id.Offset]; ok {
		return state
	}
	return Open
}

func (s decided) put(key string, value []byte) {
	cut := strings.LastIndexByte(key, '/')
	if cut < 0 {
		return
	}
	offset, err := strconv.ParseInt(key[cut+1:], 10, 64)
	if err != nil {
		return // of no letter
	}
	log := key[:cut]
	d, exists := parseDecision(value)
	switch {
	case !exists:
		delete(s[log], offset)
		return
	case d.Decision == Replayed:
		d.Decision = Replayed // one string for all of them
	}
	if s[log] == nil {
		s[log] = make(map[int64]string)
	}
	s[log][offset] = d.Decision
}

// decided reads all decisions that have been committed.
func (d *Desk) decided(ctx context.Context) (decided, error) {
	states := make(decided)
	err := snapshot.Read(ctx, d.client, schemas.DLQDecisionsTopic, func(rec *kgo.Record) error {
		states.put(string(rec.Key), rec.Value)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the decisions: %w", err)
	}
	return states, nil
}

// Decision returns what was decided about a letter, or false if it is open.
func (d *Desk) Decision(ctx context.Context, id ID) (decision Decision, exists bool, err error) {
	key := id.key()
	err = snapshot.Read(ctx, d.client, schemas.DLQDecisionsTopic, func(rec *kgo.Record) error {
		if string(rec.Key) == key {
			decision, exists = parseDecision(rec.Value)
		}
		return nil
	})
	if err != nil {
		return Decision{}, false, fmt.Errorf("reading the decisions: %w", err)
	}
	return decision, exists, nil
}
