package salesloft

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// minute is what the budget is counted by. Whether it is the clock's or begins with a request is not documented.
	minute = time.Minute
	// turnMargin is how much longer a minute that is used up is given, for a source that counts in whole seconds.
	turnMargin = time.Second
	// floorPerMinute is how many points a client in the background spends however busy the team is, so that it does not starve.
	floorPerMinute = 6
	// reservePart is the part of the budget, one in so many, that is left to requests of others which are on their way.
	reservePart = 50
)

// BudgetConfig says how much of the team's cost budget a client may spend. All integrations of the team share that budget.
type BudgetConfig struct {
	PerMinute int     // the team's points a minute; default 600
	Share     float64 // of them, what this client spends at most in any minute, 0…1; default 0.5
	// Background makes room for everybody else: the client spends only while the team as a whole, this client included, is
	// below the share of the minute that has gone by, and a few points a minute in any case.
	Background bool
}

func (cfg *BudgetConfig) setDefaults() {
	if cfg.PerMinute == 0 {
		cfg.PerMinute = 600
	}
	if cfg.Share == 0 {
		cfg.Share = 0.5
	}
}

// Validate names every setting that is wrong, one that is zero too: New takes that for the default, but it is no way of
// spending nothing. It does no I/O.
func (cfg BudgetConfig) Validate() error {
	var problems []error
	if cfg.PerMinute < 1 {
		problems = append(problems, fmt.Errorf("SALESLOFT_BUDGET_PER_MINUTE: want at least 1, not %d", cfg.PerMinute))
	}
	if !(cfg.Share > 0 && cfg.Share <= 1) { // not a number fails too
		problems = append(problems, fmt.Errorf("SALESLOFT_BUDGET_SHARE: want more than 0 and at most 1, not %v", cfg.Share))
	}
	return errors.Join(problems...)
}

// budget makes requests wait so that the team never runs into a refusal because of this client.
//
// Three rules hold a request back, whichever lasts longest:
//   - This client's own share: in any 60 seconds, wherever the source's minute may begin, it spends no more than that.
//   - The team's rest: what the last answer left, less what is on its way, must cover the request and a small reserve. If
//     it does not, the request waits for the minute to turn.
//   - In the background, the team's use must lie below the share of the minute that has gone by.
//
// # When the minute turns
//
// Within a minute what remains only falls. So an answer that leaves more than was known when its request was sent proves
// a turn after the sending of the request that told, and before that answer. A minute lasts 60 seconds whether it is the
// clock's or began with somebody's request. Hence a minute that was seen to be used up ends at most 60 seconds after that was
// seen, and, if it is the one whose turn was seen, at most 60 seconds after the turn. Waiting for that moment is right
// under either way of counting.
type budget struct {
	cfg     BudgetConfig
	own     int // points a minute
	reserve int
	now     func() time.Time
	sleep   func(context.Context, time.Duration) error
	metrics metrics

	queue chan struct{} // holds one token, the right to wait, so that requests go in the order in which they come

	mu     sync.Mutex // guards what follows; never held while waiting
	spent  []expense  // answered less than a minute ago, oldest first
	flying int        // points of requests that are not answered yet
	known  reading    // the lowest remainder seen in the present minute
	seen   turn       // the last turn that was seen
	begun  time.Time  // when the first answer came
	last   time.Time  // when the last request was let go
}

type expense struct {
	at     time.Time
	points int
}

// reading is what an answer said remained; the zero reading says nothing.
type reading struct {
	remaining    int
	sent, answer time.Time
	over         time.Time // when the minute is over, if the answer said that too
}

// turn lies after from, and at to at the latest.
type turn struct{ from, to time.Time }

func newBudget(cfg BudgetConfig, now func() time.Time, sleep func(context.Context, time.Duration) error, m metrics) *budget {
	b := &budget{
		cfg: cfg, own: max(1, int(float64(cfg.PerMinute)*cfg.Share)), reserve: cfg.PerMinute / reservePart,
		now: now, sleep: sleep, metrics: m, queue: make(chan struct{}, 1),
	}
	b.queue <- struct{}{}
	return b
}

// fare is a request that was let go: what it was reckoned to cost, and what was known then.
type fare struct {
	points int
	sent   time.Time
	known  reading
}

// acquire waits until a request of so many points may go. Each fare has to be settled.
func (b *budget) acquire(ctx context.Context, points int) (fare, error) {
	select {
	case <-b.queue:
	case <-ctx.Done():
		return fare{}, fmt.Errorf("waiting for the cost budget: %w", ctx.Err())
	}
	defer func() { b.queue <- struct{}{} }()
	for {
		f, wait := b.try(points)
		if wait <= 0 {
			return f, nil
		}
		b.metrics.waits.Add(wait.Seconds())
		if err := b.sleep(ctx, wait); err != nil {
			return fare{}, fmt.Errorf("waiting for the cost budget: %w", err)
		}
	}
}

