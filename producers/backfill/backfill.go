// Package backfill owns reading a range of the past again, beside the live producers: under one correlation ID, in steps that an
// interruption does not repeat, and with one account at the end.
package backfill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/exportrun"
)

// The entities.
const (
	Forecast = "forecast"
	People   = "people"
)

// scope is that of the summary among the export runs.
const scope = "backfill"

// Config says what to read again. Embed it in a binary's settings.
type Config struct {
	Entity string `name:"entity" required:"" enum:"forecast,people" placeholder:"NAME" help:"What to read again: forecast or people." group:"Backfill"`
	Start  Date   `name:"start" required:"" placeholder:"2024-01-01" help:"First day, in UTC." group:"Backfill"`
	End    Date   `name:"end" placeholder:"2024-12-31" help:"Last day, in UTC; up to now if it is left out." group:"Backfill"`

	StateFile string `name:"state-file" placeholder:"PATH" help:"File that an interrupted run goes on from; by default in the working directory, named after entity and range." group:"Backfill"`
	Restart   bool   `name:"restart" help:"Begin anew, whatever the state file says." group:"Backfill"`
	DryRun    bool   `name:"dry-run" help:"Say what would be asked for and what it costs; publish nothing, and spend no export job." group:"Backfill"`
	RateLimit int    `name:"rate-limit" placeholder:"N" help:"Requests a minute to Clari, or points a minute of Salesloft's budget; by default as many as the live producers may." group:"Backfill"`
}

// Date is a day as people write it: 2024-01-31.
type Date struct{ time.Time }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Date) UnmarshalText(text []byte) error {
	t, err := time.Parse(time.DateOnly, string(text))
	if err != nil {
		return fmt.Errorf("want a day such as 2024-01-31, not %q", text)
	}
	d.Time = t
	return nil
}

func (d Date) String() string {
	if d.IsZero() {
		return ""
	}
	return d.Format(time.DateOnly)
}

// Validate names every setting that is wrong, at a time. It does no I/O.
func (cfg Config) Validate(now time.Time) error {
	var errs []error
	if cfg.Entity != Forecast && cfg.Entity != People {
		errs = append(errs, fmt.Errorf("--entity: want %s or %s", Forecast, People))
	}
	switch {
	case cfg.Start.IsZero():
		errs = append(errs, errors.New("--start is required: the first day, such as 2024-01-01"))
	case cfg.Start.After(now):
		errs = append(errs, fmt.Errorf("--start: %s has not come yet", cfg.Start))
	case !cfg.End.IsZero() && cfg.End.Before(cfg.Start.Time):
		errs = append(errs, fmt.Errorf("--end: %s is before --start %s", cfg.End, cfg.Start))
	}
	if cfg.End.After(now) {
		errs = append(errs, fmt.Errorf("--end: %s has not come yet: leave it out to read up to now", cfg.End))
	}
	if cfg.RateLimit < 0 {
		errs = append(errs, errors.New("--rate-limit: want more than 0"))
	}
	return errors.Join(errs...)
}

// until is the end of the range, which it is not part of.
func (cfg Config) until(now time.Time) time.Time {
	now = now.UTC().Truncate(time.Microsecond)
	if next := cfg.End.AddDate(0, 0, 1); !cfg.End.IsZero() && next.Before(now) {
		return next
	}
	return now
}

// stateFile is the file that is named, or the one that goes with the range.
func (cfg Config) stateFile() string {
	if cfg.StateFile != "" {
		return cfg.StateFile
	}
	end := cfg.End.String()
	if end == "" {
		end = "now"
	}
	return fmt.Sprintf("backfill-%s-%s-%s.json", cfg.Entity, cfg.Start, end)
}

// Source is what reads an entity again; a Forecasts or a Persons is one.
type Source interface {
	// Settings are those that decide what comes out, by variable: a run goes on with the same alone.
	Settings() map[string]string
	// estimate says what is to be asked for, and what that costs.
	estimate(ctx context.Context, r *record, out io.Writer) error
	// run goes on from where the record says. What it has entered there is safe when it calls save.
	run(ctx context.Context, r *record, show *progress, save func() error) error
	// summarize enters what is the entity's own into the account.
	summarize(r *record, run *exportrun.ExportRun)
}

// Publisher puts events on a topic; *publish.Publisher is one.
type Publisher interface {
	Publish(ctx context.Context, e event.Event) error
	Flush(ctx context.Context) error
}

// Deps is what a Backfill works with.
type Deps struct {
	Source   Source
	Runs     Publisher // of export runs; not used by a dry run
	Out      io.Writer // of progress and summary
	Terminal bool      // Out is one
}

// Backfill is one run, or what an interruption has left of it.
type Backfill struct {
	cfg    Config
	deps   Deps
	logger *slog.Logger
	now    func() time.Time
	saved  func() error // in tests: a crash after each write of the state file
}

// New checks the configuration.
func New(cfg Config, logger *slog.Logger, deps Deps) (*Backfill, error) {
	if err := cfg.Validate(time.Now()); err != nil {
		return nil, err
	}
	return &Backfill{cfg: cfg, deps: deps, logger: logger, now: time.Now, saved: func() error { return nil }}, nil
}

