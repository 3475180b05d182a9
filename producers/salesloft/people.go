package salesloft

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Query narrows and orders a list of people. Zero values are not sent, so that the API's defaults hold.
type Query struct {
	Page    int // from 1; a page above 100 costs more than one point (3, 8, 10, 30)
	PerPage int // 1…100, the API's default is 25

	SortBy        string // "updated_at" (default), "created_at", "name", …
	SortDirection string // "ASC" or "DESC" (default)

	UpdatedAtGT, UpdatedAtGTE, UpdatedAtLT, UpdatedAtLTE time.Time // compared by the API to the microsecond
	CreatedAtGT, CreatedAtGTE, CreatedAtLTE              time.Time

	IDs                 []int64
	IncludePagingCounts bool // fills Page.TotalCount and Page.TotalPages
}

func (q Query) values() url.Values {
	values := url.Values{}
	number := func(name string, n int) {
		if n != 0 {
			values.Set(name, strconv.Itoa(n))
		}
	}
	text := func(name, s string) {
		if s != "" {
			values.Set(name, s)
		}
	}
	bound := func(name string, t time.Time) {
		if !t.IsZero() {
			values.Set(name, t.UTC().Format("2006-01-02T15:04:05.000000Z07:00"))
		}
	}
	number("page", q.Page)
	number("per_page", q.PerPage)
	text("sort_by", q.SortBy)
	text("sort_direction", q.SortDirection)
	bound("updated_at[gt]", q.UpdatedAtGT)
	bound("updated_at[gte]", q.UpdatedAtGTE)
	bound("updated_at[lt]", q.UpdatedAtLT)
	bound("updated_at[lte]", q.UpdatedAtLTE)
	bound("created_at[gt]", q.CreatedAtGT)
	bound("created_at[gte]", q.CreatedAtGTE)
	bound("created_at[lte]", q.CreatedAtLTE)
	for _, id := range q.IDs {
		values.Add("ids[]", strconv.FormatInt(id, 10))
	}
	if q.IncludePagingCounts {
		values.Set("include_paging_counts", "true")
	}
	return values
}

// Page is one page of people, in the order in which the API sent them.
type Page struct {
	People []Person
	Failed []RecordError // the records that are no valid person; they do not take their neighbours with them

	Number     int  // the page that was answered: the API corrects one that is out of range
	More       bool // the API says that there is a next page
	TotalCount *int // nil unless asked for and answered
	TotalPages *int
	RateLimit  RateLimit
}

// record is one place on a page: a person, or why it is none.
type record struct {
	person    Person
	failed    *RecordError
	createdAt time.Time // zero when the record has none that can be read
}

type recordPage struct {
	Page
	records []record
}

// People lists one page of people (GET /people).
func (c *Client) People(ctx context.Context, query Query) (Page, error) {
	page, err := c.people(ctx, query)
	return page.Page, err
}

// listAnswer is a page. One without data is malformed: taken for an empty page it would end a walk early, and what comes after
// it would be lost.
type listAnswer struct {
	Metadata struct {
		Paging struct {
			CurrentPage int  `json:"current_page"`
			NextPage    *int `json:"next_page"`
			TotalPages  *int `json:"total_pages"`
			TotalCount  *int `json:"total_count"`
		} `json:"paging"`
	} `json:"metadata"`
	Data []json.RawMessage `json:"data"`
}

func (c *Client) people(ctx context.Context, query Query) (recordPage, error) {
	var answer listAnswer
	read := into(&answer, func(a listAnswer) bool { return a.Data != nil })
	limit, err := c.call(ctx, http.MethodGet, "/people", query.values(), nil, read)
	if err != nil {
		return recordPage{Page: Page{RateLimit: limit}}, fmt.Errorf("listing people: %w", err)
	}
	paging := answer.Metadata.Paging
	page := recordPage{Page: Page{
		Number: paging.CurrentPage, More: paging.NextPage != nil,
		TotalCount: paging.TotalCount, TotalPages: paging.TotalPages, RateLimit: limit,
	}}
	for i, raw := range answer.Data {
		page.add(i, raw)
	}
	return page, nil
}

func (p *recordPage) add(index int, raw json.RawMessage) {
	person, err := ParsePerson(raw)
	if err == nil {
		r := record{person: person}
		if person.CreatedAt != nil {
			r.createdAt = *person.CreatedAt
		}
		p.People, p.records = append(p.People, person), append(p.records, r)
		return
	}
	id, updatedAt, createdAt := parseIdentity(raw)
	failed := RecordError{Index: index, ID: id, UpdatedAt: updatedAt, Raw: raw, Err: err}
	p.Failed = append(p.Failed, failed)
	p.records = append(p.records, record{failed: &failed, createdAt: createdAt})
}
