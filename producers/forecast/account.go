package forecast

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/producers/clari"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/exportrun"
)

// findings is what results turned out to be.
type findings struct {
	tally
	period   clari.TimePeriod // zero where nothing may be published of it
	before   string           // ID of the period before it
	frames   int              // weeks
	received string           // another period than was asked for
	gap      bool             // the period does not end on the day before the next one begins
	empty    bool
}

// ended is a run that is over.
type ended struct {
	run  exportrun.ExportRun
	past past
}

// account publishes the account of a run, records it for the next one and forgets the job. failure is why nothing more may be
// published.
func (e *Exporter) account(ctx context.Context, j job, done clari.Job, found findings, failure error) (ended, error) {
	last, err := e.lastRun(j.ForecastID, cmp.Or(found.period.ID, j.Asked))
	if err != nil {
		return ended{}, err
	}
	run := newRun(j, done, found)
	compare(run, found, last)
	var issues []string
	for _, i := range issuesOf(run) {
		issues = append(issues, i.text)
	}
	switch {
	case failure != nil && done.Status == clari.StatusCancelled && !j.TimedOut:
		run.Outcome, run.Error = exportrun.Cancelled, optional(failure.Error())
	case failure != nil:
		run.Outcome, run.Error = exportrun.Failed, optional(failure.Error())
	case len(issues) > 0:
		run.Outcome, run.Error = exportrun.Partial, optional(strings.Join(issues, "; "))
	default:
		run.Outcome = exportrun.Succeeded
	}
	// The version is Clari's, so that a job which is accounted for twice, because of a crash before it was forgotten, has
	// one event, and readers keep the first: that has the counts.
	version := cmp.Or(done.EndTime, done.StartTime, j.RequestedAt)
	if err := event.Seal(run, event.Upsert, version, time.Now(), resilience.CorrelationID(ctx)); err != nil {
		return ended{}, err
	}
	if err := e.deps.Runs.Publish(ctx, run); err != nil {
		return ended{}, err
	}
	if err := e.deps.Runs.Flush(ctx); err != nil {
		return ended{}, err
	}
	p := pastOf(j, found, last, failure)
	p.Settings = e.settings
	if err := e.record(ctx, p); err != nil {
		return ended{}, err
	}
	if err := e.deps.State.Save(ctx, stateName, nil); err != nil {
		return ended{}, err
	}
	e.metrics.ended(run, found.tally)
	e.metrics.known(e.known)
	e.report(ctx, j, run)
	if failure != nil {
		err = &jobError{j.what(), failure}
	}
	return ended{*run, p}, err
}

func newRun(j job, done clari.Job, found findings) *exportrun.ExportRun {
	return &exportrun.ExportRun{
		RunID: "clari:" + j.ID, Source: "clari", OfEntity: "forecast", Scope: j.ForecastID,
		TimePeriodID: optional(cmp.Or(j.Asked, found.period.ID)), Kinds: j.Types, JobID: optional(j.ID), Jobs: int64(max(j.Jobs, 1)),
		RequestedAt: micros(j.RequestedAt), StartedAt: optional(done.StartTime), EndedAt: optional(done.EndTime),
		CompletedAt:  micros(time.Now()),
		RowsExpected: found.total(), RowsPublished: found.published, RowsUnchanged: found.unchanged, RowsRejected: found.rejected,
		Truncated: done.Truncated(), RowsTruncated: done.RowsTruncated, CellsTruncated: done.CellsTruncated,
		Empty: found.empty, TimePeriodReceived: optional(found.received), PeriodGap: found.gap,
		UnknownUsers: found.unknownUsers, UnknownFields: found.unknownFields,
	}
}

// A count is unusual if a week has so much more or less than in the last run.
const (
	unusualShare = 0.5
	unusualRows  = 100 // of the whole export: a few rows are soon half of what there is
)

