package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/user"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/dlq-replayer/desk"
	"github.com/revstream/revstream/dlq-replayer/payload"
	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/schemas"
)

// console is what a command works with.
type console struct {
	desk   *desk.Desk
	client *kgo.Client                     // for reading alone
	reader func() (*payload.Reader, error) // says what is missing if there is no registry
	logger *slog.Logger

	in       io.Reader
	out, err io.Writer
	width    int  // columns of the terminal that out is; 0 if it is none
	terminal bool // err is one

	by, from string // who acts, and where

	strange strange // letters
}

// compile makes a desk's Match of an expression.
func (c *console) compile(where string, reveal bool) (desk.Match, error) {
	reader, err := c.reader()
	if err != nil {
		return nil, fmt.Errorf("--where: %w", err)
	}
	match, err := payload.Compile(reader)(where, reveal)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, letter deadletter.Letter) (bool, error) {
		matches, err := match(ctx, letter)
		if strange, ok := errors.AsType[*payload.WhereError](err); ok {
			c.strange.add(strange)
			return false, nil
		}
		return matches, err
	}, nil
}

// strange counts the letters that an expression cannot be evaluated on: they do not match, and the operator should know.
type strange struct {
	mu      sync.Mutex
	letters int
	first   error
}

func (s *strange) add(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.letters++; s.first == nil {
		s.first = err
	}
}

func (s *strange) tell(w io.Writer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.letters > 0 {
		fmt.Fprintf(w, "--where cannot be evaluated on %d letters, which therefore do not match: %s\n", s.letters, s.first)
	}
}

// Change implements desk.Changer.
func (c *console) Change(ctx context.Context, change desk.Change, letter deadletter.Letter) (deadletter.Letter, string, error) {
	reader, err := c.reader()
	if err != nil {
		return letter, "", err
	}
	return reader.Repair(ctx, change.Patch, change.Headers, letter)
}

// check finds what is wrong with a selection before anything is read.
func (c *console) check(ctx context.Context, s desk.Selection) error {
	if s.Where != "" {
		if _, err := c.compile(s.Where, s.Reveal); err != nil {
			// The lines after the first one point at the place.
			text, place, _ := strings.Cut(err.Error(), "\n")
			if place != "" {
				fmt.Fprintln(c.err, place)
			}
			return fmt.Errorf("--where: %s", strings.TrimPrefix(text, "--where: "))
		}
	}
	wanted := slices.Clone(s.Topics)
	for _, id := range s.IDs {
		wanted = append(wanted, id.Topic)
	}
	if len(wanted) == 0 {
		return nil
	}
	existing, err := kadm.NewClient(c.client).ListTopics(ctx)
	if err != nil {
		return fmt.Errorf("listing the topics: %w", err)
	}
	for _, topic := range wanted {
		dlq := schemas.DLQTopic(strings.TrimSuffix(topic, deadletter.Suffix))
		if existing.Has(dlq) {
			continue
		}
		var known []string
		for _, name := range existing.Names() {
			if original, ok := strings.CutSuffix(name, deadletter.Suffix); ok {
				known = append(known, original)
			}
		}
		if len(known) == 0 {
			return fmt.Errorf("topic %s: there is no %s, and no other dead-letter topic", printable(topic), printable(dlq))
		}
		return fmt.Errorf("topic %s: there is no %s; dead letters come from %s", printable(topic), printable(dlq), strings.Join(known, ", "))
	}
	return nil
}

// reveal keeps that somebody looked at the personal data of the letters of a selection, before they can.
func (c *console) reveal(ctx context.Context, s desk.Selection, why string) error {
	if !s.Reveal {
		return nil
	}
	run := c.newRun(deadletter.Revealed, why)
	var err error
	if run.Order, err = json.Marshal(desk.Order{Selection: s}); err != nil {
		return fmt.Errorf("encoding the selection: %w", err)
	}
	return c.desk.Record(ctx, run)
}

// newRun is the record of what is no run of the desk's.
func (c *console) newRun(action, why string) deadletter.Run {
	now := time.Now().UTC()
	return deadletter.Run{
		ID: uuid.NewString(), Action: action, Status: deadletter.Done, StartedAt: now, UpdatedAt: now,
		By: c.by, Why: why, From: c.from,
	}
}

// answer prints one JSON object on a line.
func (c *console) answer(v any) error { return json.NewEncoder(c.out).Encode(v) }

// revealing is the flag of commands that ask for a reason only to reveal.
type revealing struct {
	Reason string `name:"reason" placeholder:"TEXT" help:"Why personal data is to be revealed; kept with who, when and what."`
}

// checkReveal holds a reader to its reason.
func (r revealing) checkReveal(reveal bool) error {
	switch {
	case reveal && strings.TrimSpace(r.Reason) == "":
		return errors.New("--reason is required with --reveal: it is kept who saw personal data, and why")
	case !reveal && r.Reason != "":
		return errors.New("--reason says why you use --reveal; the class of a failure is --class")
	}
	return nil
}

// checkSight is checkReveal for commands that show no values themselves.
func (r revealing) checkSight(f filters) error {
	if f.Reveal && f.Where == "" {
		return errors.New("--reveal lets --where see personal data, and there is no --where; show and export show it")
	}
	return r.checkReveal(f.Reveal)
}

// operator is who runs the process. In a container the user may have a number alone.
func operator() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return fmt.Sprintf("uid %d", os.Getuid())
}

// place is where the process runs.
func place() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return host + " " + name
}