// Run begins, or goes on, and returns when all is published and accounted for. After an error the next Run goes on from there.
func (b *Backfill) Run(ctx context.Context) error {
	f := file{b.cfg.stateFile()}
	order := record{
		Entity: b.cfg.Entity, Start: b.cfg.Start.String(), End: b.cfg.End.String(), Settings: b.deps.Source.Settings(),
		Until: b.cfg.until(b.now()),
	}
	if b.cfg.DryRun {
		return b.deps.Source.estimate(ctx, &order, b.deps.Out)
	}
	if b.cfg.Restart {
		if err := f.forget(); err != nil {
			return err
		}
	}
	r, resumed, err := f.load(order, b.now())
	if err != nil {
		return err
	}
	if r.Finished {
		fmt.Fprintf(b.deps.Out, "finished already at %s, under the correlation ID %s (%s); --restart begins anew\n",
			r.CompletedAt.Format(time.DateTime), r.CorrelationID, f.path)
		return nil
	}
	ctx = resilience.WithCorrelationID(ctx, r.CorrelationID)
	what := "beginning"
	if resumed {
		what = "going on with"
	}
	fmt.Fprintf(b.deps.Out, "%s the backfill of %s from %s to %s, correlation ID %s, state in %s\n",
		what, r.Entity, r.Start, r.Until.Format(time.DateTime), r.CorrelationID, f.path)
	save := func() error {
		if err := f.save(r); err != nil {
			return err
		}
		return b.saved()
	}
	if err := b.run(ctx, r, save); err != nil {
		if ctx.Err() != nil {
			fmt.Fprintln(b.deps.Out, "interrupted: the same command goes on from here")
		}
		return fmt.Errorf("backfill %s: %w", r.CorrelationID, err)
	}
	return nil
}

// run does what the record says is left: the steps, the account, and the note that all is done.
func (b *Backfill) run(ctx context.Context, r *record, save func() error) error {
	if r.CompletedAt == nil {
		if err := save(); err != nil { // before anything costs something, and is published under this correlation ID
			return err
		}
		show := &progress{out: b.deps.Out, terminal: b.deps.Terminal, now: b.now}
		err := b.deps.Source.run(ctx, r, show, save)
		show.end()
		if err != nil {
			return err
		}
		// The account's version, and so its ID, must be the same however often a crash makes it published.
		completed := b.now().UTC().Truncate(time.Microsecond)
		r.CompletedAt = &completed
		if err := save(); err != nil {
			return err
		}
	}
	run := b.account(r)
	if err := event.Seal(run, event.Upsert, *r.CompletedAt, *r.CompletedAt, r.CorrelationID); err != nil {
		return err
	}
	if err := errors.Join(b.deps.Runs.Publish(ctx, run), b.deps.Runs.Flush(ctx)); err != nil {
		return fmt.Errorf("publishing the summary: %w", err)
	}
	r.Finished = true
	if err := save(); err != nil {
		return err
	}
	b.summarize(r, run)
	if run.Outcome == exportrun.Failed {
		return errAllFailed
	}
	return nil
}

// errAllFailed is returned by Run where nothing of the range could be exported: scripts go by the exit code.
var errAllFailed = errors.New("every export failed, the summary says why; --restart begins anew")

// account is the summary event.
func (b *Backfill) account(r *record) *exportrun.ExportRun {
	start, _ := time.Parse(time.DateOnly, r.Start) // it was one when the file was written
	run := &exportrun.ExportRun{
		RunID: "backfill:" + r.CorrelationID, OfEntity: r.Entity, Scope: scope, Kinds: []string{},
		WindowStart: &start, WindowEnd: &r.Until,
		RequestedAt: r.StartedAt, StartedAt: &r.StartedAt, EndedAt: r.CompletedAt, CompletedAt: *r.CompletedAt,
		RowsExpected: r.Rows, RowsPublished: r.Published, RowsUnchanged: r.Unchanged, RowsRejected: r.Rejected,
		Outcome: exportrun.Succeeded,
	}
	var problems []string
	if r.Rejected > 0 {
		problems = append(problems, fmt.Sprintf("%d were rejected", r.Rejected))
	}
	failed := 0
	for _, s := range r.Steps {
		if s.Error != "" {
			problems = append(problems, s.name()+": "+s.Error)
		}
		if s.Outcome == string(exportrun.Failed) || s.Outcome == string(exportrun.Cancelled) {
			failed++
		}
	}
	if len(problems) > 0 {
		text := strings.Join(problems, "; ")
		run.Outcome, run.Error = exportrun.Partial, &text
	}
	if failed > 0 && failed == len(r.Steps) {
		run.Outcome = exportrun.Failed
	}
	b.deps.Source.summarize(r, run)
	return run
}

func (b *Backfill) summarize(r *record, run *exportrun.ExportRun) {
	for _, s := range r.Steps {
		line := fmt.Sprintf("  %-40s %-9s %9d published %9d unchanged %6d rejected", s.name(), s.Outcome, s.Published, s.Unchanged, s.Rejected)
		if s.Error != "" {
			line += "  " + s.Error
		}
		fmt.Fprintln(b.deps.Out, line)
	}
	fmt.Fprintf(b.deps.Out, "%s in %s: %d rows, %d published, %d unchanged, %d rejected; correlation ID %s\n",
		run.Outcome, r.CompletedAt.Sub(r.StartedAt).Round(time.Second), r.Rows, r.Published, r.Unchanged, r.Rejected, r.CorrelationID)
}
