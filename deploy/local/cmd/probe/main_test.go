package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestProbe(t *testing.T) {
	t.Parallel()
	ready := http.NewServeMux()
	ready.HandleFunc("/readyz", func(http.ResponseWriter, *http.Request) {})
	ready.HandleFunc("/degraded", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "kafka is away", http.StatusServiceUnavailable)
	})
	server := httptest.NewServer(ready)
	t.Cleanup(server.Close)

	require.NoError(t, run(t.Context(), []string{server.URL + "/readyz"}, io.Discard))
	require.ErrorContains(t, run(t.Context(), []string{server.URL + "/degraded"}, io.Discard), "kafka is away")
	require.ErrorContains(t, run(t.Context(), nil, io.Discard), "want one argument")
	http.DefaultClient.CloseIdleConnections()
	server.Close()
	require.Error(t, run(t.Context(), []string{server.URL + "/readyz"}, io.Discard), "nobody listens")
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, flag := range []string{"--help", "-h"} {
		var stdout bytes.Buffer
		require.NoError(t, run(t.Context(), []string{flag}, &stdout))
		require.Contains(t, stdout.String(), "Usage: probe URL")
	}
}
