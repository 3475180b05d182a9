// Package watch owns when the checks of the warehouse run: each at its interval, again until it succeeds, and whom it tells.
package watch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/revstream/revstream/pipeline/resilience"
)

const (
	observing    = "metrics"        // name of the task that observers are
	shortTimeout = 5 * time.Minute  // of a run
	longTimeout  = 2 * time.Hour    // of one of a Long task
	recheck      = 10 * time.Minute // after which a task that waits looks whether somebody else has done it
)

// ErrFound is returned by a Run that did its work, and found what somebody is likely to mend, or what mends itself.
var ErrFound = errors.New("something was found")

// Task is something to do again and again. It must be harmless that it runs at the same time in another process.
type Task struct {
	Name  string
	Every time.Duration // 0 is never
	Again time.Duration // after a run that returned ErrFound, if it is shorter than Every; 0 is as long as Every
	Run   func(context.Context) error
	// Last is when it was last done, by whomever; the zero time is never. A task waits for the rest of its interval. Nil where
	// its interval is so short that it does not matter.
	Last func(context.Context) (time.Time, error)
	// Long tasks run one after another. The others do not wait for them.
	Long bool
}

// Observe sets metrics to what the result tables have.
type Observe func(context.Context) error

// Watch runs tasks.
type Watch struct {
	logger  *slog.Logger
	tasks   []*task
	metrics *metrics
	turn    chan struct{} // held by the Long task that runs
	backoff resilience.Backoff
}

// task is a Task and how it does.
type task struct {
	Task

	interval     time.Duration // from the last run to the next; the task's goroutine alone uses it
	availability resilience.Availability
}

// New makes a watch of the tasks that have an interval, and of observers, which run together. It does no I/O.
func New(logger *slog.Logger, reg prometheus.Registerer, tasks []Task, observers []Observe, every time.Duration) (*Watch, error) {
	w := &Watch{logger: logger, turn: make(chan struct{}, 1), backoff: resilience.Backoff{Base: 5 * time.Second, Max: 5 * time.Minute, Jitter: time.Second}}
	tasks = append(tasks, Task{Name: observing, Every: every, Run: func(ctx context.Context) error {
		var errs []error
		for _, observe := range observers {
			errs = append(errs, observe(ctx))
		}
		return errors.Join(errs...)
	}})
	var errs []error
	seen := map[string]bool{}
	for _, t := range tasks {
		switch {
		case t.Every < 0:
			errs = append(errs, fmt.Errorf("the interval of %s is negative: 0 turns it off", t.Name))
		case seen[t.Name]:
			errs = append(errs, fmt.Errorf("two tasks have the name %s", t.Name))
		case t.Every > 0:
			w.tasks = append(w.tasks, &task{Task: t, interval: t.Every})
		}
		seen[t.Name] = true
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	var err error
	w.metrics, err = newMetrics(reg, w.tasks)
	return w, err
}

// Checks are those of the process's readiness, by task: each says since when the task has been failing, and why.
func (w *Watch) Checks() map[string]func(context.Context) (map[string]any, error) {
	checks := make(map[string]func(context.Context) (map[string]any, error), len(w.tasks))
	for _, t := range w.tasks {
		checks[t.Name] = t.availability.Check
	}
	return checks
}

// Run runs the tasks until ctx ends. What a task fails with never ends it.
func (w *Watch) Run(ctx context.Context) error {
	var tasks sync.WaitGroup
	for _, t := range w.tasks {
		tasks.Go(func() { w.repeat(ctx, t) })
	}
	tasks.Wait()
	return ctx.Err()
}

// repeat does a task at its interval until ctx ends.
func (w *Watch) repeat(ctx context.Context, t *task) {
	var last time.Time // that it was done here
	for ctx.Err() == nil {
		cfg := resilience.ForeverConfig{Backoff: w.backoff, Observe: t.availability.Observe}
		err := resilience.Forever(ctx, cfg, w.logger, t.Name, func(ctx context.Context) error {
			done, err := w.do(ctx, t, last)
			if err != nil && ctx.Err() == nil {
				w.metrics.failed(t.Name)
			}
			if err == nil {
				last = done
			}
			return err
		})
		if err != nil { // ctx has ended
			return
		}
		if resilience.Sleep(ctx, w.wait(t, last)) != nil {
			return
		}
	}
}

// wait is for how long to wait before a task is looked at again. A replica may do it meanwhile, so one with Last looks earlier
// than it must.
func (w *Watch) wait(t *task, last time.Time) time.Duration {
	rest := time.Until(last.Add(t.interval))
	if t.Last != nil {
		rest = min(rest, recheck)
	}
	return rest
}

// do does a task once, unless that was less than its interval ago. It returns when it was done.
func (w *Watch) do(ctx context.Context, t *task, last time.Time) (time.Time, error) {
	if t.Last != nil {
		stored, err := t.Last(ctx)
		if err != nil {
			return last, fmt.Errorf("looking when it was last done: %w", err)
		}
		if now := time.Now(); stored.After(now) { // by another clock
			stored = now
		}
		if stored.After(last) {
			last = stored
			w.metrics.succeeded(t.Name, stored)
		}
	}
	if time.Since(last) < t.interval {
		return last, nil
	}
	return w.run(ctx, t)
}

// run does a task once, and returns when it began.
func (w *Watch) run(ctx context.Context, t *task) (time.Time, error) {
	timeout := shortTimeout
	if t.Long {
		timeout = longTimeout
		select {
		case w.turn <- struct{}{}:
			defer func() { <-w.turn }()
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		}
	}
	running, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	started := time.Now()
	err := t.Run(running)
	t.interval = t.Every
	if errors.Is(err, ErrFound) {
		err = nil
		if t.Again > 0 {
			t.interval = min(t.interval, t.Again)
		}
	}
	if err != nil && ctx.Err() == nil && running.Err() != nil {
		err = fmt.Errorf("it took longer than %s: %w", timeout, err)
	}
	took := time.Since(started)
	w.metrics.took(t.Name, took)
	if err == nil {
		w.metrics.ran(t.Name)
	}
	w.logger.DebugContext(ctx, "ran a task", "task", t.Name, "duration", took, "error", err)
	return started, err
}
