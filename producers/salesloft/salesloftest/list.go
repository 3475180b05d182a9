package salesloftest

import (
	"cmp"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// listing is a parsed list request.
type listing struct {
	page, perPage  int
	sortBy         string
	descending     bool
	counts         bool
	updated        bounds
	created        bounds
	ids            map[int64]bool // nil: not filtered by
	emails         map[string]bool
	crmIDs         map[string]bool
	owners         map[int64]bool
	filtering      map[string]any // as the answer repeats it
	badField, what string         // why the request is a 422
}

// bounds are microseconds, both inclusive.
type bounds struct{ from, to int64 }

var unbounded = bounds{from: -1 << 63, to: 1<<63 - 1}

func (b bounds) has(at int64) bool { return b.from <= at && at <= b.to }

func parseListing(query url.Values, cfg Config) listing {
	l := listing{page: 1, perPage: 25, sortBy: "updated_at", descending: true, updated: unbounded, created: unbounded,
		filtering: map[string]any{}}
	l.paging(query, cfg.StrictPerPage)
	for name := range query {
		field, operator, nested := strings.Cut(strings.TrimSuffix(name, "]"), "[")
		values := split(query[name])
		switch {
		case field == "updated_at" && nested:
			l.bound(&l.updated, field, operator, values)
		case field == "created_at" && nested && !cfg.IgnoreCreatedAt:
			l.bound(&l.created, field, operator, values)
		case field == "ids":
			l.ids = l.integers(field, values, l.ids)
		case field == "owner_id":
			l.owners = l.integers(field, values, l.owners)
		case field == "email_addresses":
			l.emails = l.texts(field, values, l.emails)
		case field == "crm_id":
			l.crmIDs = l.texts(field, values, l.crmIDs)
		}
	}
	return l
}

// split takes a list as repeated parameters, as name[] or separated by commas.
func split(values []string) []string { return strings.Split(strings.Join(values, ","), ",") }

func (l *listing) bad(field, what string) { l.badField, l.what = field, what }

func (l *listing) paging(query url.Values, strictPerPage bool) {
	number := func(name string, into *int) {
		if text := query.Get(name); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil {
				l.bad(name, "is not a number")
			}
			*into = n
		}
	}
	number("page", &l.page)
	number("per_page", &l.perPage)
	l.page = max(1, l.page)
	if strictPerPage && (l.perPage < 1 || l.perPage > 100) {
		l.bad("per_page", "must be between 1 and 100")
	}
	l.perPage = min(max(1, l.perPage), 100)
	l.counts = query.Get("include_paging_counts") == "true"
	if by := query.Get("sort_by"); by != "" {
		if l.sortBy = by; !slices.Contains([]string{"updated_at", "created_at", "name"}, by) {
			l.bad("sort_by", "is not included in the list")
		}
	}
	switch direction := strings.ToUpper(query.Get("sort_direction")); direction {
	case "", "DESC":
	case "ASC":
		l.descending = false
	default:
		l.bad("sort_direction", "is not included in the list")
	}
}

func (l *listing) bound(b *bounds, field, operator string, values []string) {
	at, err := time.Parse(time.RFC3339Nano, values[0])
	if err != nil {
		l.bad(field, "is not an ISO 8601 time")
		return
	}
	micros := at.UnixMicro()
	switch operator {
	case "gt":
		b.from = max(b.from, micros+1)
	case "gte":
		b.from = max(b.from, micros)
	case "lt":
		b.to = min(b.to, micros-1)
	case "lte":
		b.to = min(b.to, micros)
	default:
		return
	}
	echo, _ := l.filtering[field].(map[string]string)
	if echo == nil {
		echo = map[string]string{}
		l.filtering[field] = echo
	}
	echo[operator] = values[0]
}

func (l *listing) integers(field string, values []string, into map[int64]bool) map[int64]bool {
	if into == nil {
		into = map[int64]bool{}
	}
	for _, value := range values {
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			l.bad(field, "is not a number")
		}
		into[n] = true
	}
	l.filtering[field] = values
	return into
}

func (l *listing) texts(field string, values []string, into map[string]bool) map[string]bool {
	if into == nil {
		into = map[string]bool{}
	}
	for _, value := range values {
		into[strings.ToLower(value)] = true
	}
	l.filtering[field] = values
	return into
}

