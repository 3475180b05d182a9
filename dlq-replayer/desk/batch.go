package desk

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/schemas"
)

// transact deals with letters in one transaction, or in several if a topic does not take one of them: such a letter must
// not hold the others up. next is where the run then stands.
func (r *run) transact(ctx context.Context, items []item, next map[string]int64) error {
	err := r.attempt(ctx, items, next)
	if err == nil || !isRefusal(err) {
		return err
	}
	switch {
	case len(items) == 0:
		return fmt.Errorf("writing the run's record to %s, whose max.message.bytes must hold the whole order: %w", schemas.DLQDecisionsTopic, err)
	case r.session.narrow():
		return r.transact(ctx, items, next)
	case len(items) == 1:
		r.report.Failed.add(err.Error(), items[0].entry.ID)
		r.record.Failed++
		r.record.Spans = r.advance(nil, next).Spans
		return nil
	}
	half := len(items) / 2
	if err := r.transact(ctx, items[:half], stands(items[:half])); err != nil {
		return err
	}
	return r.transact(ctx, items[half:], next)
}

// stands returns where a run stands after letters.
func stands(items []item) map[string]int64 {
	next := make(map[string]int64)
	for _, it := range items {
		if it.log != "" {
			next[it.log] = it.entry.ID.Offset + 1
		}
	}
	return next
}

// attempt deals with letters in one transaction.
func (r *run) attempt(ctx context.Context, items []item, next map[string]int64) error {
	s := r.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost != nil {
		return s.lost
	}
	r.drop(items)
	record := r.advance(items, next)
	records, replays, err := r.records(items, record)
	if err != nil {
		return err
	}
	if err := commit(ctx, s.client, records, s.together); err != nil {
		if !isRefusal(err) {
			r.desk.lose(s, err)
			for i := range items {
				if items[i].acts() {
					r.report.Failed.add(err.Error(), items[i].entry.ID)
				}
			}
		}
		return err
	}
	r.record, r.recorded = record, record.UpdatedAt
	s.ledger.runs[record.ID] = record
	for i := range items {
		it := &items[i]
		r.count(it)
		switch decision := r.decision(it); {
		case !it.acts():
		case r.record.Action == deadletter.Imported:
			s.there.add(it.entry.Letter)
		default:
			s.ledger.states.log(it.log).mark(it.entry.ID.Offset, stateAfter(decision))
		}
		if rec := replays[i]; rec != nil && r.judge != nil {
			r.judge.sent(rec.Topic, rec.Partition, rec.Offset, it.entry.Letter.Group)
		}
	}
	return nil
}

// drop leaves out what other runs of this process have dealt with meanwhile. It must be called with the session's mutex
// held.
func (r *run) drop(items []item) {
	if r.record.Action == deadletter.Imported {
		r.session.there.drop(items)
		return
	}
	for i := range items {
		it := &items[i]
		if !it.acts() {
			continue
		}
		if state := r.session.ledger.states.log(it.log).of(it.entry.ID.Offset); state != it.entry.State {
			it.skip = r.order.Action.declines(state)
			if it.skip == "" { // unparked and parked again, say
				it.skip = "it became " + state + " meanwhile"
			}
		}
	}
}

// decision about a letter; empty if nothing is done about it.
func (r *run) decision(it *item) string {
	switch {
	case !it.acts():
		return ""
	case it.park:
		return deadletter.Parked
	default:
		return r.record.Action
	}
}

// records makes a transaction's records. Of the letters that are replayed, replays has the records, each at its letter's
// index.
func (r *run) records(items []item, record deadletter.Run) (records, replays []*kgo.Record, err error) {
	progress, err := record.Record(schemas.DLQDecisionsTopic)
	if err != nil {
		return nil, nil, err
	}
	records = append(make([]*kgo.Record, 0, 2*len(items)+1), progress)
	replays = make([]*kgo.Record, len(items))
	now := r.desk.pace.now().UTC()
	for i := range items {
		it := &items[i]
		decision := r.decision(it)
		switch decision {
		case "":
			continue
		case deadletter.Imported:
			imported := it.entry.Letter
			imported.ImportedFrom = it.entry.ID.place().String()
			records = append(records, imported.Record())
			continue
		case deadletter.Replayed:
			replays[i] = it.entry.Letter.Replay(r.record.ID)
			records = append(records, replays[i])
		}
		decided, err := r.decide(it, decision, now).Record(schemas.DLQDecisionsTopic, it.entry.ID.place())
		if err != nil {
			return nil, nil, err
		}
		records = append(records, decided)
	}
	return records, replays, nil
}

func (r *run) decide(it *item, decision string, at time.Time) deadletter.Decision {
	why := r.record.Why
	if it.park {
		why = fmt.Sprintf("replayed %d times: %s", it.entry.Letter.Replays, why)
	}
	return deadletter.Decision{
		Decision: decision, RunID: r.record.ID, At: at, By: r.record.By, Why: why, From: r.record.From,
		Patched: r.order.Action == Repair && !it.park, Reason: it.entry.Letter.Reason, EventID: it.entry.Letter.EventID,
	}
}
