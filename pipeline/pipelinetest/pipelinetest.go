// Package pipelinetest is the test kit: a real Kafka protocol, a real schema registry and the real ClickHouse engine, for tests alone.
package pipelinetest

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/sr"
	"go.uber.org/goleak"

	"github.com/revstream/revstream/deploy/embedded/registry"
)

// Main runs a package's tests, stops what they share, and fails on goroutines
// that are left over. Call it from TestMain.
func Main(m *testing.M, ignore ...goleak.Option) {
	code := m.Run()
	if err := shared.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping ClickHouse:", err)
		code = 1
	}
	if code == 0 {
		if err := goleak.Find(ignore...); err != nil {
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

// Registry starts a schema registry in this process and returns its URL. With
// TEST_SCHEMA_REGISTRY_URL it takes the one there, and deletes all that earlier
// tests have left in it.
func Registry(t testing.TB) string {
	t.Helper()
	if url := os.Getenv("TEST_SCHEMA_REGISTRY_URL"); url != "" {
		t.Cleanup(http.DefaultClient.CloseIdleConnections)
		client, err := sr.NewClient(sr.URLs(url))
		require.NoError(t, err)
		subjects, err := client.Subjects(t.Context())
		require.NoError(t, err)
		for _, subject := range subjects {
			for _, how := range []sr.DeleteHow{sr.SoftDelete, sr.HardDelete} {
				_, err := client.DeleteSubject(t.Context(), subject, how)
				require.NoError(t, err)
			}
		}
		return url
	}
	reg, err := registry.New(registry.Config{}, Logger(t))
	require.NoError(t, err)
	server := httptest.NewServer(reg)
	t.Cleanup(server.Close)
	return server.URL
}
