package state_test

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/pipeline/snapshot"
	"github.com/revstream/revstream/producers/state"
	"github.com/revstream/revstream/schemas"
)

func TestMain(m *testing.M) { pipelinetest.Main(m) }

type cursor struct{ At, Token string }

func open(t *testing.T, cluster *pipelinetest.Cluster, producer string) *state.Store {
	t.Helper()
	s, err := state.Open(t.Context(), pipelinetest.Client(t, cluster), producer)
	require.NoError(t, err)
	return s
}

func TestStateMovesBetweenProcesses(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 1, schemas.ProducerStateTopic)
	first := open(t, cluster, "people-producer")
	var got cursor
	found, err := first.Load("cursor", &got)
	require.NoError(t, err)
	require.False(t, found)
	for _, at := range []string{"1", "2"} {
		require.NoError(t, first.Save(t.Context(), "cursor", cursor{At: at}))
		found, err = first.Load("cursor", &got)
		require.NoError(t, err)
		require.True(t, found)
		require.Equal(t, cursor{At: at}, got)
	}
	require.NoError(t, first.Save(t.Context(), "window", cursor{At: "9"}))

	second := open(t, cluster, "people-producer")
	found, err = second.Load("cursor", &got)
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, cursor{At: "2"}, got)
	require.NoError(t, second.Save(t.Context(), "cursor", nil))
	for _, s := range []*state.Store{second, open(t, cluster, "people-producer")} {
		found, err = s.Load("cursor", &got)
		require.NoError(t, err)
		require.False(t, found)
		found, err = s.Load("window", &got)
		require.NoError(t, err)
		require.True(t, found)
	}
	found, err = open(t, cluster, "forecast-producer").Load("window", &got)
	require.NoError(t, err)
	require.False(t, found, "each producer has its own")
	records := pipelinetest.ReadAll(t, cluster, schemas.ProducerStateTopic)
	require.Equal(t, "people-producer/cursor", string(records[0].Key))
	require.Nil(t, records[len(records)-1].Value, "deleted as compaction understands it")
}

// TestMemoryAgreesWithTheTopic: whichever of concurrent saves is last on the topic is what this process sees too.
func TestMemoryAgreesWithTheTopic(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 1, schemas.ProducerStateTopic)
	s := open(t, cluster, "p")
	var wg sync.WaitGroup
	for n := range 20 {
		wg.Go(func() { require.NoError(t, s.Save(t.Context(), "n", n)) })
	}
	wg.Wait()
	var here, there int
	_, err := s.Load("n", &here)
	require.NoError(t, err)
	_, err = open(t, cluster, "p").Load("n", &there)
	require.NoError(t, err)
	require.Equal(t, there, here)
}

func TestErrorsHoldNoValue(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 1, schemas.ProducerStateTopic)
	s := open(t, cluster, "p")
	require.NoError(t, s.Save(t.Context(), "token", cursor{Token: "s3cr3t"}))
	var wrong struct{ Token int }
	_, err := s.Load("token", &wrong)
	require.ErrorContains(t, err, "p/token")
	require.NotContains(t, err.Error(), "s3cr3t")
	require.ErrorContains(t, s.Save(t.Context(), "token", func() {}), "p/token")
}

func TestSaveEndsWithItsContext(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 1, schemas.ProducerStateTopic)
	s := open(t, cluster, "p")
	ctx, cancel := context.WithCancel(t.Context())
	answer := make(chan struct{})
	cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		cancel() // with the record on its way
		cluster.SleepControl(func() { <-answer })
		return nil, nil, false
	})
	require.ErrorIs(t, s.Save(ctx, "n", 1), context.Canceled)
	close(answer)
	var n int
	found, err := s.Load("n", &n)
	require.NoError(t, err)
	require.False(t, found, "what is not acknowledged does not count")
}

func TestMissingTopicIsNamed(t *testing.T) {
	t.Parallel()
	_, err := state.Open(t.Context(), pipelinetest.Client(t, pipelinetest.Kafka(t, 1, "another")), "p")
	require.ErrorIs(t, err, snapshot.ErrNoTopic)
	require.ErrorContains(t, err, schemas.ProducerStateTopic)
}

func TestSyncTakesInWhatOthersHaveSaved(t *testing.T) {
	t.Parallel()
	cluster := pipelinetest.Kafka(t, 1, schemas.ProducerStateTopic)
	first, second := open(t, cluster, "p"), open(t, cluster, "p")
	require.NoError(t, first.Save(t.Context(), "n", 1))
	require.NoError(t, first.Save(t.Context(), "gone", 1))
	require.NoError(t, second.Sync(t.Context()))
	require.NoError(t, first.Save(t.Context(), "gone", nil))
	require.NoError(t, second.Sync(t.Context()))
	var n int
	found, err := second.Load("n", &n)
	require.NoError(t, err)
	require.True(t, found)
	found, err = second.Load("gone", &n)
	require.NoError(t, err)
	require.False(t, found)
}
