// Package forecast owns the export cycle: Clari's export jobs become one event for each value that changed, and one
// account of each job.
package forecast

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/pipeline/snapshot"
	"github.com/revstream/revstream/producers/clari"
	"github.com/revstream/revstream/producers/publish"
	"github.com/revstream/revstream/producers/state"
	"github.com/revstream/revstream/schemas/exportrun"
	"github.com/revstream/revstream/schemas/wire"
)

// Config says what to export and how often. Embed it in a binary's settings.
type Config struct {
	ForecastIDs []string `name:"clari-forecast-ids" env:"CLARI_FORECAST_IDS" required:"" placeholder:"ID" help:"Clari forecasts to export, separated by commas." group:"Clari"`
	Types       []string `name:"clari-types" env:"CLARI_TYPES" default:"forecast,quota,forecast_updated,adjustment,crm_total,crm_closed" help:"Kinds of value to export. What the tenant does not support is left out." group:"Clari"`
	ScopeID     string   `name:"clari-scope-id" env:"CLARI_SCOPE_ID" help:"Clari scope to export; that of the key's owner if empty." group:"Clari"`
	Currency    string   `name:"clari-currency" env:"CLARI_CURRENCY" help:"ISO 4217 code of the currency to export in; Clari's default if empty." group:"Clari"`
	Quarters    int      `name:"quarters" env:"CLARI_QUARTERS" default:"5" help:"Quarters to export: the current one and those before it." group:"Clari"`
	Historical  bool     `name:"historical" env:"CLARI_HISTORICAL" default:"true" negatable:"" help:"Export every week of a quarter rather than the latest." group:"Clari"`

	Interval     time.Duration `name:"interval" env:"CLARI_INTERVAL" default:"6h" help:"From the start of one cycle to that of the next. A cycle takes an export job of the quota for each forecast and quarter." group:"Clari"`
	PollInterval time.Duration `name:"poll-interval" env:"CLARI_POLL_INTERVAL" default:"15s" help:"Between two looks at a running export job." group:"Clari"`
	JobTimeout   time.Duration `name:"job-timeout" env:"CLARI_JOB_TIMEOUT" default:"10m" help:"After which an export job is cancelled and asked for again." group:"Clari"`

	QuotaReserve       float64 `name:"quota-reserve" env:"CLARI_QUOTA_RESERVE" default:"0.1" help:"Share of Clari's monthly export quota that is left to people, such as 0.1." group:"Clari"`
	ConcurrencyReserve int     `name:"concurrency-reserve" env:"CLARI_CONCURRENCY_RESERVE" default:"1" help:"Of Clari's concurrent exports, how many are left to people; where there is but one, none." group:"Clari"`

	Publish string `name:"publish" env:"CLARI_PUBLISH" enum:"changed,all" default:"changed" help:"What of an export to publish: what has changed, or all; what stands on the topic already then comes once more as the event it is." group:"Clari"`
}

// LockName is that of the lock under which export jobs are run.
const LockName = "export"

// Values of Config.Publish.
const (
	PublishChanged = "changed"
	PublishAll     = "all"
)

// Deps is what an Exporter works with. All of it stays the caller's to close.
type Deps struct {
	Clari     *clari.Client
	State     *state.Store
	Forecasts *publish.Publisher // of revenue.forecast.v1
	Runs      *publish.Publisher // of revenue.export-runs.v1
	Kafka     *kgo.Client        // reads back what is published
	Schemas   wire.SchemaSource
	Metrics   prometheus.Registerer
	Keys      func(n int) // is told, as they grow, how many keys are kept in memory, such as LimitMemory returns; may be nil
}

