package desk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

// validate tells everything that is wrong with a selection.
func (s Selection) validate() error {
	var errs []error
	wrong := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	wrong(s.Limit < 0, "the limit must not be negative")
	wrong(!s.Since.IsZero() && !s.Until.IsZero() && !s.Since.Before(s.Until), "since must be before until")
	if s.Offsets != nil {
		wrong(s.Offsets.From < 0, "the first offset must not be negative")
		wrong(s.Offsets.To >= 0 && s.Offsets.To < s.Offsets.From, "the last offset, %d, is before the first, %d", s.Offsets.To, s.Offsets.From)
	}
	for _, partition := range s.Partitions {
		wrong(partition < 0, "there is no partition %d", partition)
	}
	for _, state := range s.States {
		wrong(!slices.Contains(AllStates, state), "%q is not a state of letters: they are %s", state, strings.Join(AllStates, ", "))
	}
	for _, header := range s.Headers {
		wrong(header.Name == "", "a header to select by needs a name")
	}
	return errors.Join(errs...)
}

// matcher tells which records of dead-letter topics a selection means.
type matcher struct {
	Selection
	ids   map[ID]bool // nil: all
	where Match       // nil: all
}

// matcher validates a selection, and fills in which states it means if it says nothing: a letter that is named is
// meant whatever its state, so that its state can be told as why nothing is done with it.
func (d *Desk) matcher(selection Selection, usual string) (*matcher, error) {
	if err := selection.validate(); err != nil {
		return nil, err
	}
	m := &matcher{Selection: selection}
	switch {
	case len(m.States) > 0:
	case len(m.IDs) > 0:
		m.States = AllStates
	default:
		m.States = []string{usual}
	}
	if len(m.IDs) > 0 {
		m.ids = make(map[ID]bool, len(m.IDs))
		for _, id := range m.IDs {
			m.ids[id] = true
		}
	}
	if m.Where == "" {
		return m, nil
	}
	if d.cfg.Compile == nil {
		return nil, errors.New("letters cannot be selected by an expression here")
	}
	var err error
	m.where, err = d.cfg.Compile(m.Where, m.Reveal)
	return m, err
}

// entry returns the letter of a record if the selection means it. states are those of the record's partition. It is
// safe for concurrent use.
func (m *matcher) entry(ctx context.Context, rec *kgo.Record, states *pages) (e Entry, means bool, err error) {
	// The state first: most letters of an old topic were decided, and need no parsing.
	state := states.of(rec.Offset)
	if !slices.Contains(m.States, state) {
		return e, false, nil
	}
	if m.ids != nil {
		if !m.ids[ID{Topic: originalTopic(rec.Topic), Partition: rec.Partition, Offset: rec.Offset}] {
			return e, false, nil
		}
	}
	e = NewEntry(rec)
	e.State = state
	if !m.means(&e) || !m.hasHeaders(rec) {
		return e, false, nil
	}
	if m.where != nil {
		means, err := m.where(ctx, e.Letter)
		if err != nil {
			return e, false, fmt.Errorf("asking whether %s is meant: %w", e.ID, err)
		}
		return e, means, nil
	}
	return e, true, nil
}

func (m *matcher) means(e *Entry) bool {
	l := &e.Letter
	return among(m.Reasons, l.Reason) &&
		(len(m.Keys) == 0 || slices.Contains(m.Keys, string(l.Key))) &&
		among(m.EventIDs, l.EventID) &&
		among(m.Schemas, e.Schema) &&
		among(m.Groups, l.Group) &&
		among(m.Replays, l.ReplayID) &&
		(m.Since.IsZero() || !l.LastFailure.Before(m.Since)) &&
		(m.Until.IsZero() || l.LastFailure.Before(m.Until))
}

func among[T comparable](wanted []T, is T) bool {
	return len(wanted) == 0 || slices.Contains(wanted, is)
}

func (m *matcher) hasHeaders(rec *kgo.Record) bool {
	for _, want := range m.Headers {
		if !slices.ContainsFunc(rec.Headers, func(h kgo.RecordHeader) bool { return h.Key == want.Name && string(h.Value) == want.Value }) {
			return false
		}
	}
	return true
}
