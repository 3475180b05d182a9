package desk

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"sync"

	"github.com/revstream/revstream/pipeline/deadletter"
)

// States of a dead letter: open, or what was decided.
const (
	Open      = "open"
	Replayed  = deadletter.Replayed
	Parked    = deadletter.Parked
	Discarded = deadletter.Discarded
	// Undecipherable is the state of a letter whose decision is not of a known form. It is not open, for something was
	// decided about it.
	Undecipherable = "undecipherable"
)

// AllStates is every state that a letter can be in.
var AllStates = []string{Open, Replayed, Parked, Discarded, Undecipherable}

// stateAfter returns the state that a decision leaves a letter in.
func stateAfter(decision string) string {
	switch decision {
	case deadletter.Unparked:
		return Open
	case Replayed, Parked, Discarded:
		return decision
	default:
		return Undecipherable
	}
}

// decisionHead begins the JSON of every decision, as its field is the first.
var decisionHead = []byte(`{"decision":"`)

// stateOf reads what state a decision's record leaves its letter in. There may be a million: all but the strange ones
// are told from how they begin.
func stateOf(value []byte) string {
	if len(value) == 0 {
		return Open
	}
	if rest, ok := bytes.CutPrefix(value, decisionHead); ok && value[len(value)-1] == '}' {
		name, _, _ := bytes.Cut(rest, []byte{'"'})
		for _, known := range [...]string{Replayed, Parked, Discarded, deadletter.Unparked} {
			if string(name) == known {
				return stateAfter(known)
			}
		}
	}
	var d deadletter.Decision
	if json.Unmarshal(value, &d) != nil {
		return Undecipherable
	}
	return stateAfter(d.Decision)
}

// states are the states of all letters: a byte for each, in pages of neighbours, so that a million take a megabyte. It
// is safe for concurrent use: runs look letters up while the session's transactions decide others.
type states struct {
	mu   sync.RWMutex
	logs map[string]*pages // by <DLQ topic>/<partition>
}

const pageLetters = 1 << 12

// pages are the states of one partition's letters, each an index of AllStates.
type pages struct {
	mu    *sync.RWMutex
	pages map[int64]*[pageLetters]uint8
}

func newStates() *states { return &states{logs: make(map[string]*pages)} }

// log returns the states of one partition, which stay up to date.
func (s *states) log(log string) *pages {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.locked(log)
}

func (s *states) locked(log string) *pages {
	p := s.logs[log]
	if p == nil {
		p = &pages{mu: &s.mu, pages: make(map[int64]*[pageLetters]uint8)}
		s.logs[log] = p
	}
	return p
}

// of returns the state of the letter at an offset.
func (p *pages) of(offset int64) string {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if page := p.pages[offset/pageLetters]; page != nil {
		return AllStates[page[offset%pageLetters]]
	}
	return Open
}

// trim leaves out what the ends of a range have of letters in other states than the wanted ones, so that it need not be
// read.
func (p *pages) trim(from, to int64, wanted []string) (int64, int64) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	open := slices.Contains(wanted, Open)
	skip := func(offset int64) (first, last int64, ok bool) { // what around the offset can be passed over
		page := p.pages[offset/pageLetters]
		switch {
		case page == nil && !open:
			first = offset / pageLetters * pageLetters
			return first, first + pageLetters - 1, true
		case page != nil && !slices.Contains(wanted, AllStates[page[offset%pageLetters]]):
			return offset, offset, true
		default:
			return 0, 0, false
		}
	}
	for from < to {
		_, last, ok := skip(from)
		if !ok {
			break
		}
		from = last + 1
	}
	for from < to {
		first, _, ok := skip(to - 1)
		if !ok {
			break
		}
		to = first
	}
	return from, max(from, to)
}

// mark sets the state of the letter at an offset.
func (p *pages) mark(offset int64, state string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.set(offset, state)
}

func (p *pages) set(offset int64, state string) {
	page := p.pages[offset/pageLetters]
	if page == nil {
		if state == Open {
			return
		}
		page = new([pageLetters]uint8)
		p.pages[offset/pageLetters] = page
	}
	for i, name := range AllStates {
		if name == state {
			page[offset%pageLetters] = uint8(i)
		}
	}
}

// put takes a record of the topic of decisions in. Those that decide nothing about a letter are passed over: their keys
// do not end in an offset.
func (s *states) put(key, value []byte) {
	cut := bytes.LastIndexByte(key, '/')
	if cut < 0 {
		return
	}
	offset, err := strconv.ParseInt(string(key[cut+1:]), 10, 64)
	if err != nil || offset < 0 {
		return
	}
	state := stateOf(value)
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.logs[string(key[:cut])]
	if p == nil {
		p = s.locked(string(key[:cut]))
	}
	p.set(offset, state)
}
