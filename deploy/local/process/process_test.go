package process_test

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/revstream/revstream/deploy/local/process"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, script string) *process.Process {
	t.Helper()
	p, err := process.Start(process.Spec{Name: "child", Args: []string{"/bin/sh", "-c", script}, Env: os.Environ(), Log: filepath.Join(t.TempDir(), "logs", "child.log")})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Kill()) })
	return p
}

func TestAnEndIsToldWithTheLastLine(t *testing.T) {
	t.Parallel()
	p := start(t, "echo first; echo no such broker >&2; exit 3")
	require.ErrorContains(t, p.Err(), "child ended: exit status 3: no such broker")
	require.NoError(t, p.Signal(syscall.SIGTERM), "one that has ended needs no signal")
	require.NoError(t, start(t, "exit 0").Err())
}

func TestStopKillsWhatDoesNotStop(t *testing.T) {
	t.Parallel()
	deaf := filepath.Join(t.TempDir(), "deaf")
	p := start(t, `trap "" TERM; touch `+deaf+`; while :; do sleep 1; done`)
	require.Eventually(t, func() bool { _, err := os.Stat(deaf); return err == nil }, time.Minute, 5*time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorContains(t, p.Stop(ctx), "child did not stop in time and was killed")
	require.NoError(t, start(t, "exec sleep 600").Stop(t.Context()))
}
