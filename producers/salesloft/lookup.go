package salesloft

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// Count asks how many people were last updated in [since, until); a zero time leaves that side open.
func (c *Client) Count(ctx context.Context, since, until time.Time) (int, error) {
	page, err := c.people(ctx, Query{PerPage: 1, UpdatedAtGTE: since, UpdatedAtLT: until, IncludePagingCounts: true})
	if err != nil {
		return 0, fmt.Errorf("counting people: %w", err)
	}
	if page.TotalCount == nil {
		return 0, fmt.Errorf("counting people: %w: it has no total_count", ErrMalformed)
	}
	return *page.TotalCount, nil
}

// Present tells which of the people exist, by ID, with their updated_at, which is zero where the record has none that can be
// read. It takes at most MaxPageSize IDs and asks once. What it leaves out does not exist: an answer that could be
// about anything else than these people is an error.
func (c *Client) Present(ctx context.Context, ids []int64) (map[int64]time.Time, error) {
	present := make(map[int64]time.Time, len(ids))
	if len(ids) == 0 {
		return present, nil // without IDs the API would list everybody
	}
	if len(ids) > MaxPageSize {
		return nil, fmt.Errorf("looking up people: want at most %d IDs, not %d", MaxPageSize, len(ids))
	}
	page, err := c.people(ctx, Query{PerPage: MaxPageSize, IDs: ids})
	if err != nil {
		return nil, fmt.Errorf("looking up people: %w", err)
	}
	for _, r := range page.records {
		id := r.key().id
		if !slices.Contains(ids, id) {
			return nil, fmt.Errorf("looking up people: %w: it holds records that were not asked for", ErrMalformed)
		}
		present[id] = r.updatedAt()
	}
	if page.More && len(present) < len(ids) {
		return nil, fmt.Errorf("looking up people: %w: it is one of several pages", ErrMalformed)
	}
	return present, nil
}

// Exists asks for one person (GET /people/{id}).
func (c *Client) Exists(ctx context.Context, id int64) (bool, error) {
	type answer struct {
		Data *struct {
			ID int64 `json:"id"`
		} `json:"data"`
	}
	var person answer
	read := into(&person, func(a answer) bool { return a.Data != nil && a.Data.ID == id })
	_, err := c.call(ctx, http.MethodGet, "/people/"+strconv.FormatInt(id, 10), nil, nil, read)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking up person %d: %w", id, err)
	}
	return true, nil
}
