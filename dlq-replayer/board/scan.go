package board

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/dlq-replayer/desk"
	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/snapshot"
	"github.com/revstream/revstream/schemas"
)

const (
	scanFor = 5 * time.Second
	// Letters that are looked for at once: few at first, for the page to come soon, then more, as letters of one time may be
	// scattered over the topic, which is then read for each step.
	scanStep = 2000
	maxStep  = 64_000
	scanGap  = 500 // offsets between two letters that are read over rather than asked for anew
	maxScans = 2   // at once

	deadLetterSuffix = deadletter.Suffix
)

// ErrBusy is returned when too many pages are being looked for in the letters themselves.
var ErrBusy = errors.New("others are searching by header or expression: try again in a few seconds")

// byContent says whether a selection needs the letters themselves.
func byContent(s desk.Selection) bool { return len(s.Headers) > 0 || s.Where != "" }

// scan calls each, in order, for the letters of a selection that also match in their content, until it returns false.
// complete says that all were seen before the time was up; last is the last one that was looked at.
func (b *Board) scan(ctx context.Context, s desk.Selection, oldest bool, after *mark, each func(Row) bool) (complete bool, last *mark, err error) {
	matches, err := b.content(s)
	if err != nil {
		return false, nil, err
	}
	select {
	case b.scans <- struct{}{}:
		defer func() { <-b.scans }()
	default:
		return false, nil, ErrBusy
	}
	limited, cancel := context.WithTimeout(ctx, b.cfg.ScanFor)
	defer cancel()
	last = after
	for step := scanStep; ; step = min(4*step, maxStep) {
		marks := b.candidates(s, oldest, last, step)
		found, err := b.match(limited, marks, matches)
		switch {
		case ctx.Err() != nil:
			return false, last, ctx.Err()
		case limited.Err() != nil:
			return false, last, nil
		case err != nil:
			return false, last, err
		}
		for i := range marks {
			last = &marks[i]
			if !found[last.id] {
				continue
			}
			if row, err := b.Find(last.id); err == nil && !each(row) { // else it has expired meanwhile
				return false, last, nil
			}
		}
		if len(marks) < step {
			return true, last, nil
		}
	}
}

// content compiles what a selection says of the letters themselves.
func (b *Board) content(s desk.Selection) (func(context.Context, *kgo.Record) (bool, error), error) {
	where := desk.Match(func(context.Context, deadletter.Letter) (bool, error) { return true, nil })
	if s.Where != "" {
		var err error
		if where, err = b.cfg.Compile(s.Where, s.Reveal); err != nil {
			return nil, err
		}
	}
	return func(ctx context.Context, rec *kgo.Record) (bool, error) {
		for _, want := range s.Headers {
			if !slices.ContainsFunc(rec.Headers, func(h kgo.RecordHeader) bool { return h.Key == want.Name && string(h.Value) == want.Value }) {
				return false, nil
			}
		}
		return where(ctx, desk.NewEntry(rec).Letter)
	}, nil
}

// candidates are the next letters that match by what is in memory.
func (b *Board) candidates(s desk.Selection, oldest bool, after *mark, most int) (marks []mark) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	matches := b.pic.matcher(s)
	b.pic.each(oldest, after, func(r ref) bool {
		if matches(r) {
			marks = append(marks, b.pic.mark(r))
		}
		return len(marks) < most
	})
	return marks
}

// match reads letters, and says which of them match.
func (b *Board) match(ctx context.Context, marks []mark, matches func(context.Context, *kgo.Record) (bool, error)) (map[desk.ID]bool, error) {
	wanted := make(map[desk.ID]bool, len(marks))
	sorted := make([]desk.ID, len(marks))
	for i, m := range marks {
		sorted[i], wanted[m.id] = m.id, true
	}
	slices.SortFunc(sorted, func(a, b desk.ID) int {
		if (mark{id: a}).before(mark{id: b}) {
			return -1
		}
		return 1
	})
	found := make(map[desk.ID]bool)
	for len(sorted) > 0 {
		n := 1
		for n < len(sorted) && near(sorted[n-1], sorted[n]) {
			n++
		}
		first, last := sorted[0], sorted[n-1]
		sorted = sorted[n:]
		err := snapshot.ReadRange(ctx, b.client, schemas.DLQTopic(first.Topic), first.Partition, first.Offset, last.Offset+1, func(rec *kgo.Record) error {
			id := desk.ID{Topic: strings.TrimSuffix(rec.Topic, deadletter.Suffix), Partition: rec.Partition, Offset: rec.Offset}
			if err := ctx.Err(); err != nil || !wanted[id] {
				return err
			}
			ok, err := matches(ctx, rec)
			if ok {
				found[id] = true
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("reading the letters: %w", err)
		}
	}
	return found, nil
}

func near(a, b desk.ID) bool {
	return a.Topic == b.Topic && a.Partition == b.Partition && b.Offset-a.Offset <= scanGap
}

// scanPage is Page for a selection that needs the letters themselves.
func (b *Board) scanPage(ctx context.Context, q Query, from *cursor) (Page, error) {
	page := Page{Rows: []Row{}}
	var after, end *mark
	if from != nil {
		at := from.mark()
		after, page.Total = &at, from.Seen
	}
	more := false // than fit
	complete, last, err := b.scan(ctx, q.Selection, q.Oldest, after, func(row Row) bool {
		page.Total++
		if len(page.Rows) < q.Limit {
			page.Rows = append(page.Rows, row)
			end = &mark{last: row.LastFailure.UnixMicro(), id: row.ID}
			return true
		}
		more = true
		return from == nil // the first page counts on
	})
	if err != nil {
		return Page{}, err
	}
	page.Partial = !complete
	switch {
	case more:
		page.Next = cursor{Last: end.last, ID: end.id, Seen: page.seen(from)}.String()
	case !complete && last != nil:
		page.Next = cursor{Last: last.last, ID: last.id, Seen: page.Total}.String()
	}
	return page, nil
}

// seen counts the letters up to the page's end.
func (p Page) seen(from *cursor) int {
	if from == nil {
		return len(p.Rows)
	}
	return from.Seen + len(p.Rows)
}

// Read returns a letter itself, with its state, and whether there is one.
func (b *Board) Read(ctx context.Context, id desk.ID) (entry desk.Entry, found bool, err error) {
	err = snapshot.ReadRange(ctx, b.client, schemas.DLQTopic(id.Topic), id.Partition, id.Offset, id.Offset+1, func(rec *kgo.Record) error {
		entry, found = desk.NewEntry(rec), true
		return nil
	})
	if errors.Is(err, kerr.OffsetOutOfRange) || errors.Is(err, kerr.UnknownTopicOrPartition) {
		return desk.Entry{}, false, nil
	}
	if err != nil || !found {
		return desk.Entry{}, false, err
	}
	if row, err := b.Find(id); err == nil {
		entry.State = row.State
	}
	return entry, true, nil
}
