package people

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/pipeline/tracing"
	"github.com/revstream/revstream/producers/publish"
	"github.com/revstream/revstream/producers/salesloft"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/exportrun"
	"github.com/revstream/revstream/schemas/people"
)

// ErrTooManyMissing is returned by a reconciliation that found so many people missing that the credentials' sight is more
// likely what has changed. It has published nothing.
var ErrTooManyMissing = errors.New("too many people are missing at the source")

const (
	reconcileLock = "reconcile"
	reconcileName = "people-reconciled" // in the state: when a reconciliation last ended well
	// reconcileFirst is how long after its start a process waits for its first one, for the first sync to have begun.
	reconcileFirst = 15 * time.Minute
	// reconcileAgain is how long after a failure the next one begins.
	reconcileAgain = time.Hour
	// settled is how old a change must be to count as missed: what is younger the polling may still be on its way to.
	settled = 15 * time.Minute
	// someMissing may be missing in any case, and else a tenth of all.
	someMissing = 100
)

// Directory tells who exists; *salesloft.Client is one, whose documentation says what each method promises.
type Directory interface {
	Present(ctx context.Context, ids []int64) (map[int64]time.Time, error)
	Exists(ctx context.Context, id int64) (bool, error)
	People(ctx context.Context, query salesloft.Query) (salesloft.Page, error)
}

// ReconcileConfig says how to reconcile. Embed it in a binary's settings.
type ReconcileConfig struct {
	Interval   time.Duration `name:"reconcile-interval" env:"RECONCILE_INTERVAL" default:"24h" help:"From one reconciliation to the next, which finds people that were deleted or missed; 0 for none." group:"Reconciliation"`
	MaxDeletes int           `name:"reconcile-max-deletes" env:"RECONCILE_MAX_DELETES" default:"0" help:"With more people missing, none of them is published as deleted; 0 for a tenth of all, and at least 100." group:"Reconciliation"`
}

// Validate names every setting that is wrong. It does no I/O.
func (cfg ReconcileConfig) Validate() error {
	var errs []error
	if cfg.Interval < 0 {
		errs = append(errs, fmt.Errorf("RECONCILE_INTERVAL must not be negative (or --reconcile-interval), not %s", cfg.Interval))
	}
	if cfg.MaxDeletes < 0 {
		errs = append(errs, fmt.Errorf("RECONCILE_MAX_DELETES must not be negative (or --reconcile-max-deletes), not %d", cfg.MaxDeletes))
	}
	return errors.Join(errs...)
}

// ReconcileDeps is what a Reconciler works with; each field is required. Publishers are its own: a Flush tells of the failures
// of all who publish by the same one.
type ReconcileDeps struct {
	Source  Directory // in the background of the budget
	Roster  *Roster
	People  Publisher // of people events
	Runs    Publisher // of export-run events
	State   State
	Locks   Locks
	Metrics prometheus.Registerer
}

// Reconciler holds who is on the topic against who exists at the source. No list shows deletions, and a webhook that was lost
// is lost: what it would have brought, a reconciliation brings.
type Reconciler struct {
	cfg     ReconcileConfig
	logger  *slog.Logger
	deps    ReconcileDeps
	metrics reconcileMetrics
	now     func() time.Time

	mu      sync.Mutex // guards what follows: written by Run and RunOnce, read by Check
	last    time.Time  // when one last ended well, as far as this process knows
	failure error      // of the last one
}

// NewReconciler checks the configuration. It does no I/O.
func NewReconciler(cfg ReconcileConfig, logger *slog.Logger, deps ReconcileDeps) (*Reconciler, error) {
	invalid := cfg.Validate()
	metrics, err := newReconcileMetrics(deps.Metrics)
	if err := errors.Join(invalid, err); err != nil {
		return nil, err
	}
	return &Reconciler{cfg: cfg, logger: logger, deps: deps, metrics: metrics, now: time.Now}, nil
}

// Run reconciles every Interval, in one process of all at a time, until ctx ends.
func (r *Reconciler) Run(ctx context.Context) error {
	wait := min(reconcileFirst, r.cfg.Interval)
	for resilience.Sleep(ctx, wait) == nil {
		var err error
		if wait, err = r.turn(ctx); err != nil && ctx.Err() == nil {
			r.logger.ErrorContext(ctx, "reconciliation failed", "error", err)
			wait = min(reconcileAgain, r.cfg.Interval)
		}
	}
	return nil
}

