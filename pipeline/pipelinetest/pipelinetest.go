// Package pipelinetest is the test kit: a real Kafka protocol, a real schema registry and the real ClickHouse engine, for tests alone.
package pipelinetest

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/revstream/revstream/deploy/embedded/registry"
	"github.com/revstream/revstream/pipeline/snapshot"
)

// Main runs a package's tests, stops what they share, and fails on goroutines
// that are left over. Call it from TestMain.
func Main(m *testing.M) {
	code := m.Run()
	if err := shared.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping ClickHouse:", err)
		code = 1
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// Logger writes to the test's log.
func Logger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(line []byte) (int, error) {
	w.t.Helper()
	w.t.Log(string(bytes.TrimSpace(line)))
	return len(line), nil
}

// Kafka starts a broker in this process with topics of the given number of
// partitions, and returns kfake's handle for faults.
func Kafka(t testing.TB, partitions int32, topics ...string) *kfake.Cluster {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, topics...))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	return cluster
}

// Client returns a client of a cluster that is closed with the test.
func Client(t testing.TB, cluster *kfake.Cluster, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(cluster.ListenAddrs()...)}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

// ReadAll returns the committed records of a topic up to its present end,
// partition by partition and each in order.
func ReadAll(t testing.TB, cluster *kfake.Cluster, topic string) []*kgo.Record {
	t.Helper()
	var records []*kgo.Record
	require.NoError(t, snapshot.Read(t.Context(), Client(t, cluster), topic, func(rec *kgo.Record) error {
		records = append(records, rec)
		return nil
	}))
	return records
}

// Registry starts a schema registry in this process and returns its URL.
func Registry(t testing.TB) string {
	t.Helper()
	reg, err := registry.New(registry.Config{}, Logger(t))
	require.NoError(t, err)
	server := httptest.NewServer(reg)
	t.Cleanup(server.Close)
	return server.URL
}
