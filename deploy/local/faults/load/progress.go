package load

import (
	"context"
	"sync"
)

// progress knows the first step that is not acknowledged. Steps begin in order and are acknowledged in any.
type progress struct {
	mu      sync.Mutex
	next    int     // step after the last one that has begun
	pending []*step // begun, in order; the first one is not acknowledged
	err     error   // the first failure
	waiting chan struct{}
}

type step struct {
	number       int
	acknowledged bool
}

// begin adds a step, and returns what to call with the broker's answer. One that fails is never acknowledged.
func (p *progress) begin(number int) (answered func(error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &step{number: number}
	p.pending = append(p.pending, s)
	p.next = number + 1
	return func(err error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if err != nil {
			if p.err == nil {
				p.err = err
			}
		} else {
			s.acknowledged = true
			for len(p.pending) > 0 && p.pending[0].acknowledged {
				p.pending = p.pending[1:]
			}
		}
		if p.waiting != nil && (p.err != nil || len(p.pending) == 0) {
			close(p.waiting)
			p.waiting = nil
		}
	}
}

// standing returns the first step that is not acknowledged, or the failure of one.
func (p *progress) standing() (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.pending) > 0 {
		return p.pending[0].number, p.err
	}
	return p.next, p.err
}

// wait returns once every step that has begun is acknowledged, or one has failed.
func (p *progress) wait(ctx context.Context) error {
	p.mu.Lock()
	if p.err != nil || len(p.pending) == 0 {
		defer p.mu.Unlock()
		return p.err
	}
	p.waiting = make(chan struct{})
	answered := p.waiting
	p.mu.Unlock()
	select {
	case <-answered:
		_, err := p.standing()
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