// turn reconciles if it is time to, and returns how long it is until the next one.
func (r *Reconciler) turn(ctx context.Context) (time.Duration, error) {
	lock, err := r.deps.Locks.Lock(ctx, reconcileLock)
	if err != nil {
		return 0, err
	}
	defer lock.Unlock()
	ctx = lock.Context()
	if err := r.deps.State.Sync(ctx); err != nil {
		return 0, err
	}
	var last time.Time
	if _, err := r.deps.State.Load(reconcileName, &last); err != nil {
		return 0, err
	}
	if wait := r.cfg.Interval - r.now().Sub(last); wait > 0 {
		r.done(last, nil) // perhaps another process did it
		return wait, nil
	}
	err = r.RunOnce(ctx)
	return r.cfg.Interval, err
}

// RunOnce reconciles now.
func (r *Reconciler) RunOnce(ctx context.Context) (err error) {
	ctx, span := startSpan(resilience.WithCorrelationID(ctx, uuid.NewString()), "people reconciliation")
	defer func() { tracing.End(span, err) }()
	out, cancel := outlasting(ctx, stopGrace)
	defer cancel()
	run := &reconciliation{Reconciler: r, id: resilience.CorrelationID(ctx), began: r.now()}
	err = run.reconcile(ctx, out)
	err = errors.Join(err, run.end(ctx, out, err))
	if err == nil {
		err = r.deps.State.Save(out, reconcileName, run.began)
	}
	r.done(run.began, err)
	return err
}

