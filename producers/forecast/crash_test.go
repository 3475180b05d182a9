package forecast

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/producers/clari"
	"github.com/revstream/revstream/producers/clari/claritest"
	"github.com/revstream/revstream/producers/state"
	"github.com/revstream/revstream/schemas/exportrun"
)

// stepper ends a process at its n-th request to the source: before it is sent, or after it was answered.
type stepper struct {
	next   http.RoundTripper
	n      int64
	before bool
	die    context.CancelFunc
	seen   atomic.Int64
}

var errDead = errors.New("the process has died")

func (s *stepper) RoundTrip(r *http.Request) (*http.Response, error) {
	now := s.seen.Add(1) == s.n
	if now && s.before {
		s.die()
		return nil, errDead
	}
	resp, err := s.next.RoundTrip(r)
	if now && err == nil {
		_ = resp.Body.Close()
		s.die()
		return nil, errDead
	}
	return resp, err
}

// requireExactlyOnce asserts that each value was one fact, published once.
func (w *world) requireExactlyOnce() {
	w.t.Helper()
	events, ids := w.events(), map[uuid.UUID]bool{}
	for _, f := range events {
		require.False(w.t, ids[f.EventID], "event published twice: %s", f.Key())
		ids[f.EventID] = true
	}
	require.Len(w.t, current(events), len(events), "a value became two facts")
	w.requireComplete("2026_Q1", "2025_Q4")
}

func twoQuarters(c *Config) { c.Quarters = 2 }

// TestDeathAtEveryRequest ends the process at each request of a cycle in turn, and starts another one: what is published is right,
// and no job is asked for twice.
func TestDeathAtEveryRequest(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before bool
		fate   string // of the first job
		jobs   int
	}{
		"before": {true, "", 2}, "after": {false, "", 2},
		"before, a job that fails": {true, "FAILED", 3}, "after, a job that fails": {false, "FAILED", 3},
		"before, a job that takes too long": {true, "STARTED", 3}, "after, a job that takes too long": {false, "STARTED", 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			survived, stride := false, int64(1)
			if pipelinetest.Apache() { // a run takes a second
				stride = 3
			}
			for n := int64(1); !survived; n += stride {
				w := newWorld(t, claritest.Config{Users: 2, Fields: 2, Weeks: 1})
				settings := twoQuarters
				if c.fate != "" {
					require.NoError(t, w.sim.FailJobs(1, c.fate))
					settings = func(c *Config) {
						c.Quarters, c.JobTimeout, c.PollInterval = 2, 20*time.Millisecond, 10*time.Millisecond
					}
				}
				ctx, die := context.WithCancel(t.Context())
				err := w.start(options{cfg: settings, http: &stepper{next: w.pool, n: n, before: c.before, die: die}}).RunOnce(ctx)
				die()
				if survived = err == nil; survived {
					require.Greater(t, n, int64(8), "the loop went through the cycle")
					require.Equal(t, c.jobs, w.jobs())
				} else {
					require.Equal(t, c.jobs, w.run(options{cfg: settings}, 1, nil), "request %d", n)
				}
				require.Equal(t, map[exportrun.Outcome]int{exportrun.Succeeded: 2}, w.outcomes(), "request %d", n)
				w.requireExactlyOnce()
			}
		})
	}
}

// failProduce makes the n-th produce request of a cluster fail for good. stop ends that, and tells whether it came so far.
func (w *world) failProduce(n int64) (stop func() bool) {
	var seen atomic.Int64
	w.kafka.ControlKey(int16(kmsg.Produce), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		w.kafka.KeepControl()
		if seen.Add(1) != n {
			return nil, nil, false
		}
		req := kreq.(*kmsg.ProduceRequest)
		resp := req.ResponseKind().(*kmsg.ProduceResponse)
		for _, topic := range req.Topics {
			rt := kmsg.NewProduceResponseTopic()
			rt.Topic, rt.TopicID = topic.Topic, topic.TopicID
			for _, p := range topic.Partitions {
				rp := kmsg.NewProduceResponseTopicPartition()
				rp.Partition, rp.ErrorCode = p.Partition, kerr.TopicAuthorizationFailed.Code
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil, true
	})
	return func() bool { return seen.Swap(n) >= n }
}

// TestFailureOfEveryProduceRequest lets each produce request of a cycle fail in turn. The same process, or another one,
// makes up for it.
func TestFailureOfEveryProduceRequest(t *testing.T) {
	t.Parallel()
	for name, restart := range map[string]bool{"same process": false, "new process": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			survived := false
			for n := int64(1); !survived; n++ {
				w := newWorld(t, claritest.Config{Users: 2, Fields: 2, Weeks: 1})
				e := w.start(options{cfg: twoQuarters})
				stop := w.failProduce(n)
				err := e.RunOnce(t.Context())
				if survived = !stop(); survived {
					require.NoError(t, err)
					require.Greater(t, n, int64(8), "the loop went through the cycle")
				} else {
					require.ErrorIs(t, err, kerr.TopicAuthorizationFailed)
				}
				if restart {
					e = w.start(options{cfg: twoQuarters})
				}
				require.NoError(t, e.RunOnce(t.Context()), "produce request %d", n)
				w.requireExactlyOnce()
			}
		})
	}
}

