package kafka_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/revstream/revstream/deploy/local/kafka"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lib has the jars where `make kafka` has been run.
var lib = filepath.Join("..", "..", "..", "build", "kafka", "lib")

// TestAKilledNodeLosesNothing: what was acknowledged is there while the active controller is
// away, and when it is back.
func TestAKilledNodeLosesNothing(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat(lib); err != nil {
		t.Skip("Apache Kafka is not here; `make kafka` fetches it")
	}
	cluster, err := kafka.New(t.Context(), kafka.Config{Dir: t.TempDir(), Lib: lib})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		require.NoError(t, cluster.Stop(ctx))
	})
	require.NoError(t, cluster.Start(t.Context()))
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.Addrs(kafka.Client)...), kgo.DefaultProduceTopic("events"))
	require.NoError(t, err)
	t.Cleanup(client.Close)
	admin := kadm.NewClient(client)
	_, err = admin.CreateTopic(t.Context(), 3, 3, nil, "events")
	require.NoError(t, err)

	produce := func() {
		for range 100 {
			require.NoError(t, client.ProduceSync(t.Context(), kgo.StringRecord("value")).FirstErr())
		}
	}
	produce()
	victim, err := kafka.Controller(t.Context(), client)
	require.NoError(t, err)
	require.NoError(t, cluster.Process(victim).Kill())
	produce()
	require.NoError(t, cluster.StartNode(t.Context(), victim))
	produce()
	ends, err := admin.ListEndOffsets(t.Context(), "events")
	require.NoError(t, err)
	require.NoError(t, ends.Error())
	var records int64
	ends.Each(func(o kadm.ListedOffset) { records += o.Offset })
	require.EqualValues(t, 300, records)
}

func TestMissingJarsAreNamedWithTheWayOut(t *testing.T) {
	t.Parallel()
	_, err := kafka.New(t.Context(), kafka.Config{Dir: t.TempDir(), Lib: t.TempDir()})
	require.ErrorContains(t, err, "`make kafka` fetches them")
}
