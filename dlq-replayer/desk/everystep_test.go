package desk

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/schemas"
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

// command is one that changes something, done with a desk until it succeeds or is broken off.
type command struct {
	like  bool // its requests are those of a replay, which is failed at every step: it is at every fifth, another one in each way
	do    func(ctx context.Context, d *Desk) error
	setUp func(t *testing.T, cluster *pipelinetest.Cluster) // what the letters need before; nil: nothing
	check func(t *testing.T, cluster *pipelinetest.Cluster, letters []consume.Poison)
}

func does(action Action, decision string) command {
	return command{
		like: action != Replay,
		do: func(ctx context.Context, d *Desk) error {
			report, err := d.Run(ctx, order(func(o *Order) {
				o.Action, o.TakeOver = action, true
				if action == Repair {
					o.Change = &Change{Headers: map[string]string{"x": "y"}}
				}
			}), nil)
			if ctx.Err() != nil && report.Failed.Letters > 0 {
				return errors.New("the transaction in hand was not finished")
			}
			return err
		},
		check: func(t *testing.T, cluster *pipelinetest.Cluster, letters []consume.Poison) {
			t.Helper()
			requireEach(t, cluster, decision, letters)
		},
	}
}

var commands = map[string]command{
	"replay":  does(Replay, Replayed),
	"repair":  does(Repair, Replayed),
	"park":    does(Park, Parked),
	"discard": does(Discard, Discarded),
	"unpark": {
		like: true,
		setUp: func(t *testing.T, cluster *pipelinetest.Cluster) {
			t.Helper()
			must(t)(newDesk(t, cluster).Run(t.Context(), order(func(o *Order) { o.Action = Park }), nil))
		},
		do: does(Unpark, "").do,
		check: func(t *testing.T, cluster *pipelinetest.Cluster, letters []consume.Poison) {
			t.Helper()
			decided, runs := decisions(t, cluster, true)
			done := map[string]int{}
			for _, run := range runs {
				done[run.Action] += run.Done
			}
			require.Equal(t, map[string]int{Parked: len(letters), deadletter.Unparked: len(letters)}, done)
			for _, decision := range decided {
				require.Equal(t, deadletter.Unparked, decision.Decision)
			}
			require.Len(t, pipelinetest.ReadAll(t, cluster, schemas.DLQDecisionsTopic), 2*len(letters)+recordsOf(t, cluster))
		},
	},
	"resume": {
		setUp: func(t *testing.T, cluster *pipelinetest.Cluster) {
			t.Helper()
			n := 0
			d := newDeskWith(t, cluster, Config{BatchLetters: 1, Changer: changer(func(l deadletter.Letter) (deadletter.Letter, string, error) {
				if n++; n > 1 {
					return l, "", errors.New("broken off")
				}
				return l, "", nil
			})})
			_, err := d.Run(t.Context(), order(func(o *Order) {
				o.Action, o.Change, o.Concurrency = Repair, &Change{Headers: map[string]string{"x": "y"}}, 1
			}), nil)
			require.ErrorContains(t, err, "broken off")
		},
		do: func(ctx context.Context, d *Desk) error {
			runs, err := d.Runs(ctx)
			if err != nil || runs[0].Status == deadletter.Done {
				return err
			}
			_, err = d.Resume(ctx, runs[0].ID, order(func(o *Order) { o.TakeOver = true }), nil)
			return err
		},
		check: func(t *testing.T, cluster *pipelinetest.Cluster, letters []consume.Poison) {
			t.Helper()
			requireEach(t, cluster, Replayed, letters)
			_, runs := decisions(t, cluster, false)
			require.Len(t, runs, 1)
			for _, run := range runs {
				require.Equal(t, deadletter.Done, run.Status)
			}
		},
	},
	"import": {
		do: func(ctx context.Context, d *Desk) error {
			_, err := d.Import(ctx, order(func(o *Order) { o.TakeOver = true }), exported(4))
			return err
		},
		check: func(t *testing.T, cluster *pipelinetest.Cluster, letters []consume.Poison) {
			t.Helper()
			requireImported(t, cluster, len(letters), 4)
		},
	},
	"reveal": {
		do: func(ctx context.Context, d *Desk) error {
			return d.Reveal(ctx, []ID{{schemas.PeopleTopic, 0, 0}, {schemas.PeopleTopic, 1, 0}}, order())
		},
		check: func(t *testing.T, cluster *pipelinetest.Cluster, _ []consume.Poison) {
			t.Helper()
			decided, _ := decisions(t, cluster, true) // who tried twice may have seen it twice
			require.Len(t, decided, 2)
			for _, decision := range decided {
				require.Equal(t, deadletter.Revealed, decision.Decision)
			}
		},
	},
}

// recordsOf counts the records of runs.
func recordsOf(t *testing.T, cluster *pipelinetest.Cluster) (n int) {
	t.Helper()
	for _, rec := range pipelinetest.ReadAll(t, cluster, schemas.DLQDecisionsTopic) {
		if fact, _ := newFact(rec); fact.Run != nil {
			n++
		}
	}
	return n
}

