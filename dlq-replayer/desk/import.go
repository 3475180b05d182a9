package desk

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"sync"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/snapshot"
	"github.com/revstream/revstream/schemas"
)

// Import puts letters that were exported, here or elsewhere, on their dead-letter topics, where they are open. next
// returns them with the place that they were exported from, and io.EOF after the last. A letter that is there already is
// skipped, whether it was never away or was imported before, so an import that ended early is simply done again. Of the
// order By, Why, From and TakeOver are read.
func (d *Desk) Import(ctx context.Context, order Order, next func() (deadletter.Letter, error)) (Report, error) {
	if err := order.validateWhy(); err != nil {
		return Report{}, err
	}
	s, err := d.join(ctx, order.TakeOver)
	if err != nil {
		return Report{}, err
	}
	defer d.leave(s)
	record := deadletter.Run{
		ID: uuid.NewString(), Action: deadletter.Imported, StartedAt: d.pace.now().UTC(),
		By: order.By, Why: order.Why, From: order.From,
	}
	d.enter(record.ID)
	defer d.exit(record.ID)
	r := d.newRun(Order{Concurrency: 1}, record, nil)
	r.session = s
	return r.finish(ctx, func(ctx context.Context, chunks chan<- chunk) error {
		return d.importable(ctx, s.there, next, chunks)
	})
}

// importable sends the letters to import, one chunk at a time.
func (d *Desk) importable(ctx context.Context, there *there, next func() (deadletter.Letter, error), chunks chan<- chunk) error {
	for ended := false; !ended; {
		var c chunk
		for bytes := 0; len(c.items) < chunkLetters && bytes < chunkBytes; {
			letter, err := next()
			if errors.Is(err, io.EOF) {
				ended = true
				break
			}
			if err != nil {
				return fmt.Errorf("reading the letters to import: %w", err)
			}
			it := item{entry: Entry{ID: ID{Topic: letter.Topic, Partition: letter.Partition, Offset: letter.Offset}, Letter: letter, State: Open}}
			if letter.Topic == "" || letter.Reason == ReasonNotALetter {
				it.skip = "it is no dead letter"
			} else if err := there.load(ctx, d, schemas.DLQTopic(letter.Topic)); err != nil {
				return err
			}
			c.items = append(c.items, it)
			bytes += it.size()
		}
		select {
		case chunks <- c:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// there knows which letters dead-letter topics have, as far as an import asks: eight bytes of each, and one more for each
// that was imported. It is safe for concurrent use.
type there struct {
	mu       sync.Mutex
	seed     maphash.Seed
	prints   map[string]*prints // by <DLQ topic>/<partition>
	imported *states            // by the place that letters were imported from
	loaded   map[string]bool    // by dead-letter topic
}

// prints are fingerprints of a partition's letters, from an offset on; 0 where there is none.
type prints struct {
	from int64
	of   []uint64
}

func newThere() *there {
	return &there{seed: maphash.MakeSeed(), prints: make(map[string]*prints), imported: newStates(), loaded: make(map[string]bool)}
}

// load reads what a dead-letter topic has, unless it has done so before: after that nobody else imports.
func (t *there) load(ctx context.Context, d *Desk, topic string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.loaded[topic] {
		return nil
	}
	if err := snapshot.Read(ctx, d.client, topic, func(rec *kgo.Record) error {
		letter, err := deadletter.Parse(rec)
		if err != nil {
			return nil //nolint:nilerr // no letter, so none to import again
		}
		log := stretch{topic: topic, partition: rec.Partition}.log()
		p := t.prints[log]
		if p == nil {
			p = &prints{from: rec.Offset}
			t.prints[log] = p
		}
		for int64(len(p.of)) < rec.Offset-p.from {
			p.of = append(p.of, 0)
		}
		p.of = append(p.of, t.print(letter))
		if letter.ImportedFrom != "" {
			t.imported.put([]byte(letter.ImportedFrom), importedMark)
		}
		return nil
	}); err != nil {
		return fmt.Errorf("looking for what is there already: %w", explainRead(topic, err))
	}
	t.loaded[topic] = true
	return nil
}

// importedMark stands in the states of there for a letter that was imported.
var importedMark = []byte(`{"decision":"` + Replayed + `"}`)

// print is the fingerprint of a letter, never 0.
func (t *there) print(l deadletter.Letter) uint64 {
	var h maphash.Hash
	h.SetSeed(t.seed)
	var number [8]byte
	for _, n := range []int64{int64(l.OriginalPartition), l.OriginalOffset, int64(len(l.Key)), int64(len(l.Value))} {
		binary.BigEndian.PutUint64(number[:], uint64(n))
		_, _ = h.Write(number[:]) // a hash takes everything
	}
	_, _ = h.Write(l.Key)
	_, _ = h.Write(l.Value)
	return max(1, h.Sum64())
}

// drop leaves out what is there already, or twice among the items.
func (t *there) drop(items []item) {
	t.mu.Lock()
	defer t.mu.Unlock()
	seen := make(map[ID]bool, len(items))
	for i := range items {
		it := &items[i]
		if !it.acts() {
			continue
		}
		log := it.entry.ID.log()
		has := false
		if p := t.prints[log]; p != nil {
			at := it.entry.ID.Offset - p.from
			has = at >= 0 && at < int64(len(p.of)) && p.of[at] == t.print(it.entry.Letter)
		}
		switch {
		case has:
			it.skip = "it is there already"
		case seen[it.entry.ID] || t.imported.log(log).of(it.entry.ID.Offset) != Open:
			it.skip = "it was imported before"
		default:
			seen[it.entry.ID] = true
		}
	}
}

// add notes that a letter was imported.
func (t *there) add(l deadletter.Letter) {
	t.imported.log(ID{Topic: l.Topic, Partition: l.Partition}.log()).mark(l.Offset, Replayed)
}
