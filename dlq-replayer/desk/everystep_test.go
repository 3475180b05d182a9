package desk

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/revstream/revstream/pipeline/pipelinetest"
)

// network is the way of one client to the brokers. It counts requests, each of which kgo writes at once, and does
// something to the step-th.
type network struct {
	step  int64
	after bool   // the broker has handled the request, and its answer is lost; else the request is
	hit   func() // called once, before the connection goes
	count atomic.Int64
	dead  atomic.Bool // from then on nothing passes: the process was killed
	kill  bool        // whether to set dead
}

// errCut is what a client sees of a connection that its peer has reset.
var errCut = &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}

func (n *network) dial(ctx context.Context, netw, host string) (net.Conn, error) {
	if n.dead.Load() {
		return nil, errCut
	}
	conn, err := new(net.Dialer).DialContext(ctx, netw, host)
	if err != nil {
		return nil, err
	}
	return &cutConn{Conn: conn, network: n}, nil
}

type cutConn struct {
	net.Conn
	network *network
	lose    atomic.Bool // the next answer
}

func (c *cutConn) Write(b []byte) (int, error) {
	n := c.network
	if n.dead.Load() {
		return 0, errCut
	}
	if n.count.Add(1) != n.step {
		return c.Conn.Write(b)
	}
	if n.after {
		c.lose.Store(true)
		return c.Conn.Write(b)
	}
	c.cut()
	return 0, errCut
}

func (c *cutConn) Read(b []byte) (int, error) {
	read, err := c.Conn.Read(b)
	if c.lose.Load() && err == nil {
		c.cut()
		return 0, errCut
	}
	if c.network.dead.Load() {
		return 0, errCut
	}
	return read, err
}

func (c *cutConn) cut() {
	c.network.dead.Store(c.network.kill)
	_ = c.Close()
	c.network.hit()
}

const refusedByBroker = "refused by broker"

// TestFailEveryStep fails the i-th request of a replay, for every i and in every way, and then replays again. Whatever
// happened, a reader of committed records sees each letter once, and each has its decision.
func TestFailEveryStep(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(t *testing.T, cluster *pipelinetest.Cluster, step int64) (reached bool){
		"request lost": func(t *testing.T, c *pipelinetest.Cluster, step int64) bool { return cutAt(t, c, step, &network{}) },
		"answer lost": func(t *testing.T, c *pipelinetest.Cluster, step int64) bool {
			return cutAt(t, c, step, &network{after: true})
		},
		"killed before": func(t *testing.T, c *pipelinetest.Cluster, step int64) bool {
			return cutAt(t, c, step, &network{kill: true})
		},
		"killed after": func(t *testing.T, c *pipelinetest.Cluster, step int64) bool {
			return cutAt(t, c, step, &network{kill: true, after: true})
		},
		"interrupted":   interruptAt,
		refusedByBroker: refuseAt,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			step, stride, last := int64(1), int64(1), false
			if pipelinetest.Apache() { // a run takes a second
				stride = 10
			}
			if name == refusedByBroker {
				pipelinetest.NeedKfake(t)
			}
			for ; !last; step += stride {
				t.Run(fmt.Sprint("step ", step), func(t *testing.T) {
					cluster := pipelinetest.Kafka(t, 2, topics...)
					letters := peopleLetters(4)
					write(t, cluster, letters...)
					last = !fail(t, cluster, step)

					report, err := newDesk(t, cluster).Replay(t.Context(), Order{})
					require.NoError(t, err)
					require.NoError(t, report.Shortfall())
					requireEachReplayedOnce(t, cluster, letters)
				})
				require.Less(t, step, int64(200))
			}
			require.Greater(t, step, int64(15), "a replay takes many requests")
		})
	}
}

// fastRetries keeps a failed request from taking seconds.
func fastRetries(opts ...kgo.Opt) []kgo.Opt {
	return append(append(Options(), kgo.MetadataMinAge(10*time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return time.Millisecond })), opts...)
}

// cutAt replays through a network that fails. It tells whether there was a step to fail.
func cutAt(t *testing.T, cluster *pipelinetest.Cluster, step int64, n *network) bool {
	t.Helper()
	var reached atomic.Bool
	killed := make(chan struct{})
	n.step, n.hit = step, func() {
		if !reached.Swap(true) {
			close(killed)
		}
	}
	client := pipelinetest.Client(t, cluster, fastRetries(kgo.Dialer(n.dial))...)
	d := New(client, pipelinetest.Logger(t))
	d.batch = 2
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, err := d.Replay(t.Context(), Order{})
		if !n.kill && err != nil {
			t.Errorf("one lost connection must be survived: %v", err)
		}
	}()
	select {
	case <-done:
	case <-killed:
		if n.kill {
			client.Close() // ends what waits for the dead network, and sends nothing
		}
		<-done
	}
	return reached.Load()
}

// interruptAt cancels the replay as a signal does.
func interruptAt(t *testing.T, cluster *pipelinetest.Cluster, step int64) bool {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var count atomic.Int64
	d := newDesk(t, cluster, pipelinetest.Watch(func(kmsg.Request) {
		if count.Add(1) == step {
			cancel()
		}
	}))
	d.batch = 2
	report, err := d.Replay(ctx, Order{})
	require.Zero(t, report.Failed.Letters, "the transaction in hand was finished")
	reached := count.Load() >= step
	if err != nil {
		require.True(t, reached)
		require.ErrorIs(t, err, context.Canceled)
	}
	return reached
}

// refuseAt has the broker answer a request with an error that no retry mends.
func refuseAt(t *testing.T, cluster *pipelinetest.Cluster, step int64) bool {
	t.Helper()
	var count, hit int64 // of the cluster's goroutine, until the faults are removed
	var last kmsg.Request
	at := func(req kmsg.Request) bool {
		if req != last {
			last = req
			count++
		}
		if count == step {
			hit++
			return true
		}
		return false
	}
	faults := cluster.Fault(
		kfake.Fault{Err: kerr.UnknownServerError, Count: -1, TopLevel: true, When: at},
		kfake.Fault{Err: kerr.UnknownServerError, Count: -1, When: at})
	client := pipelinetest.Client(t, cluster, fastRetries()...)
	d := New(client, pipelinetest.Logger(t))
	d.batch = 2
	report, err := d.Replay(t.Context(), Order{})
	faults.Remove()
	client.Close()
	if err == nil {
		require.NoError(t, report.Shortfall())
	}
	return count >= step
}
