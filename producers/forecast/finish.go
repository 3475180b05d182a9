package forecast

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"time"

	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/producers/clari"
	"github.com/revstream/revstream/producers/publish"
	"github.com/revstream/revstream/schemas/event"
	entity "github.com/revstream/revstream/schemas/forecast"
	"github.com/revstream/revstream/schemas/money"
)

// tally counts the values of a job, and what its entries refer to in vain.
type tally struct {
	published, unchanged, rejected int64
	unknownUsers, unknownFields    int64 // entries
}

func (t tally) total() int64 { return t.published + t.unchanged + t.rejected }

const (
	shownRejections = 20   // log lines about rejected values of one job
	maxRejections   = 1000 // of one job, after which it is the export that is wrong
)

var errTooManyRejections = fmt.Errorf("more than %d values cannot be published: the export looks wrong", maxRejections)

// finish waits for a job, publishes what is new in its results, publishes the run's account and forgets the run, in this order: a
// crash at any point leaves the job to be resumed, and what is published already is then unchanged. A *lostError means that the run
// needs another job, a *jobError that the run is over; after any other error, of the network, it is to be resumed.
func (e *Exporter) finish(ctx context.Context, j *job) (over ended, err error) {
	done, err := e.await(ctx, j)
	switch {
	case errors.Is(err, clari.ErrInvalidJob): // it has expired while nobody looked, or was never there
		return e.lose(ctx, *j, clari.Job{ID: j.ID}, err)
	case err != nil:
		return ended{}, err
	case done.Status == clari.StatusCancelled && !j.TimedOut: // by a person
		return e.account(ctx, *j, done, findings{}, errors.New("the job was cancelled in Clari"))
	case done.Status == clari.StatusCancelled:
		return e.lose(ctx, *j, done, fmt.Errorf("the job was not done within %s", e.cfg.JobTimeout))
	case done.Status != clari.StatusDone:
		return e.lose(ctx, *j, done, fmt.Errorf("Clari ended the job as %s", done.Status))
	}
	export, err := e.deps.Clari.Results(ctx, j.ID)
	if err != nil {
		// What Clari refuses stays refused. A download may have been cut short by accident, but not each time.
		if refused(err) && !errors.Is(err, clari.ErrUnauthorized) || errors.Is(err, clari.ErrBadResults) && j.Attempts >= maxAttempts {
			return e.account(ctx, *j, done, findings{}, err)
		}
		return ended{}, err
	}
	defer func() { err = errors.Join(err, export.Close()) }()
	return e.take(ctx, *j, done, export)
}

// lose is the end of a job that came to nothing: of the run too, if that has had its jobs, or was asked for long ago.
func (e *Exporter) lose(ctx context.Context, j job, done clari.Job, reason error) (ended, error) {
	if j.Jobs < maxJobs && time.Since(j.RequestedAt) <= e.cfg.Interval {
		return ended{}, &lostError{reason}
	}
	if j.Jobs > 1 {
		reason = fmt.Errorf("%w, the last of %d", reason, j.Jobs)
	}
	return e.account(ctx, j, done, findings{}, reason)
}

// take publishes results and the account of the run.
func (e *Exporter) take(ctx context.Context, j job, done clari.Job, export *clari.Export) (ended, error) {
	period, err := periodOf(ctx, export)
	if err == nil && j.Asked != "" && period.ID != j.Asked {
		return e.account(ctx, j, done, findings{received: period.ID}, otherPeriod(period.ID, j.Asked))
	}
	if err != nil {
		return e.account(ctx, j, done, findings{empty: export.EntryCount == 0}, err)
	}
	found := findings{
		period: period, before: periodBefore(period, export.TimePeriods), frames: len(export.TimeFrames),
		gap: adjoin(period.EndDate, j.NextStart) == apart, empty: export.EntryCount == 0,
	}
	if found.empty {
		return e.account(ctx, j, done, found, errors.New("the export has no entries"))
	}
	found.tally, err = e.publish(ctx, j, done, export)
	switch {
	case errors.Is(err, errTooManyRejections):
		return e.account(ctx, j, done, found, err)
	case err != nil:
		// What the topics hold of this job is uncertain: only they know.
		e.known, e.rejected = nil, rejections{}
		return ended{}, err
	}
	return e.account(ctx, j, done, found, nil)
}