func (b *budget) try(points int) (fare, time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	wait := max(b.shareWait(now, points), b.restWait(now, points))
	if b.cfg.Background {
		wait = max(wait, b.backgroundWait(now))
	}
	if wait > 0 {
		return fare{}, wait
	}
	b.last = now
	return b.let(now, points), 0
}

// spend lets a request go that waits for nothing: the reserve covers one now and then.
func (b *budget) spend(points int) fare {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.let(b.now(), points)
}

func (b *budget) let(now time.Time, points int) fare {
	b.flying += points
	return fare{points: points, sent: now, known: b.known}
}

// shareWait counts a request from when it is sent until a minute after its answer, since the source counts it somewhere
// in between. A request that costs more than the whole share has a minute to itself.
func (b *budget) shareWait(now time.Time, points int) time.Duration {
	for len(b.spent) > 0 && now.Sub(b.spent[0].at) >= minute {
		b.spent = b.spent[1:]
	}
	sum := b.flying
	for _, e := range b.spent {
		sum += e.points
	}
	allowed := max(b.own, points)
	free := now
	for _, e := range b.spent {
		if sum+points <= allowed {
			break
		}
		sum, free = sum-e.points, e.at.Add(minute)
	}
	if sum+points > allowed {
		return time.Second // until requests on their way are answered
	}
	return free.Sub(now)
}

func (b *budget) restWait(now time.Time, points int) time.Duration {
	if b.known.answer.IsZero() || b.known.remaining-b.flying >= points+b.reserve {
		return 0
	}
	if !b.known.over.IsZero() {
		return b.known.over.Sub(now)
	}
	return b.end(b.known.answer).Sub(now)
}

// end is when a minute that was running at some moment is over for certain.
func (b *budget) end(moment time.Time) time.Time {
	if moment.Before(b.seen.from.Add(minute)) {
		return b.seen.to.Add(minute + turnMargin)
	}
	return moment.Add(minute + turnMargin)
}

// floorPause is between two requests that the floor lets go.
const floorPause = minute / floorPerMinute

// backgroundWait takes the minute for beginning with the latest turn that is known or must have been; before one was seen, with the
// first answer, which is later than the truth and so on the safe side.
func (b *budget) backgroundWait(now time.Time) time.Duration {
	start := b.seen.to
	if start.IsZero() {
		start = b.begun
	}
	if start.IsZero() {
		return 0 // the first request finds out
	}
	start = start.Add(now.Sub(start).Truncate(minute))
	used := b.flying
	if !b.known.answer.Before(start) {
		used += max(0, b.cfg.PerMinute-b.known.remaining)
	}
	allowed := float64(b.cfg.PerMinute) * b.cfg.Share
	due := start.Add(min(minute, time.Duration(float64(used)/allowed*float64(minute))))
	return min(due.Sub(now), b.last.Add(floorPause).Sub(now))
}

// settle takes in what became of a request: what its answer says of the budget, or nothing if there was none.
func (b *budget) settle(f fare, limit RateLimit) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	b.flying -= f.points
	points := f.points
	if limit.Cost >= 0 {
		points = limit.Cost
	}
	b.spent = append(b.spent, expense{now, points})
	b.metrics.points.Add(float64(points))
	if b.begun.IsZero() {
		b.begun = now
	}
	if limit.Remaining >= 0 {
		b.learn(f, points, reading{remaining: limit.Remaining, sent: f.sent, answer: now})
	}
}

// refuse takes in an answer of 429: nothing was charged, and nothing is left, whatever its headers say.
func (b *budget) refuse(f fare, retryAfter time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.flying -= f.points
	b.known = reading{sent: f.sent, answer: b.now()}
	if retryAfter > 0 {
		b.known.over = b.known.answer.Add(retryAfter)
	}
	b.metrics.remaining.Set(0)
}

// learn compares a reading with what was known when its request was sent. Answers can overtake each other.
func (b *budget) learn(f fare, points int, r reading) {
	b.metrics.remaining.Set(float64(r.remaining))
	turned := !f.known.answer.IsZero() && r.remaining > f.known.remaining-points
	same := !b.seen.to.IsZero() && r.answer.Before(b.seen.from.Add(minute)) // too soon for one more turn
	switch {
	case turned && !same:
		b.seen, b.known = turn{from: later(f.known.sent, r.answer.Add(-minute)), to: r.answer}, r
	case turned:
		b.seen.from = later(b.seen.from, f.known.sent)
		if r.remaining < b.known.remaining {
			b.known = r
		}
	case f.sent.Before(b.seen.to) && same:
		// Sent before the turn and perhaps charged before it: this may be what was left of the minute that is over.
	case b.known.answer.IsZero() || r.remaining <= b.known.remaining:
		b.known = r
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// cost is what a request is charged by the page that it asks for.
func cost(page int) int {
	switch {
	case page <= 100:
		return 1
	case page <= 150:
		return 3
	case page <= 250:
		return 8
	case page <= 500:
		return 10
	}
	return 30
}
