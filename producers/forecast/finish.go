package forecast

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/producers/clari"
	"github.com/revstream/revstream/producers/publish"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/exportrun"
	entity "github.com/revstream/revstream/schemas/forecast"
	"github.com/revstream/revstream/schemas/money"
)

// tally counts the values of a job.
type tally struct{ published, unchanged, rejected int64 }

func (t tally) total() int64 { return t.published + t.unchanged + t.rejected }

// shownRejections bounds the log lines about rejected values of one job.
const shownRejections = 20

// finish waits for a job, publishes what is new in its results, publishes its account and forgets it, in this order: a
// crash at any point leaves the job to be resumed, and what is published already is then unchanged. It returns the time
// period of the results. A *jobError means that the job is over; after any other error it is to be resumed.
func (e *Exporter) finish(ctx context.Context, j job) (period string, err error) {
	done, err := e.await(ctx, j)
	if errors.Is(err, clari.ErrInvalidJob) { // it has expired while nobody looked, or was never there
		return "", e.account(ctx, j, clari.Job{ID: j.ID}, "", tally{}, err)
	}
	if err != nil {
		return "", err
	}
	if done.Status != clari.StatusDone {
		return "", e.account(ctx, j, done, "", tally{}, fmt.Errorf("Clari ended the job as %s", done.Status))
	}
	export, err := e.deps.Clari.Results(ctx, j.ID)
	if err != nil {
		// What Clari refuses stays refused. A download may have been cut short by accident, but not each time.
		if refused(err) && !errors.Is(err, clari.ErrUnauthorized) || errors.Is(err, clari.ErrBadResults) && j.Attempts >= maxAttempts {
			return "", e.account(ctx, j, done, "", tally{}, err)
		}
		return "", err
	}
	defer func() { err = errors.Join(err, export.Close()) }()

	period, err = checkPeriod(j, export)
	if err != nil {
		return "", e.account(ctx, j, done, period, tally{}, err)
	}
	counts, err := e.publish(ctx, j, done, export)
	if err != nil {
		e.known = nil // what the topic holds of this job is uncertain: only the topic knows
		return "", err
	}
	return period, e.account(ctx, j, done, period, counts, nil)
}

// checkPeriod makes sure that the results are of the period that was asked for: to one that it does not know, Clari
// answers with the current quarter, without a word.
func checkPeriod(j job, export *clari.Export) (string, error) {
	if len(export.TimePeriods) == 0 {
		return j.Asked, errors.New("the results do not say which time period they are of")
	}
	got := export.TimePeriods[0].ID
	if j.Asked != "" && got != j.Asked {
		return j.Asked, fmt.Errorf("the results are of time period %s instead of %s", got, j.Asked)
	}
	return got, nil
}

// publish publishes an event for every value that is new, and returns once all are acknowledged.
func (e *Exporter) publish(ctx context.Context, j job, done clari.Job, export *clari.Export) (tally, error) {
	var t tally
	e.known.begin()
	err := e.publishEntries(ctx, &t, j, cmp.Or(done.StartTime, j.RequestedAt), export)
	// Also after an error: what is read from the topic afterwards shall have all that was sent.
	return t, errors.Join(err, e.deps.Forecasts.Flush(ctx))
}

func (e *Exporter) publishEntries(ctx context.Context, t *tally, j job, started time.Time, export *clari.Export) error {
	joiner, correlationID := newJoiner(export, j.ForecastID, j.ID), resilience.CorrelationID(ctx)
	for entry, err := range export.Entries(ctx) {
		var unreadable *clari.EntryError
		switch {
		case errors.As(err, &unreadable):
			e.reject(ctx, t, j, "", err)
			continue
		case err != nil:
			return err
		}
		f := joiner.join(entry)
		observed := observation{started: started, at: time.Now(), correlationID: correlationID}
		for _, value := range values(entry) {
			err := joiner.setValue(value)
			changed := false
			if err == nil {
				changed, err = e.publishValue(ctx, f, observed)
			}
			switch {
			case err != nil && isInvalid(err):
				e.reject(ctx, t, j, f.Key(), err)
			case err != nil:
				return err
			case changed:
				t.published++
			default:
				t.unchanged++
			}
		}
	}
	return nil
}

// observation is how it came that an entry was seen.
type observation struct {
	started       time.Time // when the job did
	at            time.Time
	correlationID string
}