func (r *Reconciler) done(at time.Time, err error) {
	r.metrics.blocked.Set(0)
	if errors.Is(err, ErrTooManyMissing) {
		r.metrics.blocked.Set(1)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failure = err; err == nil {
		r.last = at
		r.metrics.last.Set(float64(at.Unix()))
	}
}

// Check is a readiness check: degraded while so many people are missing that somebody has to look. Other failures are made up
// for by the next reconciliation.
func (r *Reconciler) Check(context.Context) (map[string]any, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	details := map[string]any{}
	if !r.last.IsZero() {
		details["last"] = r.last.UTC().Format(time.RFC3339)
	}
	switch {
	case errors.Is(r.failure, ErrTooManyMissing):
		return details, r.failure
	case r.failure != nil:
		details["failure"] = r.failure.Error()
	}
	return details, nil
}

// reconciliation is one, and its account.
type reconciliation struct {
	*Reconciler
	id        string // correlation ID
	began     time.Time
	run       exportrun.ExportRun
	published int64
	missing   []member
	missed    []int64 // changed at the source, and not on the topic
}

// reconcile asks with ctx, and publishes with out.
//
// A person who is changed or made anew meanwhile wins over what is published here by the version of the change: what is
// deleted has the time at which it was found to be.
func (r *reconciliation) reconcile(ctx, out context.Context) error {
	alive, err := r.deps.Roster.alive(ctx)
	if err != nil {
		return err
	}
	most := r.cfg.MaxDeletes
	if most == 0 {
		most = max(someMissing, len(alive)/10)
	}
	for batch := range slices.Chunk(alive, salesloft.MaxPageSize) {
		if err := r.ask(ctx, batch); err != nil {
			return err
		}
		if len(r.missing) > most {
			r.metrics.missing.Set(float64(len(r.missing)))
			return fmt.Errorf("%w: more than %d of %d, and so none is published as deleted: if they really are gone, raise RECONCILE_MAX_DELETES (or --reconcile-max-deletes), else let the credentials see them again",
				ErrTooManyMissing, most, len(alive))
		}
	}
	r.metrics.missing.Set(float64(len(r.missing)))
	for _, m := range r.missing {
		if err := r.confirm(ctx, out, m); err != nil {
			return err
		}
	}
	for ids := range slices.Chunk(r.missed, salesloft.MaxPageSize) {
		if err := r.repair(ctx, out, ids); err != nil {
			return err
		}
	}
	return nil
}

// ask finds out who of a batch is missing, or was changed without our having noticed.
func (r *reconciliation) ask(ctx context.Context, batch []member) error {
	ids := make([]int64, len(batch))
	for i, m := range batch {
		ids[i] = m.id
	}
	present, err := r.deps.Source.Present(ctx, ids)
	if err != nil {
		return err
	}
	r.run.RowsExpected += int64(len(batch))
	for _, m := range batch {
		updatedAt, exists := present[m.id]
		switch {
		case !exists:
			r.missing = append(r.missing, m)
		case updatedAt.Truncate(time.Microsecond).After(m.version()) && updatedAt.Before(r.began.Add(-settled)):
			r.missed = append(r.missed, m.id)
		default:
			r.run.RowsUnchanged++
		}
	}
	return nil
}

// confirm publishes a person's deletion, if asking for that one person alone finds nobody.
func (r *reconciliation) confirm(ctx, out context.Context, m member) error {
	exists, err := r.deps.Source.Exists(ctx, m.id)
	switch {
	case err != nil:
		return err
	case exists:
		r.run.RowsUnchanged++
		return nil
	}
	version := r.now()
	if after := m.version().Add(time.Microsecond); after.After(version) {
		version = after
	}
	e, err := deletion(salesloft.Event{PersonID: m.id}, version, r.id)
	if err != nil {
		r.reject(ctx, m.id, err)
		return nil
	}
	return r.publish(out, e, r.metrics.deleted)
}

// repair publishes people as they are now.
func (r *reconciliation) repair(ctx, out context.Context, ids []int64) error {
	page, err := r.deps.Source.People(ctx, salesloft.Query{IDs: ids, PerPage: salesloft.MaxPageSize})
	if err != nil {
		return err
	}
	for _, person := range page.People {
		if !slices.Contains(ids, person.ID) {
			return fmt.Errorf("%w: it holds people who were not asked for", salesloft.ErrMalformed)
		}
		e, err := upsert(person, r.now(), r.id)
		if err != nil {
			r.reject(ctx, person.ID, err)
			continue
		}
		if err := r.publish(out, e, r.metrics.repaired); err != nil {
			return err
		}
	}
	for _, failed := range page.Failed {
		r.reject(ctx, failed.ID, failed.Err)
	}
	return nil
}

func (r *reconciliation) publish(ctx context.Context, e *people.Person, counter prometheus.Counter) error {
	switch err := r.deps.People.Publish(ctx, e); {
	case errors.Is(err, publish.ErrInvalid):
		r.reject(ctx, e.PersonID, err)
		return nil
	case err != nil:
		return err
	}
	counter.Inc()
	r.published++
	return nil
}

// reject counts what cannot be published. The polling has dead-lettered it, when it came by.
func (r *reconciliation) reject(ctx context.Context, id int64, reason error) {
	r.run.RowsRejected++
	r.logger.WarnContext(ctx, "person rejected", "person_id", id, "reason", reason)
}

// end waits for what was published and publishes the account.
func (r *reconciliation) end(ctx, out context.Context, failure error) error {
	flushed := r.deps.People.Flush(out)
	if flushed == nil {
		r.run.RowsPublished = r.published
	}
	now := r.now()
	r.run.RunID, r.run.Source, r.run.OfEntity, r.run.Scope, r.run.Kinds = "salesloft:"+r.id, "salesloft", "people", "reconciliation", []string{}
	r.run.RequestedAt, r.run.CompletedAt = r.began.UTC().Truncate(time.Microsecond), now.UTC().Truncate(time.Microsecond)
	conclude(ctx, &r.run, errors.Join(failure, flushed))
	r.metrics.runs.WithLabelValues(string(r.run.Outcome)).Inc()
	r.logger.InfoContext(ctx, "reconciliation ended", "outcome", r.run.Outcome, "people", r.run.RowsExpected,
		"missing", len(r.missing), "missed", len(r.missed), "published", r.run.RowsPublished)
	if err := event.Seal(&r.run, event.Upsert, now, now, r.id); err != nil {
		return errors.Join(flushed, err)
	}
	if err := errors.Join(r.deps.Runs.Publish(out, &r.run), r.deps.Runs.Flush(out)); err != nil {
		return errors.Join(flushed, fmt.Errorf("publishing the export run: %w", err))
	}
	return flushed
}
