package forecast

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/pipeline/tracing"
	"github.com/revstream/revstream/producers/clari"
)

// job is what the state holds of the run in hand: from before Clari is asked for its first export job until it is accounted for.
type job struct {
	ForecastID  string    `json:"forecast_id"`
	Asked       string    `json:"asked,omitempty"` // time period; empty for the current one
	Types       []string  `json:"types"`
	RequestedAt time.Time `json:"requested_at"`
	CycleAt     time.Time `json:"cycle_at"`             // when the cycle began that asked
	NextStart   string    `json:"next_start,omitempty"` // day on which the period after this one begins, if known
	Jobs        int       `json:"jobs,omitempty"`       // asked for so far

	// After is when the newest job of all began before this one was asked for, by Clari's clock. By it the job is
	// found whose ID never arrived.
	After    time.Time `json:"after"`
	ID       string    `json:"job_id,omitempty"`
	PostedAt time.Time `json:"posted_at"`
	TimedOut bool      `json:"timed_out,omitempty"` // it is cancelled, or about to be
	Attempts int       `json:"attempts,omitempty"`  // at finishing it
}

func (j job) what() string {
	period := j.Asked
	if period == "" {
		period = "the current quarter"
	}
	return j.ForecastID + " " + period
}

const (
	stateName   = "job"
	maxAttempts = 3 // at finishing a job, after which it is given up
	maxPosts    = 3 // of one job, as far as it is not known to exist
	maxJobs     = 4 // of one run: the first, and three for those that fail or take too long
)

// resume finishes the run that an earlier cycle, perhaps of another process, has left behind, and returns its account if there was
// one. If it is so young that this cycle need not repeat it, it becomes one of this cycle's.
func (e *Exporter) resume(ctx context.Context, c cycle) (over ended, err error) {
	var j job
	if found, err := e.deps.State.Load(stateName, &j); err != nil || !found {
		return ended{}, err
	}
	if j.ID == "" {
		if j.ID, err = e.find(ctx, j); err != nil {
			return ended{}, err
		}
		if j.ID == "" && j.Jobs == 0 { // Clari was never asked, or did not hear
			return ended{}, e.deps.State.Save(ctx, stateName, nil)
		}
	}
	e.logger.InfoContext(ctx, "resuming export job", "job_id", j.ID, "forecast_id", j.ForecastID, "requested_at", j.RequestedAt)
	if time.Since(j.RequestedAt) <= e.cfg.Interval {
		j.CycleAt = c.start
	}
	j.Attempts++
	if err := e.deps.State.Save(ctx, stateName, j); err != nil {
		return ended{}, err
	}
	return e.run(ctx, j)
}

// export runs one time period from the request to its account.
func (e *Exporter) export(ctx context.Context, cycleAt time.Time, forecastID, period string) (ended, error) {
	next, err := e.startAfter(forecastID, period)
	if err != nil {
		return ended{}, err
	}
	return e.run(ctx, job{
		ForecastID: forecastID, Asked: period, Types: e.supported(), RequestedAt: time.Now().UTC(), CycleAt: cycleAt, NextStart: next,
	})
}

// run asks for export jobs until one is done, and returns its account.
func (e *Exporter) run(ctx context.Context, j job) (over ended, err error) {
	ctx, span := tracing.Start(ctx, "forecast export", tracing.With(
		attribute.String(tracing.Source, "clari"), attribute.String(tracing.Entity, "forecast"), attribute.String("revstream.run", j.what())))
	defer func() {
		span.SetAttributes(attribute.String(tracing.Outcome, string(over.run.Outcome)))
		tracing.End(span, err)
	}()
	for {
		if j.ID == "" {
			if j, err = e.start(ctx, j); err != nil {
				return ended{}, err
			}
		}
		over, err = e.finish(ctx, &j)
		lost, ok := errors.AsType[*lostError](err)
		if !ok {
			return over, err
		}
		e.logger.WarnContext(ctx, "asking for another export job in place of one that came to nothing",
			"job_id", j.ID, "forecast_id", j.ForecastID, "jobs", j.Jobs, "reason", lost.reason)
		e.metrics.requeued.Inc()
		j.ID, j.TimedOut, j.Attempts = "", false, 0
	}
}

