package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/consumers/migrations"
	"github.com/revstream/revstream/consumers/report"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/pipeline/secret"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/alert"
	"github.com/revstream/revstream/schemas/wire"
)

var watchTasks = []string{"lag", "letters", "anomalies", "contracts", "reconciliation", "quality", "erasures", "metrics"}

// TestWatchDoesEverything once at its start, becomes ready, and stops in order. A second one leaves alone what the first has done.
func TestWatchDoesEverything(t *testing.T) {
	t.Parallel()
	catalogue, err := schemas.Topics()
	require.NoError(t, err)
	var names []string
	for _, topic := range catalogue {
		names = append(names, topic.Name)
	}
	url, cluster, registryURL := pipelinetest.ClickHouse(t), pipelinetest.Kafka(t, 1, names...), pipelinetest.Registry(t)
	_, err = migrations.Up(t.Context(), url)
	require.NoError(t, err)
	args := []string{"watch", "--http-addr", "127.0.0.1:0", "--kafka-brokers", strings.Join(cluster.ListenAddrs(), ","), "--schema-registry-url", registryURL}

	w := start(t, url, args...)
	w.until(func() bool {
		return strings.Contains(w.get("/metrics", 200), `revstream_watch_runs_total{outcome="failed",task="anomalies"} 1`)
	})
	w.until(func() bool { return strings.Contains(w.get("/readyz", 0), `"error":"anomalies unavailable since `) })
	registry, err := wire.NewRegistry(registryURL)
	require.NoError(t, err)
	_, err = registry.Register(t.Context(), schemas.AlertsTopic, schemas.MustAvro(alert.SchemaFile))
	require.NoError(t, err)
	for _, task := range watchTasks {
		w.until(func() bool {
			return strings.Contains(w.get("/metrics", 200), `revstream_watch_runs_total{outcome="succeeded",task="`+task+`"} 1`)
		})
	}
	w.until(func() bool { return strings.Contains(w.get("/readyz", 0), `"status":"healthy"`) })
	metrics := w.get("/metrics", 200)
	for _, name := range []string{"revstream_warehouse_rows{", "revstream_contract_last_check_timestamp_seconds{", "revstream_quality_last_timestamp_seconds", "revstream_anomalies_last_run_timestamp_seconds"} {
		require.Contains(t, metrics, name)
	}
	w.stop()

	w = start(t, url, args...)
	w.until(func() bool {
		return strings.Contains(w.get("/metrics", 200), `revstream_watch_last_success_timestamp_seconds{task="reconciliation"}`)
	})
	require.Contains(t, w.get("/metrics", 200), `revstream_watch_runs_total{outcome="succeeded",task="reconciliation"} 0`)
	w.stop()

	out, stderr, code := program(t, url, "report", "--json", "--days", "1")
	require.Zero(t, code, stderr)
	var rep report.Report
	require.NoError(t, json.Unmarshal([]byte(out), &rep))
	require.Empty(t, rep.Unread)
	file := filepath.Join(t.TempDir(), "report.html")
	out, stderr, code = program(t, url, "report", "--out", file)
	require.Zero(t, code, stderr)
	require.Contains(t, out, "critical: nothing has been exported\n")
	require.Contains(t, out, "wrote "+file)
	page, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Contains(t, string(page), "revstream, the last 7 days")

	w = start(t, url, "report", "--serve", "127.0.0.1:0")
	require.Equal(t, strings.Count(string(page), "<section"), strings.Count(w.get("/", 200), "<section"))
	w.get("/other", 404)
	w.stop()
}

// child is the program in a process of its own, which serves.
type child struct {
	t    *testing.T
	cmd  *exec.Cmd
	addr string
}

func start(t *testing.T, url string, args ...string) *child {
	t.Helper()
	path, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = append(os.Environ(), "REVSTREAM_TEST_PROGRAM=1", "CLICKHOUSE_URL="+url)
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(stderr)
	var all strings.Builder
	for lines.Scan() {
		all.WriteString(lines.Text() + "\n")
		var line struct {
			Msg  string `json:"msg"`
			Addr string `json:"http_addr"`
		}
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "started" {
			go func() { _, _ = io.Copy(io.Discard, stderr) }() // ends with the process
			return &child{t, cmd, line.Addr}
		}
	}
	require.Fail(t, "it did not start", all.String())
	return nil
}

func (c *child) get(path string, want int) string {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, "http://"+c.addr+path, nil)
	require.NoError(c.t, err)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	require.NoError(c.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(c.t, err)
	if want != 0 {
		require.Equal(c.t, want, resp.StatusCode, "%s", body)
	}
	return string(body)
}

func (c *child) until(condition func() bool) {
	c.t.Helper()
	if late := time.Now().Add(2 * time.Minute); !condition() {
		require.Eventually(c.t, condition, time.Until(late), 100*time.Millisecond, "%s", c.get("/health", 0))
	}
}

func (c *child) stop() {
	c.t.Helper()
	require.NoError(c.t, c.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(c.t, c.cmd.Wait())
}

// TestOnlyWhatStaysListens, on this machine alone unless it is told otherwise.
func TestOnlyWhatStaysListens(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"migrate": "", "watch --kafka-brokers=a:1": "127.0.0.1:8107", "watch --kafka-brokers=a:1 --http-addr=:9": ":9", "report": "",
		"report --serve=8108": "127.0.0.1:8108", "report --serve=:8108": "127.0.0.1:8108", "report --serve=0.0.0.0:8108": "0.0.0.0:8108", "report --serve=[::1]:8108": "[::1]:8108",
	} {
		var s settings
		parser, err := kong.New(&s, kong.Vars{"http_addr": "", "version": "1", "kafka_client_id": "warehouse"}, secret.KongOption())
		require.NoError(t, err)
		_, err = parser.Parse(strings.Fields(line))
		require.NoError(t, err, line)
		require.Equal(t, want, s.HTTPAddr, line)
	}
	_, err := address("here:there:8108")
	require.ErrorContains(t, err, "--serve wants a port")
}
