// Package audit owns the way of what was decided about dead letters into the table dlq_audit.
package audit

import (
	"encoding/json"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/table"
)

// Table is where it goes.
const Table = "dlq_audit"

// undecipherable is what a record of no known form says.
const undecipherable = "undecipherable"

// Notes on records that a replayer does not write.
const (
	noteDeleted = "the decision was deleted from the topic"
	noteUnknown = "the record is of no known form: it was written by another version, or by something else"
)

// row is a record of the topic of decisions: a decision or a run.
type row struct {
	at, updated time.Time
	what        string
	place       *deadletter.Place // nil for a run
	note        string
	decision    deadletter.Decision
	run         deadletter.Run
	offset      int64
}

// Columns fill the table.
var Columns = []table.Column[*row]{
	table.Of("at", "DateTime64(6, 'UTC')", func(r *row) time.Time { return r.at }),
	table.Of("what", "LowCardinality(String)", func(r *row) string { return r.what }),
	table.Of("topic", "LowCardinality(Nullable(String))", func(r *row) *string { return of(r.place, func(p *deadletter.Place) *string { return &p.Topic }) }),
	table.Of("partition", "Nullable(Int32)", func(r *row) *int32 { return of(r.place, func(p *deadletter.Place) *int32 { return &p.Partition }) }),
	table.Of("offset", "Nullable(Int64)", func(r *row) *int64 { return of(r.place, func(p *deadletter.Place) *int64 { return &p.Offset }) }),
	table.Of("run_id", "String", func(r *row) string { return r.decision.RunID + r.run.ID }), // one of the two is empty, here and below
	table.Of("by", "String", func(r *row) string { return r.decision.By + r.run.By }),
	table.Of("why", "String", func(r *row) string { return r.decision.Why + r.run.Why }),
	table.Of("from", "String", func(r *row) string { return r.decision.From + r.run.From }),
	table.Of("reason", "LowCardinality(String)", func(r *row) string { return r.decision.Reason }),
	table.Of("event_id", "String", func(r *row) string { return r.decision.EventID }),
	table.Of("patched", "Bool", func(r *row) bool { return r.decision.Patched }),
	table.Of("action", "LowCardinality(String)", func(r *row) string { return r.run.Action }),
	table.Of("status", "LowCardinality(String)", func(r *row) string { return r.run.Status }),
	table.Of("note", "String", func(r *row) string { return r.note + r.run.Note }),
	table.Of("done", "Int64", func(r *row) int64 { return int64(r.run.Done) }),
	table.Of("parked", "Int64", func(r *row) int64 { return int64(r.run.Parked) }),
	table.Of("skipped", "Int64", func(r *row) int64 { return int64(r.run.Skipped) }),
	table.Of("failed", "Int64", func(r *row) int64 { return int64(r.run.Failed) }),
	table.Of("returned", "Int64", func(r *row) int64 { return int64(r.run.Returned) }),
	table.Of("order", "String", func(r *row) string { return string(r.run.Order) }),
	table.Of("updated_at", "DateTime64(6, 'UTC')", func(r *row) time.Time { return r.updated }),
	table.Of("decision_offset", "Int64", func(r *row) int64 { return r.offset }),
}

// of is a part of a place, if there is one.
func of[V any](p *deadletter.Place, part func(*deadletter.Place) *V) *V {
	if p == nil {
		return nil
	}
	return part(p)
}

// newRow reads a record; false if it tells of nothing.
func newRow(rec *kgo.Record) (*row, bool) {
	place, _, ok := deadletter.ParsePlace(string(rec.Key))
	switch {
	case ok:
		return decisionRow(rec, &place), true
	case len(rec.Value) == 0:
		return nil, false // a run was deleted; what it has done is on its letters
	default:
		return runRow(rec), true
	}
}

func decisionRow(rec *kgo.Record, place *deadletter.Place) *row {
	r := &row{place: place, offset: rec.Offset}
	switch {
	case len(rec.Value) == 0: // which opens the letter
		r.decision, r.note = deadletter.Decision{Decision: deadletter.Unparked}, noteDeleted
	case json.Unmarshal(rec.Value, &r.decision) != nil || !isDecision(r.decision.Decision):
		r.decision, r.note = deadletter.Decision{Decision: undecipherable}, noteUnknown
	}
	r.what, r.at = r.decision.Decision, moment(r.decision.At, rec)
	r.updated = r.at
	return r
}

func isDecision(name string) bool {
	switch name {
	case deadletter.Replayed, deadletter.Parked, deadletter.Unparked, deadletter.Discarded, deadletter.Revealed:
		return true
	}
	return false
}

// runRow: each batch of a run writes its record anew. While it is running that is one row, as of its start, with what the
// newest record says; each way in which it then ends is another one.
func runRow(rec *kgo.Record) *row {
	r := &row{offset: rec.Offset}
	if json.Unmarshal(rec.Value, &r.run) != nil || r.run.ID != string(rec.Key) || r.run.Status == "" {
		r.run, r.what, r.note, r.at = deadletter.Run{ID: string(rec.Key)}, undecipherable, noteUnknown, moment(time.Time{}, rec)
		r.updated = r.at
		return r
	}
	r.what, r.updated = "run "+r.run.Status, moment(r.run.UpdatedAt, rec)
	r.at = r.updated
	if r.run.Status == deadletter.Running {
		r.at = moment(r.run.StartedAt, rec)
	}
	return r
}

// The times that a DateTime64 can hold; others would be yet other times, silently.
var (
	firstMoment = time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)
	lastMoment  = time.Date(2299, 12, 31, 23, 59, 59, 0, time.UTC)
)

// moment is a time that the table can hold: that of the record if at is none.
func moment(at time.Time, rec *kgo.Record) time.Time {
	if at.Before(firstMoment) || at.After(lastMoment) {
		at = rec.Timestamp
	}
	switch {
	case at.Before(firstMoment):
		return firstMoment
	case at.After(lastMoment):
		return lastMoment
	}
	return at
}
