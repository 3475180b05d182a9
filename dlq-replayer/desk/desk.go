// Package desk owns what is done about dead letters: which of them are open, and the transactions that replay them.
package desk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/snapshot"
	"github.com/revstream/revstream/schemas"
)

// ReasonNotALetter is the reason of a record on a dead-letter topic that is no dead letter.
const ReasonNotALetter = "not_a_dead_letter"

// ErrUnknownLetter is returned for an ID at which there is no dead letter.
var ErrUnknownLetter = errors.New("no dead letter there: it may have expired")

// errEnough ends a reading early.
var errEnough = errors.New("enough")

// Desk reads dead letters and decides on them. Its methods must not be called concurrently.
type Desk struct {
	client *kgo.Client
	logger *slog.Logger
	batch  int // letters of a transaction at most
}

// New makes a desk. The client must be made with Options, and stays the caller's to close.
func New(client *kgo.Client, logger *slog.Logger) *Desk {
	return &Desk{client: client, logger: logger, batch: batchLetters}
}

// Selection says which dead letters are meant: those with the IDs, or those that everything else matches. What is empty
// matches all.
type Selection struct {
	IDs []ID

	Topics  []string // originals or their dead-letter topics; empty: those of the catalogue that exist
	Reasons []string
	Keys    []string
	Since   time.Time // of the last failure, inclusive
	Until   time.Time // of the last failure, exclusive
	All     bool      // decided letters too, and not only open ones
	Limit   int       // letters at most; 0: no limit
}

func (s Selection) matches(e Entry) bool {
	at := e.Letter.LastFailure
	return (s.All || e.State == Open) &&
		(len(s.Reasons) == 0 || slices.Contains(s.Reasons, e.Letter.Reason)) &&
		(len(s.Keys) == 0 || slices.Contains(s.Keys, string(e.Letter.Key))) &&
		(s.Since.IsZero() || !at.Before(s.Since)) &&
		(s.Until.IsZero() || at.Before(s.Until))
}

// Entry is a dead letter with what was decided about it.
type Entry struct {
	ID     ID
	Letter deadletter.Letter
	State  string // Open, or the decision
	// Flaw says why the letter can never be replayed; empty for one that can. Of a record that is no dead letter, only
	// the key, the value, the headers and the time, as LastFailure, are known.
	Flaw string
}

func newEntry(rec *kgo.Record, states decided) Entry {
	id := ID{Topic: originalTopic(rec.Topic), Partition: rec.Partition, Offset: rec.Offset}
	letter, err := deadletter.Parse(rec)
	e := Entry{ID: id, Letter: letter, State: states.of(id)}
	switch {
	case err != nil:
		e.Flaw = err.Error()
		e.Letter = deadletter.Letter{
			Partition: rec.Partition, Offset: rec.Offset, Topic: id.Topic, Reason: ReasonNotALetter,
			Key: rec.Key, Value: rec.Value, Headers: rec.Headers, LastFailure: rec.Timestamp,
		}
	case letter.Stage == string(deadletter.StageProduce):
		e.Flaw = "it is what the source sent and was never an event: the source's next change brings it anew"
	case letter.Topic != id.Topic:
		// Whoever may write to a dead-letter topic must not thereby write to any other.
		e.Flaw = "its header names a topic that this is not the dead-letter topic of"
	}
	return e
}

// Letters calls each for every dead letter of a selection, topic by topic, partition by partition and each in order. It
// reads what was committed by the time of the call, and holds no more than a few megabytes of letters at once. An error
// of each ends it and is returned as it is. An ID without a letter is ErrUnknownLetter.
func (d *Desk) Letters(ctx context.Context, selection Selection, each func(Entry) error) error {
	topics, err := d.topics(ctx, selection)
	if err != nil {
		return err
	}
	states, err := d.decided(ctx)
	if err != nil {
		return err
	}
	return d.scan(ctx, topics, states, selection, each)
}

// scan reads the letters of dead-letter topics.
func (d *Desk) scan(ctx context.Context, topics []string, states decided, selection Selection, each func(Entry) error) error {
	wanted := make(map[ID]bool, len(selection.IDs))
	for _, id := range selection.IDs {
		wanted[id] = true
	}
	byID, selected := len(wanted) > 0, 0
	take := func(rec *kgo.Record) error {
		e := newEntry(rec, states)
		if byID && !wanted[e.ID] || !byID && !selection.matches(e) {
			return nil
		}
		delete(wanted, e.ID)
		if err := each(e); err != nil {
			return err
		}
		selected++
		if byID && len(wanted) == 0 || selected == selection.Limit {
			return errEnough
		}
		return nil
	}
	for _, topic := range topics {
		if err := snapshot.Read(ctx, d.client, topic, take); errors.Is(err, errEnough) {
			return nil
		} else if err != nil {
			return err
		}
	}
	for _, id := range selection.IDs {
		if wanted[id] {
			return fmt.Errorf("%s: %w", id, ErrUnknownLetter)
		}
	}
	return nil
}

// topics returns the dead-letter topics of a selection.
func (d *Desk) topics(ctx context.Context, selection Selection) ([]string, error) {
	if len(selection.IDs) > 0 || len(selection.Topics) > 0 {
		names := make(map[string]bool)
		for _, id := range selection.IDs {
			names[schemas.DLQTopic(id.Topic)] = true
		}
		for _, topic := range selection.Topics {
			names[schemas.DLQTopic(originalTopic(topic))] = true
		}
		return d.existing(ctx, names, true)
	}
	catalogue, err := schemas.Topics()
	if err != nil {
		return nil, err
	}
	names := make(map[string]bool)
	for _, topic := range catalogue {
		if strings.HasSuffix(topic.Name, deadletter.Suffix) {
			names[topic.Name] = true
		}
	}
	return d.existing(ctx, names, false)
}

// existing sorts the names of the topics that exist; all of them must if so asked.
func (d *Desk) existing(ctx context.Context, names map[string]bool, all bool) ([]string, error) {
	var found []string
	for name := range names {
		err := snapshot.Exists(ctx, d.client, name)
		switch {
		case err == nil:
			found = append(found, name)
		case all || !errors.Is(err, snapshot.ErrNoTopic):
			return nil, err
		}
	}
	slices.Sort(found)
	return found, nil
}

func originalTopic(topic string) string { return strings.TrimSuffix(topic, deadletter.Suffix) }
