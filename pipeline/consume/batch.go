package consume

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// maxPoison bounds the records that a batch holds whole: those that it is to dead-letter.
const maxPoison = 5000

// batch is what one flush stores: what has been read, in the order of each
// partition, taken apart into events and poison.
//
// Invariant: for each share, end is one past the last record added, and
// every record before it, back to the first one added, is in events or poison.
type batch struct {
	events  Batch
	poison  []Poison
	records []entry // what events and poison came from, in the order of the log
	judged  int     // of records: those that were held to the cap
	bytes   int
	opened  time.Time // when the first record was added
	oldest  time.Time // the earliest Kafka timestamp
	shares  []share

	decoding time.Duration // that taking the records in took
	first    sample
	trail    trail
}

// share is what a batch has of one partition.
type share struct {
	lease *lease          // under which it was read
	begin kgo.EpochOffset // of the first record added
	end   kgo.EpochOffset // one past the last
}

// entry is a record's place. It has no pointers, for the sake of the garbage collector.
type entry struct {
	share  int32 // of the batch's
	offset int64
}

func (b *batch) place(e entry) Place { return Place{b.shares[e.share].lease.partition, e.offset} }

func (l *Loop) newBatch() *batch {
	return &batch{events: l.sink.NewBatch(), oldest: time.Now()}
}

// add takes note of a record that the caller has put in events or poison.
func (b *batch) add(l *lease, rec *kgo.Record) {
	b.records = append(b.records, entry{b.pass(l, rec), rec.Offset})
	b.bytes += len(rec.Key) + len(rec.Value)
	if rec.Timestamp.Before(b.oldest) {
		b.oldest = rec.Timestamp
	}
	if b.trail.recording {
		b.trail.follow(rec)
	}
}

// pass takes note that a record has been read, which may be the marker of a
// transaction, or a tombstone: there is nothing to store of it, but an offset to commit.
func (b *batch) pass(l *lease, rec *kgo.Record) int32 {
	at := slices.IndexFunc(b.shares, func(s share) bool { return s.lease == l })
	if at < 0 {
		at = len(b.shares)
		b.shares = append(b.shares, share{lease: l, begin: kgo.EpochOffset{Epoch: rec.LeaderEpoch, Offset: rec.Offset}})
	}
	b.shares[at].end = kgo.EpochOffset{Epoch: rec.LeaderEpoch, Offset: rec.Offset + 1}
	if b.opened.IsZero() {
		b.opened = time.Now()
	}
	return int32(at)
}

func (b *batch) empty() bool { return len(b.shares) == 0 }

func (b *batch) full(cfg Config) bool {
	return len(b.records) >= cfg.BatchRows || b.bytes >= cfg.BatchBytes || len(b.poison) >= maxPoison
}

func (b *batch) due(cfg Config) bool {
	return !b.empty() && time.Since(b.opened) >= cfg.BatchAge
}
