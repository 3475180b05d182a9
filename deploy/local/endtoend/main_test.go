package endtoend

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/deploy/local/stack"
	"github.com/revstream/revstream/pipeline/consume"

	// What the programs are made of: a cached result of these tests is stale
	// when it changes, which go cannot know of programs that they build.
	_ "github.com/revstream/revstream/consumers"
	_ "github.com/revstream/revstream/deploy/embedded/broker"
	_ "github.com/revstream/revstream/deploy/embedded/clickhouse"
	_ "github.com/revstream/revstream/deploy/embedded/registry"
	_ "github.com/revstream/revstream/dlq-replayer/desk"
	_ "github.com/revstream/revstream/producers/forecast"
	_ "github.com/revstream/revstream/producers/people"
)

// binDir has the programs, built once without the race detector: these tests
// look at processes from outside.
var binDir string

// root of the repository.
var root string

// peopleFile is a recorded answer of GET /v2/people to land, instead of the
// project's own.
var peopleFile = flag.String("people-file", filepath.Join("testdata", "people.json"), "recorded answer of GET /v2/people")

// servers has every stack run Apache Kafka and Apicurio Registry in place of the
// embedded broker and registry: `make test-kafka`.
var servers = flag.Bool("servers", false, "run the stacks on Apache Kafka and Apicurio Registry, fetched by `make kafka`")

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	var err error
	root, err = filepath.Abs(filepath.Join("..", "..", ".."))
	if err == nil {
		// Inside the workspace, so that the embedded ClickHouse finds its library.
		err = os.MkdirAll(filepath.Join(root, "build"), 0o755)
	}
	if err == nil {
		binDir, err = os.MkdirTemp(filepath.Join(root, "build"), "endtoend-")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "making a folder for the programs:", err)
		return 1
	}
	defer func() { _ = os.RemoveAll(binDir) }() // a temporary folder
	build := exec.Command("go", "build", "-o", binDir+"/",
		"./producers/cmd/...", "./consumers/cmd/...", "./dlq-replayer/cmd/...", "./deploy/embedded/cmd/...", "./deploy/local/cmd/...")
	build.Dir = root
	build.Env = append(os.Environ(), "GOFLAGS=-buildvcs=false", "GOWORK="+filepath.Join(root, "go.work"))
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the programs: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// newStack makes a stack on free ports that is stopped with the test.
func newStack(t *testing.T, sources stack.Sources) *stack.Stack {
	t.Helper()
	return newStackWith(t, stack.Config{Sources: sources}, consume.ProtocolClassic)
}

// newStackWith is newStack with the consumers' group protocol, and what else a configuration can say.
func newStackWith(t *testing.T, cfg stack.Config, protocol string) *stack.Stack {
	t.Helper()
	addrs, err := stack.FreeAddrs(t.Context())
	require.NoError(t, err)
	cfg.Dir, cfg.BinDir, cfg.Addrs = t.TempDir(), binDir, addrs
	cfg.Servers = stack.Servers{Kafka: *servers, Apicurio: *servers, Libs: filepath.Join(root, "build"), GroupProtocol: protocol}
	s, err := stack.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		_, err := s.Stop(ctx)
		require.NoError(t, err)
		if t.Failed() {
			logs, err := filepath.Glob(filepath.Join(s.Config().Dir, "logs", "*"))
			require.NoError(t, err)
			for _, path := range logs {
				raw, err := os.ReadFile(path)
				require.NoError(t, err)
				t.Logf("%s:\n%s", filepath.Base(path), raw)
			}
		}
	})
	return s
}
