package resilience_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/pipeline/resilience"
)

// watched is a client whose source is n, and a monitor that probes with that client.
func watched(n *network, cfg resilience.MonitorConfig) (*http.Client, *resilience.Monitor) {
	client := &http.Client{}
	monitor := resilience.NewMonitor(cfg, func(ctx context.Context) error { return fetch(ctx, client) })
	client.Transport = resilience.NewTransport(resilience.TransportConfig{}, quiet, monitor.Transport(n))
	return client, monitor
}

// check asks as a readiness probe does: with little patience.
func check(t *testing.T, m *resilience.Monitor) (map[string]any, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	return m.Check(ctx)
}

func answers(code int) func(*http.Request) (*http.Response, error) {
	return func(req *http.Request) (*http.Response, error) {
		return response(code, strings.NewReader("{}")), nil
	}
}

func TestMonitorSaysWhatTheLastTryFoundOut(t *testing.T) {
	t.Parallel()
	type source = func(*http.Request) (*http.Response, error)
	for _, test := range []struct {
		name      string
		answer    source
		connected bool
		problem   string
	}{
		{"up", up, true, ""},
		{"a wrong request", answers(404), true, ""},
		{"too many requests", answers(429), true, ""},
		{"credentials refused", answers(401), true, "the source refuses the credentials: 401 Unauthorized"},
		{"a right is missing", answers(403), true, "the source refuses the credentials: 403 Forbidden"},
		{"connection refused", outages["refused"], false, "connection refused"},
		{"HTML error page", outages["HTML error page"], false, "the source answers 502 Bad Gateway"},
		{"no answer", outages["no answer"], false, "the source does not answer in time"},
		{"stalled body", outages["stalled body"], false, "the source does not answer in time"},
		{"cut body", outages["cut body"], false, "unexpected EOF"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := &network{answer: up}
				client, monitor := watched(n, resilience.MonitorConfig{})
				require.NoError(t, fetch(t.Context(), client))
				n.set(test.answer)
				_ = fetch(t.Context(), client)
				tries := len(n.made())
				details, err := check(t, monitor)
				require.Equal(t, test.connected, details["connected"])
				if test.problem == "" {
					require.NoError(t, err)
				} else {
					require.ErrorContains(t, err, test.problem)
				}
				require.Len(t, n.made(), tries, "what was just exchanged tells enough")

				// The breaker may be open by now: its own probe is the monitor's.
				n.set(up)
				require.Eventually(t, func() bool { _, err := check(t, monitor); return err == nil }, 5*time.Minute, time.Second)
				details, err = check(t, monitor)
				require.NoError(t, err)
				require.Equal(t, true, details["connected"])
			})
		})
	}
}

func TestMonitorShowsLatencyAndLastAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, monitor := watched(&network{answer: func(req *http.Request) (*http.Response, error) {
			_ = resilience.Sleep(req.Context(), 120*time.Millisecond)
			return up(req)
		}}, resilience.MonitorConfig{})
		require.NoError(t, fetch(t.Context(), client))
		details, err := check(t, monitor)
		require.NoError(t, err)
		require.Equal(t, map[string]any{
			"connected": true, "latency_ms": int64(120), "last_answer": time.Now().UTC().Format(time.RFC3339),
		}, details)
	})
}

// An idle source is asked once a minute, however often and by however many we are: at first, up, down, and with the
// breaker open, when the probe itself never leaves the process.
func TestMonitorProbesAnIdleSource(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(*http.Request) (*http.Response, error){"up": up, "down": answers(500), "slow": outages["no answer"]} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := &network{answer: answer}
				_, monitor := watched(n, resilience.MonitorConfig{})
				_, _ = check(t, monitor) // which no other check waits for
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour+time.Second)
				defer cancel()
				var probers sync.WaitGroup
				for range 2 {
					probers.Go(func() {
						for resilience.Sleep(ctx, 5*time.Second) == nil {
							start := time.Now()
							_, err := check(t, monitor)
							require.LessOrEqual(t, time.Since(start), 3*time.Second)
							if name == "up" {
								require.NoError(t, err)
							}
						}
					})
				}
				probers.Wait()
				if name == "up" {
					require.Len(t, n.made(), 61)
				} else {
					_, err := check(t, monitor)
					require.Error(t, err)
					require.LessOrEqual(t, len(n.made()), 65)
				}
			})
		})
	}
}

// What a client cannot even ask for is no exchange: the probe's word counts, until there is one.
func TestMonitorTakesNoteOfAProbeThatFailsInTheClient(t *testing.T) {
	t.Parallel()
	probes := 0
	monitor := resilience.NewMonitor(resilience.MonitorConfig{}, func(context.Context) error {
		probes++
		return errors.New("the token cannot be renewed")
	})
	for range 2 {
		details, err := monitor.Check(t.Context())
		require.ErrorContains(t, err, "the token cannot be renewed")
		require.Equal(t, map[string]any{"connected": false}, details)
		require.Equal(t, 1, probes)
	}
	require.NoError(t, fetch(t.Context(), &http.Client{Transport: monitor.Transport(&network{answer: up})}))
	_, err := monitor.Check(t.Context())
	require.NoError(t, err)
}

// A refusal that is one of a right, and not of the key, may be no reason to call the source degraded.
func TestMonitorAsksWhetherAnAnswerIsARefusal(t *testing.T) {
	t.Parallel()
	n := &network{answer: answers(403)}
	client, monitor := watched(n, resilience.MonitorConfig{Refused: func(resp *http.Response) bool { return resp.StatusCode == http.StatusUnauthorized }})
	require.Error(t, fetch(t.Context(), client))
	_, err := check(t, monitor)
	require.NoError(t, err)
}

func TestCallerWhoGivesUpIsNoOutage(t *testing.T) {
	t.Parallel()
	n := &network{answer: up}
	client, monitor := watched(n, resilience.MonitorConfig{})
	require.NoError(t, fetch(t.Context(), client))
	ctx, cancel := context.WithCancel(t.Context())
	n.set(func(req *http.Request) (*http.Response, error) {
		cancel()
		return nil, context.Canceled
	})
	require.ErrorIs(t, fetch(ctx, client), context.Canceled)
	_, err := check(t, monitor)
	require.NoError(t, err)
}

// Everything at once, for the race detector.
func TestMonitorIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	n := &network{answer: func(req *http.Request) (*http.Response, error) {
		return response(200, &body{strings.NewReader("{"), req.Context().Done(), io.ErrUnexpectedEOF}), nil
	}}
	client, monitor := watched(n, resilience.MonitorConfig{ProbeAfter: time.Microsecond})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 50 {
				_ = fetch(t.Context(), client)
				_, _ = monitor.Check(t.Context())
			}
		})
	}
	all.Wait()
	_, err := monitor.Check(t.Context())
	require.Error(t, err)
}
