package compose

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

const module = "github.com/revstream/revstream/"

// programs are the workspace's, built once.
var programs struct {
	once     sync.Once
	dir      string
	packages []string // of main packages, relative to the root
	err      error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if programs.dir != "" {
		if err := os.RemoveAll(programs.dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func portName(port uint32) string { return strconv.FormatUint(uint64(port), 10) }

// build builds every program of the workspace, and returns their main packages.
func build(t *testing.T) []string {
	t.Helper()
	programs.once.Do(func() {
		modules, err := goTool("list", "-m", "-f", "{{.Path}}/...")
		if err != nil {
			programs.err = err
			return
		}
		mains, err := goTool(append([]string{"list", "-f", `{{if eq .Name "main"}}{{.ImportPath}}{{end}}`}, strings.Fields(modules)...)...)
		if err != nil {
			programs.err = err
			return
		}
		paths := strings.Fields(mains)
		for _, p := range paths {
			programs.packages = append(programs.packages, strings.TrimPrefix(p, module))
		}
		if programs.dir, programs.err = os.MkdirTemp("", "revstream-compose-"); programs.err != nil { //nolint:usetesting // outlives the test that comes first
			return
		}
		_, programs.err = goTool(append([]string{"build", "-trimpath", "-o", programs.dir + "/"}, paths...)...)
	})
	require.NoError(t, programs.err)
	require.NotEmpty(t, programs.packages)
	return programs.packages
}

// goTool runs in the workspace, whatever module the test itself was built in.
func goTool(args ...string) (string, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOWORK=", "GOFLAGS=")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("go %s: %w: %s", args[0], err, stderr.Bytes())
	}
	return stdout.String(), nil
}

// byDefault is the command of a program that it carries out without one.
const byDefault = "run"

// help is what a command says of itself.
type help struct {
	env      map[string][]string // variables by flag
	flags    []string
	required []string // flags
	commands []string
}

var (
	helpFlag     = regexp.MustCompile(`^\s+(?:-\w, )?--(?:\[no-\])?([a-z0-9-]+)`)
	helpVariable = regexp.MustCompile(`\$([A-Z][A-Z0-9_]+)`)
	helpRequired = regexp.MustCompile(`--([a-z0-9-]+)=`)
	helpCommand  = regexp.MustCompile(`^  ([a-z]+(?: [a-z]+)*)(?:  | \[flags\]$| <|$)`)
)

// helpOf runs a program's --help, with nothing in its environment.
func helpOf(t *testing.T, program string, command ...string) help {
	t.Helper()
	build(t)
	cmd := exec.CommandContext(t.Context(), filepath.Join(programs.dir, path.Base(program)), append(command, "--help")...)
	cmd.Env = []string{}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s %s --help: %s", program, command, out)

	h := help{env: map[string][]string{}}
	flag, inCommands := "", false
	for i, line := range strings.Split(string(out), "\n") {
		if i == 0 {
			require.True(t, strings.HasPrefix(line, "Usage: "), line)
			for _, match := range helpRequired.FindAllStringSubmatch(line, -1) {
				h.required = append(h.required, match[1])
			}
			continue
		}
		inCommands = inCommands || line == "Commands:"
		if match := helpCommand.FindStringSubmatch(line); inCommands && match != nil {
			h.commands = append(h.commands, match[1])
		}
		if match := helpFlag.FindStringSubmatch(line); match != nil {
			flag = match[1]
			h.flags = append(h.flags, flag)
		}
		for _, match := range helpVariable.FindAllStringSubmatch(line, -1) {
			h.env[flag] = append(h.env[flag], match[1])
		}
	}
	return h
}

func (h help) reads(variable string) bool {
	for _, names := range h.env {
		if slices.Contains(names, variable) {
			return true
		}
	}
	return false
}

// TestProgramsReadWhatTheyAreGiven holds the compose file to the programs' command lines: a renamed setting, or a new one
// that is required, fails here and not in somebody's terminal.
func TestProgramsReadWhatTheyAreGiven(t *testing.T) {
	t.Parallel()
	mains := build(t)
	built := 0
	for name, s := range load(t).Services {
		if s.Build == nil {
			continue
		}
		built++
		require.Equal(t, "deploy/docker/Dockerfile", s.Build.Dockerfile, name)
		binary := s.Build.Args["BINARY"]
		require.NotNil(t, binary, "%s: BINARY", name)
		require.Contains(t, mains, *binary, "%s: BINARY is a program of the workspace", name)

		h := helpOf(t, *binary, s.Command...)
		if slices.Contains(h.commands, byDefault) {
			h = helpOf(t, *binary, byDefault)
		}
		if len(h.commands) > 0 { // which one is said when it is run
			require.Contains(t, s.Profiles, "tools", "%s: a command", name)
			for _, command := range h.commands {
				maps.Copy(h.env, helpOf(t, *binary, strings.Fields(command)...).env)
			}
		}
		for variable := range s.Environment {
			require.True(t, h.reads(variable), "%s reads no %s", name, variable)
		}
		for _, flag := range h.required {
			if len(h.env[flag]) == 0 && slices.Contains(s.Profiles, "tools") {
				continue // said when it is run, too
			}
			require.True(t, given(s, h, flag), "%s: nothing gives --%s, one of %s", name, flag, h.env[flag])
		}
	}
	require.Equal(t, 13, built)
}

// given reports whether a service sets what a flag needs.
func given(s types.ServiceConfig, h help, flag string) bool {
	for _, variable := range h.env[flag] {
		if value(s, variable) != "" {
			return true
		}
	}
	return false
}

var (
	envExample = regexp.MustCompile(`(?m)^(?:# )?([A-Z][A-Z0-9_]+)=`)
	composeVar = regexp.MustCompile(`\$\{([A-Z][A-Z0-9_]+)`)
)

// TestEnvExampleIsComplete: every variable that a program or the compose file reads is in .env.example, and nothing else.
func TestEnvExampleIsComplete(t *testing.T) {
	t.Parallel()
	read := map[string]bool{"OTEL_EXPORTER_OTLP_ENDPOINT": true, "GOMEMLIMIT": true} // read by the exporter and by Go itself
	for _, program := range build(t) {
		if path.Base(program) == "probe" { // which has no settings
			continue
		}
		commands := helpOf(t, program).commands
		for _, command := range append(commands, "") {
			for _, names := range helpOf(t, program, strings.Fields(command)...).env {
				for _, name := range names {
					if !strings.HasSuffix(name, "_FILE") || strings.HasPrefix(name, "KAFKA_TLS_") {
						read[name] = true
					}
				}
			}
		}
	}
	text, err := os.ReadFile(filepath.Join(root, "docker-compose.yml"))
	require.NoError(t, err)
	for _, match := range composeVar.FindAllStringSubmatch(string(text), -1) {
		read[match[1]] = true
	}
	text, err = os.ReadFile(filepath.Join(root, ".env.example"))
	require.NoError(t, err)
	listed := map[string]bool{}
	for _, match := range envExample.FindAllStringSubmatch(string(text), -1) {
		require.False(t, listed[match[1]], "%s is in .env.example twice", match[1])
		listed[match[1]] = true
	}
	require.Equal(t, read, listed)
}
