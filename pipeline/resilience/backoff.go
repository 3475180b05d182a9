// Package resilience owns what revstream does when something that it depends on fails: how it retries, how long it
// waits, when it stops asking.
package resilience

import (
	"math/rand/v2"
	"time"
)

// Backoff is an exponential backoff: attempt n, counted from 0, is followed by min(Max, Base·2^n) plus a random part
// of up to Jitter. The jitter is on top of the cap, so that clients which all sit at the cap still spread out.
type Backoff struct {
	Base   time.Duration // default 250 ms
	Max    time.Duration // default 30 s
	Jitter time.Duration // default 200 ms; negative for none
}

func (b Backoff) withDefaults() Backoff {
	if b.Base <= 0 {
		b.Base = 250 * time.Millisecond
	}
	if b.Max <= 0 {
		b.Max = 30 * time.Second
	}
	if b.Jitter == 0 {
		b.Jitter = 200 * time.Millisecond
	}
	return b
}

// delay returns the wait after attempt n.
func (b Backoff) delay(n int) time.Duration {
	wait := b.Max
	if n < 62 && b.Base <= b.Max>>n { // Base·2^n <= Max, without the overflow
		wait = b.Base << n
	}
	if b.Jitter > 0 {
		wait += rand.N(b.Jitter + 1) //nolint:gosec // jitter is no secret
	}
	return wait
}