// publishValue publishes f, if that is news.
func (e *Exporter) publishValue(ctx context.Context, f *entity.Forecast, seen observation) (changed bool, err error) {
	key, content := e.known.hash(f)
	var updatedOn time.Time
	if f.UpdatedOn != nil {
		updatedOn = *f.UpdatedOn
	}
	version, changed, err := e.known.compare(key, content, updatedOn, seen.started)
	if err != nil || !changed {
		return false, err
	}
	if err := event.Seal(f, event.Upsert, version, seen.at, seen.correlationID); err != nil {
		return false, err
	}
	if err := e.deps.Forecasts.Publish(ctx, f); err != nil {
		return false, err
	}
	e.known.published(key, content, version)
	return true, nil
}

// isInvalid tells a value that cannot be published from everything that passes.
func isInvalid(err error) bool {
	for _, class := range []error{money.ErrDigits, money.ErrRange, errTwice, event.ErrVersionRange, event.ErrTimeRange, publish.ErrInvalid} {
		if errors.Is(err, class) {
			return true
		}
	}
	return false
}

// reject counts a value that cannot be published. The log has the key and the reason, neither of which holds the value.
func (e *Exporter) reject(ctx context.Context, t *tally, j job, key string, reason error) {
	if t.rejected++; t.rejected <= shownRejections {
		e.logger.WarnContext(ctx, "value rejected", "job_id", j.ID, "key", key, "reason", reason)
	}
}

// account publishes the account of a job that is over, and forgets the job. failure is why nothing was published.
func (e *Exporter) account(ctx context.Context, j job, done clari.Job, period string, t tally, failure error) error {
	run := &exportrun.ExportRun{
		RunID: "clari:" + j.ID, Source: "clari", OfEntity: "forecast", Scope: j.ForecastID,
		TimePeriodID: optional(cmp.Or(period, j.Asked)), Kinds: j.Types, JobID: optional(j.ID),
		RequestedAt: micros(j.RequestedAt), StartedAt: optional(done.StartTime), EndedAt: optional(done.EndTime),
		CompletedAt:  micros(time.Now()),
		RowsExpected: t.total(), RowsPublished: t.published, RowsUnchanged: t.unchanged, RowsRejected: t.rejected,
		Truncated: done.Truncated(),
	}
	run.Outcome, run.Error = outcome(done, t, failure)
	// The version is Clari's, so that a job which is accounted for twice, because of a crash before it was forgotten, has
	// one event, and readers keep the first: that has the counts.
	version := cmp.Or(done.EndTime, done.StartTime, j.RequestedAt)
	if err := event.Seal(run, event.Upsert, version, time.Now(), resilience.CorrelationID(ctx)); err != nil {
		return err
	}
	if err := e.deps.Runs.Publish(ctx, run); err != nil {
		return err
	}
	if err := e.deps.Runs.Flush(ctx); err != nil {
		return err
	}
	if err := e.deps.State.Save(ctx, stateName, nil); err != nil {
		return err
	}
	e.metrics.ended(run.Outcome, t)
	e.metrics.known(e.known)
	e.report(ctx, j, run)
	if failure != nil {
		return &jobError{j.what(), failure}
	}
	return nil
}

// outcome says how a job ended and, if not well, why.
func outcome(done clari.Job, t tally, failure error) (exportrun.Outcome, *string) {
	switch {
	case failure != nil && (done.Status == clari.StatusCancelled):
		return exportrun.Cancelled, optional(failure.Error())
	case failure != nil:
		return exportrun.Failed, optional(failure.Error())
	case done.Truncated():
		return exportrun.Partial, optional("Clari has truncated the export")
	case t.rejected > 0:
		return exportrun.Partial, optional(fmt.Sprintf("%d values were rejected", t.rejected))
	default:
		return exportrun.Succeeded, nil
	}
}

func (e *Exporter) report(ctx context.Context, j job, run *exportrun.ExportRun) {
	log, message := e.logger.InfoContext, "export job finished"
	if run.Outcome != exportrun.Succeeded {
		log, message = e.logger.WarnContext, "export job did not succeed"
	}
	attrs := []any{
		"job_id", j.ID, "forecast_id", j.ForecastID, "outcome", run.Outcome, "published", run.RowsPublished,
		"unchanged", run.RowsUnchanged, "rejected", run.RowsRejected, "truncated", run.Truncated,
	}
	if run.TimePeriodID != nil {
		attrs = append(attrs, "time_period", *run.TimePeriodID)
	}
	if run.Error != nil {
		attrs = append(attrs, "error", *run.Error)
	}
	log(ctx, message, attrs...)
}

func micros(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// optional is v, or nil if it is zero.
func optional[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}
