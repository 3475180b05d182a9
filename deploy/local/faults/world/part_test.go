package world

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// kept makes a part that runs a shell script, and keeps it alive until the test ends. Each of its lives writes a line.
func kept(t *testing.T, script string) (part *Part, lives func() int) {
	t.Helper()
	dir := t.TempDir()
	journal := filepath.Join(dir, "lives")
	part = &Part{
		Name: "part", args: []string{"/bin/sh", "-c", "echo life >> " + journal + "; " + script},
		env: os.Environ, log: filepath.Join(dir, "logs"), finite: true,
	}
	require.NoError(t, part.Start(t.Context()))
	ctx, letGo := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- part.keep(ctx) }()
	t.Cleanup(func() {
		letGo()
		require.NoError(t, <-ended)
		require.NoError(t, part.Stop(context.WithoutCancel(t.Context())))
	})
	return part, func() int {
		raw, _ := os.ReadFile(journal) // not there before the first line
		return strings.Count(string(raw), "\n")
	}
}

func TestAKilledPartComesBack(t *testing.T) {
	t.Parallel()
	part, lives := kept(t, "exec sleep 600")
	require.Eventually(t, func() bool { return lives() == 1 }, time.Minute, time.Millisecond)
	hit, err := part.Kill(t.Context(), time.Millisecond)
	require.NoError(t, err)
	require.True(t, hit)
	require.Eventually(t, func() bool { return lives() == 2 }, time.Minute, time.Millisecond)
	require.Empty(t, part.Crashes(), "a kill is no crash")
	require.Eventually(t, func() bool { return part.Peak() > 0 }, time.Minute, time.Millisecond)
	require.False(t, part.Done())
}

// TestAnEndThatNobodyAskedForIsACrash: and an end with exit code 0 is the end.
func TestAnEndThatNobodyAskedForIsACrash(t *testing.T) {
	t.Parallel()
	mark := filepath.Join(t.TempDir(), "mark")
	part, lives := kept(t, "[ -f "+mark+" ] || { touch "+mark+"; echo no luck >&2; exit 4; }")
	require.Eventually(t, part.Done, time.Minute, time.Millisecond)
	require.Len(t, part.Crashes(), 1)
	require.ErrorContains(t, part.Crashes()[0], "exit status 4: no luck")
	require.Equal(t, 2, lives())
	hit, err := part.Kill(t.Context(), 0)
	require.NoError(t, err)
	require.False(t, hit, "nothing is left to kill")
}

// TestAServiceThatEndsIsACrashWithAnyCode: a consumer that gives up politely has given up.
func TestAServiceThatEndsIsACrashWithAnyCode(t *testing.T) {
	t.Parallel()
	part := &Part{Name: "service", args: []string{"/bin/sh", "-c", "exit 0"}, env: os.Environ, log: t.TempDir()}
	require.NoError(t, part.Start(t.Context()))
	<-part.process.Exited()
	require.NoError(t, part.look(t.Context()))
	require.False(t, part.Done())
	require.ErrorContains(t, part.Crashes()[0], "service ended with exit code 0")
	require.NoError(t, part.Stop(t.Context()))
}
