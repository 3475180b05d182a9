// Package board owns the live picture of all dead letters: what tables filter, sort and count by, in memory.
package board

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/dlq-replayer/desk"
	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/snapshot"
	"github.com/revstream/revstream/schemas"
)

const (
	readEvery   = time.Second      // from one reading on of the topics to the next
	expireEvery = 30 * time.Second // from one look for letters that have expired to the next
	addAtOnce   = 1000             // letters that are taken in under one lock
	staleAfter  = 30 * time.Second // without a reading, the board is not healthy
)

// errNotRead is what Health says before the first reading.
var errNotRead = errors.New("the dead letters have not been read yet")

// Decisions is what the board needs of a desk: everything on the topic of decisions from a position on.
type Decisions interface {
	Decisions(ctx context.Context, from snapshot.Position, each func(desk.Fact) error) (snapshot.Position, error)
}

// Config is what a board is made with.
type Config struct {
	// Compile makes a Match of a selection's Where.
	Compile func(where string, reveal bool) (desk.Match, error)
	// ScanFor is how long a page that needs the letters themselves is looked for; 0: 5 s.
	ScanFor time.Duration
}

// Board reads all dead-letter topics of the catalogue and the topic of decisions on, and answers from memory. It keeps
// some 90 bytes of a letter, and nothing of its value. Its methods are safe for concurrent use.
type Board struct {
	cfg       Config
	logger    *slog.Logger
	client    *kgo.Client
	decisions Decisions
	scans     chan struct{} // an element for each page that is looked for in the letters themselves

	refreshing sync.Mutex // held by Refresh, which alone writes what follows
	positions  map[string]snapshot.Position
	decided    snapshot.Position
	early      map[desk.ID]uint8 // decisions on letters that were not read yet
	expired    time.Time         // when expired letters were looked for last

	mu      sync.RWMutex // of what follows: Refresh writes, requests read
	pic     *picture
	history map[string]recorded // runs by ID
	facts   int64               // offset after the newest fact
	version int64               // grows with each change
	read    time.Time           // when everything was read last; zero before the first time
	failed  error               // of the last reading
	stats   *Stats              // of this version; nil if it was not asked for yet
}

// recorded is a run with the offset of its newest record.
type recorded struct {
	run    deadletter.Run
	offset int64
}

// New makes a board. The client stays the caller's.
func New(cfg Config, logger *slog.Logger, client *kgo.Client, decisions Decisions) *Board {
	if cfg.ScanFor == 0 {
		cfg.ScanFor = scanFor
	}
	b := &Board{cfg: cfg, logger: logger, client: client, decisions: decisions, scans: make(chan struct{}, maxScans)}
	b.reset()
	return b
}

// reset forgets everything.
func (b *Board) reset() {
	b.positions, b.decided, b.early = map[string]snapshot.Position{}, nil, map[desk.ID]uint8{}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pic, b.history, b.facts, b.read = newPicture(), map[string]recorded{}, 0, time.Time{}
	b.changed()
}