// TestDeathWhilePublishing ends the process with a part of the events on the topic.
func TestDeathWhilePublishing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, claritest.Config{Users: 10, Fields: 3, Weeks: 2})
	ctx, die := context.WithCancel(t.Context())
	defer die()
	var seen atomic.Int64
	w.kafka.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		w.kafka.KeepControl()
		if seen.Add(1) == 3 { // after two of the state
			die()
		}
		return nil, nil, false
	})
	require.Error(t, w.start(options{cfg: twoQuarters}).RunOnce(ctx))
	require.NotEmpty(t, w.events())
	require.Empty(t, w.runs())
	require.NoError(t, w.start(options{cfg: twoQuarters}).RunOnce(t.Context()))
	w.requireExactlyOnce()
	jobs := 0
	for _, count := range w.sim.Stats(claritest.Scope{}).Jobs {
		jobs += count
	}
	require.Equal(t, 2+2, jobs, "two quarters, none of them posted again, and two that the assertions read")
}

// TestJobOfAnotherTimeIsFinishedFirst: a job that was recorded long ago is published and then repeated.
func TestJobOfAnotherTimeIsFinishedFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t, claritest.Config{})
	var posted struct{ JobID string }
	w.call("POST", "/export/forecast/forecast", `{"includeHistorical":true}`, &posted)
	e := w.start(options{cfg: twoQuarters})
	recorded := job{ForecastID: "forecast", Types: []string{"forecast"}, ID: posted.JobID, RequestedAt: time.Now().Add(-3 * time.Hour)}
	require.NoError(t, e.deps.State.Save(t.Context(), stateName, recorded))
	require.NoError(t, e.RunOnce(t.Context()))
	runs := w.runs()
	require.Len(t, runs, 3)
	require.Equal(t, posted.JobID, *runs[0].JobID)
	w.requireExactlyOnce()
}

// TestJobThatHasExpired must not be in the way for ever: if it was asked for lately, another takes its place.
func TestJobThatHasExpired(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		age  time.Duration
		want map[exportrun.Outcome]int
	}{
		"lately":   {time.Minute, map[exportrun.Outcome]int{exportrun.Succeeded: 2}},
		"long ago": {3 * time.Hour, map[exportrun.Outcome]int{exportrun.Failed: 1, exportrun.Succeeded: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, claritest.Config{})
			e := w.start(options{cfg: twoQuarters})
			recorded := job{ForecastID: "forecast", Types: []string{"forecast"}, ID: "0123456789abcdef", RequestedAt: time.Now().Add(-c.age), Jobs: 1}
			require.NoError(t, e.deps.State.Save(t.Context(), stateName, recorded))
			err := e.RunOnce(t.Context())
			if c.want[exportrun.Failed] > 0 {
				require.ErrorContains(t, err, "job unknown or not done")
			} else {
				require.NoError(t, err)
			}
			require.Equal(t, c.want, w.outcomes())
			require.NoError(t, e.RunOnce(t.Context()))
			w.requireExactlyOnce()
		})
	}
}

// cutter ends the body of the next results half-way. A download is three of them.
type cutter struct {
	next http.RoundTripper
	left int
}

func (c *cutter) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := c.next.RoundTrip(r)
	if err != nil || c.left == 0 || !strings.HasSuffix(r.URL.Path, "/results") {
		return resp, err
	}
	c.left--
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, 300), resp.Body}
	return resp, nil
}

func TestDownloadThatIsCutShortIsTriedAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cut  int
		want map[exportrun.Outcome]int
	}{
		"once":      {1, map[exportrun.Outcome]int{exportrun.Succeeded: 2}},
		"too often": {1 + maxAttempts, map[exportrun.Outcome]int{exportrun.Failed: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, claritest.Config{})
			e := w.start(options{cfg: twoQuarters, http: &cutter{w.pool, c.cut * 3}})
			for range c.cut {
				require.ErrorContains(t, e.RunOnce(t.Context()), clari.ErrBadResults.Error())
			}
			if c.cut == 1 {
				require.NoError(t, e.RunOnce(t.Context()))
			}
			require.Equal(t, c.want, w.outcomes())
			require.NoError(t, e.RunOnce(t.Context()))
			w.requireExactlyOnce()
		})
	}
}

// TestALockThatIsLostEndsTheJobsWork, and whoever has it next takes the job over.
func TestALockThatIsLostEndsTheJobsWork(t *testing.T) {
	t.Parallel()
	w := newWorld(t, claritest.Config{})
	require.NoError(t, w.sim.FailJobs(1, "STARTED")) // it does not end
	var lost atomic.Bool
	w.kafka.ControlKey(int16(kmsg.Heartbeat), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		w.kafka.KeepControl()
		if w.jobs() == 0 || lost.Swap(true) {
			return nil, nil, false
		}
		resp := kreq.ResponseKind().(*kmsg.HeartbeatResponse)
		resp.ErrorCode = kerr.UnknownMemberID.Code
		return resp, nil, true
	})
	require.ErrorIs(t, w.start(options{cfg: twoQuarters}).RunOnce(t.Context()), state.ErrLockLost)
	require.Empty(t, w.runs())
	next := options{cfg: func(c *Config) { c.Quarters, c.JobTimeout = 2, 50*time.Millisecond }}
	require.Equal(t, 2+1, w.run(next, 1, nil), "the one that does not end, in whose place another is asked for, and the other quarter's")
	require.Equal(t, map[exportrun.Outcome]int{exportrun.Succeeded: 2}, w.outcomes())
	w.requireExactlyOnce()
}
