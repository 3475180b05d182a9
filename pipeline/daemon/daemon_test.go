package daemon_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/revstream/revstream/pipeline/daemon"
	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/pipeline/secret"
)

// The tests run this binary again as the daemon: signals, exit codes and the environment are a process's.
func TestMain(m *testing.M) {
	if scenario := os.Getenv("REVSTREAM_TEST_DAEMON"); scenario != "" {
		runDaemon(scenario)
		return
	}
	goleak.VerifyTestMain(m)
}

func runDaemon(scenario string) {
	var settings struct {
		daemon.Config
		Brokers []string   `name:"kafka-brokers" env:"KAFKA_BROKERS" required:""`
		Key     secret.Ref `name:"api-key" env:"API_KEY" required:""`
	}
	daemon.Main("tester", "Tests.", &settings, scenarios[scenario], kong.Vars{"http_addr": "127.0.0.1:0"})
}

func say(line string) { _, _ = os.Stdout.WriteString(line + "\n") }

// component says when it stops, after the time that it takes.
func component(name string, takes time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		<-ctx.Done()
		<-time.After(takes)
		say("stopped " + name)
		return ctx.Err()
	}
}

var scenarios = map[string]func(context.Context, *daemon.Runtime) error{
	"serve": func(ctx context.Context, rt *daemon.Runtime) error {
		rt.Go("first", component("first", 0))
		rt.Defer("between", func(context.Context) error { say("stopped between"); return nil })
		rt.Go("second", component("second", 500*time.Millisecond))
		rt.Handle("POST /hook", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) }))
		down := os.Getenv("DOWN") != ""
		rt.Check("clari", func(context.Context) (map[string]any, error) {
			return map[string]any{"connected": true, "latency_ms": int64(12)}, nil
		})
		rt.Check("sink", func(context.Context) (map[string]any, error) {
			if down {
				return nil, errors.New("sink unavailable")
			}
			return nil, nil
		})
		rt.Check("slow", func(ctx context.Context) (map[string]any, error) {
			if !down {
				return nil, nil
			}
			<-ctx.Done()
			return nil, context.Cause(ctx)
		})
		rt.Logger.WarnContext(resilience.WithCorrelationID(ctx, "run-1"), "correlated")
		return nil
	},
	"once": func(context.Context, *daemon.Runtime) error { say("done"); return nil },
	"wrong": func(context.Context, *daemon.Runtime) error {
		return errors.Join(errors.New("A is wrong"), errors.New("B is wrong"))
	},
	"left": func(context.Context, *daemon.Runtime) error {
		return fmt.Errorf("draining: %w", &daemon.ExitError{Code: 4, Err: errors.New("some are left")})
	},
	"finish": func(_ context.Context, rt *daemon.Runtime) error {
		rt.Go("cycle", func(context.Context) error { say("cycled"); return nil })
		return nil
	},
	"fail": func(_ context.Context, rt *daemon.Runtime) error {
		rt.Go("steady", component("steady", 0))
		rt.Go("broken", func(context.Context) error { return errors.New("the disk is full") })
		return nil
	},
	"hang": func(_ context.Context, rt *daemon.Runtime) error {
		rt.Go("stuck", func(context.Context) error { select {} })
		return nil
	},
	"trace": traceARun,
	"block": func(ctx context.Context, rt *daemon.Runtime) error {
		rt.Logger.Info("working")
		<-ctx.Done()
		return ctx.Err()
	},
}

type process struct {
	cmd    *exec.Cmd
	stdout *bytes.Buffer
	stderr *bufio.Reader
}

func start(t *testing.T, scenario string, env ...string) *process {
	t.Helper()
	p := &process{cmd: exec.CommandContext(t.Context(), os.Args[0]), stdout: &bytes.Buffer{}}
	p.cmd.Env = append([]string{"REVSTREAM_TEST_DAEMON=" + scenario, "KAFKA_BROKERS=localhost:1", "API_KEY=hunter2"}, env...)
	p.cmd.Stdout = p.stdout
	pipe, err := p.cmd.StderrPipe()
	require.NoError(t, err)
	p.stderr = bufio.NewReader(pipe)
	require.NoError(t, p.cmd.Start())
	return p
}

