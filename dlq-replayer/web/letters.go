package web

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/revstream/revstream/dlq-replayer/board"
	"github.com/revstream/revstream/dlq-replayer/desk"
)

const (
	defaultLimit = 50
	maxLimit     = 500 // rows of a page
	maxBuckets   = 500
	allStates    = "all"
)

// me tells the page who is signed in, and what there is to filter by.
func (s *Server) me(w http.ResponseWriter, _ *http.Request, who *session) error {
	names := s.board.Names()
	s.answer(w, http.StatusOK, map[string]any{
		"name": who.name, "role": who.role.String(), "csrf": who.csrf, "expires_at": s.sessions.expires(who).UTC(),
		"topics": names.Topics, "groups": names.Groups, "reasons": names.Reasons,
		"warehouse": s.warehouse != nil, "version": s.version,
	})
	return nil
}

func (s *Server) letters(w http.ResponseWriter, r *http.Request, _ *session) error {
	begun := time.Now()
	query := filter{values: r.URL.Query()}
	selection := query.selection()
	q := board.Query{Selection: selection, Cursor: query.one("cursor"), Limit: int(query.number("limit", defaultLimit, 1, maxLimit))}
	switch order := query.one("order"); order {
	case "", "newest":
	case "oldest":
		q.Oldest = true
	default:
		query.wrong("order must be newest or oldest")
	}
	if err := query.check(s); err != nil {
		return err
	}
	page, err := s.board.Page(r.Context(), q)
	if err != nil {
		return err
	}
	body := map[string]any{"letters": page.Rows, "next": page.Next, "total": page.Total, "took_ms": time.Since(begun).Milliseconds()}
	if page.Partial {
		body["partial"] = true
	}
	s.answer(w, http.StatusOK, body)
	return nil
}

func (s *Server) histogram(w http.ResponseWriter, r *http.Request, _ *session) error {
	query := filter{values: r.URL.Query()}
	selection, buckets := query.selection(), int(query.number("buckets", 60, 1, maxBuckets))
	if err := query.check(s); err != nil {
		return err
	}
	h, err := s.board.Histogram(r.Context(), selection, buckets)
	if err != nil {
		return err
	}
	body := map[string]any{"buckets": h.Buckets, "reasons": h.Reasons, "from": nil, "to": nil}
	if !h.From.IsZero() && !h.To.IsZero() {
		body["from"], body["to"] = h.From, h.To
	}
	if h.Partial {
		body["partial"] = true
	}
	s.answer(w, http.StatusOK, body)
	return nil
}

// filter reads what a query says of letters. What is wrong with it is all told at once.
type filter struct {
	values   url.Values
	problems []string
	known    []string // names that were asked for
}

// filters are the names of the query's fields that say which letters are meant.
func (f *filter) selection() desk.Selection {
	s := desk.Selection{
		Topics: f.all("topic"), Reasons: f.all("class"), Keys: f.all("key"), EventIDs: f.all("event_id"),
		Groups: f.all("group"), Replays: f.all("replay"), States: f.states(),
		Since: f.moment("since"), Until: f.moment("until"), Where: strings.TrimSpace(f.one("where")),
	}
	for _, text := range f.all("schema") {
		s.Schemas = append(s.Schemas, int(f.parse("schema", text, 0, 1<<31-1)))
	}
	for _, text := range f.all("partition") {
		s.Partitions = append(s.Partitions, int32(f.parse("partition", text, 0, 1<<31-1)))
	}
	if from, to := f.number("from_offset", 0, 0, 1<<62), f.number("to_offset", -1, 0, 1<<62); from > 0 || to >= 0 {
		s.Offsets = &desk.Offsets{From: from, To: to}
		if to >= 0 && to < from {
			f.wrong("to_offset is before from_offset")
		}
	}
	for _, text := range f.all("header") {
		name, value, found := strings.Cut(text, "=")
		if !found || name == "" {
			f.wrong("header must be a name, = and a value")
		}
		s.Headers = append(s.Headers, desk.Header{Name: name, Value: value})
	}
	if !s.Since.IsZero() && !s.Until.IsZero() && !s.Since.Before(s.Until) {
		f.wrong("since must be before until")
	}
	return s
}

func (f *filter) states() []string {
	states := f.all("state")
	if slices.Contains(states, allStates) {
		return desk.AllStates
	}
	for _, state := range states {
		if !slices.Contains(desk.AllStates, state) {
			f.wrong("state must be %s or %s", strings.Join(desk.AllStates, ", "), allStates)
		}
	}
	return states
}

// all returns a field's values that are not empty, as those of a form's empty inputs are.
func (f *filter) all(name string) []string {
	f.known = append(f.known, name)
	return slices.DeleteFunc(slices.Clone(f.values[name]), func(value string) bool { return value == "" })
}

func (f *filter) one(name string) string {
	values := f.all(name)
	if len(values) == 0 {
		return ""
	}
	if len(values) > 1 {
		f.wrong("%s is given more than once", name)
	}
	return values[0]
}

func (f *filter) number(name string, missing, least, most int64) int64 {
	text := f.one(name)
	if text == "" {
		return missing
	}
	return f.parse(name, text, least, most)
}

func (f *filter) parse(name, text string, least, most int64) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < least || n > most {
		f.wrong("%s must be a number from %d to %d", name, least, most)
	}
	return n
}

func (f *filter) moment(name string) time.Time {
	text := f.one(name)
	if text == "" {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		f.wrong("%s must be a time such as 2026-01-31T12:00:00Z", name)
	}
	return at
}

func (f *filter) wrong(format string, args ...any) {
	f.problems = append(f.problems, fmt.Sprintf(format, args...))
}

// check says what is wrong, an unknown field among it: a filter that is misspelt must not select everything.
func (f *filter) check(s *Server) error {
	for name := range f.values {
		if !slices.Contains(f.known, name) {
			f.wrong("there is no field %q", name)
		}
	}
	if where := strings.TrimSpace(f.values.Get("where")); where != "" {
		if err := s.checkWhere(where); err != nil {
			f.wrong("where: %s", err)
		}
	}
	if len(f.problems) > 0 {
		slices.Sort(f.problems)
		return refuse(http.StatusBadRequest, "%s", strings.Join(slices.Compact(f.problems), "; "))
	}
	return nil
}

// checkWhere says what is wrong with an expression, before anything is done.
func (s *Server) checkWhere(where string) error {
	if s.compile == nil {
		return refuse(http.StatusBadRequest, "letters cannot be selected by an expression here")
	}
	_, err := s.compile(where, false)
	return err
}