// Run keeps the picture up to date until ctx ends.
func (b *Board) Run(ctx context.Context) error {
	tick := time.NewTicker(readEvery)
	defer tick.Stop()
	for failing := false; ctx.Err() == nil; {
		err := b.Refresh(ctx)
		switch {
		case ctx.Err() != nil:
		case err != nil && !failing: // once for an outage, not each second
			b.logger.WarnContext(ctx, "reading the dead letters failed", "error", err)
		case err == nil && failing:
			b.logger.InfoContext(ctx, "dead letters are read again")
		}
		failing = err != nil
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	return nil
}

// Refresh reads what has come since the last time. A topic that was made anew makes it begin from nothing.
func (b *Board) Refresh(ctx context.Context) error {
	b.refreshing.Lock()
	defer b.refreshing.Unlock()
	err := b.refresh(ctx)
	if errors.Is(err, snapshot.ErrShrunk) {
		b.reset()
		err = b.refresh(ctx)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed = err; err == nil {
		b.read = time.Now()
	}
	return err
}

func (b *Board) refresh(ctx context.Context) error {
	topics, err := topics()
	if err != nil {
		return err
	}
	var found []string
	for _, topic := range topics {
		switch err := b.letters(ctx, topic); {
		case err == nil:
			found = append(found, schemas.DLQTopic(topic))
		case !errors.Is(err, snapshot.ErrNoTopic):
			return err
		}
	}
	// After the letters, so that nearly every decision finds its letter.
	if err := b.readDecisions(ctx); err != nil {
		return err
	}
	if time.Since(b.expired) < expireEvery {
		return nil
	}
	b.expired = time.Now()
	return b.expire(ctx, found)
}

// topics are those of the catalogue that have a dead-letter topic.
func topics() ([]string, error) {
	catalogue, err := schemas.Topics()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, topic := range catalogue {
		if name, ok := strings.CutSuffix(topic.Name, deadletter.Suffix); ok {
			names = append(names, name)
		}
	}
	return names, nil
}

// letters reads one dead-letter topic on.
func (b *Board) letters(ctx context.Context, topic string) error {
	type placed struct {
		partition int32
		letter
	}
	var batch []placed
	var fresh []ref
	flush := func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, l := range batch {
			part := b.pic.partition(topic, l.partition)
			if l.offset >= part.next { // else it was read before a reading that failed
				fresh = append(fresh, b.pic.add(part, l.letter))
			}
		}
		batch = batch[:0]
	}
	position, err := snapshot.ReadOn(ctx, b.client, schemas.DLQTopic(topic), b.positions[topic], func(rec *kgo.Record) error {
		if batch = append(batch, placed{rec.Partition, newLetter(desk.NewEntry(rec))}); len(batch) == addAtOnce {
			flush()
		}
		return nil
	})
	flush()
	b.show(fresh)
	if err != nil {
		return err
	}
	b.positions[topic] = position
	return nil
}

// show takes new letters into the order.
func (b *Board) show(fresh []ref) {
	if len(fresh) == 0 {
		return
	}
	b.mu.RLock()
	b.pic.sort(fresh) // of many it takes long: others may read meanwhile, and nobody but the caller writes
	b.mu.RUnlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range fresh {
		id := b.pic.pages[r.page()].id(r.row())
		if state, ok := b.early[id]; ok {
			b.pic.pages[r.page()].state[r.row()] = state
			delete(b.early, id)
		}
	}
	b.pic.merge(fresh)
	b.changed()
}

// readDecisions reads the topic of decisions on.
func (b *Board) readDecisions(ctx context.Context) error {
	var batch []desk.Fact
	position, err := b.decisions.Decisions(ctx, b.decided, func(fact desk.Fact) error {
		if batch = append(batch, fact); len(batch) == addAtOnce {
			b.take(batch)
			batch = batch[:0]
		}
		return nil
	})
	b.take(batch)
	if errors.Is(err, snapshot.ErrNoTopic) {
		return nil // nothing was decided ever
	}
	if err != nil {
		return fmt.Errorf("reading the decisions: %w", err)
	}
	b.decided = position
	return nil
}

// take takes facts in. One that comes again changes nothing.
func (b *Board) take(facts []desk.Fact) {
	if len(facts) == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, fact := range facts {
		b.facts = max(b.facts, fact.Offset+1)
		if fact.Run != nil {
			run := *fact.Run
			run.Spans = nil
			b.history[run.ID] = recorded{run, fact.Offset}
			continue
		}
		if state, ok := stateOf(fact.Decision); ok && fact.Place != nil {
			b.decide(*fact.Place, state)
		}
	}
	b.changed()
}

// changed must be called with the mutex held.
func (b *Board) changed() { b.version, b.stats = b.version+1, nil }

func (b *Board) decide(place deadletter.Place, state uint8) {
	id := desk.ID{Topic: strings.TrimSuffix(place.Topic, deadletter.Suffix), Partition: place.Partition, Offset: place.Offset}
	if r, ok := b.pic.find(id); ok {
		b.pic.pages[r.page()].state[r.row()] = state
		return
	}
	position, known := b.positions[id.Topic]
	if known && id.Offset >= position[id.Partition] {
		b.early[id] = state
	}
}

// states by number.
var states = desk.AllStates

// stateOf is the state that a decision leaves its letter in; not every one changes it.
func stateOf(d *deadletter.Decision) (uint8, bool) {
	state := desk.Open
	if d != nil {
		switch state = d.Decision; state {
		case deadletter.Revealed:
			return 0, false
		case deadletter.Unparked, "":
			state = desk.Open
		}
	}
	i := slices.Index(states, state)
	if i < 0 {
		i = slices.Index(states, desk.Undecipherable)
	}
	return uint8(i), true
}

// expire removes letters that their topics have dropped.
func (b *Board) expire(ctx context.Context, topics []string) error {
	if len(topics) == 0 {
		return nil
	}
	starts, err := kadm.NewClient(b.client).ListStartOffsets(ctx, topics...)
	if err != nil {
		return fmt.Errorf("finding the beginnings of the dead-letter topics: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	some := false
	starts.Each(func(o kadm.ListedOffset) {
		if o.Err == nil {
			part := b.pic.partition(strings.TrimSuffix(o.Topic, deadletter.Suffix), o.Partition)
			some = b.pic.expire(part, o.Offset) || some
		}
	})
	if some {
		b.pic.sweep()
		b.changed()
	}
	return nil
}

// Ready says whether everything was read once.
func (b *Board) Ready() bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return !b.read.IsZero()
}

// Version grows with each change of the picture.
func (b *Board) Version() int64 {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.version
}

// Health is an error if the picture is not up to date.
func (b *Board) Health() error {
	b.mu.RLock()
	defer b.mu.RUnlock()
	switch {
	case b.failed != nil && time.Since(b.read) > staleAfter:
		return b.failed
	case b.read.IsZero():
		return errNotRead
	}
	return nil
}
