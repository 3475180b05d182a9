package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Check reports whether a part of the process works: an error if not, and details to show either way. It must obey
// ctx, and its details and error are public: no secret, no personal data.
type Check func(ctx context.Context) (details map[string]any, err error)

const (
	checkTimeout = 3 * time.Second // of one check
	checkMaxAge  = time.Second     // of an answer that is given again, so that probes cannot load what is checked
)

var (
	errStarting = errors.New("the process is starting")
	errStopping = errors.New("the process is stopping")
	errTimedOut = errors.New("the check timed out")
)

// health runs the checks. Its phase overrides them: a process that starts or stops is not ready, whatever works.
type health struct {
	mu     sync.Mutex
	checks map[string]Check
	phase  error // errStarting, then nil, then errStopping

	running sync.Mutex // held while the checks run, so that concurrent probes share one run
	report  report     // guarded by running
	taken   time.Time  // guarded by running
}

// report is the document of /health: "status", one object per check, and "problems" in words if there are any.
type report struct {
	healthy bool
	body    map[string]any
	checks  map[string]error // by name; nil is healthy
}

func newHealth() *health {
	return &health{checks: map[string]Check{}, phase: errStarting}
}

func (h *health) setPhase(phase error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.phase = phase
}

func (h *health) add(name string, check Check) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks[name] = check
}

// ServeHTTP answers /readyz and /health.
func (h *health) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	result := h.run(r.Context())
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !result.healthy {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(result.body) // the prober has gone away
}

var checkHealthy = prometheus.NewDesc("revstream_check_healthy", "1 where a check of /readyz is healthy, 0 where it is degraded.", []string{"check"}, nil)

// Describe implements prometheus.Collector.
func (*health) Describe(descs chan<- *prometheus.Desc) { descs <- checkHealthy }

// Collect implements prometheus.Collector: a scrape finds out what /readyz would say at that moment, so that an alert needs no
// prober. A process that starts or stops has no checks.
func (h *health) Collect(metrics chan<- prometheus.Metric) {
	for name, err := range h.run(context.Background()).checks { //nolint:forbidigo // a scrape has no context; each check has its timeout
		healthy := 1.0
		if err != nil {
			healthy = 0
		}
		metrics <- prometheus.MustNewConstMetric(checkHealthy, prometheus.GaugeValue, healthy, name)
	}
}

func (h *health) run(ctx context.Context) report {
	h.mu.Lock()
	phase, checks := h.phase, maps.Clone(h.checks)
	h.mu.Unlock()
	if phase != nil {
		return report{body: map[string]any{"status": "degraded", "error": phase.Error()}}
	}

	h.running.Lock()
	defer h.running.Unlock()
	if h.report.body == nil || time.Since(h.taken) > checkMaxAge {
		// One prober's hanging up must not fail the checks of the next, who gets this run's answer.
		h.report, h.taken = runChecks(context.WithoutCancel(ctx), checks), time.Now()
	}
	return h.report
}

func runChecks(ctx context.Context, checks map[string]Check) report {
	result := report{healthy: true, body: map[string]any{"status": "healthy"}, checks: map[string]error{}}
	var (
		mu       sync.Mutex
		wg       sync.WaitGroup
		problems []string // for people
	)
	for name, check := range checks {
		wg.Go(func() {
			details, err := runCheck(ctx, check)
			mu.Lock()
			defer mu.Unlock()
			result.body[name], result.checks[name] = details, err
			if err != nil {
				result.healthy, result.body["status"] = false, "degraded"
				problems = append(problems, name+" is degraded: "+oneLine(err))
			}
		})
	}
	wg.Wait()
	if len(problems) > 0 {
		slices.Sort(problems)
		result.body["problems"] = problems
	}
	return result
}

// runCheck gives a check its timeout.
func runCheck(ctx context.Context, check Check) (map[string]any, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, checkTimeout, errTimedOut)
	defer cancel()
	details, err := check(ctx)
	shown := map[string]any{"status": "healthy"}
	maps.Copy(shown, details)
	if err != nil {
		shown["status"], shown["error"] = "degraded", oneLine(err)
	}
	return shown, err
}
