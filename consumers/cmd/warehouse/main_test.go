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

// TestAServerThatIsNotThereIsNamed: at once, by its setting, and without what is in it.
func TestAServerThatIsNotThereIsNamed(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"contract", "check"}, {"analyze"}, {"anomalies", "list"}, {"retention"}, {"report", "--json"},
		{"reconcile", "--kafka-brokers=127.0.0.1:1"}, {"erase", "--person=salesloft:1", "--kafka-brokers=127.0.0.1:1"},
	} {
		_, stderr, code := program(t, "http://finance:hunter2@127.0.0.1:1/revenue", args...)
		require.Equal(t, 1, code, args)
		require.Contains(t, stderr, "CLICKHOUSE_URL (--clickhouse-url): reaching ClickHouse", args)
		require.NotContains(t, stderr, "hunter2", args)
		require.NotContains(t, stderr, "finance", args)
	}
	_, stderr, code := program(t, pipelinetest.ClickHouse(t), "reconcile", "--kafka-brokers=127.0.0.1:1")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "KAFKA_BROKERS (--kafka-brokers): reaching 127.0.0.1:1")
	_, stderr, code = program(t, "", "contract", "check")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "CLICKHOUSE_URL is required")
}
