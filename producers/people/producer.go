package people

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/pipeline/tracing"
	"github.com/revstream/revstream/producers/publish"
	"github.com/revstream/revstream/producers/salesloft"
	"github.com/revstream/revstream/producers/state"
	"github.com/revstream/revstream/schemas/event"
)

// EventSource is the ce_source of the events.
const EventSource = "/salesloft"

// Source lists what has changed; *salesloft.Client is one.
type Source interface {
	Changes(ctx context.Context, since, until time.Time) iter.Seq2[salesloft.Batch, error]
}

// Publisher puts events on a topic; *publish.Publisher is one, whose documentation says what each method promises.
type Publisher interface {
	Publish(ctx context.Context, e event.Event) error
	Flush(ctx context.Context) error
}

// Topic also takes what can never become one of its events; *publish.Publisher is one.
type Topic interface {
	Publisher
	Reject(ctx context.Context, r publish.Rejection) error
}

// State keeps values by name; *state.Store is one. What Save was given is durable when it returns; what other processes have
// saved is there after Sync.
type State interface {
	Load(name string, into any) (bool, error)
	Save(ctx context.Context, name string, v any) error
	Sync(ctx context.Context) error
}

// Locks lets one process at a time hold a lock; *state.Store is one.
type Locks interface {
	Lock(ctx context.Context, name string) (*state.Lock, error)
}

// Config says how to poll. Embed it in a binary's settings.
type Config struct {
	Interval time.Duration `name:"interval" env:"POLL_INTERVAL" default:"1m" help:"From the start of one sync window to the next." group:"Polling"`
	Overlap  time.Duration `name:"overlap" env:"POLL_OVERLAP" default:"5m" help:"How far each window looks back behind the newest change, for changes that the source shows late." group:"Polling"`
	// A source that has changed its format must not be emptied into the dead-letter topic.
	MaxRejected int `name:"max-rejected" env:"POLL_MAX_REJECTED" default:"1000" help:"Records that are dead-lettered on the way to the end of the changes; with more, windows fail until this is raised or the records can be read." group:"Polling"`
}

// Deps is what a Producer works with; each field is required but for Locks, which Run alone needs.
type Deps struct {
	Source  Source
	People  Topic     // of people events
	Runs    Publisher // of export-run events
	State   State
	Locks   Locks // for Run
	Metrics prometheus.Registerer
}

// Producer polls Salesloft for people that have changed. One goroutine at a time may run it.
type Producer struct {
	cfg     Config
	logger  *slog.Logger
	deps    Deps
	metrics windowMetrics

	now            func() time.Time
	checkpointRows int // how many records a crash in a long window can cause to be published again

	mu       sync.Mutex // guards what follows: written by Run and RunOnce, read by Check
	standby  bool       // another process polls
	failure  error      // of the last window; nil once one has succeeded
	progress time.Time  // when a window last succeeded or got on
	cursor   time.Time  // newest updated_at published, for the health document
}

// Validate names every setting that is wrong. It does no I/O.
func (cfg Config) Validate() error {
	var errs []error
	if cfg.Interval <= 0 {
		errs = append(errs, fmt.Errorf("POLL_INTERVAL must be positive (or --interval), not %s", cfg.Interval))
	}
	if cfg.Overlap < 0 {
		errs = append(errs, fmt.Errorf("POLL_OVERLAP must not be negative (or --overlap), not %s", cfg.Overlap))
	}
	if cfg.MaxRejected < 0 {
		errs = append(errs, fmt.Errorf("POLL_MAX_REJECTED must not be negative (or --max-rejected), not %d", cfg.MaxRejected))
	}
	return errors.Join(errs...)
}

// New checks the configuration. It does no I/O.
func New(cfg Config, logger *slog.Logger, deps Deps) (*Producer, error) {
	invalid := cfg.Validate()
	metrics, err := newWindowMetrics(deps.Metrics)
	if err := errors.Join(invalid, err); err != nil {
		return nil, err
	}
	return &Producer{
		cfg: cfg, logger: logger, deps: deps, metrics: metrics,
		now: time.Now, checkpointRows: 5_000, progress: time.Now(),
	}, nil
}

