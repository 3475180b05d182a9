// Package forecast owns the export cycle: Clari's export jobs become one event for each value that changed, and one
// account of each job.
package forecast

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/producers/clari"
	"github.com/revstream/revstream/producers/publish"
	"github.com/revstream/revstream/producers/state"
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
	JobTimeout   time.Duration `name:"job-timeout" env:"CLARI_JOB_TIMEOUT" default:"10m" help:"After which an export job is cancelled." group:"Clari"`
	QuotaTimeout time.Duration `name:"quota-timeout" env:"CLARI_QUOTA_TIMEOUT" default:"1h" help:"For which a cycle waits for Clari's export quota." group:"Clari"`
}

// Deps is what an Exporter works with. All of it stays the caller's to close.
type Deps struct {
	Clari     *clari.Client
	State     *state.Store
	Forecasts *publish.Publisher // of revenue.forecast.v1
	Runs      *publish.Publisher // of revenue.export-runs.v1
	Kafka     *kgo.Client        // reads back what is published
	Schemas   wire.SchemaSource
	Metrics   prometheus.Registerer
}

// Exporter runs export cycles, one at a time and in each one job at a time: exports share the organisation's limit of
// concurrent jobs with its people.
type Exporter struct {
	cfg     Config
	deps    Deps
	logger  *slog.Logger
	metrics *metrics
	health  health
	wait    func(context.Context, time.Duration) error // resilience.Sleep, but in tests

	// The goroutine of Run or RunOnce alone uses these.
	known       *Known   // nil until it is read, and after a failure that makes it doubtful
	unsupported []string // types that the tenant refuses
	// done is which jobs the cycle that was broken off, or the one left behind by an earlier process, need not be asked for
	// again: each costs one of the export quota. Only jobs of the last interval count.
	done []job
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
	for _, t := range cfg.Types {
		if !slices.Contains(known, t) {
			errs = append(errs, fmt.Errorf("CLARI_TYPES (or --clari-types): %q is none of %s", t, strings.Join(known, ", ")))
		}
	}
	if cfg.Quarters < 1 {
		errs = append(errs, errors.New("CLARI_QUARTERS: want at least 1"))
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"CLARI_INTERVAL", cfg.Interval}, {"CLARI_POLL_INTERVAL", cfg.PollInterval},
		{"CLARI_JOB_TIMEOUT", cfg.JobTimeout}, {"CLARI_QUOTA_TIMEOUT", cfg.QuotaTimeout},
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
	return &Exporter{cfg: cfg, deps: deps, logger: logger, metrics: m, health: newHealth(cfg.Interval), wait: resilience.Sleep}, nil
}

// Between the end of a cycle that was broken off and the next try; never more than the interval.
const (
	firstRetry = time.Minute
	lastRetry  = 15 * time.Minute
)

// Run runs a cycle at once and then one every interval, until ctx ends. A cycle that fails is logged, shown by Check, and
// followed by the next: soon, if something broke it off, as that may pass; after the interval, if only jobs of it failed.
func (e *Exporter) Run(ctx context.Context) error {
	var retry time.Duration
	for {
		start := time.Now()
		completed, _ := e.runCycle(ctx)
		wait := e.cfg.Interval - time.Since(start)
		if completed {
			retry = 0
		} else {
			retry = min(max(2*retry, firstRetry), lastRetry, e.cfg.Interval)
			wait = retry
		}
		if err := e.wait(ctx, wait); err != nil {
			return err
		}
	}
}

// RunOnce runs one cycle. It returns an error if any of its jobs failed.
func (e *Exporter) RunOnce(ctx context.Context) error {
	_, err := e.runCycle(ctx)
	return err
}

// runCycle runs a cycle under an ID of its own. completed tells whether each of its jobs is over, well or not.
func (e *Exporter) runCycle(ctx context.Context) (completed bool, err error) {
	id := uuid.NewString()
	ctx = resilience.WithCorrelationID(ctx, id)
	failures, err := e.cycle(ctx)
	if completed = err == nil; completed {
		e.done = nil
	}
	err = errors.Join(append(failures, err)...)
	e.health.finished(err)
	if err == nil {
		return completed, nil
	}
	if ctx.Err() == nil {
		e.logger.ErrorContext(ctx, "export cycle failed", "error", err)
	}
	return completed, fmt.Errorf("export cycle %s: %w", id, err)
}

// jobError is the failure of a job that is over and accounted for: the cycle goes on to the next. After any other error
// the job may be waiting to be resumed, and a new one would take its place in the state.
type jobError struct {
	what string // "forecast 2026_Q1"
	err  error
}

func (e *jobError) Error() string { return fmt.Sprintf("exporting %s: %v", e.what, e.err) }
func (e *jobError) Unwrap() error { return e.err }

// cycle exports every forecast. err is what broke it off before all of its jobs were over.
func (e *Exporter) cycle(ctx context.Context) (failures []error, err error) {
	if e.known == nil {
		known, err := LoadKnown(ctx, e.deps.Kafka, e.deps.Schemas, e.logger)
		if err != nil {
			return nil, err
		}
		e.known = known
		e.metrics.known(known)
	}
	e.done = slices.DeleteFunc(e.done, func(j job) bool { return time.Since(j.RequestedAt) > e.cfg.Interval })
	if failures, err = e.resume(ctx); err != nil {
		return failures, err
	}
	for _, forecastID := range e.cfg.ForecastIDs {
		failed, err := e.exportForecast(ctx, forecastID)
		failures = append(failures, failed...)
		if err != nil {
			return failures, err
		}
	}
	return failures, nil
}

// exportForecast exports the current quarter, which is the one that Clari answers with when none is asked for, as fiscal
// years differ, and then those before it. What is done already is left out.
func (e *Exporter) exportForecast(ctx context.Context, forecastID string) (failures []error, err error) {
	period := ""
	for n := range e.cfg.Quarters {
		found, err := e.exportOnce(ctx, forecastID, period)
		var failed *jobError
		if errors.As(err, &failed) {
			failures = append(failures, failed)
		} else if err != nil {
			return failures, err
		}
		if n == 0 {
			if failed != nil { // it is not known which quarters are before the current one
				return failures, nil
			}
			period = found
		}
		if period, err = previous(period); err != nil {
			return append(failures, &jobError{forecastID, err}), nil
		}
	}
	return failures, nil
}

// exportOnce exports a time period unless that is done, and returns the one that the results are of.
func (e *Exporter) exportOnce(ctx context.Context, forecastID, period string) (string, error) {
	for _, j := range e.done {
		if j.ForecastID == forecastID && j.Asked == period {
			return j.Period, nil
		}
	}
	j, err := e.export(ctx, forecastID, period)
	if err == nil {
		e.done = append(e.done, j)
	}
	return j.Period, err
}

var quarter = regexp.MustCompile(`^(\d{4})_Q([1-4])$`)

// previous is the quarter before one: 2025_Q4 for 2026_Q1.
func previous(period string) (string, error) {
	m := quarter.FindStringSubmatch(period)
	if m == nil {
		return "", fmt.Errorf("time period %q is not of the form 2026_Q1", period)
	}
	year, _ := strconv.Atoi(m[1])
	q, _ := strconv.Atoi(m[2])
	if q--; q == 0 {
		year, q = year-1, 4
	}
	return fmt.Sprintf("%04d_Q%d", year, q), nil
}
