package desk

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/snapshot"
	"github.com/revstream/revstream/schemas"
)

// mend looks after the runs whose processes have ended without a word. It must be called when they are fenced, with the
// desk's mutex held, and before anything else is decided.
//
// A transaction is as whole as the broker that coordinates it. One that is killed in the moment of a commit, and is back
// before the others have given it up, acts on a decision that it alone has written down: markers reach some partitions,
// then another broker takes over, knows nothing of a commit, and aborts the rest. A decision may then stand whose record
// is on no topic. No run goes on before its last transaction was acknowledged, so this can only be so of the last one of
// a run that never heard of its end. Those letters are opened again.
func (d *Desk) mend(ctx context.Context, client *kgo.Client, l *ledger) error {
	for _, id := range slices.Sorted(maps.Keys(l.runs)) {
		run := l.runs[id]
		if run.Status != deadletter.Running || d.atWork[id] {
			continue
		}
		var lost []deadletter.Place
		if run.Action == deadletter.Replayed {
			var err error
			if lost, err = d.lost(ctx, run); err != nil {
				d.logger.WarnContext(ctx, "cannot look up whether all that a run replayed before it died is on its topics", "run", id, "error", err)
				continue
			}
		}
		if err := d.reopen(ctx, client, l, run, lost); err != nil {
			return fmt.Errorf("looking after run %s, whose process is gone: %w", id, err)
		}
	}
	return nil
}

// lost returns the letters of a run's last transaction whose records are not on their topics. A topic's partition has all
// of a transaction or nothing, and a key is in one: the letters of a key are lost together.
func (d *Desk) lost(ctx context.Context, run deadletter.Run) ([]deadletter.Place, error) {
	at, last, err := d.lastReplayed(ctx, run.ID)
	if err != nil || len(last) == 0 {
		return nil, err
	}
	waiting := make(map[string]map[string][]deadletter.Place) // by original topic and key
	for _, places := range last {
		first, end := places[0].Offset, places[len(places)-1].Offset+1
		err := snapshot.ReadRange(ctx, d.client, places[0].Topic, places[0].Partition, first, end, func(rec *kgo.Record) error {
			place := deadletter.Place{Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset}
			if _, found := slices.BinarySearchFunc(places, place, byOffset); found {
				topic := originalTopic(rec.Topic)
				if waiting[topic] == nil {
					waiting[topic] = make(map[string][]deadletter.Place)
				}
				waiting[topic][string(rec.Key)] = append(waiting[topic][string(rec.Key)], place)
			}
			return nil
		})
		if err != nil {
			return nil, explainRead(places[0].Topic, err)
		}
	}
	var lost []deadletter.Place
	for topic, keys := range waiting {
		if err := d.strike(ctx, topic, run.ID, at, keys); err != nil {
			return nil, err
		}
		for _, places := range keys {
			lost = append(lost, places...)
		}
	}
	return lost, nil
}

// lastReplayed returns when a run's last transaction was made, and what it replayed: by partition, in order.
func (d *Desk) lastReplayed(ctx context.Context, runID string) (at time.Time, last map[string][]deadletter.Place, err error) {
	last = make(map[string][]deadletter.Place)
	_, err = d.readDecisions(ctx, nil, func(rec *kgo.Record) error {
		if !bytes.Contains(rec.Value, []byte(runID)) {
			return nil
		}
		fact, ok := newFact(rec)
		if !ok || fact.Decision == nil || fact.Decision.Decision != Replayed || fact.Decision.RunID != runID || fact.Decision.At.Before(at) {
			return nil
		}
		if fact.Decision.At.After(at) { // all decisions of a transaction have one time
			at = fact.Decision.At
			clear(last)
		}
		log := fmt.Sprint(fact.Place.Topic, "/", fact.Place.Partition)
		last[log] = append(last[log], *fact.Place)
		return nil
	})
	for _, places := range last {
		slices.SortFunc(places, byOffset)
	}
	return at, last, err
}

func byOffset(a, b deadletter.Place) int { return cmp.Compare(a.Offset, b.Offset) }

// strike takes the keys out of which the topic has records that a run has replayed since a time.
func (d *Desk) strike(ctx context.Context, topic, runID string, since time.Time, keys map[string][]deadletter.Place) error {
	since = since.Truncate(time.Millisecond) // which is what records keep of theirs
	offsets, err := kadm.NewClient(d.client).ListOffsetsAfterMilli(ctx, since.UnixMilli(), topic)
	if err == nil {
		err = offsets.Error()
	}
	if err != nil {
		return explainRead(topic, fmt.Errorf("looking for what topic %s has had since %s: %w", topic, since, err))
	}
	from := make(snapshot.Position)
	offsets.Each(func(o kadm.ListedOffset) { from[o.Partition] = max(0, o.Offset) })
	_, ends, err := snapshot.Bounds(ctx, d.client, topic)
	if err != nil {
		return explainRead(topic, err)
	}
	for partition := range from { // records of an open transaction may stand between what is committed and the end
		from[partition] = min(from[partition], ends[partition])
	}
	_, err = snapshot.ReadOn(ctx, d.client, topic, from, func(rec *kgo.Record) error {
		ofRun := func(h kgo.RecordHeader) bool { return string(h.Value) == runID }
		if !rec.Timestamp.Before(since) && slices.ContainsFunc(rec.Headers, ofRun) {
			delete(keys, string(rec.Key))
		}
		return nil
	})
	return explainRead(topic, err)
}

// reopen writes that a run was interrupted, and that letters which it lost are open: both, or neither.
func (d *Desk) reopen(ctx context.Context, client *kgo.Client, l *ledger, run deadletter.Run, lost []deadletter.Place) error {
	run.Status, run.Note, run.UpdatedAt = deadletter.Interrupted, "its process ended without a word", d.pace.now().UTC()
	run.Spans = maps.Clone(run.Spans)
	run.Done -= len(lost)
	var records []*kgo.Record
	for _, place := range lost {
		opened, err := deadletter.Decision{
			Decision: deadletter.Unparked, RunID: run.ID, At: run.UpdatedAt, By: run.By, From: run.From,
			Why: "Kafka has committed the decision and not the record: it is on no topic",
		}.Record(schemas.DLQDecisionsTopic, place)
		if err != nil {
			return err
		}
		records = append(records, opened)
		log := fmt.Sprint(place.Topic, "/", place.Partition)
		if span, ok := run.Spans[log]; ok {
			span.Next = min(span.Next, place.Offset)
			run.Spans[log] = span
		}
	}
	progress, err := run.Record(schemas.DLQDecisionsTopic)
	if err != nil {
		return err
	}
	if err := commit(ctx, client, append(records, progress), leastSendBytes); err != nil {
		return err
	}
	l.runs[run.ID] = run
	for _, place := range lost {
		l.states.log(fmt.Sprint(place.Topic, "/", place.Partition)).mark(place.Offset, Open)
	}
	if len(lost) > 0 {
		d.logger.WarnContext(ctx, "letters are open again whose records Kafka has not committed with their decisions", "run", run.ID, "letters", len(lost))
	}
	return nil
}
