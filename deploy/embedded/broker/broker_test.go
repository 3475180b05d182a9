package broker_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/revstream/revstream/deploy/embedded/broker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, cfg broker.Config) *broker.Broker {
	t.Helper()
	running, err := broker.Start(t.Context(), cfg, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	return running
}

func client(t *testing.T, b *broker.Broker, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	made, err := kgo.NewClient(append(opts, kgo.SeedBrokers(b.Addr()))...)
	require.NoError(t, err)
	t.Cleanup(made.Close)
	return made
}

func TestRestart(t *testing.T) {
	t.Parallel()
	const records = 200
	cfg := broker.Config{Addr: "127.0.0.1:0", DataDir: t.TempDir(), Partitions: 3}
	running := start(t, cfg)
	producer := client(t, running, kgo.DefaultProduceTopic("t"))
	compact := "compact"
	_, err := kadm.NewClient(producer).CreateTopic(t.Context(), -1, -1, map[string]*string{"cleanup.policy": &compact}, "t")
	require.NoError(t, err)
	for n := range records {
		require.NoError(t, producer.ProduceSync(t.Context(), &kgo.Record{Key: fmt.Append(nil, n), Value: []byte("v")}).FirstErr())
	}
	consumer := client(t, running, kgo.ConsumerGroup("g"), kgo.ConsumeTopics("t"), kgo.DisableAutoCommit())
	first := poll(t, consumer, records/2)
	require.NoError(t, consumer.CommitRecords(t.Context(), first...))
	producer.Close()
	consumer.Close()
	require.NoError(t, running.Close())

	running = start(t, cfg)
	admin := kadm.NewClient(client(t, running))
	topics, err := admin.ListTopics(t.Context())
	require.NoError(t, err)
	require.Len(t, topics["t"].Partitions, 3)
	configs, err := admin.DescribeTopicConfigs(t.Context(), "t")
	require.NoError(t, err)
	settings := map[string]string{}
	for _, config := range configs[0].Configs {
		settings[config.Key] = config.MaybeValue()
	}
	require.Equal(t, compact, settings["cleanup.policy"])
	// The group goes on behind what it committed: each record once.
	consumer = client(t, running, kgo.ConsumerGroup("g"), kgo.ConsumeTopics("t"))
	seen := map[string]bool{}
	for _, r := range append(first, poll(t, consumer, records/2)...) {
		require.False(t, seen[string(r.Key)])
		seen[string(r.Key)] = true
	}
	require.Len(t, seen, records)
	consumer.Close()
	require.NoError(t, running.Close())
}

func poll(t *testing.T, consumer *kgo.Client, want int) []*kgo.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var got []*kgo.Record
	for len(got) < want {
		fetches := consumer.PollRecords(ctx, want-len(got))
		require.NoError(t, fetches.Err0())
		got = append(got, fetches.Records()...)
	}
	return got
}

func TestNoTopicComesByItself(t *testing.T) {
	t.Parallel()
	running := start(t, broker.Config{Addr: "127.0.0.1:0", DataDir: t.TempDir()})
	producer := client(t, running, kgo.AllowAutoTopicCreation(), kgo.UnknownTopicRetries(1))
	err := producer.ProduceSync(t.Context(), &kgo.Record{Topic: "nope", Value: []byte("v")}).FirstErr()
	require.ErrorIs(t, err, kerr.UnknownTopicOrPartition)
	producer.Close()
	require.NoError(t, running.Close())
}

func TestCompaction(t *testing.T) {
	t.Parallel()
	running := start(t, broker.Config{Addr: "127.0.0.1:0", DataDir: t.TempDir()})
	producer := client(t, running, kgo.DefaultProduceTopic("t"))
	compact, small := "compact", "100"
	_, err := kadm.NewClient(producer).CreateTopic(t.Context(), 1, 1,
		map[string]*string{"cleanup.policy": &compact, "segment.bytes": &small, "min.cleanable.dirty.ratio": new("0")}, "t")
	require.NoError(t, err)
	for n := range 20 {
		require.NoError(t, producer.ProduceSync(t.Context(), &kgo.Record{Key: []byte("k"), Value: fmt.Append(nil, n)}).FirstErr())
	}
	running.Cluster.Compact()
	consumer := client(t, running, kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	var got []*kgo.Record
	for len(got) == 0 || got[len(got)-1].Offset < 19 {
		got = append(got, poll(t, consumer, 1)...)
	}
	require.Less(t, len(got), 20)
	require.Equal(t, "19", string(got[len(got)-1].Value))
	consumer.Close()
	producer.Close()
	require.NoError(t, running.Close())
}

func TestTransactions(t *testing.T) {
	t.Parallel()
	running := start(t, broker.Config{Addr: "127.0.0.1:0", DataDir: t.TempDir()})
	producer := client(t, running, kgo.DefaultProduceTopic("t"), kgo.TransactionalID("tx"))
	_, err := kadm.NewClient(client(t, running)).CreateTopic(t.Context(), 1, 1, nil, "t")
	require.NoError(t, err)
	for n, commit := range []kgo.TransactionEndTry{kgo.TryAbort, kgo.TryCommit} {
		require.NoError(t, producer.BeginTransaction())
		require.NoError(t, producer.ProduceSync(t.Context(), &kgo.Record{Value: fmt.Append(nil, n)}).FirstErr())
		require.NoError(t, producer.EndTransaction(t.Context(), commit))
	}
	consumer := client(t, running, kgo.ConsumeTopics("t"), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	require.Equal(t, "1", string(poll(t, consumer, 1)[0].Value))
	consumer.Close()
	producer.Close()
	require.NoError(t, running.Close())
}

func TestConfiguration(t *testing.T) {
	t.Parallel()
	_, err := broker.Start(t.Context(), broker.Config{Addr: "nowhere", Partitions: -1}, slog.New(slog.DiscardHandler))
	for _, field := range []string{"Addr", "DataDir", "Partitions"} {
		require.ErrorContains(t, err, field)
	}
}

func TestOneProcessOnADataFolder(t *testing.T) {
	t.Parallel()
	cfg := broker.Config{Addr: "127.0.0.1:0", DataDir: t.TempDir()}
	running := start(t, cfg)
	_, err := broker.Start(t.Context(), cfg, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "another process uses it")
	require.NoError(t, running.Close())
	require.NoError(t, start(t, cfg).Close())
}
