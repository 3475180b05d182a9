package reconcile

import (
	"bytes"
	"context"
	"math"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/snapshot"
)

// deleteBit is set in the ninth byte of a delete's ID; schemas/event says so.
const deleteBit = 1 << 5

// settle looks up what is left, and holds the newest event of each key against the current table.
func (p *partition) settle(ctx context.Context) error {
	if err := p.resolve(ctx); err != nil {
		return err
	}
	for _, c := range p.candidates {
		if n, seen := p.newest[c.hash]; c.partition == p.id && seen && n.tombstone() {
			c.erased = true
		}
	}
	if err := p.current(ctx, p.meet); err != nil {
		return err
	}
	suspects := map[int64]newest{} // by offset
	for _, n := range p.newest {
		if n.tombstone() {
			continue
		}
		count := &p.counts[keysGroup]
		count.onTopic++
		switch {
		case n.has == heldIt, n.has == heldNothing && n.id[8]&deleteBit != 0:
			count.stored++
		case n.offset >= p.committed:
			count.pending++
		default:
			suspects[n.offset] = n
		}
	}
	return p.suspectKeys(ctx, suspects)
}

func (n newest) tombstone() bool { return n.id == uuid.Nil }

// meet takes a row of the current table in.
func (p *partition) meet(hash uint64, id uuid.UUID) {
	n, ok := p.newest[hash]
	if !ok || n.has == heldIt {
		return
	}
	n.has = heldOlder
	if bytes.Compare(id[:], n.id[:]) >= 0 {
		n.has = heldIt
	}
	p.newest[hash] = n
}

// suspectKeys makes candidates of the keys that are not current. Their records are read once more, as only hashes of keys are kept.
func (p *partition) suspectKeys(ctx context.Context, suspects map[int64]newest) error {
	if len(suspects) == 0 {
		return nil
	}
	first, last := int64(math.MaxInt64), int64(0)
	for offset := range suspects {
		first, last = min(first, offset), max(last, offset)
	}
	return snapshot.ReadRange(ctx, p.kafka, p.topic.Name, p.id, first, last+1, func(rec *kgo.Record) error {
		n, ok := suspects[rec.Offset]
		if !ok {
			return nil
		}
		f, _ := read(rec)
		f.id, f.key = n.id, string(rec.Key)
		if c := p.suspect(f, rec.Offset, keysGroup); c != nil {
			c.stale = n.has == heldOlder
			if f.replay != "" {
				c.replays = append(c.replays, f.replay)
			}
		}
		return nil
	})
}