// Exporter runs export cycles, one at a time and in each one job at a time: exports share the organisation's limit of
// concurrent jobs with its people. Of several processes, replicas and backfills, one at a time has a job.
type Exporter struct {
	cfg      Config
	deps     Deps
	logger   *slog.Logger
	metrics  *metrics
	health   health
	settings string
	wait     func(context.Context, time.Duration) error // resilience.Sleep, but in tests

	// The goroutine of Run, RunOnce or ExportPeriod alone uses these.
	known       *Known   // nil until it is read, and after a failure that makes it doubtful
	unsupported []string // types that the tenant refuses
	unlimited   bool     // that the key may not see the export limits was said
	rejected    rejections
}

// Validate names every setting that is wrong. It does no I/O.
func (cfg Config) Validate() error {
	var errs []error
	if len(cfg.ForecastIDs) == 0 || slices.Contains(cfg.ForecastIDs, "") {
		errs = append(errs, errors.New("CLARI_FORECAST_IDS: want forecast IDs, separated by commas"))
	}
	for _, id := range cfg.ForecastIDs {
		if strings.Contains(id, "|") {
			errs = append(errs, fmt.Errorf("CLARI_FORECAST_IDS: %q contains |, which separates the parts of a key", id))
		}
	}
	if len(cfg.Types) == 0 {
		errs = append(errs, errors.New("CLARI_TYPES: want at least one"))
	}
	known := clari.Types()
	for i, t := range cfg.Types {
		if !slices.Contains(known, t) {
			errs = append(errs, fmt.Errorf("CLARI_TYPES (or --clari-types): %q is none of %s", t, strings.Join(known, ", ")))
		}
		if slices.Contains(cfg.Types[:i], t) {
			errs = append(errs, fmt.Errorf("CLARI_TYPES (or --clari-types): %q is there twice", t))
		}
	}
	if cfg.Quarters < 1 {
		errs = append(errs, errors.New("CLARI_QUARTERS: want at least 1"))
	}
	if cfg.QuotaReserve < 0 || cfg.QuotaReserve >= 1 {
		errs = append(errs, errors.New("CLARI_QUOTA_RESERVE: want a share from 0 to below 1"))
	}
	if cfg.ConcurrencyReserve < 0 {
		errs = append(errs, errors.New("CLARI_CONCURRENCY_RESERVE: want at least 0"))
	}
	if cfg.Publish != PublishChanged && cfg.Publish != PublishAll {
		errs = append(errs, fmt.Errorf("CLARI_PUBLISH (or --publish): want %s or %s", PublishChanged, PublishAll))
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"CLARI_INTERVAL", cfg.Interval}, {"CLARI_POLL_INTERVAL", cfg.PollInterval}, {"CLARI_JOB_TIMEOUT", cfg.JobTimeout},
	} {
		if d.value <= 0 {
			errs = append(errs, fmt.Errorf("%s: want more than 0", d.name))
		}
	}
	return errors.Join(errs...)
}

// New checks the configuration.
func New(cfg Config, logger *slog.Logger, deps Deps) (*Exporter, error) {
	invalid := cfg.Validate()
	m, err := newMetrics(deps.Metrics)
	if err := errors.Join(invalid, err); err != nil {
		return nil, err
	}
	return &Exporter{
		cfg: cfg, deps: deps, logger: logger, metrics: m, health: newHealth(cfg.Interval), settings: cfg.settings(), wait: resilience.Sleep,
	}, nil
}

// Between the end of a cycle that was broken off and the next try; never more than the interval.
const (
	firstRetry = time.Minute
	lastRetry  = 15 * time.Minute
)

// Run runs a cycle at once and then one every interval, until ctx ends. What was exported within the last interval, by this process
// or another, is not exported again. A cycle that fails is logged, shown by Check, and followed by the next: soon, if something
// broke it off, as that may pass; after the interval, if only jobs of it failed.
func (e *Exporter) Run(ctx context.Context) error {
	var retry time.Duration
	c := cycle{start: time.Now()}
	for {
		completed, due, _ := e.runCycle(ctx, c)
		wait := time.Until(due)
		if completed {
			retry = 0
		} else {
			retry = min(max(2*retry, firstRetry), lastRetry, e.cfg.Interval)
			wait = retry
		}
		if err := e.wait(ctx, wait); err != nil {
			return err
		}
		// A cycle that was broken off goes on as the one it was: all that it exports is due again at the same time.
		if now := time.Now(); completed || now.Sub(c.start) >= e.cfg.Interval {
			c.start = now
		}
	}
}

