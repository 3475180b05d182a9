// Package process owns a child process that another part of the harness kills, stops, wakes and measures: its log, its signals, its memory and its end.
package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Spec says what to run.
type Spec struct {
	Name string   // in errors
	Args []string // program first
	Env  []string
	Log  string // file that standard output and standard error are appended to
}

// Process is a running child. It ends with its parent where the system can see to that.
type Process struct {
	name, log string
	cmd       *exec.Cmd
	exited    chan struct{}
	err       error // how it ended; read after exited is closed
}

// Start starts a child in a process group of its own: a Ctrl-C in the terminal
// reaches only us, who then stop the children in order.
func Start(spec Spec) (*Process, error) {
	if err := os.MkdirAll(filepath.Dir(spec.Log), 0o755); err != nil {
		return nil, fmt.Errorf("making the folder of %s's log: %w", spec.Name, err)
	}
	log, err := os.OpenFile(spec.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the log of %s: %w", spec.Name, err)
	}
	defer log.Close()
	cmd := exec.Command(spec.Args[0], spec.Args[1:]...)
	cmd.Env = spec.Env
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = attributes()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", spec.Name, err)
	}
	p := &Process{name: spec.Name, log: spec.Log, cmd: cmd, exited: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// Name of the process, as errors give it.
func (p *Process) Name() string { return p.name }

// PID of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Exited is closed when the process has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Err says how a process has ended that Exited; nil means exit code 0.
func (p *Process) Err() error {
	<-p.exited
	if p.err == nil {
		return nil
	}
	return fmt.Errorf("%s ended: %w: %s", p.name, p.err, p.lastLine())
}

// Signal sends a signal; one that has ended needs none.
func (p *Process) Signal(signal syscall.Signal) error {
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("sending %s to %s: %w", signal, p.name, err)
	}
	return nil
}

// Kill ends the process with SIGKILL and waits until it has.
func (p *Process) Kill() error {
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.exited
	return nil
}

// Stop ends the process with SIGTERM and waits until it has. When ctx ends
// before that, it kills it and says so.
func (p *Process) Stop(ctx context.Context) error {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.exited:
		return nil
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("%s did not stop in time and was killed (log: %s)", p.name, p.log), p.Kill())
	}
}

// PeakMemory is the largest resident set that a process has had, in bytes; 0
// where the system does not tell, or the process has ended.
func PeakMemory(pid int) int64 {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kb << 10
		}
	}
	return 0
}

// lastLine of the log: what a program says when it ends with an error.
func (p *Process) lastLine() string {
	raw, err := os.ReadFile(p.log)
	if err != nil {
		return "its log cannot be read: " + err.Error()
	}
	raw = bytes.TrimSpace(raw)
	return string(raw[bytes.LastIndexByte(raw, '\n')+1:])
}
