package ports

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	childFrom = "PORTS_TEST_FROM" // for a child process: the place it begins at
	given     = 50                // ports to each process
)

// TestTwoProcessesAreGivenDifferentPorts, although nobody listens on them yet and both look at the same places at one
// time. Each gets what it was told is free.
func TestTwoProcessesAreGivenDifferentPorts(t *testing.T) {
	t.Parallel()
	if from := os.Getenv(childFrom); from != "" {
		child(t, from)
		return
	}
	file, err := claims()
	require.NoError(t, err)
	from := last.Load()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", childFrom, from))
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())

	owner := make(map[string]string)
	lines := bufio.NewScanner(stdout)
	for range given {
		addr, err := Free(t.Context())
		require.NoError(t, err)
		require.Empty(t, owner[addr])
		owner[addr] = "ours"
		require.True(t, lines.Scan(), "the other process ended")
		require.Empty(t, owner[lines.Text()])
		owner[lines.Text()] = "the other's"
	}
	var port int64
	for addr, whose := range owner {
		if whose != "ours" {
			_, text, err := net.SplitHostPort(addr)
			require.NoError(t, err)
			port, err = strconv.ParseInt(text, 10, 32)
			require.NoError(t, err)
			require.ErrorContains(t, claim(file, port), "another process's")
		}
	}
	require.NoError(t, stdin.Close())
	_, err = io.Copy(io.Discard, stdout)
	require.NoError(t, err)
	require.NoError(t, cmd.Wait())
	require.NoError(t, claim(file, port), "what a process had is free when it has ended")
}

// child is the other process. It keeps its ports until its input ends.
func child(t *testing.T, from string) {
	t.Helper()
	start, err := strconv.ParseUint(from, 10, 32)
	require.NoError(t, err)
	last.Store(uint32(start))
	for range given {
		addr, err := Free(t.Context())
		require.NoError(t, err)
		_, err = fmt.Fprintln(os.Stdout, addr)
		require.NoError(t, err)
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	require.NoError(t, err)
}

// TestAPortThatWasTriedIsFreeAtOnce although children are forked all the while: one that holds the socket until it is
// another program would keep it busy.
func TestAPortThatWasTriedIsFreeAtOnce(t *testing.T) {
	t.Parallel()
	if os.Getenv(childFrom) != "" {
		return
	}
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			default:
				_ = exec.CommandContext(t.Context(), "true").Run() // that it was forked is what counts
			}
		}
	}()
	for range 2000 {
		addr, err := Free(t.Context())
		require.NoError(t, err)
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", addr)
		require.NoError(t, err)
		require.NoError(t, l.Close())
	}
	close(stop)
	<-ended
}