// publish publishes an event for every value that is new, and returns once all are acknowledged.
func (e *Exporter) publish(ctx context.Context, j job, done clari.Job, export *clari.Export) (tally, error) {
	var t tally
	e.known.begin()
	err := e.publishEntries(ctx, &t, j, cmp.Or(done.StartTime, j.RequestedAt), export)
	// Also after an error: what is read from the topic afterwards shall have all that was sent.
	if flushed := e.deps.Forecasts.Flush(ctx); flushed != nil { // rather than too many rejections
		return t, flushed
	}
	return t, err
}

func (e *Exporter) publishEntries(ctx context.Context, t *tally, j job, started time.Time, export *clari.Export) error {
	joiner, correlationID := newJoiner(export, j.ForecastID, j.ID), resilience.CorrelationID(ctx)
	for entry, err := range export.Entries(ctx) {
		if unreadable, ok := errors.AsType[*clari.EntryError](err); ok {
			err = e.reject(ctx, t, j, publish.Rejection{Raw: unreadable.Raw, Reason: reasonMalformed, Err: unreadable})
			if err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		f := joiner.join(entry)
		if joiner.unknownUser {
			t.unknownUsers++
		}
		if joiner.unknownField {
			t.unknownFields++
		}
		observed := observation{started: started, at: time.Now(), correlationID: correlationID}
		for _, value := range values(entry) {
			err := joiner.setValue(value)
			published := false
			if err == nil {
				published, err = e.publishValue(ctx, f, observed)
			}
			switch {
			case err != nil && isInvalid(err):
				err = e.reject(ctx, t, j, publish.Rejection{Key: f.Key(), Raw: []byte(entry.Raw), Reason: reasonInvalid, Err: err})
				if err != nil {
					return err
				}
			case err != nil:
				return err
			case published:
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

// publishValue publishes f, if that is news or all is to be published.
func (e *Exporter) publishValue(ctx context.Context, f *entity.Forecast, seen observation) (published bool, err error) {
	key, content := e.known.hash(f)
	var updatedOn time.Time
	if f.UpdatedOn != nil {
		updatedOn = *f.UpdatedOn
	}
	verdict, version, err := e.known.compare(key, content, updatedOn, seen.started)
	if err != nil || verdict != news && (verdict != stands || e.cfg.Publish != PublishAll) {
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

// Reasons of dead letters.
const (
	reasonMalformed = "malformed"
	reasonInvalid   = "validation"
)

// rejections is the values that this process has rejected: they come again with every export.
type rejections struct{ seen map[uint64]struct{} }

// maxRemembered bounds the rejections that are remembered. When there are more, all go once again.
const maxRemembered = 100_000

var rejectionSeed = maphash.MakeSeed()

// first tells whether a rejection is one that was not seen before.
func (r *rejections) first(rejection publish.Rejection) bool {
	id := maphash.Comparable(rejectionSeed, [2]string{rejection.Key, string(rejection.Raw)})
	if _, ok := r.seen[id]; ok {
		return false
	}
	if r.seen == nil || len(r.seen) == maxRemembered {
		r.seen = map[uint64]struct{}{}
	}
	r.seen[id] = struct{}{}
	return true
}

// reject counts a value that cannot be published, and puts what the source sent onto the dead-letter topic, once. The log has the
// key and the reason, neither of which holds the value.
func (e *Exporter) reject(ctx context.Context, t *tally, j job, r publish.Rejection) error {
	if t.rejected++; t.rejected > maxRejections {
		return errTooManyRejections
	}
	if t.rejected <= shownRejections {
		e.logger.WarnContext(ctx, "value rejected", "job_id", j.ID, "key", r.Key, "reason", r.Err)
	}
	if !e.rejected.first(r) {
		return nil
	}
	r.CorrelationID = resilience.CorrelationID(ctx)
	return e.deps.Forecasts.Reject(ctx, r)
}