// wait returns how the process has ended: its exit code, its output, and what it wrote to stderr since it was read.
func (p *process) wait(t *testing.T) (code int, stdout, stderr string) {
	t.Helper()
	rest, err := io.ReadAll(p.stderr)
	require.NoError(t, err)
	err = p.cmd.Wait()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	require.NotContains(t, string(rest), "hunter2")
	return p.cmd.ProcessState.ExitCode(), p.stdout.String(), string(rest)
}

// line reads stderr up to the JSON line with this message.
func (p *process) line(t *testing.T, msg string) map[string]any {
	t.Helper()
	for {
		raw, err := p.stderr.ReadBytes('\n')
		require.NoError(t, err, "the process ended without saying %q", msg)
		var line map[string]any
		require.NoError(t, json.Unmarshal(raw, &line), "%s", raw)
		if line["msg"] == msg {
			return line
		}
	}
}

func get(t *testing.T, addr any, path string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr.(string)+path, nil)
	require.NoError(t, err)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(body)
}

func TestServesAndStopsInOrder(t *testing.T) {
	t.Parallel()
	p := start(t, "serve")
	require.Equal(t, "run-1", p.line(t, "correlated")["correlation_id"])
	started := p.line(t, "started")
	require.Equal(t, "tester", started["service"])
	addr := started["http_addr"]

	code, _ := get(t, addr, "/healthz")
	require.Equal(t, 200, code)
	code, body := get(t, addr, "/health")
	require.Equal(t, 200, code)
	require.JSONEq(t, `{"status":"healthy","clari":{"status":"healthy","connected":true,"latency_ms":12},"sink":{"status":"healthy"},"slow":{"status":"healthy"}}`, body)
	code, body = get(t, addr, "/metrics")
	require.Equal(t, 200, code)
	for _, metric := range []string{`revstream_build_info{`, `revstream_check_healthy{check="sink"} 1`, "go_goroutines", "process_resident_memory_bytes"} {
		require.Contains(t, body, metric)
	}
	code, _ = get(t, addr, "/debug/pprof/")
	require.Equal(t, 404, code)

	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	// "second" takes half a second to stop: readiness is gone meanwhile, and the process still answers.
	require.Eventually(t, func() bool {
		ready, body := get(t, addr, "/readyz")
		return ready == 503 && strings.Contains(body, "stopping")
	}, 5*time.Second, time.Millisecond)
	code, _ = get(t, addr, "/healthz")
	require.Equal(t, 200, code)
	code, stdout, stderr := p.wait(t)
	require.Zero(t, code, stderr)
	require.Equal(t, "stopped second\nstopped between\nstopped first\n", stdout)
}

func TestReadinessTellsWhatIsDegraded(t *testing.T) {
	t.Parallel()
	p := start(t, "serve", "DOWN=1", "PPROF=true")
	addr := p.line(t, "started")["http_addr"]
	code, body := get(t, addr, "/readyz")
	require.Equal(t, 503, code)
	require.JSONEq(t, `{"status":"degraded","clari":{"status":"healthy","connected":true,"latency_ms":12},
		"sink":{"status":"degraded","error":"sink unavailable"},"slow":{"status":"degraded","error":"the check timed out"},
		"problems":["sink is degraded: sink unavailable","slow is degraded: the check timed out"]}`, body)
	code, _ = get(t, addr, "/healthz")
	require.Equal(t, 200, code, "a process that waits for its sink must not be restarted")
	code, body = get(t, addr, "/metrics")
	require.Equal(t, 200, code)
	require.Contains(t, body, `revstream_check_healthy{check="clari"} 1`)
	require.Contains(t, body, `revstream_check_healthy{check="sink"} 0`)
	code, _ = get(t, addr, "/debug/pprof/")
	require.Equal(t, 200, code)
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGINT))
	code, _, _ = p.wait(t)
	require.Zero(t, code)
}

