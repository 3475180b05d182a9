package backfill

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/google/uuid"
)

const recordFormat = 1

// record is the state file: what was ordered, and how far it has come. It holds no secret and no personal data.
//
// It is written after each step, and what a step has done is on its topic by then. A process that dies in between does that
// step again, under the same correlation ID, to events that have the same IDs.
type record struct {
	Format   int               `json:"format"`
	Entity   string            `json:"entity"`
	Start    string            `json:"start"`
	End      string            `json:"end"`      // "" for the time at which it was begun
	Settings map[string]string `json:"settings"` // that decide what comes out, by variable

	Until         time.Time `json:"until"` // of the range, which it is not part of
	CorrelationID string    `json:"correlation_id"`
	StartedAt     time.Time `json:"started_at"`

	Counts
	Steps  []*step    `json:"steps,omitempty"`  // of forecasts
	Cursor *time.Time `json:"cursor,omitempty"` // of people: up to which they are published

	CompletedAt *time.Time `json:"completed_at,omitempty"` // when the last step was done
	Finished    bool       `json:"finished"`               // the summary is published
}

// Counts is what became of what the source sent.
type Counts struct {
	Rows      int64 `json:"rows"`
	Published int64 `json:"published"`
	Unchanged int64 `json:"unchanged"`
	Rejected  int64 `json:"rejected"`
}

func (c Counts) plus(d Counts) Counts {
	return Counts{c.Rows + d.Rows, c.Published + d.Published, c.Unchanged + d.Unchanged, c.Rejected + d.Rejected}
}

// step is one export.
type step struct {
	ForecastID string `json:"forecast_id"`
	Period     string `json:"period"`
	Done       bool   `json:"done,omitempty"`
	Outcome    string `json:"outcome,omitempty"`
	Error      string `json:"error,omitempty"`
	Jobs       int64  `json:"jobs,omitempty"` // that it took
	Counts
}

func (s *step) name() string { return s.ForecastID + " " + s.Period }

// file is a record on the disk.
type file struct{ path string }

// load returns the record that goes with an order, or a new one.
func (f file) load(order record, now time.Time) (r *record, resumed bool, err error) {
	raw, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		order.Format, order.CorrelationID, order.StartedAt = recordFormat, uuid.NewString(), now.UTC().Truncate(time.Microsecond)
		return &order, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("reading the state file: %w", err)
	}
	r = &record{}
	if err := json.Unmarshal(raw, r); err != nil || r.Format != recordFormat {
		return nil, false, fmt.Errorf("the state file %s is none of this program's: name another with --state-file, or begin anew with --restart", f.path)
	}
	if err := r.matches(order); err != nil {
		return nil, false, fmt.Errorf("the state file %s is of another backfill: %w: give what it was begun with, name another file with --state-file, or begin anew with --restart", f.path, err)
	}
	return r, true, nil
}

// matches names what differs between a record and an order.
func (r *record) matches(order record) error {
	was, is := maps.Clone(r.Settings), maps.Clone(order.Settings)
	for _, m := range []struct {
		settings map[string]string
		of       record
	}{{was, *r}, {is, order}} {
		m.settings["--entity"], m.settings["--start"], m.settings["--end"] = m.of.Entity, m.of.Start, m.of.End
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(is)) {
		if was[name] != is[name] {
			errs = append(errs, fmt.Errorf("%s was %q and is %q", name, was[name], is[name]))
		}
	}
	return errors.Join(errs...)
}

// save replaces the file, so that there is always a whole one, also after a power failure.
func (f file) save(r *record) error {
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the state file: %w", err)
	}
	next, err := os.Create(f.path + ".new")
	if err != nil {
		return fmt.Errorf("writing the state file: %w", err)
	}
	_, err = next.Write(append(raw, '\n'))
	if err := errors.Join(err, next.Sync(), next.Close()); err != nil {
		return fmt.Errorf("writing the state file: %w", err)
	}
	if err := os.Rename(f.path+".new", f.path); err != nil {
		return fmt.Errorf("writing the state file: %w", err)
	}
	return nil
}

// forget removes the file.
func (f file) forget() error {
	if err := os.Remove(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the state file: %w", err)
	}
	return nil
}
