package forecast

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/producers/clari"
)

// job is what the state holds of the export job in hand: from before Clari is asked for it until it is accounted for.
type job struct {
	ForecastID  string    `json:"forecast_id"`
	Asked       string    `json:"asked,omitempty"` // time period; empty for the current one
	Types       []string  `json:"types"`
	RequestedAt time.Time `json:"requested_at"`
	// After is when the newest job of all began before this one was asked for, by Clari's clock. By it the job is
	// found whose ID never arrived.
	After    time.Time `json:"after"`
	ID       string    `json:"job_id,omitempty"`
	Attempts int       `json:"attempts,omitempty"` // at finishing it

	Period string `json:"-"` // that the results are of
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
	maxQuota    = 5 * time.Minute
)

// resume finishes the job that an earlier cycle, perhaps of another process, has left behind. It is done then, if it is so
// young that this cycle need not repeat it.
func (e *Exporter) resume(ctx context.Context) (failures []error, err error) {
	var j job
	if found, err := e.deps.State.Load(stateName, &j); err != nil || !found {
		return nil, err
	}
	if j.ID == "" {
		if j.ID, err = e.find(ctx, j); err != nil {
			return nil, err
		}
		if j.ID == "" { // Clari was never asked, or did not hear
			return nil, e.deps.State.Save(ctx, stateName, nil)
		}
	}
	e.logger.InfoContext(ctx, "resuming export job", "job_id", j.ID, "forecast_id", j.ForecastID, "requested_at", j.RequestedAt)
	j.Attempts++
	if err := e.deps.State.Save(ctx, stateName, j); err != nil {
		return nil, err
	}
	j.Period, err = e.finish(ctx, j)
	if failed, ok := errors.AsType[*jobError](err); ok {
		return []error{failed}, nil
	}
	if err != nil || time.Since(j.RequestedAt) > e.cfg.Interval {
		return nil, err
	}
	e.done = append(e.done, j)
	return nil, nil
}

// export runs one job from the request to its account, and returns it with the time period that it was of.
func (e *Exporter) export(ctx context.Context, forecastID, period string) (job, error) {
	j := job{ForecastID: forecastID, Asked: period, Types: e.supported(), RequestedAt: time.Now().UTC()}
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
	if j, err = e.start(ctx, j); err != nil {
		return j, err
	}
	j.Period, err = e.finish(ctx, j)
	return j, err
}

// start asks for the job until it exists, and records its ID.
func (e *Exporter) start(ctx context.Context, j job) (job, error) {
	quotaWait, deadline := e.cfg.PollInterval, time.Now().Add(e.cfg.QuotaTimeout)
	for posts := 1; ; {
		id, err := e.deps.Clari.StartExport(ctx, j.ForecastID, clari.ExportRequest{
			TimePeriod: j.Asked, Types: j.Types, ScopeID: e.cfg.ScopeID, Currency: e.cfg.Currency, IncludeHistorical: e.cfg.Historical,
		})
		switch {
		case err == nil:
			j.ID = id
			return j, e.deps.State.Save(ctx, stateName, j)
		case ctx.Err() != nil:
			return j, err
		case errors.Is(err, clari.ErrQuota) && time.Now().Before(deadline):
			e.logger.WarnContext(ctx, "export quota or concurrency limit reached, waiting", "wait", quotaWait, "error", err)
			if err := resilience.Sleep(ctx, quotaWait); err != nil {
				return j, err
			}
			quotaWait = min(2*quotaWait, max(maxQuota, e.cfg.PollInterval))
			continue
		case errors.Is(err, clari.ErrTypeNotSupported) && e.drop(ctx, &j, err):
			if err := e.deps.State.Save(ctx, stateName, j); err != nil {
				return j, err
			}
			continue
		case refused(err):
			return j, e.giveUp(ctx, j, err)
		}
		// Clari may have heard, and the API has no idempotency key: asking again blindly would cost the quota twice.
		found, findErr := e.find(ctx, j)
		if findErr != nil {
			return j, errors.Join(err, findErr)
		}
		if found != "" {
			j.ID = found
			return j, e.deps.State.Save(ctx, stateName, j)
		}
		if posts++; posts > maxPosts {
			return j, err
		}
		e.logger.WarnContext(ctx, "asking for the export job again: it does not exist", "forecast_id", j.ForecastID, "error", err)
	}
}

// refused tells whether the API has said no, rather than nothing or "later".
func refused(err error) bool {
	var answer *clari.APIError
	return errors.As(err, &answer) && answer.Status < http.StatusInternalServerError &&
		answer.Status != http.StatusTooManyRequests && answer.Status != http.StatusRequestTimeout
}

// giveUp forgets a job that Clari does not make. Where the key or the quota is the reason, it makes none of the others
// either.
func (e *Exporter) giveUp(ctx context.Context, j job, reason error) error {
	if err := e.deps.State.Save(ctx, stateName, nil); err != nil {
		return err
	}
	if errors.Is(reason, clari.ErrUnauthorized) || errors.Is(reason, clari.ErrQuota) {
		return reason
	}
	return &jobError{j.what(), reason}
}

// supported is the configured types without those that the tenant has refused.
func (e *Exporter) supported() []string {
	return slices.DeleteFunc(slices.Clone(e.cfg.Types), func(t string) bool { return slices.Contains(e.unsupported, t) })
}

// drop takes the types out of the job that a type_not_supported names, or else those that Clari's specification both lists
// and lets tenants refuse. It reports whether that leaves something new to ask for.
func (e *Exporter) drop(ctx context.Context, j *job, refusal error) bool {
	var answer *clari.APIError
	if !errors.As(refusal, &answer) {
		return false
	}
	words := regexp.MustCompile(`[a-z_]+`).FindAllString(answer.Message, -1)
	named := func(t string) bool { return strings.Contains(t, "_") && slices.Contains(words, t) }
	suspect := func(t string) bool { return t == clari.TypeCRMTotal || t == clari.TypeCRMClosed }
	for _, matches := range []func(string) bool{named, suspect} {
		rest := slices.DeleteFunc(slices.Clone(j.Types), matches)
		if len(rest) == 0 || len(rest) == len(j.Types) {
			continue
		}
		dropped := slices.DeleteFunc(slices.Clone(j.Types), func(t string) bool { return slices.Contains(rest, t) })
		e.logger.WarnContext(ctx, "the tenant does not support export types, going on without them", "types", dropped)
		e.unsupported = append(e.unsupported, dropped...)
		j.Types = rest
		return true
	}
	return false
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

// await polls a job until it is over. One that takes too long is cancelled.
func (e *Exporter) await(ctx context.Context, j job) (clari.Job, error) {
	deadline := time.Now().Add(e.cfg.JobTimeout)
	for {
		done, err := e.deps.Clari.Job(ctx, j.ID)
		if err != nil || done.Terminal() {
			return done, err
		}
		if time.Now().After(deadline) {
			err := e.deps.Clari.CancelJob(ctx, j.ID)
			if !errors.Is(err, clari.ErrNotCancellable) {
				done.Status = clari.StatusCancelled
				return done, err
			}
			deadline = time.Now().Add(e.cfg.JobTimeout) // it has ended meanwhile
			continue
		}
		if err := resilience.Sleep(ctx, e.cfg.PollInterval); err != nil {
			return done, err
		}
	}
}
