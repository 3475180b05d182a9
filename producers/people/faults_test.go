package people

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"github.com/revstream/revstream/producers/publish"
	"github.com/revstream/revstream/producers/salesloft"
	"github.com/revstream/revstream/schemas/event"
)

var errCrash = errors.New("crashed")

// crash ends a process at its nth step: from then on nothing that it does has an effect.
type crash struct {
	mu   sync.Mutex
	left int // steps until the crash
}

// step is called before and after everything that has an effect outside of the process.
func (c *crash) step() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left--; c.left <= 0 {
		return errCrash
	}
	return nil
}

func (c *crash) crashed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.left <= 0
}

// around does something that has an effect, unless the process has crashed before; it can crash just after.
func (c *crash) around(do func() error) error {
	if err := c.step(); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	return c.step()
}

// crashingPublisher loses what was published but not flushed by the time of the crash every other time: the broker may have
// it or not.
type crashingPublisher struct {
	Topic
	crash *crash
	lazy  bool // holds events back until Flush
	held  []event.Event
}

func (p *crashingPublisher) Publish(ctx context.Context, e event.Event) error {
	return p.crash.around(func() error {
		if p.lazy {
			p.held = append(p.held, e)
			return nil
		}
		return p.Topic.Publish(ctx, e)
	})
}

func (p *crashingPublisher) Reject(ctx context.Context, r publish.Rejection) error {
	return p.crash.around(func() error { return p.Topic.Reject(ctx, r) })
}

func (p *crashingPublisher) Flush(ctx context.Context) error {
	return p.crash.around(func() error {
		for _, e := range p.held {
			if err := p.Topic.Publish(ctx, e); err != nil {
				return err
			}
		}
		p.held = nil
		return p.Topic.Flush(ctx)
	})
}

type crashingState struct {
	State
	crash *crash
}

func (s crashingState) Save(ctx context.Context, name string, v any) error {
	return s.crash.around(func() error { return s.State.Save(ctx, name, v) })
}

// meddlingSource does something before it hands over each batch.
type meddlingSource struct {
	Source
	meddle func(ctx context.Context, batch int) error
}

func (s *meddlingSource) wrap(source Source) { s.Source = source }

func (s *meddlingSource) Changes(ctx context.Context, since, until time.Time) iter.Seq2[salesloft.Batch, error] {
	return func(yield func(salesloft.Batch, error) bool) {
		n := 0
		var reached time.Time
		for batch, err := range s.Source.Changes(ctx, since, until) {
			if fault := s.meddle(ctx, n); fault != nil && err == nil {
				yield(salesloft.Batch{Cursor: reached}, fault)
				return
			}
			n++
			reached = batch.Cursor
			if !yield(batch, err) {
				return
			}
		}
	}
}
