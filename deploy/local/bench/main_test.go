package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	// What the programs are made of: a cached result of these tests is stale
	// when it changes, which go cannot know of programs that they build.
	_ "github.com/revstream/revstream/consumers"
	_ "github.com/revstream/revstream/deploy/embedded/broker"
	_ "github.com/revstream/revstream/deploy/embedded/registry"
)

// binDir has the programs, built once without the race detector: these tests
// look at processes from outside.
var binDir string

func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err == nil && code == 0 {
		err = goleak.Find()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) (code int, err error) {
	root, err := filepath.Abs(filepath.Join("..", "..", ".."))
	if err != nil {
		return 1, err
	}
	// Inside the workspace, so that the embedded ClickHouse finds its library.
	if err := os.MkdirAll(filepath.Join(root, "build"), 0o755); err != nil {
		return 1, err
	}
	if binDir, err = os.MkdirTemp(filepath.Join(root, "build"), "bench-test-"); err != nil {
		return 1, err
	}
	defer func() { _ = os.RemoveAll(binDir) }() // a temporary folder
	build := exec.Command("go", "build", "-o", binDir+"/",
		"./producers/cmd/provision", "./consumers/cmd/forecast-consumer", "./consumers/cmd/warehouse", "./deploy/embedded/cmd/embedded", "./deploy/local/cmd/bench")
	build.Dir = root
	build.Env = append(os.Environ(), "GOFLAGS=-buildvcs=false", "GOWORK="+filepath.Join(root, "go.work"))
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("building the programs: %w\n%s", err, out)
	}
	return m.Run(), nil
}
