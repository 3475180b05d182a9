package salesloft

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"
)

// maxTiePasses bounds how often the records of one timestamp are listed again because they changed meanwhile.
const maxTiePasses = 20

// Batch is what one request brought of a walk over changes, without what the walk has yielded before.
type Batch struct {
	People []Person
	Failed []RecordError
	// Cursor is where to go on after a crash: a walk since Cursor repeats a few records (those of that very timestamp) and
	// misses none. Store it when the batch is safely published. It never steps back.
	Cursor    time.Time
	RateLimit RateLimit
}

// Changes walks over the people updated in [since, until), oldest first; a zero time leaves that side open. It yields one batch
// for each request, and ends after the first error.
//
// A record that is updated during the walk is yielded as it was, as it is now, or both, each with its own UpdatedAt: with an
// open end as it is now in any case, with an until in the past at the latest by the walk over the next window. A record that
// the source stamps with a time that the walk has passed already (a long transaction, a clock that steps back) is not seen;
// starting each walk somewhat before the last one's end finds it.
//
// # How nothing is lost
//
// Page n+1 cannot be relied on to follow page n: when a record on page n is updated or deleted in between, everything behind
// it moves up one place, and what was first on page n+1 is then last on page n, seen by nobody. So the walk asks for page 1 only,
// each time with updated_at >= the last timestamp that it has seen. One page is one snapshot, and a record that is not on it
// is either at or above its last timestamp, hence within the next request, or has been changed, hence further up. Records
// of that last timestamp come twice and are dropped the second time. This also keeps every request at the lowest price: the
// price of a page rises above page 100.
//
// When a whole page has one timestamp (a bulk update) asking again brings the same page. Then, and only then, the walk
// turns pages, within that timestamp: see ties.
func (c *Client) Changes(ctx context.Context, since, until time.Time) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		w := &walk{client: c, until: until, cursor: since, seen: map[recordKey]bool{}}
		if err := w.run(ctx, yield); err != nil && !errors.Is(err, errStopped) {
			yield(Batch{Cursor: w.cursor}, fmt.Errorf("walking over changed people: %w", err))
		}
	}
}

// errStopped ends a walk whose caller has had enough.
var errStopped = errors.New("stopped")

// walk is the state of one walk. Everything up to cursor has been yielded, except records at cursor that are not in seen.
type walk struct {
	client *Client
	until  time.Time
	cursor time.Time
	past   bool // the records at cursor are done: go on above it
	seen   map[recordKey]bool
}

// recordKey tells versions of records apart. A record without a readable ID is known by its text.
type recordKey struct {
	id  int64
	at  int64 // microseconds
	raw string
}

func (r record) key() recordKey {
	if r.failed == nil {
		return recordKey{id: r.person.ID, at: r.person.UpdatedAt.UnixMicro()}
	}
	key := recordKey{id: r.failed.ID, at: r.updatedAt().UnixMicro()}
	if key.id == 0 {
		key.raw = string(r.failed.Raw)
	}
	return key
}

// updatedAt is zero when the record has none that can be read.
func (r record) updatedAt() time.Time {
	if r.failed != nil {
		return r.failed.UpdatedAt
	}
	return r.person.UpdatedAt
}

func (w *walk) run(ctx context.Context, yield func(Batch, error) bool) error {
	for {
		query := w.query()
		if w.past {
			query.UpdatedAtGT = w.cursor
		} else {
			query.UpdatedAtGTE = w.cursor
		}
		page, err := w.client.people(ctx, query)
		if err != nil {
			return err
		}
		last, err := lastUpdated(page)
		if err != nil {
			return err
		}
		moved := last.After(w.cursor)
		batch := w.take(page, last)
		if !yield(batch, nil) {
			return errStopped
		}
		switch {
		case !w.full(page):
			return nil
		case moved:
			w.past = false
		case w.past || last.IsZero():
			return fmt.Errorf("%w: a full page has nothing above the last timestamp", ErrListOrder)
		default:
			if err := w.ties(ctx, yield); err != nil {
				return err
			}
			w.past = true
		}
	}
}

func (w *walk) query() Query {
	return Query{Page: 1, PerPage: w.client.pageSize, SortBy: "updated_at", SortDirection: "ASC", UpdatedAtLT: w.until}
}

// full trusts neither sign of there being more alone: a page is short only if both say so. An empty one is the end in any case.
func (w *walk) full(page recordPage) bool {
	return len(page.records) > 0 && (page.More || len(page.records) >= w.client.pageSize)
}

// lastUpdated returns the newest timestamp of a page and refuses a page that is not in ascending order: the source has then
// ignored the order that was asked for, and going on from the last record would skip others.
func lastUpdated(page recordPage) (time.Time, error) {
	var last time.Time
	for _, r := range page.records {
		at := r.updatedAt()
		if at.IsZero() {
			continue
		}
		if at.Before(last) {
			return last, fmt.Errorf("%w: updated_at steps back within a page", ErrListOrder)
		}
		last = at
	}
	return last, nil
}

// take turns a page into a batch of what is new and moves the cursor to last. Of what was seen it keeps the records at
// the cursor alone, since none below it can come again.
func (w *walk) take(page recordPage, last time.Time) Batch {
	before := w.seen
	if last.After(w.cursor) {
		w.cursor, w.seen = last, map[recordKey]bool{}
	}
	batch := Batch{Cursor: w.cursor, RateLimit: page.RateLimit}
	at := w.cursor.UnixMicro()
	for _, r := range page.records {
		key := r.key()
		known := before[key]
		if key.at == at {
			w.seen[key] = true
		}
		if known {
			continue
		}
		if r.failed != nil {
			batch.Failed = append(batch.Failed, *r.failed)
		} else {
			batch.People = append(batch.People, r.person)
		}
	}
	return batch
}

// ties lists all records whose timestamp is the cursor, a page after the other. Here places do shift, and the order among
// equals may differ from one request to the next, so turning the pages once proves nothing by itself. What does is the
// source's count of these records, which comes with every page. The set only shrinks (a changed record leaves it upwards), so
// while the count stays the same so does the set; once as many different records have been met since the count last changed,
// all have been. Until then the pages are turned again. A source without a count is believed when a pass brings nothing new,
// one whose count never fits when the last pass brings nothing new.
func (w *walk) ties(ctx context.Context, yield func(Batch, error) bool) error {
	t := tie{met: map[recordKey]bool{}}
	for pass := 1; pass <= maxTiePasses; pass++ {
		fresh := 0
		for number, more := 1, true; more; number++ {
			query := w.query()
			query.Page, query.UpdatedAtGTE, query.UpdatedAtLTE, query.IncludePagingCounts = number, w.cursor, w.cursor, true
			page, err := w.client.people(ctx, query)
			if err != nil {
				return err
			}
			batch := w.take(page, w.cursor)
			fresh += len(batch.People) + len(batch.Failed)
			if !yield(batch, nil) {
				return errStopped
			}
			if t.complete(page) {
				return nil
			}
			more = w.full(page)
		}
		if fresh == 0 && (t.count == nil || pass == maxTiePasses) {
			return nil
		}
	}
	return ErrUnstable
}

// tie is what ties knows of the records of one timestamp: the source's count, and which were met since it last changed.
type tie struct {
	count *int
	met   map[recordKey]bool
}

func (t *tie) complete(page recordPage) bool {
	count := page.TotalCount
	if count == nil || t.count == nil || *count != *t.count {
		clear(t.met)
	}
	t.count = count
	for _, r := range page.records {
		t.met[r.key()] = true
	}
	return count != nil && len(t.met) == *count
}
