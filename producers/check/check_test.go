package check

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/pipeline/daemon"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/pipeline/secret"
)

func TestMain(m *testing.M) { pipelinetest.Main(m) }

// lines is what a person reads.
func lines(t *testing.T, report Report) string {
	t.Helper()
	var out bytes.Buffer
	_ = (&Command{}).Print(&out, report) // the error says that a check failed, which the lines say too
	return out.String()
}

func as(status Status) func(context.Context) Result {
	return func(context.Context) Result { return result(status, "%s", []any{"because"}) }
}

func TestEverythingIsTriedAndWhatCannotBeIsSkipped(t *testing.T) {
	t.Parallel()
	report := Run(t.Context(),
		[]Check{{Name: "a", Run: as(Fail)}, {Name: "b", Run: as(Warn)}},
		[]Check{{Name: "c", Needs: []string{"a"}, Run: as(Pass)}, {Name: "d", Needs: []string{"c"}, Run: as(Pass)}, {Name: "e", Needs: []string{"b"}, Run: as(Pass)}},
		[]Check{{Name: "f", Run: as(Fail)}, {Name: "g", Run: as(Pass)}},
	)
	require.Equal(t, "[FAIL] a: because\n[WARN] b: because\n[SKIP] c: needs a\n[SKIP] d: needs c\n[PASS] e: because\n[FAIL] f: because\n[PASS] g: because\n",
		lines(t, report))
	require.Equal(t, 2, report.Failed())
	require.Equal(t, Fail, report.Status)
	require.ErrorContains(t, (&Command{}).Print(&bytes.Buffer{}, report), "2 of 7 checks failed")
}

// TestNothingTakesForever: each check of a source that hangs ends by itself, and all of them within the half minute.
func TestNothingTakesForever(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hang := func(ctx context.Context) Result {
			<-ctx.Done()
			return failed("wait", "%v", ctx.Err())
		}
		var slow []Check
		for _, name := range []string{"1", "2", "3", "4", "5", "6"} {
			slow = append(slow, Check{Name: name, Run: hang})
		}
		start := time.Now()
		report := Run(t.Context(), nil, slow, []Check{{Name: "quick", Run: as(Pass)}})
		require.LessOrEqual(t, time.Since(start), 30*time.Second)
		require.Equal(t, 6, report.Failed())
		require.Contains(t, lines(t, report), "[FAIL] 3: context deadline exceeded")
		require.Contains(t, lines(t, report), "[FAIL] 6: NOT TRIED")
		require.Contains(t, lines(t, report), "[PASS] quick")
	})
}

type program struct {
	daemon.Config
	Key      secret.Ref    `name:"key" env:"CHECK_TEST_KEY" required:""`
	Brokers  []string      `name:"brokers" env:"CHECK_TEST_BROKERS" required:""`
	Interval time.Duration `name:"interval" env:"CHECK_TEST_INTERVAL" default:"1m"`
	Scheme   string        `name:"scheme" env:"CHECK_TEST_SCHEME" enum:"a,b" default:"a"`

	Run   struct{}     `cmd:"" default:"1"`
	Check checkCommand `cmd:""`
}

type checkCommand struct {
	Command Command `embed:""`
	Wrong   wrong   `embed:""`
}

// wrong is settings that kong would end the process for.
type wrong struct {
	Other string `name:"other"`
}

func (wrong) Validate() error { return errors.New("these settings are wrong") }

// checkSettings parses a check's command line, and runs the checks of the settings.
func checkSettings(t *testing.T, args ...string) (program, string) {
	t.Helper()
	var p program
	parser, err := kong.New(&p, secret.KongOption(), kong.Vars{"http_addr": "127.0.0.1:8101", "version": "1"})
	require.NoError(t, err)
	_, err = parser.Parse(append([]string{"check"}, args...))
	require.NoError(t, err, "a setting has ended the process")
	report := Run(t.Context(), []Check{
		p.Check.Command.Secret("API Key Set", "CHECK_TEST_KEY", p.Key),
		p.Check.Command.Given("Brokers Set", "CHECK_TEST_BROKERS", len(p.Brokers) > 0),
		p.Check.Command.Valid(func() error { return nil }),
	})
	return p, lines(t, report)
}

