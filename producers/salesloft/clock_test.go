package salesloft_test

import (
	"context"
	"sync"
	"time"
)

// clock is a simulated one, which stands still but for those who sleep and for requests, which take their time.
type clock struct {
	mu   sync.Mutex
	at   time.Time
	tick func(now time.Time) // called about every second of a sleep; may be nil
}

func newClock() *clock { return &clock{at: time.Date(2025, 5, 5, 5, 5, 17, 300_000_000, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	for d > 0 {
		step := min(d, time.Second)
		c.mu.Lock()
		c.at = c.at.Add(step)
		now := c.at
		c.mu.Unlock()
		if c.tick != nil {
			c.tick(now)
		}
		d -= step
	}
}

func (c *clock) sleep(ctx context.Context, d time.Duration) error {
	c.advance(d)
	return ctx.Err()
}