func TestHowAProcessEnds(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		scenario       string
		env            []string
		code           int
		stdout, stderr string
	}{
		{"once", nil, 0, "done\n", ""},
		{"finish", nil, 0, "cycled\n", ""},
		{"wrong", nil, 1, "", "tester: A is wrong; B is wrong\n"},
		{"left", nil, 4, "", "tester: draining: some are left\n"},
		{"fail", nil, 1, "stopped steady\n", `"component":"broken","error":"the disk is full"`},
		{"once", []string{"KAFKA_BROKERS=a", "LOG_LEVEL=loud"}, 1, "", "LOG_LEVEL"},
		{"once", []string{"SHUTDOWN_TIMEOUT=soon"}, 1, "", "SHUTDOWN_TIMEOUT"},
		{"once", []string{"API_KEY=", "API_KEY_FILE=/no/such/file"}, 1, "", "API_KEY_FILE: open /no/such/file"},
		{"once", []string{"HTTP_ADDR=nonsense"}, 1, "", "tester: HTTP_ADDR (--http-addr): "},
	} {
		t.Run(test.scenario+strings.Join(test.env, ","), func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := start(t, test.scenario, test.env...).wait(t)
			require.Equal(t, test.code, code, stderr)
			require.Equal(t, test.stdout, stdout)
			require.Contains(t, stderr, test.stderr)
			if !strings.Contains(stderr, `"msg"`) && test.code != 0 {
				require.Equal(t, 1, strings.Count(stderr, "\n"), "one line: %s", stderr)
			}
		})
	}
}

func TestMissingSettingsAreNamedTogether(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = []string{"REVSTREAM_TEST_DAEMON=once"}
	out, err := cmd.CombinedOutput()
	require.ErrorContains(t, err, "exit status 1")
	require.Equal(t, "tester: KAFKA_BROKERS is required (or --kafka-brokers); API_KEY is required (or API_KEY_FILE or --api-key)\n", string(out))
}

func TestHelpAndVersionNeedNoSettings(t *testing.T) {
	t.Parallel()
	for flag, want := range map[string]string{"--help": "$KAFKA_BROKERS", "--version": "tester "} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], flag)
		cmd.Env = []string{"REVSTREAM_TEST_DAEMON=once"}
		out, err := cmd.Output()
		require.NoError(t, err)
		require.Contains(t, string(out), want)
	}
}

func TestPortInUseIsNamed(t *testing.T) {
	t.Parallel()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	code, _, stderr := start(t, "serve", "HTTP_ADDR=127.0.0.1:"+port).wait(t)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "port "+port+" is in use")
	require.Contains(t, stderr, "HTTP_ADDR or --http-addr")
}

func TestStuckComponentIsLeftAtTheDeadline(t *testing.T) {
	t.Parallel()
	p := start(t, "hang", "SHUTDOWN_TIMEOUT=50ms")
	p.line(t, "started")
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	code, _, stderr := p.wait(t)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, `"component":"stuck","error":"did not stop within SHUTDOWN_TIMEOUT`)
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	p := start(t, "hang", "SHUTDOWN_TIMEOUT=1h")
	addr := p.line(t, "started")["http_addr"]
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	require.Eventually(t, func() bool { ready, _ := get(t, addr, "/readyz"); return ready == 503 }, 5*time.Second, time.Millisecond)
	// The handler goes just after the context ends: signal until it has.
	require.Eventually(t, func() bool {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		code, _ := get(t, addr, "/healthz")
		return code == 0
	}, 5*time.Second, 10*time.Millisecond)
	_, _, _ = p.wait(t)
	require.Equal(t, syscall.SIGTERM, p.cmd.ProcessState.Sys().(syscall.WaitStatus).Signal())
}

func TestInterruptedWorkIsNoSuccess(t *testing.T) {
	t.Parallel()
	p := start(t, "block")
	p.line(t, "working")
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGINT))
	code, _, stderr := p.wait(t)
	require.Equal(t, 1, code)
	require.Equal(t, "tester: interrupted\n", stderr)
}
