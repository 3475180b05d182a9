// Package desk owns what is done about dead letters: which of them are open, and the transactions that replay them, set
// them aside, or put them back.
package desk

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Desk reads dead letters and decides on them. It is safe for concurrent use.
type Desk struct {
	cfg    Config
	logger *slog.Logger
	client *kgo.Client
	writer func() (*kgo.Client, error)
	pace   pace

	mu      sync.Mutex
	session *session        // that the runs of this process share; nil while there is none
	atWork  map[string]bool // IDs of this process's runs: whether they are at work
}

// pace is how often a run does what it does beside its letters.
type pace struct {
	tick      time.Duration // between two looks at what is due, and two calls of progress
	judge     time.Duration // between two looks at what consumers made of the letters
	heartbeat time.Duration // between two records of a run, at most
	lease     time.Duration // after which a run that has written no record is taken for dead
	now       func() time.Time
}

// New makes a desk. It only reads with the client, and writes what decides nothing with it, so the client must have no
// transactional ID; it stays the caller's to close. A writer returns a new client that was made with Options, which the
// desk closes.
func New(cfg Config, logger *slog.Logger, client *kgo.Client, writer func() (*kgo.Client, error)) *Desk {
	if cfg.BatchLetters <= 0 {
		cfg.BatchLetters = batchLetters
	}
	return &Desk{
		cfg: cfg, logger: logger, client: client, writer: writer, atWork: make(map[string]bool),
		pace: pace{tick: 250 * time.Millisecond, judge: time.Second, heartbeat: 3 * time.Second, lease: 15 * time.Second, now: time.Now},
	}
}

// Letters calls each for every dead letter of a selection, topic by topic, partition by partition and each in order. It
// reads what was committed by the time of the call, and holds no more than a few megabytes of letters at once. An error
// of each ends it and is returned as it is. An ID without a letter is ErrUnknownLetter.
//
// Without States it means the open letters, but those with one of the IDs whatever their state.
func (d *Desk) Letters(ctx context.Context, selection Selection, each func(Entry) error) error {
	m, err := d.matcher(selection, Open)
	if err != nil {
		return err
	}
	scope, err := d.scope(ctx, selection)
	if err != nil {
		return err
	}
	if err := d.check(ctx, selection, scope); err != nil {
		return err
	}
	ledger, err := d.ledger(ctx)
	if err != nil {
		return err
	}
	told := 0
	for _, s := range scope {
		states := ledger.states.log(s.log())
		s.from, s.to = states.trim(s.from, s.to, m.States)
		err := d.read(ctx, s, func(rec *kgo.Record) error {
			e, means, err := m.entry(ctx, rec, states)
			if err != nil || !means {
				return err
			}
			if err := each(e); err != nil {
				return err
			}
			if told++; told == selection.Limit {
				return errEnough
			}
			return nil
		})
		if errors.Is(err, errEnough) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}
