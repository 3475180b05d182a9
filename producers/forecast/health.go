package forecast

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// health is how the cycles go.
type health struct {
	interval time.Duration
	mu       sync.Mutex // guards all below: the cycle's goroutine writes, Check reads
	since    time.Time  // of the start, or the end of the last cycle
	runs     int
	err      error     // of the last cycle
	waiting  time.Time // for quota, since; zero if not
}

func newHealth(interval time.Duration) health { return health{interval: interval, since: time.Now()} }

func (h *health) finished(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.since, h.err = time.Now(), err
	h.runs++
}

// waits notes that the cycle waits for Clari's export quota, or no longer does.
func (h *health) waits(waiting bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case !waiting:
		h.waiting = time.Time{}
	case h.waiting.IsZero():
		h.waiting = time.Now()
	}
}

// Check is a readiness check: an error if the last cycle failed, or if none has ended for two intervals. One that waits for quota
// has not failed.
func (e *Exporter) Check(context.Context) (map[string]any, error) {
	h := &e.health
	h.mu.Lock()
	defer h.mu.Unlock()
	details := map[string]any{"cycles": h.runs}
	if h.runs > 0 {
		details["last_cycle"] = h.since.UTC().Format(time.RFC3339)
	}
	state := ""
	if !h.waiting.IsZero() {
		state = "waiting for quota"
		details["state"], details["waiting_since"] = state, h.waiting.UTC().Format(time.RFC3339)
	}
	switch idle := time.Since(h.since); {
	case idle > 2*h.interval && state != "":
		return details, fmt.Errorf("no cycle has ended for %s: %s", idle.Round(time.Second), state)
	case h.err != nil:
		return details, fmt.Errorf("the last cycle failed: %w", h.err)
	case idle > 2*h.interval:
		return details, fmt.Errorf("no cycle has ended for %s", idle.Round(time.Second))
	default:
		return details, nil
	}
}