// These set environment variables, and so cannot run in parallel.
func TestSettingsThatAreMissingOrWrongAreLines(t *testing.T) {
	t.Setenv("HTTP_ADDR", "127.0.0.1:8101")
	p, out := checkSettings(t)
	require.Equal(t, "[FAIL] API Key Set: MISSING — set CHECK_TEST_KEY, or CHECK_TEST_KEY_FILE to the path of a file that holds it\n"+
		"[FAIL] Brokers Set: MISSING — set CHECK_TEST_BROKERS\n[PASS] Settings Valid: Yes\n", out)
	require.Empty(t, p.HTTPAddr, "a check beside the service must not take its port")

	t.Setenv("CHECK_TEST_KEY", "hunter2")
	t.Setenv("CHECK_TEST_BROKERS", "a:1,b:2")
	t.Setenv("CHECK_TEST_INTERVAL", "often")
	t.Setenv("CHECK_TEST_SCHEME", "c")
	p, out = checkSettings(t)
	require.Contains(t, out, "[PASS] API Key Set: Set\n[PASS] Brokers Set: Set\n[FAIL] Settings Valid: CHECK_TEST_INTERVAL: ")
	require.Contains(t, out, "CHECK_TEST_SCHEME: must be one of a, b")
	require.NotContains(t, out, "hunter2")
	require.Equal(t, time.Minute, p.Interval, "the default stands in for what cannot be read")
	require.Equal(t, []string{"a:1", "b:2"}, p.Brokers)

	path := filepath.Join(t.TempDir(), "key")
	t.Setenv("CHECK_TEST_KEY_FILE", path)
	_, out = checkSettings(t)
	require.Contains(t, out, "[FAIL] API Key Set: both CHECK_TEST_KEY and CHECK_TEST_KEY_FILE are set")
	t.Setenv("CHECK_TEST_KEY", "")
	_, out = checkSettings(t)
	require.Contains(t, out, "[FAIL] API Key Set: CHECK_TEST_KEY_FILE: open "+path)
	require.NoError(t, os.WriteFile(path, []byte("\n"), 0o600))
	_, out = checkSettings(t)
	require.Contains(t, out, "[FAIL] API Key Set: EMPTY")
	require.NoError(t, os.WriteFile(path, []byte("hunter2\n"), 0o600))
	p, out = checkSettings(t, "--json")
	require.Contains(t, out, "[PASS] API Key Set: Set")
	require.True(t, p.Check.Command.JSON)
}

// TestServiceStillRequiresWhatTheCheckDoesWithout: the check must not make the service start without its settings.
func TestServiceStillRequiresWhatTheCheckDoesWithout(t *testing.T) {
	t.Parallel()
	var p program
	parser, err := kong.New(&p, secret.KongOption(), kong.Vars{"http_addr": "", "version": "1"})
	require.NoError(t, err)
	_, err = parser.Parse(nil)
	require.ErrorContains(t, err, "missing flags")
}

func TestMachinesGetOneDocument(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	report := Run(t.Context(), []Check{
		{Name: "a", Run: func(context.Context) Result { return connected(time.Now()) }}, {Name: "b", Run: as(Warn)},
	})
	require.NoError(t, (&Command{JSON: true}).Print(&out, report))
	var doc struct {
		Status string
		Checks []map[string]any
	}
	require.NoError(t, json.NewDecoder(strings.NewReader(out.String())).Decode(&doc))
	require.Equal(t, "WARN", doc.Status)
	require.Equal(t, "Connected", doc.Checks[0]["message"])
	require.Contains(t, doc.Checks[0], "latency_ms")
	require.Equal(t, map[string]any{"name": "b", "status": "WARN", "message": "because"}, doc.Checks[1])
}
