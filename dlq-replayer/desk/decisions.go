package desk

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/snapshot"
	"github.com/revstream/revstream/schemas"
)

// Fact is a record of the topic of decisions: either a decision about a letter, or a run. What is not of a known form
// is a decision or a run all the same, with Undecipherable as the decision or the status. A decision that was deleted,
// which opens its letter, is one to unpark that says nothing more than when.
type Fact struct {
	Offset   int64
	Place    *deadletter.Place // of the letter
	Decision *deadletter.Decision
	Run      *deadletter.Run
}

// newFact reads a record; false if it tells of nothing.
func newFact(rec *kgo.Record) (Fact, bool) {
	place, _, ok := deadletter.ParsePlace(string(rec.Key))
	if !ok {
		if len(rec.Value) == 0 {
			return Fact{}, false // a run that was deleted
		}
		run := parseRun(rec)
		return Fact{Offset: rec.Offset, Run: &run}, true
	}
	var d deadletter.Decision
	switch {
	case len(rec.Value) == 0:
		d = deadletter.Decision{Decision: deadletter.Unparked}
	case json.Unmarshal(rec.Value, &d) != nil:
		d = deadletter.Decision{Decision: Undecipherable}
	case d.Decision != deadletter.Revealed && d.Decision != deadletter.Unparked && stateAfter(d.Decision) == Undecipherable:
		d.Decision = Undecipherable
	}
	if d.At.IsZero() {
		d.At = rec.Timestamp.UTC()
	}
	return Fact{Offset: rec.Offset, Place: &place, Decision: &d}, true
}

func parseRun(rec *kgo.Record) deadletter.Run {
	var run deadletter.Run
	if json.Unmarshal(rec.Value, &run) != nil || run.ID != string(rec.Key) {
		return deadletter.Run{ID: string(rec.Key), Status: Undecipherable, UpdatedAt: rec.Timestamp.UTC()}
	}
	return run
}

// Decisions calls each for what was committed to the topic of decisions since a position, and returns the one to go on
// from. After an error that is unknown.
func (d *Desk) Decisions(ctx context.Context, from snapshot.Position, each func(Fact) error) (snapshot.Position, error) {
	return d.readDecisions(ctx, from, func(rec *kgo.Record) error {
		if fact, ok := newFact(rec); ok {
			return each(fact)
		}
		return nil
	})
}

func (d *Desk) readDecisions(ctx context.Context, from snapshot.Position, each func(*kgo.Record) error) (snapshot.Position, error) {
	position, err := snapshot.ReadOn(ctx, d.client, schemas.DLQDecisionsTopic, from, each)
	if err != nil {
		return nil, fmt.Errorf("reading the decisions: %w", explainRead(schemas.DLQDecisionsTopic, err))
	}
	return position, nil
}

// ledger is what the topic of decisions says.
type ledger struct {
	states   *states
	runs     map[string]deadletter.Run // the newest record of each
	position snapshot.Position
}

// readOn reads what has come since the last time.
func (l *ledger) readOn(ctx context.Context, d *Desk) (err error) {
	l.position, err = d.readDecisions(ctx, l.position, func(rec *kgo.Record) error {
		switch {
		case bytes.IndexByte(rec.Key, '/') >= 0:
			l.states.put(rec.Key, rec.Value)
		case len(rec.Value) == 0:
			delete(l.runs, string(rec.Key))
		default:
			l.runs[string(rec.Key)] = parseRun(rec)
		}
		return nil
	})
	return err
}

// ledger reads all that was committed to the topic of decisions.
func (d *Desk) ledger(ctx context.Context) (*ledger, error) {
	l := &ledger{states: newStates(), runs: make(map[string]deadletter.Run)}
	return l, l.readOn(ctx, d)
}

// Runs returns the runs that the topic of decisions still has, newest first.
func (d *Desk) Runs(ctx context.Context) ([]deadletter.Run, error) {
	l, err := d.ledger(ctx)
	if err != nil {
		return nil, err
	}
	runs := make([]deadletter.Run, 0, len(l.runs))
	for _, run := range l.runs {
		runs = append(runs, run)
	}
	slices.SortFunc(runs, func(a, b deadletter.Run) int { return b.StartedAt.Compare(a.StartedAt) })
	return runs, nil
}

// History returns what was decided about a letter, and who has seen its personal data, oldest first: as much of it as
// the topic, which is compacted, still has.
func (d *Desk) History(ctx context.Context, id ID) ([]deadletter.Decision, error) {
	var history []deadletter.Decision
	place := []byte(id.place().String())
	_, err := d.readDecisions(ctx, nil, func(rec *kgo.Record) error {
		if rest, ok := bytes.CutPrefix(rec.Key, place); ok && (len(rest) == 0 || rest[0] == '/') {
			if fact, ok := newFact(rec); ok && fact.Decision != nil {
				history = append(history, *fact.Decision)
			}
		}
		return nil
	})
	return history, err
}
