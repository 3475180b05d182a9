package world

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/revstream/revstream/deploy/local/process"
	"github.com/revstream/revstream/pipeline/resilience"
)

// stopPatience is how long a part may take to stop: longer than its own deadline.
const stopPatience = 40 * time.Second

// Part is a program that is started again whenever it has been killed.
type Part struct {
	Name string
	args []string
	env  func() []string             // of the next life
	up   func(context.Context) error // says whether it serves; nil: it need not
	log  string
	// finite is a part that ends by itself when its work is done. The end of any
	// other is a crash, also with exit code 0.
	finite bool

	mu      sync.Mutex // held by whoever changes its life
	process *process.Process
	done    bool // it has ended with exit code 0, as it should
	crashes []error
	peak    int64 // largest memory of the lives before this one, in bytes
}

// errDone is returned by Start of a part that has done all it had to.
var errDone = errors.New("it has done its work")

func (p *Part) start(ctx context.Context) error {
	if p.done {
		return errDone
	}
	proc, err := process.Start(process.Spec{Name: p.Name, Args: p.args, Env: p.env(), Log: filepath.Join(p.log, p.Name+".log")})
	if err != nil {
		return err
	}
	p.process = proc
	if p.up == nil {
		return nil
	}
	return await(ctx, proc, p.up)
}

// await waits until a process serves.
func await(ctx context.Context, proc *process.Process, up func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := up(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-proc.Exited():
			return proc.Err()
		case <-ctx.Done():
			return fmt.Errorf("%s does not serve: %w", proc.Name(), err)
		}
	}
}

// Start starts the part.
func (p *Part) Start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.start(ctx)
}

// Stop ends it in order.
func (p *Part) Stop(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.process == nil {
		return nil
	}
	p.measure()
	ctx, cancel := context.WithTimeout(ctx, stopPatience)
	defer cancel()
	err := p.process.Stop(ctx)
	p.process = nil
	return err
}

// Kill ends it with SIGKILL, and starts it again after a pause. It reports
// whether there was something to kill.
func (p *Part) Kill(ctx context.Context, pause time.Duration) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.process == nil || p.done {
		return false, nil
	}
	select {
	case <-p.process.Exited(): // by itself: the keeper's matter
		return false, nil
	default:
	}
	p.measure()
	if err := p.process.Kill(); err != nil {
		return false, err
	}
	if err := resilience.Sleep(ctx, pause); err != nil {
		return true, err
	}
	return true, p.start(ctx)
}

// Pause stops it in its tracks for a while, as a machine without a core to spare does.
func (p *Part) Pause(ctx context.Context, pause time.Duration) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.process == nil || p.done {
		return false, nil
	}
	if err := p.process.Signal(syscall.SIGSTOP); err != nil {
		return false, err
	}
	err := resilience.Sleep(ctx, pause)
	return true, errors.Join(err, p.process.Signal(syscall.SIGCONT))
}

// keep starts it again when it has ended by itself, until ctx ends. An end with
// an error is a crash, which the run reports.
func (p *Part) keep(ctx context.Context) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := p.look(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

func (p *Part) look(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.process == nil || p.done {
		return nil
	}
	select {
	case <-p.process.Exited():
	default:
		p.measure()
		return nil
	}
	err := p.process.Err()
	if err == nil && p.finite {
		p.done = true
		return nil
	}
	if err == nil {
		err = fmt.Errorf("%s ended with exit code 0", p.Name)
	}
	p.crashes = append(p.crashes, err)
	return p.start(ctx)
}

// measure takes note of the memory of this life. The caller holds the lock.
func (p *Part) measure() { p.peak = max(p.peak, process.PeakMemory(p.process.PID())) }

// program that it is an instance of.
func (p *Part) program() string { return filepath.Base(p.args[0]) }

// Done says whether the part has ended as it should.
func (p *Part) Done() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

// Peak is the largest memory of all lives so far, in bytes.
func (p *Part) Peak() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.peak
}

// Crashes are the ends that nobody asked for.
func (p *Part) Crashes() []error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.crashes
}