// compare holds the count of rows to that of the last run of the same period. A historical export grows by a week each week.
func compare(run *exportrun.ExportRun, found findings, last past) {
	if last.Rows == 0 || last.Period != found.period.ID || last.JobID == *run.JobID {
		return
	}
	run.RowsPrevious = &last.Rows
	want := float64(last.Rows) / float64(max(last.Frames, 1)) * float64(max(found.frames, 1))
	off := float64(run.RowsExpected) - want
	run.UnusualCount = max(off, -off) > max(unusualShare*want, unusualRows)
}

// pastOf is what the next run of the period needs to know of this one.
func pastOf(j job, found findings, last past, failure error) past {
	p := past{
		ForecastID: j.ForecastID, Period: cmp.Or(found.period.ID, j.Asked), Current: j.Asked == "" || last.Current,
		CycleAt: j.CycleAt, JobID: j.ID, Start: found.period.StartDate, End: found.period.EndDate, Before: found.before,
		Rows: found.total(), Frames: found.frames,
	}
	if failure == nil {
		return p
	}
	p.Failed = failure.Error()
	p.Rows, p.Frames = last.Rows, last.Frames
	if found.period.ID == "" { // what was known before is all that is
		p.Period, p.Start, p.End, p.Before = cmp.Or(last.Period, p.Period), last.Start, last.End, last.Before
	}
	if p.Before == "" && p.Period != "" && found.received == "" { // a period that Clari does not know has none before it
		p.Before, _ = Previous(p.Period)
	}
	return p
}

// issue is a doubt about the data of a run: a label of a metric, and words.
type issue struct{ label, text string }

// The labels of issues.
const (
	issueEmpty          = "empty"
	issueOtherPeriod    = "other_period"
	issuePeriodGap      = "period_gap"
	issueRowsTruncated  = "rows_truncated"
	issueCellsTruncated = "cells_truncated"
	issueUnknownUsers   = "unknown_users"
	issueUnknownFields  = "unknown_fields"
	issueUnusualCount   = "unusual_count"
	issueRejected       = "rejected"
)

var issueLabels = []string{
	issueEmpty, issueOtherPeriod, issuePeriodGap, issueRowsTruncated, issueCellsTruncated, issueUnknownUsers, issueUnknownFields,
	issueUnusualCount, issueRejected,
}

func issuesOf(run *exportrun.ExportRun) []issue {
	var issues []issue
	add := func(is bool, label, format string, args ...any) {
		if is {
			issues = append(issues, issue{label, fmt.Sprintf(format, args...)})
		}
	}
	add(run.Empty, issueEmpty, "the export has no entries")
	add(run.TimePeriodReceived != nil, issueOtherPeriod, "the results are of another time period")
	add(run.PeriodGap, issuePeriodGap, "the period does not end on the day before the next one begins")
	add(run.RowsTruncated, issueRowsTruncated, "Clari has truncated rows of the export")
	add(run.CellsTruncated, issueCellsTruncated, "Clari has truncated cells of the export")
	add(run.UnknownUsers > 0, issueUnknownUsers, "%d entries refer to a user whom the export does not describe", run.UnknownUsers)
	add(run.UnknownFields > 0, issueUnknownFields, "%d entries refer to a field that the export does not describe", run.UnknownFields)
	if run.RowsPrevious != nil {
		add(run.UnusualCount, issueUnusualCount, "%d values where the last run had %d", run.RowsExpected, *run.RowsPrevious)
	}
	add(run.RowsRejected > 0, issueRejected, "%d values were rejected", run.RowsRejected)
	return issues
}

func (e *Exporter) report(ctx context.Context, j job, run *exportrun.ExportRun) {
	log, message := e.logger.InfoContext, "export job finished"
	if run.Outcome != exportrun.Succeeded {
		log, message = e.logger.WarnContext, "export job did not succeed"
	}
	attrs := []any{
		"job_id", j.ID, "forecast_id", j.ForecastID, "outcome", run.Outcome, "published", run.RowsPublished,
		"unchanged", run.RowsUnchanged, "rejected", run.RowsRejected, "jobs", run.Jobs,
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
