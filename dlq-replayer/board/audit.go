package board

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/revstream/revstream/dlq-replayer/desk"
	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/snapshot"
)

// errEnough ends a reading early.
var errEnough = errors.New("enough")

// Runs returns all runs, the newest first.
func (b *Board) Runs() []deadletter.Run {
	b.mu.RLock()
	defer b.mu.RUnlock()
	runs := make([]deadletter.Run, 0, len(b.history))
	for _, r := range b.history {
		runs = append(runs, r.run)
	}
	slices.SortFunc(runs, func(a, b deadletter.Run) int {
		return cmp.Or(b.StartedAt.Compare(a.StartedAt), cmp.Compare(a.ID, b.ID))
	})
	return runs
}

// RunByID returns a run.
func (b *Board) RunByID(id string) (deadletter.Run, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	r, ok := b.history[id]
	return r.run, ok
}

// Audit returns what was done, the newest first: facts from before an offset, or the newest if that is 0, and the offset
// to go on before, or 0 after the oldest. Of a run there is the newest record alone.
func (b *Board) Audit(ctx context.Context, before int64, limit int) (facts []desk.Fact, next int64, err error) {
	b.mu.RLock()
	end := b.facts
	b.mu.RUnlock()
	if before <= 0 || before > end {
		before = end
	}
	for step := int64(limit); before > 0 && len(facts) < limit; step *= 2 { // compaction leaves holes
		first := max(before-step, 0)
		window, err := b.window(ctx, first, before)
		if err != nil {
			return nil, 0, err
		}
		for i := len(window) - 1; i >= 0 && len(facts) < limit; i-- {
			facts = append(facts, window[i])
			first = window[i].Offset
		}
		if len(facts) < limit {
			first = max(before-step, 0)
		}
		before = first
	}
	return facts, before, nil
}

// window reads the facts between two offsets.
func (b *Board) window(ctx context.Context, first, end int64) ([]desk.Fact, error) {
	var window []desk.Fact
	_, err := b.decisions.Decisions(ctx, snapshot.Position{0: first}, func(fact desk.Fact) error {
		switch {
		case fact.Offset >= end:
			return errEnough
		case b.counts(fact):
			window = append(window, fact)
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, fmt.Errorf("reading the audit: %w", err)
	}
	return window, nil
}

// counts says whether a fact is one for the audit: of a run, the newest record alone is.
func (b *Board) counts(fact desk.Fact) bool {
	if fact.Run == nil {
		return fact.Decision != nil
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	newest, ok := b.history[fact.Run.ID]
	return !ok || fact.Offset >= newest.offset
}
