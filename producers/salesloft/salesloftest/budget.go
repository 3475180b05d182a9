package salesloftest

import (
	"net/http"
	"strconv"
	"sync"
	"time"
)

// budget is the team's cost points of the current minute.
type budget struct {
	perMinute int
	fromFirst bool

	mu     sync.Mutex // guards what follows
	minute time.Time  // when the current minute began
	spent  int
}

// take charges a request, unless the rest of the minute does not suffice; left is how long the minute still lasts.
func (b *budget) take(now time.Time, cost int) (remaining int, left time.Duration, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.minute.IsZero() || now.Sub(b.minute) >= time.Minute {
		b.minute, b.spent = now, 0
		if !b.fromFirst {
			b.minute = now.Truncate(time.Minute)
		}
	}
	left = time.Minute - now.Sub(b.minute)
	if b.spent+cost > b.perMinute {
		return b.perMinute - b.spent, left, false
	}
	b.spent += cost
	return b.perMinute - b.spent, left, true
}

// pageCost is what a request costs by the page that it asks for.
func pageCost(page int) int {
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

// charge takes the request's cost from the budget, names both in the headers, and answers 429 when it is used up.
func (s *Simulator) charge(w http.ResponseWriter, r *http.Request) bool {
	page, _ := strconv.Atoi(r.URL.Query().Get("page"))
	cost := pageCost(page)
	remaining, left, ok := s.budget.take(s.cfg.Now(), cost)
	w.Header().Set("X-Ratelimit-Endpoint-Cost", strconv.Itoa(cost))
	w.Header().Set("X-Ratelimit-Remaining-Minute", strconv.Itoa(remaining))
	if ok {
		s.count(func(c *requestCounts) { c.points += cost })
		return true
	}
	s.count(func(c *requestCounts) { c.rateLimited++ })
	if s.cfg.RetryAfter {
		w.Header().Set("Retry-After", strconv.Itoa(int((left+time.Second-1)/time.Second)))
	}
	writeError(w, http.StatusTooManyRequests, "The team's rate limit of this minute is used up")
	return false
}
