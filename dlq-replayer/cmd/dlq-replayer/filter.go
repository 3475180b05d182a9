package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/revstream/revstream/dlq-replayer/desk"
)

// filters are the flags that say which letters are meant.
type filters struct {
	Topics  []string `name:"topic" sep:"none" placeholder:"TOPIC" help:"Topic that the letters come from, or its dead-letter topic; repeat it for several. Default: all." group:"Filters"`
	Reasons []string `name:"reason" sep:"none" placeholder:"REASON" help:"Reason, such as validation; repeat it for several." group:"Filters"`
	Keys    []string `name:"key" sep:"none" placeholder:"KEY" help:"Key of the record; repeat it for several." group:"Filters"`
	Since   moment   `name:"since" placeholder:"TIME" help:"Last failed at this time or later: RFC 3339, or how long ago, such as 90m." group:"Filters"`
	Until   moment   `name:"until" placeholder:"TIME" help:"Last failed before this time." group:"Filters"`
	Limit   int      `name:"limit" placeholder:"N" help:"No more letters than these." group:"Filters"`
}

func (f *filters) selection() (desk.Selection, error) {
	switch {
	case f.Limit < 0:
		return desk.Selection{}, errors.New("--limit must not be negative")
	case !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until.Time):
		return desk.Selection{}, errors.New("--since must be before --until")
	}
	return desk.Selection{
		Topics: f.Topics, Reasons: f.Reasons, Keys: f.Keys,
		Since: f.Since.Time, Until: f.Until.Time, Limit: f.Limit,
	}, nil
}

// given says whether any of the flags is set.
func (f *filters) given() bool {
	return len(f.Topics)+len(f.Reasons)+len(f.Keys)+f.Limit > 0 || !f.Since.IsZero() || !f.Until.IsZero()
}

// moment is a time on the command line.
type moment struct{ time.Time }

// UnmarshalText reads RFC 3339, or how long ago.
func (m *moment) UnmarshalText(text []byte) error {
	if at, err := time.Parse(time.RFC3339Nano, string(text)); err == nil {
		m.Time = at
		return nil
	}
	ago, err := time.ParseDuration(string(text))
	if err != nil || ago < 0 {
		return fmt.Errorf("%q is neither a time such as 2026-01-31T12:00:00Z nor how long ago, such as 90m", text)
	}
	m.Time = time.Now().Add(-ago)
	return nil
}
