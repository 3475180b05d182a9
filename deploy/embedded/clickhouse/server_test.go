package clickhouse_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/revstream/revstream/deploy/embedded/clickhouse"
)

// The engine runs in a process of its own, as it does for everyone: a C++ library does not belong under the race detector,
// and a process can be killed.

var (
	binary string
	shared *process
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "embedded-clickhouse-")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // a temporary folder
	binary = filepath.Join(dir, "embedded")
	build := exec.Command("go", "build", "-o", binary, "../cmd/embedded")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "building cmd/embedded:", err)
		return 1
	}
	if shared, err = startProcess(filepath.Join(dir, "data")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := shared.stop(os.Interrupt); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	http.DefaultClient.CloseIdleConnections()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	return code
}

// process is one "embedded clickhouse".
type process struct {
	addr   string
	cmd    *exec.Cmd
	stdin  io.Closer // ends the process, and so does the end of this one
	exited chan error
}

func startProcess(dataDir string) (*process, error) {
	library, err := clickhouse.FindLibrary(".")
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(binary, "--until-stdin-ends", "clickhouse", "--addr=127.0.0.1:0", "--data-dir="+dataDir, "--chdb-lib="+library)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, stdin: stdin, exited: make(chan error, 1)}
	listening := make(chan string, 1)
	go func() {
		var log strings.Builder
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			var line struct{ Msg, Addr string }
			fmt.Fprintln(&log, lines.Text())
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "listening" {
				listening <- line.Addr
			}
		}
		close(listening)
		err := cmd.Wait()
		if err != nil {
			err = fmt.Errorf("embedded clickhouse: %w\n%s", err, log.String())
		}
		p.exited <- err
	}()
	addr, ok := <-listening
	if !ok {
		return nil, <-p.exited
	}
	p.addr = addr
	return p, nil
}

func (p *process) stop(signal os.Signal) error {
	if err := p.cmd.Process.Signal(signal); err != nil {
		return err
	}
	return <-p.exited
}

func start(t *testing.T, dataDir string) *process {
	t.Helper()
	p, err := startProcess(dataDir)
	require.NoError(t, err)
	return p
}

// open connects clickhouse-go over HTTP; change may alter the options.
func open(t *testing.T, p *process, change func(*driver.Options)) driver.Conn {
	t.Helper()
	options := &driver.Options{
		Protocol: driver.HTTP,
		Addr:     []string{p.addr},
		Auth:     driver.Auth{Database: "default", Username: "default", Password: "any"},
	}
	if change != nil {
		change(options)
	}
	conn, err := driver.Open(options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return conn
}

// database makes a database of the test's own and connects to it.
func database(t *testing.T, name string, change func(*driver.Options)) driver.Conn {
	t.Helper()
	require.NoError(t, open(t, shared, nil).Exec(t.Context(), "CREATE DATABASE "+name))
	return open(t, shared, func(o *driver.Options) {
		o.Auth.Database = name
		if change != nil {
			change(o)
		}
	})
}

// answer is one HTTP exchange as curl would make it.
type answer struct {
	status int
	header http.Header
	body   string
}

func post(t *testing.T, query url.Values, body string) answer {
	t.Helper()
	return do(t, http.MethodPost, "/?"+query.Encode(), strings.NewReader(body), nil)
}

func do(t *testing.T, method, path string, body io.Reader, header http.Header) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, "http://"+shared.addr+path, body)
	require.NoError(t, err)
	request.Header.Set("Accept-Encoding", "identity")
	maps.Copy(request.Header, header)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return answer{response.StatusCode, response.Header, string(text)}
}