// start asks for the job until it exists, and records its ID.
func (e *Exporter) start(ctx context.Context, j job) (job, error) {
	if err := e.awaitQuota(ctx, 0); err != nil {
		return j, err
	}
	jobs, err := e.deps.Clari.Jobs(ctx)
	if err != nil {
		return j, err
	}
	for _, other := range jobs {
		if other.StartTime.After(j.After) {
			j.After = other.StartTime
		}
	}
	if err := e.deps.State.Save(ctx, stateName, j); err != nil {
		return j, err
	}
	asked, guesses := j.Types, guess(j.Types)
	for posts, waits := 1, 1; ; {
		id, err := e.deps.Clari.StartExport(ctx, j.ForecastID, clari.ExportRequest{
			TimePeriod: j.Asked, Types: j.Types, ScopeID: e.cfg.ScopeID, Currency: e.cfg.Currency, IncludeHistorical: e.cfg.Historical,
		})
		switch {
		case err == nil:
			e.leaveOut(ctx, without(asked, j.Types))
			return e.posted(ctx, j, id)
		case ctx.Err() != nil:
			return j, err
		case errors.Is(err, clari.ErrQuota):
			e.logger.WarnContext(ctx, "export quota or concurrency limit reached, waiting", "forecast_id", j.ForecastID, "error", err)
			if err := e.awaitQuota(ctx, waits); err != nil {
				return j, err
			}
			waits++
			continue
		case errors.Is(err, clari.ErrTypeNotSupported):
			types := guesses.next(j.Types, err)
			if types == nil {
				return j, e.giveUp(ctx, j, err)
			}
			j.Types = types
			if err := e.deps.State.Save(ctx, stateName, j); err != nil {
				return j, err
			}
			continue
		case refused(err):
			return j, e.giveUp(ctx, j, err)
		}
		// Clari may have heard, and the API has no idempotency key: asking again blindly would cost the quota twice.
		found, findErr := e.findLate(ctx, j)
		if findErr != nil {
			return j, errors.Join(err, findErr)
		}
		if found != "" {
			return e.posted(ctx, j, found)
		}
		if posts++; posts > maxPosts {
			return j, err
		}
		e.logger.WarnContext(ctx, "asking for the export job again: it does not exist", "forecast_id", j.ForecastID, "error", err)
	}
}

// posted records the ID of a job that exists.
func (e *Exporter) posted(ctx context.Context, j job, id string) (job, error) {
	j.ID, j.PostedAt = id, time.Now().UTC()
	j.Jobs++
	return j, e.deps.State.Save(ctx, stateName, j)
}

// refused tells whether the API has said no, rather than nothing or "later".
func refused(err error) bool {
	var answer *clari.APIError
	return errors.As(err, &answer) && answer.Status < http.StatusInternalServerError &&
		answer.Status != http.StatusTooManyRequests && answer.Status != http.StatusRequestTimeout
}

// giveUp forgets a job that Clari does not make. Where the key is the reason, it makes none of the others either.
func (e *Exporter) giveUp(ctx context.Context, j job, reason error) error {
	if err := e.deps.State.Save(ctx, stateName, nil); err != nil {
		return err
	}
	if errors.Is(reason, clari.ErrUnauthorized) {
		return reason
	}
	return &jobError{j.what(), reason}
}

// findLate looks for a job whose answer was lost, twice: Clari may still be about to make it.
func (e *Exporter) findLate(ctx context.Context, j job) (found string, err error) {
	for range 2 {
		if err := resilience.Sleep(ctx, e.cfg.PollInterval); err != nil {
			return "", err
		}
		if found, err = e.find(ctx, j); found != "" || err != nil {
			return found, err
		}
	}
	return "", nil
}

// find looks for a job that Clari may have made without our learning its ID: the one that has begun since and whose file
// is named for the same forecast and time period. Where that is not certain it finds none: a job too many costs one
// of the quota, a foreign job would publish another forecast's values as this one's.
func (e *Exporter) find(ctx context.Context, j job) (string, error) {
	jobs, err := e.deps.Clari.Jobs(ctx)
	if err != nil {
		return "", fmt.Errorf("looking for a job whose ID did not arrive: %w", err)
	}
	period := regexp.QuoteMeta(j.Asked)
	if period == "" {
		period = `\d{4}_Q[1-4]`
	}
	name, err := regexp.Compile("^clari_export_" + regexp.QuoteMeta(j.ForecastID) + "_" + period + "_")
	if err != nil {
		return "", fmt.Errorf("looking for a job whose ID did not arrive: %w", err)
	}
	found := ""
	for _, candidate := range jobs {
		if !candidate.StartTime.After(j.After) || !name.MatchString(candidate.FileName) {
			continue
		}
		if found != "" {
			return "", nil
		}
		found = candidate.ID
	}
	return found, nil
}

// lostError says that a run needs another job: the one it had failed, took too long, or is there no more.
type lostError struct{ reason error }

func (e *lostError) Error() string { return e.reason.Error() }
func (e *lostError) Unwrap() error { return e.reason }

// await polls a job until it is over. One that takes too long is cancelled, and comes back as TimedOut.
func (e *Exporter) await(ctx context.Context, j *job) (clari.Job, error) {
	for {
		done, err := e.deps.Clari.Job(ctx, j.ID)
		if err != nil || done.Terminal() {
			return done, err
		}
		if j.TimedOut || time.Since(j.PostedAt) > e.cfg.JobTimeout {
			return e.cancel(ctx, j, done)
		}
		if err := resilience.Sleep(ctx, e.cfg.PollInterval); err != nil {
			return done, err
		}
	}
}

// cancel cancels a job that takes too long. That it is to be is recorded before, or whoever resumes it would take it for one that
// a person has cancelled.
func (e *Exporter) cancel(ctx context.Context, j *job, running clari.Job) (clari.Job, error) {
	j.TimedOut = true
	if err := e.deps.State.Save(ctx, stateName, *j); err != nil {
		return running, err
	}
	err := e.deps.Clari.CancelJob(ctx, j.ID)
	switch {
	case errors.Is(err, clari.ErrNotCancellable): // it has ended meanwhile
		return e.deps.Clari.Job(ctx, j.ID)
	case err != nil && !refused(err):
		return running, err
	case err != nil:
		e.logger.WarnContext(ctx, "Clari does not cancel an export job that takes too long", "job_id", j.ID, "error", err)
	}
	running.Status = clari.StatusCancelled
	return running, nil
}
