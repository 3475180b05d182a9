package reconcile

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/snapshot"
	"github.com/revstream/revstream/schemas"
)

// letter is the newest dead letter of an event.
type letter struct {
	failed   time.Time
	place    deadletter.Place
	decision deadletter.Decision // the newest; zero if there is none
}

// readLetters finds the candidates' dead letters, and what was decided about them.
func (c *check) readLetters(ctx context.Context) error {
	if len(c.candidates) == 0 {
		return nil
	}
	topic := schemas.DLQTopic(c.topic.Name)
	err := snapshot.Read(ctx, c.kafka, topic, func(rec *kgo.Record) error {
		l, err := deadletter.Parse(rec)
		if err != nil {
			return nil //nolint:nilerr // what is no letter is nobody's, and the dead-letter desk shows it
		}
		id, err := uuid.Parse(l.EventID)
		found := c.candidates[id]
		if err != nil || found == nil || l.Topic != c.topic.Name {
			return nil //nolint:nilerr // a letter of something else
		}
		if found.letter == nil || !l.LastFailure.Before(found.letter.failed) {
			found.letter = &letter{failed: l.LastFailure, place: deadletter.Place{Topic: topic, Partition: rec.Partition, Offset: rec.Offset}}
		}
		return nil
	})
	if err != nil && !errors.Is(err, snapshot.ErrNoTopic) {
		return err
	}
	return c.readDecisions(ctx)
}

func (c *check) readDecisions(ctx context.Context) error {
	letters := map[deadletter.Place]*letter{}
	for _, found := range c.candidates {
		if found.letter != nil {
			letters[found.letter.place] = found.letter
		}
	}
	if len(letters) == 0 {
		return nil
	}
	err := snapshot.Read(ctx, c.kafka, schemas.DLQDecisionsTopic, func(rec *kgo.Record) error {
		place, name, ok := deadletter.ParsePlace(string(rec.Key))
		l := letters[place]
		if !ok || name != "" || l == nil {
			return nil
		}
		var d deadletter.Decision
		if len(rec.Value) > 0 && json.Unmarshal(rec.Value, &d) != nil {
			d = deadletter.Decision{} // nobody can tell; the letter is still there
		}
		l.decision = d
		return nil
	})
	if errors.Is(err, snapshot.ErrNoTopic) {
		return nil
	}
	return err
}

// state is what has become of a candidate.
type state int

const (
	isMissing state = iota
	isDiscarded
	isPending
	isDeadLettered
	isErased
)

// stateOf says what has become of a candidate. A letter that was replayed explains nothing any more once the replay was read and had
// been behind what was committed: it would be stored, or have another letter.
func (c *check) stateOf(found *candidate) state {
	switch l := found.letter; {
	case found.pending:
		return isPending
	case found.erased, c.gone.wasErased(found):
		return isErased
	case l == nil:
		return isMissing
	case l.decision.Decision == deadletter.Discarded:
		return isDiscarded
	case l.decision.Decision != deadletter.Replayed:
		return isDeadLettered
	case slices.Contains(found.replays, l.decision.RunID):
		return isMissing
	default:
		return isPending
	}
}

// classify counts the candidates by what has become of them.
func (c *check) classify() {
	for _, found := range c.candidates {
		found.state = c.stateOf(found)
		for _, g := range found.groups {
			count := &c.counts[g]
			if found.state == isMissing && c.expired(found, g) {
				count.expired++
				continue
			}
			switch found.state {
			case isPending:
				count.pending++
			case isErased:
				count.erased++
			case isDeadLettered:
				count.deadLettered++
			case isDiscarded:
				count.discarded++
				count.missing++
			case isMissing:
				count.missing++
				if g == keysGroup && found.stale {
					count.stale++
				}
			}
		}
	}
}
