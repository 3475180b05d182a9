package board

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/revstream/revstream/dlq-replayer/desk"
)

// ErrCursor is returned for a cursor that no page has given.
var ErrCursor = errors.New("the cursor is not one of this page: begin again without it")

// Row is a letter as tables show it. It has neither the value nor headers, which may hold personal data.
type Row struct {
	ID            desk.ID   `json:"id"`
	State         string    `json:"state"`
	Topic         string    `json:"topic"`
	Key           string    `json:"key"`
	Reason        string    `json:"reason"`
	Message       string    `json:"message"`
	Stage         string    `json:"stage"`
	Group         string    `json:"group"`
	Version       string    `json:"version"`
	Schema        int       `json:"schema,omitempty"`
	EventID       string    `json:"event_id,omitempty"`
	CorrelationID string    `json:"correlation_id,omitempty"`
	Attempts      int       `json:"attempts"`
	Replays       int       `json:"replays"`
	ReplayID      string    `json:"replay_id,omitempty"`
	FirstFailure  time.Time `json:"first_failure,omitzero"` // to the second
	LastFailure   time.Time `json:"last_failure"`           // to the microsecond
	Flaw          string    `json:"flaw,omitempty"`
	Bytes         int       `json:"bytes"` // of the value
}

func (p *picture) row(r ref) Row {
	page, i := p.pages[r.page()], r.row()
	kind := p.kinds.name[page.kind[i]]
	key, rest := page.key(i)
	event, rest := cutID(rest)
	last := time.UnixMicro(page.last[i]).UTC()
	row := Row{
		ID: page.id(i), State: states[page.state[i]], Topic: page.part.topic, Key: string(key),
		Reason: kind.reason, Message: kind.message, Stage: kind.stage, Group: kind.group, Version: kind.version,
		Schema: kind.schema, EventID: event, CorrelationID: p.readCorrelation(rest), Attempts: kind.attempts, Replays: kind.replays,
		ReplayID: p.replays.name[page.replay[i]], LastFailure: last, Flaw: kind.flaw, Bytes: int(page.bytes[i]),
	}
	if kind.attempts > 0 { // else it is no dead letter, and nothing is known of it
		row.FirstFailure = last.Add(-time.Duration(page.age[i]) * time.Second)
	}
	return row
}

// Query asks for a page of letters.
type Query struct {
	Selection desk.Selection // without its limit
	Oldest    bool           // first; else the newest
	Cursor    string         // Next of the page before
	Limit     int
}

// Page is some letters of a selection, in order.
type Page struct {
	Rows  []Row
	Next  string // empty after the last
	Total int    // of the selection
	// Partial says that time was up: there may be more than Total, and Next goes on even if Rows are few.
	Partial bool
}

// cursor is where a page ends, as text.
type cursor struct {
	Last int64   `json:"t"` // µs
	ID   desk.ID `json:"i"`
	Seen int     `json:"n"` // letters before
}

