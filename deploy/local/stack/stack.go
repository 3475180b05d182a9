package stack

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	startPatience = 60 * time.Second
	javaPatience  = 3 * time.Minute // on a busy machine: several virtual machines at once
	stopPatience  = 40 * time.Second
)

// Stack is a set of processes with one data folder. Its list of processes is
// on disk, so that another command finds and stops them.
type Stack struct {
	cfg      Config
	patience time.Duration // for a part to become ready

	mu        sync.Mutex
	processes []*Process // in the order in which they were started
}

// file is what is on disk of a stack.
type file struct {
	Config    Config     `json:"config"`
	Processes []*Process `json:"processes"`
}

// ErrNoStack is returned by Open for a folder without a stack.
var ErrNoStack = errors.New("there is no stack here; `make up` starts one")

// Open finds the stack of a folder again, with what runs of it.
func Open(dir string) (*Stack, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the stack: %w", err)
	}
	s := &Stack{cfg: Config{Dir: dir}, patience: startPatience}
	raw, err := os.ReadFile(s.path())
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", dir, ErrNoStack)
	}
	var f file
	if err == nil {
		err = json.Unmarshal(raw, &f)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", s.path(), err)
	}
	s.cfg = f.Config
	s.processes = slices.DeleteFunc(f.Processes, func(p *Process) bool { return !p.Alive() })
	return s, nil
}

// New makes a stack, or takes up the one of the folder: what runs of it, goes
// on. It starts nothing.
func New(cfg Config) (*Stack, error) {
	var err error
	if cfg.Dir, err = filepath.Abs(cfg.Dir); err != nil {
		return nil, fmt.Errorf("opening the stack: %w", err)
	}
	for _, dir := range []string{"data", "logs"} {
		if err := os.MkdirAll(filepath.Join(cfg.Dir, dir), 0o755); err != nil {
			return nil, fmt.Errorf("making the stack's folder: %w", err)
		}
	}
	if err := cfg.Addrs.validate(); err != nil {
		return nil, err
	}
	s := &Stack{cfg: cfg, patience: startPatience}
	if cfg.Servers.Kafka || cfg.Servers.Apicurio {
		s.patience = javaPatience
	}
	earlier, err := Open(cfg.Dir)
	switch {
	case errors.Is(err, ErrNoStack):
		return s, nil
	case err != nil:
		return nil, err
	case len(earlier.processes) > 0 && (earlier.cfg.Addrs != cfg.Addrs || earlier.cfg.Servers != cfg.Servers):
		return nil, errors.New("the stack runs on other addresses or servers; `make down` stops it")
	}
	s.processes = earlier.processes
	return s, nil
}

// Config of the stack; its folder is absolute.
func (s *Stack) Config() Config { return s.cfg }

func (s *Stack) path() string { return filepath.Join(s.cfg.Dir, "stack.json") }

// save writes the file. The caller holds the lock.
func (s *Stack) save() error {
	raw, err := json.MarshalIndent(file{s.cfg, s.processes}, "", "  ")
	if err == nil {
		err = os.WriteFile(s.path()+".new", raw, 0o644)
	}
	if err == nil {
		err = os.Rename(s.path()+".new", s.path())
	}
	if err != nil {
		return fmt.Errorf("writing the list of processes: %w", err)
	}
	return nil
}

// Processes that run, in the order in which they were started.
func (s *Stack) Processes() []*Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.processes), func(p *Process) bool { return !p.Alive() })
}

// Start starts the named parts that do not run, side by side, and waits until
// each of the named ones is ready. It returns the names of those that it started.
func (s *Stack) Start(ctx context.Context, names ...string) ([]string, error) {
	running := make(map[string]*Process)
	for _, p := range s.Processes() {
		running[p.Name] = p
	}
	var started []string
	var waits errgroup.Group
	for _, name := range names {
		part, err := s.part(name)
		if err != nil {
			return started, errors.Join(err, waits.Wait())
		}
		proc, ok := running[name]
		if !ok {
			if proc, err = s.launch(ctx, part); err != nil {
				return started, errors.Join(err, waits.Wait())
			}
			started = append(started, name)
			if err := s.add(proc); err != nil {
				return started, errors.Join(err, waits.Wait())
			}
		}
		waits.Go(func() error { return s.await(ctx, part, proc) })
	}
	return started, waits.Wait()
}

func (s *Stack) add(p *Process) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.processes = slices.DeleteFunc(s.processes, func(old *Process) bool { return old.Name == p.Name })
	s.processes = append(s.processes, p)
	return s.save()
}

// Stop stops the named parts, one after the other, those that need others before
// the others. Without names it stops all of them.
func (s *Stack) Stop(ctx context.Context, names ...string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, stopPatience)
	defer cancel()
	var stopped []string
	var errs []error
	running := make(map[string]*Process)
	for _, p := range s.Processes() {
		running[p.Name] = p
	}
	for _, name := range slices.Backward(slices.Concat(Surroundings, Services)) {
		p, ok := running[name]
		if !ok || len(names) > 0 && !slices.Contains(names, name) {
			continue
		}
		errs = append(errs, p.stop(ctx))
		stopped = append(stopped, p.Name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.processes = slices.DeleteFunc(s.processes, func(p *Process) bool { return !p.Alive() })
	errs = append(errs, s.save())
	return stopped, errors.Join(errs...)
}

// Run runs a program of the stack to its end with the stack's settings, and
// returns what it printed. Its error has the last line that it printed to
// standard error.
func (s *Stack) Run(ctx context.Context, stdin, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(s.cfg.BinDir, program), args...)
	cmd.Env = append(s.cfg.Environment(), "HTTP_ADDR=", "LOG_LEVEL="+cmp.Or(s.cfg.LogLevel, "warn"))
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
		return stdout.String(), fmt.Errorf("running %s: %w: %s", program, err, lines[len(lines)-1])
	}
	return stdout.String(), nil
}

// Prepare creates the topics, registers the schemas and migrates the
// warehouse. It can be done again at any time.
func (s *Stack) Prepare(ctx context.Context) error {
	if _, err := s.Run(ctx, "", "provision"); err != nil {
		return err
	}
	_, err := s.Run(ctx, "", "warehouse", "migrate")
	return err
}

// Ready asks a part whether it is well.
func (s *Stack) Ready(ctx context.Context, name string) error {
	p, err := s.part(name)
	if err != nil {
		return err
	}
	return p.ready(ctx)
}