// pollLock is the name of the lock that the process holds which polls.
const pollLock = "poll"

// Run waits until this process alone is to poll, then runs a window at once and one every Interval, until ctx ends. A window
// that fails is logged, shown by Check and made up for by the next one.
func (p *Producer) Run(ctx context.Context) error {
	for {
		p.setStandby(true)
		lock, err := p.deps.Locks.Lock(ctx, pollLock)
		switch {
		case ctx.Err() != nil:
			if lock != nil {
				lock.Unlock()
			}
			return nil
		case err != nil:
			p.failed(ctx, err)
			if resilience.Sleep(ctx, p.cfg.Interval) != nil {
				return nil
			}
			continue
		}
		p.setStandby(false)
		p.poll(lock.Context())
		lock.Unlock()
		if ctx.Err() != nil {
			return nil
		}
		p.logger.WarnContext(ctx, "polling has been lost to another process", "reason", context.Cause(lock.Context()))
	}
}

// poll runs windows until ctx ends.
func (p *Producer) poll(ctx context.Context) {
	ticker := time.NewTicker(p.cfg.Interval)
	defer ticker.Stop()
	for {
		_ = p.RunOnce(ctx) // which logs it
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// setStandby notes whether another process polls. What has become of this one's windows no longer matters then, and one that
// begins to poll has as much time as one that starts.
func (p *Producer) setStandby(standby bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.standby, p.failure, p.progress = standby, nil, p.now()
}

func (p *Producer) failed(ctx context.Context, err error) {
	p.logger.ErrorContext(ctx, "getting to poll failed", "error", err)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failure = err
}

// RunOnce runs one window: everything that changed since the last one is on the topic when it returns nil, except for
// records that were rejected, which are logged and make the export run PARTIAL. After an error the next window goes on
// where this one had come to.
func (p *Producer) RunOnce(ctx context.Context) error {
	ctx, span := startSpan(resilience.WithCorrelationID(ctx, uuid.NewString()), "people window")
	err := p.runWindow(ctx)
	tracing.End(span, err)
	if err != nil && ctx.Err() == nil {
		p.logger.ErrorContext(ctx, "sync window failed", "error", err)
	}
	switch {
	case err == nil:
		p.metrics.authFailed.Set(0)
	case errors.Is(err, salesloft.ErrInvalidGrant), errors.Is(err, salesloft.ErrUnauthorized), errors.Is(err, salesloft.ErrMissingSecret):
		p.metrics.authFailed.Set(1)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failure = err
	if err == nil {
		p.progress = p.now()
	}
	return err
}

// startSpan starts the span of a run, which the context's correlation ID is of.
func startSpan(ctx context.Context, name string, opts ...trace.SpanStartOption) (context.Context, trace.Span) {
	return tracing.Start(ctx, name, append(opts, tracing.With(attribute.String(tracing.Source, "salesloft"), attribute.String(tracing.Entity, "people")))...)
}

// advanced notes that a window got on: a first sync may take hours and is no standstill.
func (p *Producer) advanced(cursor time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.progress, p.cursor = p.now(), cursor
}

// Check is a readiness check: degraded when the last window failed, or when none has got on for three intervals and a
// minute, whatever it may be waiting for. A process that stands by while another polls is healthy.
func (p *Producer) Check(context.Context) (map[string]any, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.standby {
		if p.failure != nil {
			return map[string]any{"standby": true}, p.failure
		}
		return map[string]any{"standby": true}, nil
	}
	details := map[string]any{"last_progress": p.progress.UTC().Format(time.RFC3339)}
	if !p.cursor.IsZero() {
		details["cursor"] = p.cursor.Format(time.RFC3339Nano)
	}
	if p.failure != nil {
		return details, fmt.Errorf("the last sync window failed: %w", p.failure)
	}
	if idle := p.now().Sub(p.progress); idle > 3*p.cfg.Interval+time.Minute {
		return details, fmt.Errorf("no sync window has got on for %s", idle.Truncate(time.Second))
	}
	return details, nil
}
