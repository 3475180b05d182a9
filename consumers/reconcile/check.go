package reconcile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cespare/xxhash/v2"
	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/snapshot"
	"github.com/revstream/revstream/schemas/event"
)

const (
	// batchRecords are looked up at a time.
	batchRecords = 100_000
	// maxCandidates bounds the events that may be missing and whose letters are looked for. Where there are more, a table is gone
	// rather than a few rows: what is beyond it counts as missing.
	maxCandidates = 200_000
)

// countsOf are those of a group of runs with the same origin, or of the keys.
type countsOf struct {
	onTopic, own, stored, pending, deadLettered, erased, expired, missing, stale, discarded, compacted int64
}

// check is the reconciliation of one entity.
type check struct {
	*Reconciler
	entity
	runs         []run
	groups       groups
	counts       []countsOf // keysGroup, and then by group of runs
	candidates   map[uuid.UUID]*candidate
	overflowed   int64 // that were too many
	records      int64
	unidentified int64
	gone         gone
}

// candidate is an event that is behind what was committed, and not in the table.
type candidate struct {
	id        uuid.UUID
	key       string
	hash      uint64
	partition int32
	offset    int64
	groups    []int // one for each record
	stale     bool  // the key is current in an older version
	pending   bool  // a replay of it is
	erased    bool
	replays   []string // that have put it on the topic again
	letter    *letter  // the newest
	state     state
}

func newCheck(r *Reconciler, e entity, runs []run) *check {
	g := newGroups(e, runs)
	return &check{Reconciler: r, entity: e, runs: runs, groups: g, counts: make([]countsOf, g.n), candidates: map[uuid.UUID]*candidate{}}
}

// read reads the topic, and asks the tables what they have of it.
func (c *check) read(ctx context.Context) error {
	committed, err := c.committed(ctx)
	if err != nil {
		return err
	}
	starts, ends, err := snapshot.Bounds(ctx, c.kafka, c.topic.Name)
	if err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(ends)) {
		p := partition{check: c, id: id, committed: committed[id], newest: map[uint64]newest{}}
		if err := snapshot.ReadRange(ctx, c.kafka, c.topic.Name, id, starts[id], ends[id], func(rec *kgo.Record) error { return p.see(ctx, rec) }); err != nil {
			return err
		}
		if err := p.settle(ctx); err != nil {
			return err
		}
	}
	return nil
}

// committed is what the consumers go on from. What is not there yet, they have all before them.
func (c *check) committed(ctx context.Context) (snapshot.Position, error) {
	offsets, err := kadm.NewClient(c.kafka).FetchOffsets(ctx, c.group)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return nil, fmt.Errorf("asking what group %s has committed: %w", c.group, err)
	}
	position := snapshot.Position{}
	for id, o := range offsets[c.topic.Name] {
		position[id] = max(o.At, 0)
	}
	return position, nil
}

// partition is the reading of one partition.
type partition struct {
	*check
	id        int32
	committed int64
	newest    map[uint64]newest // by the hash of the key
	batch     []item
}

// newest is what a partition has of a key.
type newest struct {
	id     uuid.UUID // zero for a tombstone
	offset int64
	has    held
}

// held is what the current table has of a key.
type held uint8

const (
	heldNothing held = iota
	heldOlder
	heldIt // or a newer one
)

// item is a record of a run.
type item struct {
	facts
	groups []int
	offset int64
}

// facts are what a record's key and headers tell.
type facts struct {
	id          uuid.UUID
	key         string
	hash        uint64
	correlation string
	replay      string // that has put it on the topic
}

// see takes a record in.
func (p *partition) see(ctx context.Context, rec *kgo.Record) error {
	p.records++
	hash := xxhash.Sum64(rec.Key)
	if rec.Value == nil {
		p.newest[hash] = newest{offset: rec.Offset}
		return nil
	}
	f, ok := read(rec)
	if !ok {
		p.unidentified++
		return nil
	}
	f.hash = hash
	if n, seen := p.newest[hash]; !seen || bytes.Compare(f.id[:], n.id[:]) >= 0 {
		p.newest[hash] = newest{id: f.id, offset: rec.Offset}
	}
	indices := p.groups.find(f.correlation, rec.Key)
	if indices == nil {
		return nil
	}
	f.key = string(rec.Key)
	p.batch = append(p.batch, item{facts: f, groups: indices, offset: rec.Offset})
	if len(p.batch) < batchRecords {
		return nil
	}
	return p.resolve(ctx)
}

// read reads the headers. ok is false without an event ID, which every event of ours has.
func read(rec *kgo.Record) (f facts, ok bool) {
	for _, h := range rec.Headers {
		switch h.Key {
		case event.HeaderID:
			id, err := uuid.ParseBytes(h.Value)
			f.id, ok = id, err == nil
		case event.HeaderCorrelationID:
			f.correlation = string(h.Value)
		case deadletter.HeaderReplayID:
			f.replay = string(h.Value)
		}
	}
	return f, ok
}

// resolve finds out what has become of the batch.
func (p *partition) resolve(ctx context.Context) error {
	if len(p.batch) == 0 {
		return nil
	}
	at, err := p.storedAt(ctx, p.id, p.batch[0].offset, p.batch[len(p.batch)-1].offset)
	if err != nil {
		return err
	}
	var left []item
	for _, i := range p.batch {
		if i.replay != "" {
			continue
		}
		id, stored := at[i.offset]
		stored = stored && id == i.id
		for _, g := range i.groups {
			p.counts[g].onTopic++
			if stored {
				p.counts[g].stored++
				p.counts[g].own++
			}
		}
		if !stored {
			left = append(left, i)
		}
	}
	if err := p.leftOver(ctx, left); err != nil {
		return err
	}
	for _, i := range p.batch {
		p.replayed(i)
	}
	p.batch = p.batch[:0]
	return nil
}

// replayed notes that a replay has put an event on the topic again, behind the record that was not stored.
func (p *partition) replayed(i item) {
	if c := p.candidates[i.id]; c != nil && i.replay != "" {
		c.replays = append(c.replays, i.replay)
		c.pending = c.pending || i.offset >= p.committed
	}
}

// leftOver are records that were not stored from where they are.
func (p *partition) leftOver(ctx context.Context, left []item) error {
	by, err := p.storedBy(ctx, left)
	if err != nil {
		return err
	}
	for _, i := range left {
		correlation, stored := by[i.id]
		for _, g := range i.groups {
			switch {
			case stored:
				p.counts[g].stored++
				if correlation == i.correlation {
					p.counts[g].own++
				}
			case i.offset >= p.committed:
				p.counts[g].pending++
			default:
				p.suspect(i.facts, i.offset, g)
			}
		}
	}
	return nil
}

// suspect makes an event a candidate.
func (p *partition) suspect(f facts, offset int64, group int) *candidate {
	c := p.candidates[f.id]
	if c == nil {
		if len(p.candidates) == maxCandidates {
			p.overflowed++
			p.counts[group].missing++
			return nil
		}
		c = &candidate{id: f.id, key: f.key, hash: f.hash, partition: p.id, offset: offset}
		p.candidates[f.id] = c
	}
	c.groups = append(c.groups, group)
	return c
}
