package resilience

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

var (
	errSlow  = errors.New("the source does not answer in time")
	errUnmet = errors.New("the source has not answered yet")
)

// MonitorConfig says when a monitor asks by itself. The zero value of a field stands for its default.
type MonitorConfig struct {
	// ProbeAfter is for how long nothing must have been exchanged before Check probes, and so the least time from one
	// probe to the next. Default 1 min.
	ProbeAfter time.Duration
	// Refused reports an answer that refuses the credentials; it must not read the body. By default every 401 and 403 does.
	Refused func(*http.Response) bool
}

// Monitor knows whether a source can be reached and accepts our credentials, from what is exchanged with it anyway.
// Its methods are safe for concurrent use.
type Monitor struct {
	cfg   MonitorConfig
	probe func(context.Context) error

	mu       sync.Mutex
	tried    time.Time     // when the last try ended, however it did
	answered time.Time     // when the last answer below 500 came
	latency  time.Duration // of that answer's headers
	tryErr   error         // what was wrong with the last try
	refused  bool          // tryErr is a refusal: the source is there
	probed   time.Time     // when the last probe began
	probeErr error         // of the last probe, if no try ended well since; errUnmet before the first
}

// NewMonitor returns a monitor that has seen nothing, and so probes at its first Check. probe asks the source for
// something cheap, through a client whose transport is Transport's: what the monitor learns from a probe, it sees there.
func NewMonitor(cfg MonitorConfig, probe func(ctx context.Context) error) *Monitor {
	if cfg.ProbeAfter <= 0 {
		cfg.ProbeAfter = time.Minute
	}
	if cfg.Refused == nil {
		cfg.Refused = func(resp *http.Response) bool {
			return resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden
		}
	}
	return &Monitor{cfg: cfg, probe: probe, probeErr: errUnmet}
}

// Transport returns next, which NewTransport's default stands for if nil, with the monitor watching it. It belongs below NewTransport's,
// where each try is seen.
func (m *Monitor) Transport(next http.RoundTripper) http.RoundTripper {
	if next == nil {
		next = newBase()
	}
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		start := time.Now()
		resp, err := next.RoundTrip(req)
		if err != nil {
			m.failed(req.Context(), err)
			return nil, err
		}
		m.answer(resp, time.Since(start))
		resp.Body = &observedBody{ReadCloser: resp.Body, done: func(err error) {
			if err != nil {
				m.failed(req.Context(), err)
			}
		}}
		return resp, nil
	})
}

// failed takes note of a try that the network ended, unless the caller did.
func (m *Monitor) failed(ctx context.Context, err error) {
	if givenUpByCaller(ctx) {
		return
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		err = errSlow // and not the caller's doing, whatever the words are
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tried, m.tryErr, m.refused = time.Now(), err, false
}

// answer takes note of a response.
func (m *Monitor) answer(resp *http.Response, latency time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tried, m.tryErr, m.refused = time.Now(), nil, false
	status := fmt.Sprintf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	if resp.StatusCode >= 500 {
		m.tryErr = fmt.Errorf("the source answers %s", status)
		return
	}
	m.answered, m.latency = m.tried, latency
	if m.cfg.Refused(resp) {
		m.refused, m.tryErr = true, fmt.Errorf("the source refuses the credentials: %s", status)
		return
	}
	m.probeErr = nil
}

// Check is a readiness check: {"connected":true,"latency_ms":12,"last_answer":"2026-01-02T15:04:05Z"}, and an error if
// the last try failed, the credentials were refused, or a probe failed. It probes if nothing was exchanged for a while.
func (m *Monitor) Check(ctx context.Context) (map[string]any, error) {
	if m.due() {
		err := m.probe(ctx)
		m.mu.Lock()
		m.probeErr = err
		m.mu.Unlock()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	err := m.tryErr
	if err == nil {
		err = m.probeErr
	}
	details := map[string]any{"connected": err == nil || m.refused}
	if !m.answered.IsZero() {
		details["latency_ms"] = m.latency.Milliseconds()
		details["last_answer"] = m.answered.UTC().Format(time.RFC3339)
	}
	return details, err
}

// due claims the next probe for its caller, if it is time for one: checks that come meanwhile do not wait for it.
func (m *Monitor) due() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if m.probe == nil || now.Sub(m.tried) < m.cfg.ProbeAfter || now.Sub(m.probed) < m.cfg.ProbeAfter {
		return false
	}
	m.probed = now
	return true
}