// TestFailEveryStep fails the i-th request of a command, for every i and in every way, and then gives the command again.
// Whatever happened, a reader of committed records sees each letter once, each has its decision once, and the runs'
// records say who did how many.
func TestFailEveryStep(t *testing.T) {
	t.Parallel()
	ways := []struct {
		name string
		fail func(t *testing.T, cluster *pipelinetest.Cluster, c command, step int64) (reached bool)
	}{
		{"request lost", cutAt(func() *network { return &network{} })},
		{"answer lost", cutAt(func() *network { return &network{after: true} })},
		{"killed before", cutAt(func() *network { return &network{kill: true} })},
		{"killed after", cutAt(func() *network { return &network{kill: true, after: true} })},
		{"interrupted", interruptAt},
		{refusedByBroker, refuseAt},
	}
	for name, c := range commands {
		for i, way := range ways {
			t.Run(name+", "+way.name, func(t *testing.T) {
				t.Parallel()
				if way.name == refusedByBroker || c.like { // what is like another command is tried in one place
					pipelinetest.NeedKfake(t)
				}
				step, stride := int64(1), int64(1)
				switch {
				case pipelinetest.Apache(): // a run takes a second
					step, stride = 5+7*int64(i), 50
				case c.like:
					step, stride = 1+int64(i), 5
				}
				for last := false; !last; step += stride {
					t.Run(fmt.Sprint("step ", step), func(t *testing.T) { last = !failAt(t, c, step, way.fail) })
					require.Less(t, step, int64(300))
				}
				require.Greater(t, step, int64(5), "a command takes many requests")
			})
		}
	}
}

// failAt gives a command that fails at a step, and then again. It tells whether there was such a step.
func failAt(t *testing.T, c command, step int64, fail func(*testing.T, *pipelinetest.Cluster, command, int64) bool) bool {
	t.Helper()
	cluster := pipelinetest.Kafka(t, 2, topics...)
	letters := peopleLetters(4)
	write(t, cluster, letters...)
	if c.setUp != nil {
		c.setUp(t, cluster)
	}
	reached := fail(t, cluster, c, step)
	require.NoError(t, c.do(t.Context(), mender(t, cluster)))
	c.check(t, cluster, letters)
	return reached
}

// mender is a desk that can carry out all commands.
func mender(t *testing.T, cluster *pipelinetest.Cluster, opts ...kgo.Opt) *Desk {
	t.Helper()
	return newDeskWith(t, cluster, Config{BatchLetters: 2, Changer: changer(func(l deadletter.Letter) (deadletter.Letter, string, error) { return l, "", nil })}, opts...)
}

// fastRetries keeps a failed request from taking seconds.
func fastRetries(opts ...kgo.Opt) []kgo.Opt {
	return append([]kgo.Opt{kgo.DisableClientMetrics(), kgo.MetadataMinAge(10 * time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return time.Millisecond })}, opts...)
}

// cutAt gives a command through a network that fails. It tells whether there was a step to fail.
func cutAt(network func() *network) func(*testing.T, *pipelinetest.Cluster, command, int64) bool {
	return func(t *testing.T, cluster *pipelinetest.Cluster, c command, step int64) bool {
		t.Helper()
		n := network()
		var reached atomic.Bool
		killed := make(chan struct{})
		n.step, n.hit = step, func() {
			if !reached.Swap(true) {
				close(killed)
			}
		}
		d, stop := stoppable(t, cluster, fastRetries(kgo.Dialer(n.dial))...)
		done := make(chan struct{})
		go func() {
			defer close(done)
			if err := c.do(t.Context(), d); !n.kill && err != nil {
				t.Errorf("one lost connection must be survived: %v", err)
			}
		}()
		select {
		case <-done:
		case <-killed:
			if n.kill {
				stop() // ends what waits for the dead network, and sends nothing
			}
			<-done
		}
		return reached.Load()
	}
}

// stoppable returns a mender, and what closes all of its clients, those to come too.
func stoppable(t *testing.T, cluster *pipelinetest.Cluster, opts ...kgo.Opt) (*Desk, func()) {
	t.Helper()
	var mu sync.Mutex
	var stopped bool
	reads := pipelinetest.Client(t, cluster, opts...)
	clients := []*kgo.Client{reads}
	d := mender(t, cluster)
	d.client = reads
	d.writer = func() (*kgo.Client, error) {
		mu.Lock()
		defer mu.Unlock()
		if stopped {
			return nil, errors.New("killed")
		}
		clients = append(clients, pipelinetest.Client(t, cluster, append(Options(), opts...)...))
		return clients[len(clients)-1], nil
	}
	return d, func() {
		mu.Lock()
		defer mu.Unlock()
		stopped = true
		for _, client := range clients {
			client.Close()
		}
	}
}

// interruptAt cancels the command as a signal does.
func interruptAt(t *testing.T, cluster *pipelinetest.Cluster, c command, step int64) bool {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var count atomic.Int64
	d := mender(t, cluster, pipelinetest.Watch(func(kmsg.Request) {
		if count.Add(1) == step {
			cancel()
		}
	}))
	err := c.do(ctx, d)
	reached := count.Load() >= step
	if err != nil {
		require.True(t, reached)
		require.ErrorIs(t, err, context.Canceled)
	}
	return reached
}

// refuseAt has the broker answer a request with an error that no retry mends.
func refuseAt(t *testing.T, cluster *pipelinetest.Cluster, c command, step int64) bool {
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
	d, stop := stoppable(t, cluster, fastRetries()...)
	err := c.do(t.Context(), d)
	faults.Remove()
	stop()
	if err == nil {
		t.Log("survived")
	}
	return count >= step
}
