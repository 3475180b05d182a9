package consume_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/consume"
)

// TestStoppingSettlesTheBatchInHand, and what is decoded behind it.
func TestStoppingSettlesTheBatchInHand(t *testing.T) {
	t.Parallel()
	cluster, seen := broker(t, 1)
	produce(t, cluster, 0, numbered(4)...)
	m := newMember(t, seen)
	blocked := newGate()
	m.onStore = func(ctx context.Context, _ []kgo.Record) error {
		_ = blocked.wait(t.Context())
		select {
		case <-ctx.Done(): // it had ten seconds left
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
			return nil
		}
	}
	m.start(cluster)
	<-blocked.arrived
	m.cancel()
	require.Empty(t, seen.committed())
	close(blocked.open)
	m.stop()
	require.Equal(t, map[int32]int64{0: 4}, seen.committed())
	require.Equal(t, []int{4}, seen.sizes())
}

// TestStoppingFlushesABatchThatIsNotFull.
func TestStoppingFlushesABatchThatIsNotFull(t *testing.T) {
	t.Parallel()
	cluster, seen := broker(t, 1)
	produce(t, cluster, 0, numbered(3)...)
	m := newMember(t, seen)
	m.cfg.BatchRows, m.cfg.BatchAge = 100, time.Hour
	read := make(chan struct{})
	m.onDecode = func(_ context.Context, rec *kgo.Record) error {
		if rec.Offset == 2 {
			close(read)
		}
		return nil
	}
	m.start(cluster)
	<-read
	m.stop()
	require.Equal(t, []int{3}, seen.sizes())
	require.Equal(t, map[int32]int64{0: 3}, seen.committed())
}

// TestASinkThatHangsIsLeftAtTheStopTimeout, without a commit and without an
// error: the next member reads the batch again.
func TestASinkThatHangsIsLeftAtTheStopTimeout(t *testing.T) {
	t.Parallel()
	cluster, seen := broker(t, 1)
	produce(t, cluster, 0, numbered(30)...)
	m := newMember(t, seen)
	m.cfg.StopTimeout = 50 * time.Millisecond
	blocked := newGate()
	m.onStore = func(ctx context.Context, _ []kgo.Record) error { return blocked.wait(ctx) }
	m.start(cluster)
	<-blocked.arrived
	m.stop()
	require.Empty(t, seen.committed())

	next := newMember(t, seen).start(cluster)
	committedAre(t, seen, map[int32]int64{0: 30})
	next.stop()
}

// TestAFatalErrorStops: of the sink or of the dead letters, as it is, without a commit.
func TestAFatalErrorStops(t *testing.T) {
	t.Parallel()
	fatal := &consume.FatalError{Err: errAway}
	for name, prepare := range map[string]func(*member){
		"sink": func(m *member) {
			m.onStore = func(context.Context, []kgo.Record) error { return fatal }
		},
		"dead letters": func(m *member) {
			m.onWrite = func(_ context.Context, poison []consume.Poison) ([]consume.Poison, error) { return poison, fatal }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster, seen := broker(t, 1)
			produce(t, cluster, 0, append(numbered(30), "bad")...)
			m := newMember(t, seen)
			m.cfg.BatchRows = 31
			prepare(m)
			m.start(cluster)
			<-m.ended
			require.ErrorIs(t, m.err, fatal)
			require.Empty(t, seen.committed())
		})
	}
}

// TestAClientClosedUnderTheLoopIsAnError: a consumer that reads nothing any
// more must not look like one that was asked to stop.
func TestAClientClosedUnderTheLoopIsAnError(t *testing.T) {
	t.Parallel()
	cluster, seen := broker(t, 1)
	m := newMember(t, seen).start(cluster)
	until(t, func() bool { return m.owns() == 1 }, "the member has joined")
	m.client.Close()
	<-m.ended
	require.ErrorIs(t, m.err, kgo.ErrClientClosed)
}
