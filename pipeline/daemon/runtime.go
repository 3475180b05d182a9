package daemon

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

var (
	errComponent   = errors.New("a component failed")
	errInterrupted = errors.New("interrupted")
	errStillBusy   = errors.New("did not stop within SHUTDOWN_TIMEOUT (--shutdown-timeout)")
)

// Runtime is what setup builds a process on. Its methods are safe for concurrent use.
type Runtime struct {
	Logger   *slog.Logger
	Registry *prometheus.Registry
	Command  string // of the command line, as kong spells it: "webhooks sync"; "" without commands

	name     string
	cfg      Config
	health   *health
	mux      *http.ServeMux
	httpAddr string // that the server listens on; "" without one

	base context.Context    //nolint:containedctx // parent of the components' contexts, which unlike setup's end one after the other
	stop context.CancelFunc // begins the shutdown

	failed atomic.Bool  // a part has failed
	live   atomic.Int64 // components that have not returned, plus one until setup has

	mu    sync.Mutex
	parts []part // in order of start
}

// part is something to stop: a component, or a function of Defer.
type part struct {
	name string
	stop func(deadline context.Context) error
}

func newRuntime(name, command string, cfg Config, stderr io.Writer) *Runtime {
	rt := &Runtime{
		Logger:   newLogger(stderr, name, cfg.LogLevel),
		Registry: prometheus.NewRegistry(),
		Command:  command,
		name:     name,
		cfg:      cfg,
		health:   newHealth(),
		mux:      http.NewServeMux(),
	}
	rt.live.Store(1)
	rt.Registry.MustRegister(
		rt.health,
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name:        "revstream_build_info",
			Help:        "1, labelled with what is running.",
			ConstLabels: prometheus.Labels{"service": name, "version": Version(), "goversion": runtime.Version()},
		}, func() float64 { return 1 }),
	)
	return rt
}

// Go runs a component. Its context ends when the process stops and everything started after it has returned. The
// first component that fails stops the process, which then exits 1; returning nil, or the context's error once the
// context has ended, is no failure. The process also stops when all components have returned.
func (rt *Runtime) Go(name string, component func(context.Context) error) {
	ctx, cancel := context.WithCancel(rt.base)
	done := make(chan struct{})
	rt.live.Add(1)
	go func() {
		defer close(done)
		defer rt.returned()
		if err := component(ctx); err != nil && (ctx.Err() == nil || !errors.Is(err, context.Canceled)) {
			rt.fail(name, err)
		}
	}()
	rt.Defer(name, func(deadline context.Context) error {
		cancel()
		select {
		case <-done:
			return nil
		case <-deadline.Done():
			return errStillBusy
		}
	})
}

// Defer has stop called when the process stops, after every component started later has returned. Its context ends
// with SHUTDOWN_TIMEOUT.
func (rt *Runtime) Defer(name string, stop func(context.Context) error) {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	rt.parts = append(rt.parts, part{name: name, stop: stop})
}

// Check makes readiness depend on check, under name.
func (rt *Runtime) Check(name string, check Check) { rt.health.add(name, check) }

// Handle serves a pattern of http.ServeMux on HTTP_ADDR. Handlers are served until everything else has stopped.
func (rt *Runtime) Handle(pattern string, handler http.Handler) { rt.mux.Handle(pattern, handler) }

// returned counts a component, or setup, as done: with the last of them the process is.
func (rt *Runtime) returned() {
	if rt.live.Add(-1) == 0 {
		rt.stop()
	}
}

// fail stops the process because of one of its parts. It logs at once, as the shutdown may take a while.
func (rt *Runtime) fail(name string, err error) {
	rt.failed.Store(true)
	rt.Logger.Error("component failed", "component", name, "error", err)
	rt.stop()
}

// run is the life of the process once its settings are known. ctx ends with the first signal. A part's failure has
// been logged and is errComponent here; any other error has not.
func (rt *Runtime) run(ctx context.Context, setup func(context.Context, *Runtime) error) error {
	rt.base = context.WithoutCancel(ctx)
	ctx, rt.stop = context.WithCancel(ctx)
	defer rt.stop()

	err := rt.start(ctx, setup)
	if err == nil {
		rt.health.setPhase(nil)
		if rt.live.Load() > 1 { // else setup was the whole work
			rt.Logger.Info("started", "version", Version(), "http_addr", rt.httpAddr)
		}
		rt.returned()
		<-ctx.Done()
	}
	rt.health.setPhase(errStopping)
	rt.unwind()
	switch {
	case rt.failed.Load() && (err == nil || errors.Is(err, context.Canceled)):
		return errComponent
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return errInterrupted
	}
	return err
}

// start brings the process's own parts up, which are therefore the last to stop, and then the binary's.
func (rt *Runtime) start(ctx context.Context, setup func(context.Context, *Runtime) error) error {
	stopTracing, err := startTracing(ctx, rt.name, rt.Logger)
	if err != nil {
		return err
	}
	rt.Defer("tracing", stopTracing)
	if err := rt.serve(ctx); err != nil {
		return err
	}
	return setup(ctx, rt)
}

// unwind stops the parts in the reverse order of their start, under one deadline for all of them.
func (rt *Runtime) unwind() {
	ctx, cancel := context.WithTimeout(rt.base, rt.cfg.ShutdownTimeout)
	defer cancel()
	for {
		rt.mu.Lock()
		if len(rt.parts) == 0 {
			rt.mu.Unlock()
			return
		}
		last := rt.parts[len(rt.parts)-1]
		rt.parts = rt.parts[:len(rt.parts)-1]
		rt.mu.Unlock()
		if err := last.stop(ctx); err != nil {
			rt.fail(last.name, err)
		}
	}
}