func (c cursor) String() string {
	text, err := json.Marshal(c)
	if err != nil {
		return "" // it has nothing that JSON has not
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

func parseCursor(text string) (*cursor, error) {
	if text == "" {
		return nil, nil
	}
	var c cursor
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || json.Unmarshal(raw, &c) != nil {
		return nil, ErrCursor
	}
	return &c, nil
}

func (c *cursor) mark() mark { return mark{last: c.Last, id: c.ID} }

// Page returns a page of a selection. A selection by headers or by an expression needs the letters themselves, which
// takes until Config.ScanFor at most; a cancelled ctx is an error.
func (b *Board) Page(ctx context.Context, q Query) (Page, error) {
	from, err := parseCursor(q.Cursor)
	if err != nil {
		return Page{}, err
	}
	if byContent(q.Selection) {
		return b.scanPage(ctx, q, from)
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	matches := b.pic.matcher(q.Selection)
	page := Page{Rows: []Row{}}
	var last mark
	b.pic.each(q.Oldest, nil, func(r ref) bool {
		if !matches(r) {
			return true
		}
		page.Total++
		m := b.pic.mark(r)
		switch {
		case from != nil && !follows(m, from.mark(), q.Oldest):
		case len(page.Rows) < q.Limit:
			page.Rows, last = append(page.Rows, b.pic.row(r)), m
		case page.Next == "":
			page.Next = cursor{Last: last.last, ID: last.id}.String()
		}
		return true
	})
	return page, nil
}

// follows says whether m comes after o.
func follows(m, o mark, oldest bool) bool {
	if oldest {
		return o.before(m)
	}
	return m.before(o)
}

// each calls visit for the letters in order, after a mark if there is one, until it returns false.
func (p *picture) each(oldest bool, after *mark, visit func(ref) bool) {
	n := len(p.order)
	if oldest {
		i := 0
		if after != nil {
			i = sort.Search(n, func(i int) bool { return after.before(p.mark(p.order[i])) })
		}
		for i < n && visit(p.order[i]) {
			i++
		}
		return
	}
	i := n
	if after != nil {
		i = sort.Search(n, func(i int) bool { return !p.mark(p.order[i]).before(*after) })
	}
	for i > 0 && visit(p.order[i-1]) {
		i--
	}
}

// matcher says which letters a selection means, by what is in memory of them.
func (p *picture) matcher(s desk.Selection) func(ref) bool {
	kinds := make([]bool, len(p.kinds.name))
	for i, k := range p.kinds.name {
		kinds[i] = among(s.Reasons, k.reason) && among(s.Groups, k.group) && among(s.Schemas, k.schema)
	}
	shown := make([]bool, len(states))
	for i, state := range states {
		shown[i] = len(s.States) == 0 && state == desk.Open || slices.Contains(s.States, state)
	}
	parts := make([]bool, len(p.all))
	for i, part := range p.all {
		parts[i] = amongTopics(s.Topics, part.topic) && among(s.Partitions, part.number)
	}
	ids := map[desk.ID]bool{}
	for _, id := range s.IDs {
		ids[id] = true
	}
	text := p.texts(s)
	since, until := s.Since.UnixMicro(), s.Until.UnixMicro()
	return func(r ref) bool {
		page, i := p.pages[r.page()], r.row()
		return shown[page.state[i]] && kinds[page.kind[i]] && parts[page.part.index] &&
			(s.Since.IsZero() || page.last[i] >= since) && (s.Until.IsZero() || page.last[i] < until) &&
			(len(s.Replays) == 0 || slices.Contains(s.Replays, p.replays.name[page.replay[i]])) &&
			within(s.Offsets, page.base+int64(page.offset[i])) &&
			(len(ids) == 0 || ids[page.id(i)]) && text(page, i)
	}
}

// texts matches what stands in a page's text.
func (p *picture) texts(s desk.Selection) func(*page, int) bool {
	if len(s.Keys)+len(s.EventIDs) == 0 {
		return func(*page, int) bool { return true }
	}
	var events [][]byte
	for _, id := range s.EventIDs {
		events = append(events, appendID(nil, id))
	}
	keys := make(map[string]bool, len(s.Keys))
	for _, key := range s.Keys {
		keys[key] = true
	}
	return func(page *page, i int) bool {
		key, rest := page.key(i)
		return (len(keys) == 0 || keys[string(key)]) &&
			(len(events) == 0 || slices.ContainsFunc(events, func(event []byte) bool { return bytes.HasPrefix(rest, event) }))
	}
}

// among says whether something is one of those that are asked for; none is all.
func among[T comparable](asked []T, one T) bool {
	return len(asked) == 0 || slices.Contains(asked, one)
}

// amongTopics takes the names of dead-letter topics too.
func amongTopics(asked []string, topic string) bool {
	return len(asked) == 0 || slices.ContainsFunc(asked, func(name string) bool { return name == topic || name == topic+deadLetterSuffix })
}

func within(offsets *desk.Offsets, offset int64) bool {
	return offsets == nil || offset >= offsets.From && (offsets.To < 0 || offset <= offsets.To)
}

// Total counts the letters of a selection, as far as what is in memory tells: without its headers and its expression.
func (b *Board) Total(s desk.Selection) int {
	b.mu.RLock()
	defer b.mu.RUnlock()
	matches, total := b.pic.matcher(s), 0
	for _, r := range b.pic.order {
		if matches(r) {
			total++
		}
	}
	return total
}

// Find returns the letter with an ID, or desk.ErrUnknownLetter.
func (b *Board) Find(id desk.ID) (Row, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if r, ok := b.pic.find(id); ok {
		return b.pic.row(r), nil
	}
	return Row{}, fmt.Errorf("%s: %w", id, desk.ErrUnknownLetter)
}

// maxRelated bounds Related.
const maxRelated = 100

// Related returns the failures of the same event, or of the same key if the letter names no event: the letter itself and
// those before and after it, the oldest first, of all states.
func (b *Board) Related(row Row) []Row {
	selection := desk.Selection{Topics: []string{row.Topic}, Keys: []string{row.Key}, States: desk.AllStates}
	if row.EventID != "" {
		selection.Keys, selection.EventIDs = nil, []string{row.EventID}
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	matches, rows := b.pic.matcher(selection), []Row{}
	b.pic.each(true, nil, func(r ref) bool {
		if matches(r) {
			rows = append(rows, b.pic.row(r))
		}
		return len(rows) < maxRelated
	})
	return rows
}

// NewRow shows a letter that was read.
func NewRow(e desk.Entry) Row {
	l := e.Letter
	return Row{
		ID: e.ID, State: e.State, Topic: e.ID.Topic, Key: string(l.Key), Reason: l.Reason, Message: l.Message, Stage: l.Stage,
		Group: l.Group, Version: l.Version, Schema: e.Schema, EventID: l.EventID, CorrelationID: l.CorrelationID,
		Attempts: l.Attempts, Replays: l.Replays, ReplayID: l.ReplayID, FirstFailure: l.FirstFailure, LastFailure: l.LastFailure,
		Flaw: e.Flaw, Bytes: len(l.Value),
	}
}
