package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/revstream/revstream/dlq-replayer/desk"
)

// filters are the flags that say which letters are meant: those that everything given matches.
type filters struct {
	IDs        []desk.ID     `arg:"" optional:"" name:"id" help:"IDs of letters, as list prints them. Default: all that the filters leave."`
	Topics     []string      `name:"topic" sep:"none" placeholder:"TOPIC" help:"Topic that the letters come from, or its dead-letter topic; repeat this and most other filters for several values. Default: all." group:"Filters"`
	Classes    []string      `name:"class" sep:"none" placeholder:"CLASS" help:"Class of the failure, such as validation: REASON in the list." group:"Filters"`
	Keys       []string      `name:"key" sep:"none" placeholder:"KEY" help:"Key of the record." group:"Filters"`
	EventIDs   []string      `name:"event-id" sep:"none" placeholder:"UUID" help:"Event ID." group:"Filters"`
	Schemas    []int         `name:"schema" placeholder:"N" help:"ID in the registry of the schema that wrote the value." group:"Filters"`
	Groups     []string      `name:"group" sep:"none" placeholder:"GROUP" help:"Consumer group that gave the record up." group:"Filters"`
	Replays    []string      `name:"replay-id" sep:"none" placeholder:"RUN" help:"Run that replayed the record before it came back." group:"Filters"`
	Headers    []headerValue `name:"header" sep:"none" placeholder:"NAME=VALUE" help:"Header of the record, or one of the dlq-* ones." group:"Filters"`
	Since      moment        `name:"since" placeholder:"TIME" help:"Last failed at this time or later: RFC 3339, or how long ago, such as 90m." group:"Filters"`
	Until      moment        `name:"until" placeholder:"TIME" help:"Last failed before this time." group:"Filters"`
	Partitions []int32       `name:"partition" placeholder:"N" help:"Partition of the dead-letter topic." group:"Filters"`
	Offsets    offsets       `name:"offsets" placeholder:"A-B" help:"Offsets in each partition of the dead-letter topic, both included; A- has no end." group:"Filters"`
	States     []string      `name:"state" enum:"open,replayed,parked,discarded,undecipherable,all" placeholder:"STATE" help:"open, replayed, parked, discarded, undecipherable or all. Default: those that the command can act on, or all where IDs are given." group:"Filters"`
	Where      string        `name:"where" placeholder:"EXPR" help:"Expression on the letter and its decoded value, such as 'value.kind == \"quota\" and attempts > 1'. Needs the schema registry." group:"Filters"`
	Reveal     bool          `name:"reveal" help:"Let --where see personal data, or show it. Needs --reason; it is kept who did so and why." group:"Filters"`
	Limit      int           `name:"limit" placeholder:"N" help:"No more letters than these." group:"Filters"`
}

// selection checks the flags. Its error joins all that is wrong.
func (f *filters) selection() (desk.Selection, error) {
	var errs []error
	if f.Limit < 0 {
		errs = append(errs, errors.New("--limit must not be negative"))
	}
	if !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until.Time) {
		errs = append(errs, errors.New("--since must be before --until"))
	}
	if slices.ContainsFunc(f.Partitions, func(p int32) bool { return p < 0 }) {
		errs = append(errs, errors.New("--partition must not be negative"))
	}
	s := desk.Selection{
		IDs: f.IDs, Topics: f.Topics, Partitions: f.Partitions, Reasons: f.Classes, Keys: f.Keys, EventIDs: f.EventIDs,
		Schemas: f.Schemas, Groups: f.Groups, Replays: f.Replays, Since: f.Since.Time, Until: f.Until.Time,
		States: f.States, Where: f.Where, Reveal: f.Reveal, Limit: f.Limit,
	}
	if f.Offsets.given {
		s.Offsets = &f.Offsets.Offsets
	}
	for _, h := range f.Headers {
		s.Headers = append(s.Headers, desk.Header(h))
	}
	if slices.Contains(f.States, "all") {
		s.States = desk.AllStates
	}
	return s, errors.Join(errs...)
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

// headerValue is NAME=VALUE on the command line.
type headerValue desk.Header

// UnmarshalText splits at the first equals sign, which no name of ours has.
func (h *headerValue) UnmarshalText(text []byte) error {
	name, value, ok := strings.Cut(string(text), "=")
	if !ok || name == "" {
		return fmt.Errorf("%q is not NAME=VALUE", text)
	}
	*h = headerValue{Name: name, Value: value}
	return nil
}

// offsets is a range on the command line.
type offsets struct {
	desk.Offsets
	given bool
}

// UnmarshalText reads A-B, A- or A.
func (o *offsets) UnmarshalText(text []byte) error {
	from, to, isRange := strings.Cut(string(text), "-")
	if !isRange {
		to = from
	}
	o.given, o.To = true, -1
	var errFrom, errTo error
	o.From, errFrom = strconv.ParseInt(from, 10, 64)
	if to != "" {
		o.To, errTo = strconv.ParseInt(to, 10, 64)
	}
	switch {
	case errFrom != nil || errTo != nil:
		return fmt.Errorf("%q is not a range of offsets: it looks like 100-199, 100- or 100", text)
	case to != "" && o.To < o.From:
		return fmt.Errorf("%q ends before it begins", text)
	}
	return nil
}
