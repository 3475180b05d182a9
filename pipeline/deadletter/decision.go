package deadletter

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// What is decided about a letter. The newest decision of a letter counts; one without any, or whose newest is Unparked, is
// open.
const (
	Replayed  = "replayed"
	Parked    = "parked" // set aside: no replay takes it until it is unparked
	Unparked  = "unparked"
	Discarded = "discarded" // for good: nothing takes it again
)

// What is done with letters without deciding anything.
const (
	Revealed = "revealed" // its personal data was shown
	Exported = "exported"
	Imported = "imported"
)

// States of a run.
const (
	Running     = "running"
	Done        = "done"
	Stopped     = "stopped"     // by itself: too many of its letters came back
	Interrupted = "interrupted" // by a signal, an operator or an error; it can be resumed
)

// Decision is what was decided about a dead letter, or that it was revealed: the JSON value of a record on the topic of
// decisions. The decisions of one batch of a run, the records that it replays and the run's progress are one transaction.
type Decision struct {
	Decision string    `json:"decision"`
	RunID    string    `json:"replay_id"`
	At       time.Time `json:"at"` // UTC
	By       string    `json:"by"` // user of the operating system, or who signed in
	Why      string    `json:"why,omitempty"`
	From     string    `json:"from,omitempty"` // host and program, or address of the browser
	Patched  bool      `json:"patched"`        // the record was changed before it was replayed; the run holds the change
	Reason   string    `json:"reason,omitempty"`
	EventID  string    `json:"event_id,omitempty"`
}

// Run is one command that changes something: the JSON value of a record on the topic of decisions, whose key is the run's
// ID. Each batch of the run writes it anew.
type Run struct {
	ID        string    `json:"run_id"`
	Action    string    `json:"action"` // Replayed, Parked, Unparked, Discarded, Exported or Imported
	Status    string    `json:"status"`
	Note      string    `json:"note,omitempty"` // why it has stopped
	StartedAt time.Time `json:"started_at"`
	UpdatedAt time.Time `json:"updated_at"`
	By        string    `json:"by"`
	Why       string    `json:"why,omitempty"`
	From      string    `json:"from,omitempty"`
	// Order is what was asked for, as the program that runs it writes it: the selection, the change of a repair, the rate.
	Order json.RawMessage `json:"order,omitempty"`
	// Spans say what is left of each partition, by <DLQ topic>/<partition>: from the next offset to the one before the end,
	// which is where the partition ended when the run began.
	Spans map[string]Span `json:"spans,omitempty"`
	// Letters so far. Parked are those that a replay has set aside, as they were replayed too often.
	Done     int `json:"done"`
	Parked   int `json:"parked"`
	Skipped  int `json:"skipped"`
	Failed   int `json:"failed"`
	Returned int `json:"returned"` // of the replayed ones, came back as new letters
}

// Span is a range of offsets, without its end.
type Span struct {
	Next int64 `json:"next"`
	End  int64 `json:"end"`
}

// Place is where a letter lies.
type Place struct {
	Topic     string // the dead-letter topic
	Partition int32
	Offset    int64
}

// String is the key of decisions: <DLQ topic>/<partition>/<offset>.
func (p Place) String() string {
	return p.Topic + "/" + strconv.Itoa(int(p.Partition)) + "/" + strconv.FormatInt(p.Offset, 10)
}

// Key is the key of a decision's record. One that decides nothing has a key of its own beside the letter's, so that it
// takes no decision's place when the topic is compacted.
func (d Decision) Key(p Place) string {
	if d.Decision == Revealed {
		return p.String() + "/" + Revealed
	}
	return p.String()
}

// Record is the decision as a record of a topic.
func (d Decision) Record(topic string, p Place) (*kgo.Record, error) {
	value, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("encoding the decision on %s: %w", p, err)
	}
	return &kgo.Record{Topic: topic, Key: []byte(d.Key(p)), Value: value}, nil
}

// Record is the run as a record of a topic.
func (r Run) Record(topic string) (*kgo.Record, error) {
	value, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encoding run %s: %w", r.ID, err)
	}
	return &kgo.Record{Topic: topic, Key: []byte(r.ID), Value: value}, nil
}

// ParsePlace reads the key of a decision's record. It tells whether the key is of one, and which name follows the place,
// if any does.
func ParsePlace(key string) (p Place, name string, ok bool) {
	parts := strings.Split(key, "/")
	if len(parts) == 4 {
		name = parts[3]
		parts = parts[:3]
	}
	if len(parts) != 3 || parts[0] == "" {
		return Place{}, "", false
	}
	partition, errPartition := strconv.ParseInt(parts[1], 10, 32)
	offset, errOffset := strconv.ParseInt(parts[2], 10, 64)
	if errPartition != nil || errOffset != nil || partition < 0 || offset < 0 {
		return Place{}, "", false
	}
	return Place{Topic: parts[0], Partition: int32(partition), Offset: offset}, name, true
}