// RunOnce runs one cycle, whatever was exported before. It returns an error if any of its jobs failed.
func (e *Exporter) RunOnce(ctx context.Context) error {
	_, _, err := e.runCycle(ctx, cycle{start: time.Now(), all: true})
	return err
}

// cycle is what a cycle exports: what it has not exported yet, and nobody has within the interval.
type cycle struct {
	start time.Time
	all   bool // whatever was exported before it
}

// done tells whether the cycle need not export again what a past run was of.
func (c cycle) done(p past, interval time.Duration) bool {
	if c.all {
		return !p.CycleAt.Before(c.start)
	}
	return p.CycleAt.After(c.start.Add(-interval))
}

// runCycle runs a cycle under an ID of its own. completed tells whether each of its jobs is over, well or not, and due when the
// next of them is to be repeated.
func (e *Exporter) runCycle(ctx context.Context, c cycle) (completed bool, due time.Time, err error) {
	c.start = c.start.Round(0) // the wall clock's, as the state has it
	id := uuid.NewString()
	ctx = resilience.WithCorrelationID(ctx, id)
	failures, due, err := e.cycle(ctx, c)
	completed = err == nil
	err = errors.Join(append(failures, err)...)
	e.health.finished(err)
	if err == nil {
		return completed, due, nil
	}
	if ctx.Err() == nil {
		e.logger.ErrorContext(ctx, "export cycle failed", "error", err)
	}
	return completed, due, fmt.Errorf("export cycle %s: %w", id, err)
}

// jobError is the failure of a run that is over: the cycle goes on to the next. After any other error the job may be waiting to be
// resumed, and a new one would take its place in the state.
type jobError struct {
	what string // "forecast 2026_Q1"
	err  error
}

func (e *jobError) Error() string { return fmt.Sprintf("exporting %s: %v", e.what, e.err) }
func (e *jobError) Unwrap() error { return e.err }

// cycle exports every forecast. err is what broke it off before all of its jobs were over.
func (e *Exporter) cycle(ctx context.Context, c cycle) (failures []error, due time.Time, err error) {
	due = c.start.Add(e.cfg.Interval)
	if e.known == nil { // before the lock is taken, as it may take a while
		if err := e.refresh(ctx); err != nil {
			return nil, due, err
		}
	}
	// A job that a process has left behind may be of what the cycle does not export.
	if err := e.locked(ctx, func(ctx context.Context) error {
		over, err := e.resume(ctx, c)
		failed, ok := errors.AsType[*jobError](err)
		if ok && !over.past.CycleAt.Equal(c.start) { // else exporting the forecast tells of it
			failures = append(failures, failed)
		}
		return unlessOver(err)
	}); err != nil {
		return failures, due, err
	}
	for _, forecastID := range e.cfg.ForecastIDs {
		failed, err := e.exportForecast(ctx, c, forecastID, &due)
		failures = append(failures, failed...)
		if err != nil {
			return failures, due, err
		}
	}
	return failures, due, nil
}

