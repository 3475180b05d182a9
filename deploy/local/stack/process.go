package stack

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
	"time"

	"github.com/revstream/revstream/deploy/local/ports"
)

// tick is how often a process is looked at while waiting for it.
const tick = 25 * time.Millisecond

// Process is a running part, as the list of processes has it.
type Process struct {
	Name    string    `json:"name"`
	PID     int       `json:"pid"`
	Program string    `json:"program"` // path, by which a PID is known to be ours still
	Addr    string    `json:"addr"`
	Log     string    `json:"log"`
	Started time.Time `json:"started"`

	exited chan struct{} // closed when it has ended; nil unless this process started it
}

// launch starts a part in a process group of its own, so that a Ctrl-C in the
// terminal reaches only us, who then stop the parts in order.
func (s *Stack) launch(ctx context.Context, p part) (*Process, error) {
	if err := ports.Try(ctx, p.addr); err != nil {
		return nil, portError(p.name, p.flag, p.addr, err)
	}
	program := filepath.Join(s.cfg.BinDir, p.args[0])
	logPath := filepath.Join(s.cfg.Dir, "logs", p.name+".log")
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the log of %s: %w", p.name, err)
	}
	defer log.Close()
	cmd := exec.Command(program, p.args[1:]...)
	cmd.Env = append(s.cfg.Environment(), p.env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", p.name, err)
	}
	proc := &Process{Name: p.name, PID: cmd.Process.Pid, Program: program, Addr: p.addr, Log: logPath, Started: time.Now().UTC(), exited: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(proc.exited)
	}()
	return proc, nil
}

// await waits until a part is ready.
func (s *Stack) await(ctx context.Context, p part, proc *Process) error {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	var last error // that says more than that time is up
	for {
		err := p.ready(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil || last == nil {
			last = err
		}
		select {
		case <-proc.exited:
			return fmt.Errorf("%s ended while starting: %s", p.name, lastLine(proc.Log))
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w (log: %s)", p.name, last, proc.Log)
		case <-ticker.C:
		}
	}
}

// Alive says whether the process runs, and is still ours: PIDs are used again.
func (p *Process) Alive() bool {
	if p.exited != nil {
		select {
		case <-p.exited:
			return false
		default:
			return true
		}
	}
	return strings.HasPrefix(commandLine(p.PID), p.Program)
}

// commandLine of a process; "" if there is none.
func commandLine(pid int) string {
	if raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline"); err == nil {
		return string(bytes.ReplaceAll(raw, []byte{0}, []byte{' '})) // empty for a zombie
	}
	if _, err := os.Stat("/proc/self"); err == nil {
		return ""
	}
	out, err := exec.Command("ps", "-p", strconv.Itoa(pid), "-o", "command=").Output()
	if err != nil {
		return ""
	}
	return string(out)
}

// stop ends a process: SIGTERM, and SIGKILL when ctx ends before it does.
func (p *Process) stop(ctx context.Context) error {
	if !p.Alive() {
		return nil
	}
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for p.Alive() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%s (PID %d) did not stop in time and was killed (log: %s)", p.Name, p.PID, p.Log), p.signal(syscall.SIGKILL))
		}
	}
	return nil
}

func (p *Process) signal(sig syscall.Signal) error {
	if err := syscall.Kill(p.PID, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("sending %s to %s (PID %d): %w", sig, p.Name, p.PID, err)
	}
	return nil
}

// lastLine of a log: what a program says when it ends with an error.
func lastLine(path string) string {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "its log cannot be read: " + err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	if line := lines[len(lines)-1]; line != "" {
		return line
	}
	return "its log is empty: " + path
}