func (s *Simulator) listPeople(w http.ResponseWriter, r *http.Request) {
	l := parseListing(r.URL.Query(), s.cfg)
	if l.badField != "" {
		writeInvalid(w, l.badField, l.what)
		return
	}
	people, total := s.people.list(l)
	data := make([]json.RawMessage, len(people))
	for i, p := range people {
		data[i] = s.people.render(p)
	}
	paging := map[string]any{"per_page": l.perPage, "current_page": l.page, "next_page": nil, "prev_page": nil}
	if l.page*l.perPage < total {
		paging["next_page"] = l.page + 1
	}
	if l.page > 1 {
		paging["prev_page"] = l.page - 1
	}
	if l.counts {
		paging["total_count"], paging["total_pages"] = total, (total+l.perPage-1)/l.perPage
	}
	direction := "ASC NULLS FIRST"
	if l.descending {
		direction = "DESC NULLS LAST"
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"metadata": map[string]any{
			"filtering": l.filtering, "paging": paging,
			"sorting": map[string]string{"sort_by": l.sortBy, "sort_direction": direction},
		},
		"data": data,
	})
}

// list returns the people of one page and how many match. By updated_at alone, which is how changes are polled, it cuts the
// page out of the standing order, and by IDs it looks up those; only other filters and orders look at every match.
func (st *store) list(l listing) (page []*person, total int) {
	st.mu.RLock()
	if l.ids != nil {
		matches := make([]*person, 0, len(l.ids))
		for id := range l.ids {
			if p := st.byID[id]; p != nil && l.updated.has(p.updatedAt) {
				matches = append(matches, p)
			}
		}
		st.mu.RUnlock()
		slices.SortFunc(matches, compare)
		return st.choose(matches, l)
	}
	low := sort.Search(len(st.order), func(i int) bool { return st.order[i].updatedAt >= l.updated.from })
	high := sort.Search(len(st.order), func(i int) bool { return st.order[i].updatedAt > l.updated.to })
	matches := st.order[low:max(low, high)]
	if l.sortBy == "updated_at" && !l.selective() && !st.cfg.ShuffleTies {
		defer st.mu.RUnlock()
		return cut(matches, l), len(matches)
	}
	matches = slices.Clone(matches)
	st.mu.RUnlock()
	return st.choose(matches, l)
}

// choose filters and orders a copy of people who are in the standing order.
func (st *store) choose(people []*person, l listing) (page []*person, total int) {
	people = slices.DeleteFunc(people, func(p *person) bool { return !st.matches(l, p) })
	st.sort(people, l.sortBy)
	return cut(people, l), len(people)
}

func (l listing) selective() bool {
	return l.created != unbounded || l.emails != nil || l.crmIDs != nil || l.owners != nil
}

func (st *store) matches(l listing, p *person) bool {
	if !l.created.has(p.createdAt) {
		return false
	}
	if l.emails == nil && l.crmIDs == nil && l.owners == nil {
		return true
	}
	f := st.facts(p)
	return (l.emails == nil || l.emails[strings.ToLower(f.Email)]) &&
		(l.crmIDs == nil || l.crmIDs[strings.ToLower(f.CRMID)]) &&
		(l.owners == nil || l.owners[f.Owner.ID])
}

// sort takes people who are in the standing order.
func (st *store) sort(people []*person, by string) {
	if st.cfg.ShuffleTies {
		swap := func(i, j int) { people[i], people[j] = people[j], people[i] }
		rand.Shuffle(len(people), swap) //nolint:gosec // test data
		slices.SortStableFunc(people, func(a, b *person) int { return cmp.Compare(a.updatedAt, b.updatedAt) })
	}
	switch by {
	case "created_at":
		slices.SortStableFunc(people, func(a, b *person) int { return cmp.Compare(a.createdAt, b.createdAt) })
	case "name":
		names := make(map[int64]string, len(people))
		for _, p := range people {
			names[p.id] = st.facts(p).Name
		}
		slices.SortStableFunc(people, func(a, b *person) int { return cmp.Compare(names[a.id], names[b.id]) })
	}
}

// cut copies the page out of the matches, which ascend.
func cut(matches []*person, l listing) []*person {
	from := min((l.page-1)*l.perPage, len(matches))
	to := min(from+l.perPage, len(matches))
	if !l.descending {
		return slices.Clone(matches[from:to])
	}
	page := slices.Clone(matches[len(matches)-to : len(matches)-from])
	slices.Reverse(page)
	return page
}
