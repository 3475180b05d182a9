package state_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/producers/state"
	"github.com/revstream/revstream/schemas"
)

// TestOneHoldsTheLock, of many that want it, and all get it in the end.
func TestOneHoldsTheLock(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 1, schemas.ProducerStateTopic)
	var holders, turns atomic.Int32
	var wg sync.WaitGroup
	for range 3 {
		store := open(t, cluster, "people-producer")
		wg.Go(func() {
			for range 3 {
				lock, err := store.Lock(t.Context(), "token")
				if err != nil {
					t.Error(err)
					return
				}
				if n := holders.Add(1); n != 1 {
					t.Errorf("%d hold the lock", n)
				}
				turns.Add(1)
				// What one saves under the lock, the next one reads under it.
				if err := store.Sync(lock.Context()); err != nil {
					t.Error(err)
				}
				var n int
				if _, err := store.Load("turns", &n); err != nil {
					t.Error(err)
				}
				if err := store.Save(lock.Context(), "turns", n+1); err != nil {
					t.Error(err)
				}
				holders.Add(-1)
				lock.Unlock()
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 9, turns.Load())
	var n int
	_, err := open(t, cluster, "people-producer").Load("turns", &n)
	require.NoError(t, err)
	require.Equal(t, 9, n)
}

func TestLocksOfOtherNamesAreOthers(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 1, schemas.ProducerStateTopic)
	for producer, name := range map[string]string{"a": "token", "b": "token", "c": "window"} {
		lock, err := open(t, cluster, producer).Lock(t.Context(), name)
		require.NoError(t, err)
		defer lock.Unlock()
	}
}

// TestALockThatIsLostSaysSo: the brokers have thrown its holder out, as they do with one that is silent for too long.
func TestALockThatIsLostSaysSo(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 1, schemas.ProducerStateTopic)
	lock, err := open(t, cluster, "p").Lock(t.Context(), "l")
	require.NoError(t, err)
	admin := kadm.NewClient(pipelinetest.Client(t, cluster))
	groups, err := admin.ListGroups(t.Context())
	require.NoError(t, err)
	require.Contains(t, groups.Groups(), "revstream-lock.p/l")
	described, err := admin.DescribeGroups(t.Context(), "revstream-lock.p/l")
	require.NoError(t, err)
	members := described["revstream-lock.p/l"].Members
	require.Len(t, members, 1)
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group, req.MemberID = "revstream-lock.p/l", members[0].MemberID
	one := kmsg.NewLeaveGroupRequestMember()
	one.MemberID = members[0].MemberID
	req.Members = append(req.Members, one)
	_, err = req.RequestWith(t.Context(), pipelinetest.Client(t, cluster))
	require.NoError(t, err)

	<-lock.Context().Done()
	require.ErrorIs(t, context.Cause(lock.Context()), state.ErrLockLost)
	next, err := open(t, cluster, "p").Lock(t.Context(), "l")
	require.NoError(t, err)
	next.Unlock()
	lock.Unlock()
	lock.Unlock()
}

// TestWaitingForALockEndsWithItsContext, and does not disturb the holder.
func TestWaitingForALockEndsWithItsContext(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 1, schemas.ProducerStateTopic)
	lock, err := open(t, cluster, "p").Lock(t.Context(), "l")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	waiting, waiter := make(chan struct{}), open(t, cluster, "p")
	done := make(chan error)
	go func() {
		close(waiting)
		_, err := waiter.Lock(ctx, "l")
		done <- err
	}()
	<-waiting
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	require.NoError(t, lock.Context().Err())
	lock.Unlock()
}

// TestALockSurvivesACoordinatorThatMoves: errors of the group's requests that pass are waited out.
func TestALockSurvivesACoordinatorThatMoves(t *testing.T) {
	t.Parallel()
	pipelinetest.NeedKfake(t)
	cluster := pipelinetest.Kafka(t, 1, schemas.ProducerStateTopic)
	var beats atomic.Int32
	cluster.ControlKey(int16(kmsg.Heartbeat), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if n := beats.Add(1); n > 2 {
			return nil, nil, false
		}
		resp := kmsg.NewPtrHeartbeatResponse()
		resp.SetVersion(req.GetVersion())
		resp.ErrorCode = kerr.CoordinatorLoadInProgress.Code
		return resp, nil, true
	})
	lock, err := open(t, cluster, "p").Lock(t.Context(), "l")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return beats.Load() > 3 }, 30*time.Second, 10*time.Millisecond)
	require.NoError(t, lock.Context().Err())
	lock.Unlock()
}