// exportForecast exports the current quarter, which is the one that Clari answers with when none is asked for, as fiscal
// years differ, and then those before it. What is done already is left out.
func (e *Exporter) exportForecast(ctx context.Context, c cycle, forecastID string, due *time.Time) (failures []error, err error) {
	asked := ""
	for n := range e.cfg.Quarters {
		last, err := e.exportUnlessDone(ctx, c, forecastID, asked)
		failed, _ := errors.AsType[*jobError](err)
		switch {
		case failed != nil:
			failures = append(failures, failed)
		case err != nil:
			return failures, err
		}
		if last.CycleAt.IsZero() { // Clari refuses the forecast: also for the other quarters
			return failures, nil
		}
		if next := last.CycleAt.Add(e.cfg.Interval); next.Before(*due) {
			*due = next
		}
		if asked = last.Before; asked == "" && n+1 < e.cfg.Quarters {
			if failed == nil {
				failures = append(failures, &jobError{forecastID, fmt.Errorf("which quarter is before %s is not known", last.Period)})
			}
			return failures, nil // it is not known which quarters are before this one
		}
	}
	return failures, nil
}

// exportUnlessDone returns the run of a time period, which is a past one if that is done.
func (e *Exporter) exportUnlessDone(ctx context.Context, c cycle, forecastID, asked string) (last past, err error) {
	look := func() (done bool, err error) {
		last, err = e.lastRun(forecastID, asked)
		return err == nil && c.done(last, e.cfg.Interval), err
	}
	done, err := look()
	if !done && err == nil {
		err = e.locked(ctx, func(ctx context.Context) error {
			if _, err := e.resume(ctx, c); unlessOver(err) != nil {
				return err
			}
			if done, err = look(); done || err != nil { // another process was faster
				return err
			}
			ended, err := e.export(ctx, c.start, forecastID, asked)
			last = ended.past
			return err
		})
	}
	switch {
	case err != nil || !done:
		return last, err
	case last.Failed != "":
		return last, &jobError{job{ForecastID: forecastID, Asked: asked}.what(), errors.New(last.Failed)}
	default:
		e.metrics.succeeded(last.CycleAt)
		return last, nil
	}
}

// unlessOver is an error that does not concern a single run, which is over.
func unlessOver(err error) error {
	if _, ok := errors.AsType[*jobError](err); ok {
		return nil
	}
	return err
}

// ExportPeriod exports one time period, the current one if period is empty, whatever was exported before, and returns the account of
// the run. A run of the period that a process has left behind lately it finishes instead. A run that failed has both
// an account and an error. The context's correlation ID is that of the run.
func (e *Exporter) ExportPeriod(ctx context.Context, forecastID, period string) (run exportrun.ExportRun, err error) {
	err = e.locked(ctx, func(ctx context.Context) error {
		now := time.Now().UTC()
		over, err := e.resume(ctx, cycle{start: now})
		if unlessOver(err) != nil {
			return err
		}
		if p := over.past; p.ForecastID != forecastID || p.Period != period && period != "" || period == "" && !p.Current || !p.CycleAt.Equal(now) {
			over, err = e.export(ctx, now, forecastID, period)
		}
		run = over.run
		return err
	})
	return run, err
}

// locked runs do as the one process that exports, knowing what others have done before it.
func (e *Exporter) locked(ctx context.Context, do func(context.Context) error) error {
	lock, err := e.deps.State.Lock(ctx, LockName)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	ctx = lock.Context()
	err = e.deps.State.Sync(ctx)
	if err == nil {
		err = e.refresh(ctx)
	}
	if err == nil {
		err = do(ctx)
	}
	if err != nil && errors.Is(context.Cause(ctx), state.ErrLockLost) {
		return fmt.Errorf("%w: %w", state.ErrLockLost, err)
	}
	return err
}

// refresh makes known what stands on the topic.
func (e *Exporter) refresh(ctx context.Context) (err error) {
	for range 2 {
		if e.known == nil {
			e.known = newKnown()
			e.known.facts.grown = e.deps.Keys
		}
		if err = e.known.Refresh(ctx, e.deps.Kafka, e.deps.Schemas, e.logger); err == nil {
			e.metrics.known(e.known)
			return nil
		}
		e.known = nil
		if !errors.Is(err, snapshot.ErrShrunk) { // else it is another topic than was read, to be read from its beginning
			break
		}
	}
	return err
}
