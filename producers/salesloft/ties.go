package salesloft

import (
	"context"
	"errors"
	"time"
)

const (
	// maxTiePasses bounds how often equal records are listed again because they changed meanwhile.
	maxTiePasses = 20
	// cheapPages is how many pages cost one point each.
	cheapPages = 100
)

// errManyPages ends turning pages that are more than the cheap ones.
var errManyPages = errors.New("more pages than the cheap ones")

var byCreation = axis{
	name: "created_at", of: func(r record) time.Time { return r.createdAt }, exact: true,
	above: func(q *Query, t time.Time) { q.CreatedAtGT = t },
	from:  func(q *Query, t time.Time) { q.CreatedAtGTE = t },
}

// ties lists all records whose updated_at is a timestamp that fills whole pages: by turning pages, or if these are more than
// the cheap ones along created_at.
func (w *walk) ties(ctx context.Context, at time.Time) error {
	equal := Query{UpdatedAtGTE: at, UpdatedAtLTE: at, UpdatedAtLT: w.until}
	err := w.turnPages(ctx, equal, cheapPages)
	if !errors.Is(err, errManyPages) {
		return err
	}
	err = w.scan(ctx, byCreation, equal, time.Time{}, func(ctx context.Context, created time.Time) error {
		pair := equal
		pair.CreatedAtGTE, pair.CreatedAtLTE = created, created
		return w.turnPages(ctx, pair, 0)
	})
	if refused, _ := errors.AsType[*ValidationError](err); err != nil && refused == nil && !errors.Is(err, ErrListOrder) {
		return err
	}
	if err == nil {
		if complete, err := w.counted(ctx, equal); complete || err != nil {
			return err
		}
	}
	w.client.logger.WarnContext(ctx, "people of one updated_at cannot be listed along their created_at; turning all of their pages",
		"updated_at", at)
	return w.turnPages(ctx, equal, 0)
}

// counted says that no fewer of the equal records were met than the source counts. A scan along created_at, which never
// changes, misses none by itself; but it has no place for records without a created_at, wherever the source sorts them.
func (w *walk) counted(ctx context.Context, equal Query) (bool, error) {
	equal.PerPage, equal.IncludePagingCounts = 1, true
	page, err := w.client.people(ctx, equal)
	if err != nil {
		return false, err
	}
	return page.TotalCount == nil || len(w.seen) >= *page.TotalCount, nil
}

// turnPages lists equal records, a page after the other; with most above 0 it ends with errManyPages if that many do not
// hold them. Here places do shift, and the order among equals may differ from one request to the next, so turning the
// pages once proves nothing by itself. What does is the source's count of these records, which comes with every page. The set
// only shrinks (a changed record leaves it upwards), so while the count stays the same so does the set; once as many
// different records have been met since the count last changed, all have been. Until then the pages are turned again. A
// source without a count is believed when a pass brings nothing new, one whose count never fits when the last pass
// brings nothing new.
func (w *walk) turnPages(ctx context.Context, equal Query, most int) error {
	t := tie{met: map[recordKey]bool{}}
	for pass := 1; pass <= maxTiePasses; pass++ {
		fresh, err := w.pass(ctx, equal, most, &t)
		switch {
		case err != nil:
			return err
		case t.complete():
			return nil
		case fresh == 0 && (t.count == nil || pass == maxTiePasses):
			return nil
		}
	}
	return ErrUnstable
}

func (w *walk) pass(ctx context.Context, equal Query, most int, t *tie) (fresh int, err error) {
	for number, more := 1, true; more; number++ {
		if number == 2*cheapPages+1 {
			w.client.logger.WarnContext(ctx, "so many people have equal timestamps that pages have to be read that cost more",
				"updated_at", equal.UpdatedAtGTE, "pages", t.pages(w.client.pageSize))
		}
		query := place(equal, number)
		query.PerPage, query.SortBy, query.IncludePagingCounts = w.client.pageSize, "updated_at", true
		page, err := w.client.people(ctx, query)
		if err != nil {
			return fresh, err
		}
		unseen, err := w.emit(page, time.Time{})
		if err != nil {
			return fresh, err
		}
		fresh += unseen
		t.meet(page)
		if t.complete() {
			return fresh, nil
		}
		pages := t.pages(w.client.pageSize)
		more = w.full(page)
		if most > 0 && more && (number >= most || pages > most) {
			return fresh, errManyPages
		}
		if number >= cheapPages && more {
			// Pages from the far end are all full: it takes the count to tell when they have met those from the near end,
			// or that one of them brought nothing new.
			more = number < pages || (t.count == nil && (unseen > 0 || number == cheapPages))
		}
	}
	return fresh, nil
}

// place says how to ask for the n-th page that a pass looks at: as many cheap ones as there are from either end, before a
// page is asked for that costs more.
func place(equal Query, n int) Query {
	equal.Page, equal.SortDirection = n, "ASC"
	if n > cheapPages {
		equal.Page -= cheapPages // from 1 again, and beyond that end's cheap ones on from where the first end was left
		if n <= 2*cheapPages {
			equal.SortDirection = "DESC"
		}
	}
	return equal
}

// tie is what turning pages knows of equal records: the source's count, and which were met since it last changed.
type tie struct {
	count *int
	met   map[recordKey]bool
}

func (t *tie) meet(page recordPage) {
	count := page.TotalCount
	if count == nil || t.count == nil || *count != *t.count {
		clear(t.met)
	}
	t.count = count
	for _, r := range page.records {
		t.met[r.key()] = true
	}
}

func (t *tie) complete() bool { return t.count != nil && len(t.met) == *t.count }

// pages is how many the records fill, 0 if the source does not count them.
func (t *tie) pages(size int) int {
	if t.count == nil {
		return 0
	}
	return (*t.count + size - 1) / size
}
