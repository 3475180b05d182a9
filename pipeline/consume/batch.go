package consume

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// batch is what one flush stores: records in the order of each partition,
// taken apart into events and poison.
//
// Invariant: for each partition, ends is one past the last record added, and
// every record before it, back to the first one added, is in items or poison.
type batch struct {
	items   []Item
	poison  []Poison
	records []record // what items and poison came from, in the order of the log
	judged  int      // of records: those that were held to the cap
	bytes   int
	oldest  time.Time // when the first record was added
	ends    map[*lease]kgo.EpochOffset
	store   Store // of items; set when the batch is handed on
	memory  *memory
}

// record is a record with the lease under which it was read.
type record struct {
	*kgo.Record
	lease *lease
}

// newBatch makes a batch, in the memory of one that is settled if there is one.
func (l *Loop) newBatch() *batch {
	b := &batch{ends: make(map[*lease]kgo.EpochOffset)}
	select {
	case b.memory = <-l.settled:
	default:
		b.memory = new(memory)
	}
	return b
}

// recycle leaves a batch's memory to the next one. Nobody may look at its
// records any more.
func (l *Loop) recycle(b *batch) {
	b.memory.reset()
	select {
	case l.settled <- b.memory:
	default:
	}
}

func (b *batch) rows() int { return len(b.records) }

// add takes note of a record that the caller has put in items or poison.
func (b *batch) add(l *lease, rec *kgo.Record) {
	b.records = append(b.records, record{rec, l})
	b.bytes += len(rec.Key) + len(rec.Value)
	b.pass(l, rec)
}

// pass takes note that a record has been read, which may be the marker of a
// transaction: there is nothing to store of it, but an offset to commit.
func (b *batch) pass(l *lease, rec *kgo.Record) {
	if b.oldest.IsZero() {
		b.oldest = time.Now()
	}
	b.ends[l] = kgo.EpochOffset{Epoch: rec.LeaderEpoch, Offset: rec.Offset + 1}
}

// without takes poison out of what is to be stored.
func (b *batch) without(poison []Poison) {
	bad := make(map[*kgo.Record]bool, len(poison))
	for _, p := range poison {
		bad[p.Record] = true
	}
	b.items = slices.DeleteFunc(b.items, func(i Item) bool { return bad[i.Record] })
}

func (b *batch) empty() bool { return len(b.ends) == 0 }

func (b *batch) full(cfg Config) bool {
	return b.rows() >= cfg.BatchRows || b.bytes >= cfg.BatchBytes
}

func (b *batch) due(cfg Config) bool {
	return !b.empty() && (b.full(cfg) || time.Since(b.oldest) >= cfg.BatchAge)
}

// earliest is the earliest Kafka timestamp in the batch.
func (b *batch) earliest() time.Time {
	first := time.Now()
	for _, rec := range b.records {
		if rec.Timestamp.Before(first) {
			first = rec.Timestamp
		}
	}
	return first
}
