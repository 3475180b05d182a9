package salesloft

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"
)

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
		w := &walk{client: c, yield: yield, until: until, cursor: since, seen: map[recordKey]bool{}}
		err := w.scan(ctx, byUpdate, Query{UpdatedAtLT: until}, since, w.ties)
		if err != nil && !errors.Is(err, errStopped) {
			yield(Batch{Cursor: w.cursor}, fmt.Errorf("walking over changed people: %w", err))
		}
	}
}

// errStopped ends a walk whose caller has had enough.
var errStopped = errors.New("stopped")

// walk is the state of one walk. Everything up to cursor has been yielded, except records at cursor that are not in seen.
type walk struct {
	client *Client
	yield  func(Batch, error) bool
	until  time.Time
	cursor time.Time
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

// axis is a timestamp of the records along which a scan goes.
type axis struct {
	name  string
	of    func(record) time.Time
	above func(q *Query, t time.Time) // sets the bound to >
	from  func(q *Query, t time.Time) // sets the bound to >=
	// exact axes refuse a record below the bound that was asked for: the source has then ignored the bound. On the others
	// that is a repetition, which does no harm.
	exact bool
	moves bool // the walk's cursor along with it
}

var byUpdate = axis{
	name: "updated_at", of: record.updatedAt, moves: true,
	above: func(q *Query, t time.Time) { q.UpdatedAtGT = t },
	from:  func(q *Query, t time.Time) { q.UpdatedAtGTE = t },
}

// scan goes along an axis from a cursor to the end of what base selects, a page 1 after the other, and calls tie when a whole
// page has one timestamp.
func (w *walk) scan(ctx context.Context, a axis, base Query, cursor time.Time, tie func(context.Context, time.Time) error) error {
	for past := false; ; { // past: the records at the cursor are done, go on above it
		query := base
		query.Page, query.PerPage, query.SortBy, query.SortDirection = 1, w.client.pageSize, a.name, "ASC"
		if past {
			a.above(&query, cursor)
		} else {
			a.from(&query, cursor)
		}
		page, err := w.client.people(ctx, query)
		if err != nil {
			return err
		}
		last, err := a.last(page, cursor)
		if err != nil {
			return err
		}
		var reached time.Time
		if a.moves {
			reached = last
		}
		if _, err := w.emit(page, reached); err != nil {
			return err
		}
		switch {
		case !w.full(page):
			return nil
		case last.After(cursor):
			cursor, past = last, false
		case past || last.IsZero():
			return fmt.Errorf("%w: a full page has nothing above the last %s", ErrListOrder, a.name)
		default:
			if err := tie(ctx, cursor); err != nil {
				return err
			}
			past = true
		}
	}
}

// full trusts neither sign of there being more alone: a page is short only if both say so. An empty one is the end in any case.
func (w *walk) full(page recordPage) bool {
	return len(page.records) > 0 && (page.More || len(page.records) >= w.client.pageSize)
}

// last returns the newest timestamp of a page and refuses a page that is not in ascending order: the source has then
// ignored the order that was asked for, and going on from the last record would skip others.
func (a axis) last(page recordPage, cursor time.Time) (time.Time, error) {
	var last time.Time
	for _, r := range page.records {
		at := a.of(r)
		if at.IsZero() {
			continue
		}
		if at.Before(last) {
			return last, fmt.Errorf("%w: %s steps back within a page", ErrListOrder, a.name)
		}
		if a.exact && at.Before(cursor) {
			return last, fmt.Errorf("%w: %s is below the bound", ErrListOrder, a.name)
		}
		last = at
	}
	return last, nil
}

// emit yields what is new on a page, and returns how many records that is.
func (w *walk) emit(page recordPage, last time.Time) (fresh int, err error) {
	batch := w.take(page, last)
	if !w.yield(batch, nil) {
		return 0, errStopped
	}
	return len(batch.People) + len(batch.Failed), nil
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
