package pipelinetest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/deploy/embedded/clickhouse"
)

// startTimeout bounds the engine's start on a busy machine.
const startTimeout = 2 * time.Minute

// shared is the engine of a package's tests: one process, a database a test.
var shared engine

// ClickHouse returns the URL of an empty database of the package's engine,
// which is started by the first call. The package's TestMain must be Main.
func ClickHouse(t testing.TB) string {
	t.Helper()
	base, err := shared.start()
	require.NoError(t, err)
	database := fmt.Sprintf("test_%d", shared.databases.Add(1))
	SQL(t, base, "CREATE DATABASE "+database+" ENGINE = Atomic")
	return base + "/" + database
}

// SQL runs a statement over plain HTTP, without the driver that the code under
// test uses, and returns the answer as text: TSV if the statement asks for no
// other format.
func SQL(t testing.TB, url, statement string) string {
	t.Helper()
	base, database := url, "default"
	if at := strings.LastIndex(url, "/"); at > len("http://") {
		base, database = url[:at], url[at+1:]
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/?database="+database, strings.NewReader(statement))
	require.NoError(t, err)
	resp, err := plain.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode, "%s\n%s", statement, body)
	return strings.TrimSuffix(string(body), "\n")
}

// plain keeps no connection, which goleak would see.
var plain = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// engine is a ClickHouse process.
type engine struct {
	once      sync.Once
	base      string
	err       error
	dir       string
	process   *exec.Cmd
	exited    chan error // of process
	lifeline  *os.File   // the process ends when this does
	databases atomic.Int64
}

func (e *engine) start() (string, error) {
	e.once.Do(func() { e.base, e.err = e.boot() })
	return e.base, e.err
}

// boot builds the engine's program without the race detector, which the
// engine's library does not know, and starts it on a port that it chooses.
func (e *engine) boot() (string, error) {
	library, err := clickhouse.FindLibrary(".")
	if err != nil {
		return "", err
	}
	if e.dir, err = os.MkdirTemp("", "revstream-test-"); err != nil {
		return "", fmt.Errorf("making a folder for ClickHouse: %w", err)
	}
	program := filepath.Join(e.dir, "embedded")
	build := exec.Command("go", "build", "-o", program, "github.com/revstream/revstream/deploy/embedded/cmd/embedded")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the embedded ClickHouse: %w\n%s", err, out)
	}
	logPath := filepath.Join(e.dir, "log")
	log, err := os.Create(logPath)
	if err != nil {
		return "", fmt.Errorf("making ClickHouse's log: %w", err)
	}
	defer log.Close()
	stdin, lifeline, err := os.Pipe()
	if err != nil {
		return "", fmt.Errorf("making ClickHouse's lifeline: %w", err)
	}
	defer stdin.Close()
	e.lifeline = lifeline
	e.process = exec.Command(program, "clickhouse", "--addr=127.0.0.1:0", "--until-stdin-ends",
		"--data-dir="+filepath.Join(e.dir, "data"), "--chdb-lib="+library)
	e.process.Stdin, e.process.Stderr = stdin, log
	if err := e.process.Start(); err != nil {
		return "", fmt.Errorf("starting ClickHouse: %w", err)
	}
	e.exited = make(chan error, 1)
	go func() { e.exited <- e.process.Wait() }()
	return e.ready(logPath)
}

// ready waits until the process says where it listens, and answers there.
func (e *engine) ready(logPath string) (string, error) {
	late := time.After(startTimeout)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		text, err := os.ReadFile(logPath)
		if err != nil {
			return "", fmt.Errorf("reading ClickHouse's log: %w", err)
		}
		if addr := listening(text); addr != "" {
			return "http://" + addr, nil
		}
		select {
		case err := <-e.exited:
			e.exited <- err
			return "", fmt.Errorf("ClickHouse ended (%w):\n%s", err, text)
		case <-tick.C:
		case <-late:
			return "", fmt.Errorf("ClickHouse did not start in %s:\n%s", startTimeout, text)
		}
	}
}

// listening finds the address in the process's log.
func listening(log []byte) string {
	for lines := bufio.NewScanner(bytes.NewReader(log)); lines.Scan(); {
		var line struct{ Msg, Addr string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "listening" {
			return line.Addr
		}
	}
	return ""
}

func (e *engine) stop() error {
	if e.exited == nil {
		return os.RemoveAll(e.dir)
	}
	// The data goes with the folder, so there is nothing to flush.
	err := e.process.Process.Kill()
	<-e.exited //nolint:errcheck // "signal: killed" is what was asked for
	return errors.Join(err, e.lifeline.Close(), os.RemoveAll(e.dir))
}
