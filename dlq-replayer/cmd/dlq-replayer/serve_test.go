package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestServeWantsASignInAndListensOnThisMachine, and asks the other commands for nothing.
func TestServe(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for want, args := range map[string][]string{
		"nobody could sign in":     {"serve", "--addr=127.0.0.1:0"},
		"not the loopback address": {"serve", "--addr=0.0.0.0:0", "--operator-token=0123456789abcdef"},
		"less than 16 characters":  {"serve", "--addr=127.0.0.1:0", "--operator-token=short"},
	} {
		p := b.start(t, args...)
		require.Equal(t, 1, p.code())
		require.Contains(t, p.stderr.String(), want)
	}

	p := b.start(t, "serve", "--addr=127.0.0.1:0", "--operator-token=0123456789abcdef")
	addr := ""
	require.Eventually(t, func() bool {
		for line := range strings.Lines(p.stderr.String()) {
			var open struct{ Msg, Addr string }
			if json.Unmarshal([]byte(line), &open) == nil && open.Msg == "the desk is open" {
				addr = open.Addr
			}
		}
		return addr != ""
	}, 30*time.Second, 20*time.Millisecond, "%s", p.stderr.String())
	require.True(t, strings.HasPrefix(addr, "127.0.0.1:"), addr)
	plain := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for path, want := range map[string]int{"/sign-in": http.StatusOK, "/api/letters": http.StatusUnauthorized} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+path, nil)
		require.NoError(t, err)
		resp, err := plain.Do(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, want, resp.StatusCode, path)
	}
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	require.Zero(t, p.code(), p.stderr.String())
	require.NotContains(t, p.stderr.String(), "0123456789abcdef")
}
