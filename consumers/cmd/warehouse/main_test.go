package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/pipeline/pipelinetest"
)

// TestMain is the program itself for a child that program starts.
func TestMain(m *testing.M) {
	if os.Getenv("REVSTREAM_TEST_PROGRAM") != "" {
		main()
		return
	}
	pipelinetest.Main(m)
}

// program runs the command line in a process of its own, on the database of a URL.
func program(t *testing.T, url string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	path, err := os.Executable()
	require.NoError(t, err)
	var out, failure bytes.Buffer
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = append(os.Environ(), "REVSTREAM_TEST_PROGRAM=1", "CLICKHOUSE_URL="+url)
	cmd.Stdout, cmd.Stderr = &out, &failure
	err = cmd.Run()
	if _, ended := errors.AsType[*exec.ExitError](err); !ended {
		require.NoError(t, err)
	}
	return out.String(), failure.String(), cmd.ProcessState.ExitCode()
}
