package clari

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// What an export can contain. The API's default is TypeForecast and TypeForecastUpdated.
const (
	TypeForecast        = "forecast"
	TypeQuota           = "quota"
	TypeForecastUpdated = "forecast_updated"
	TypeAdjustment      = "adjustment"
	TypeCRMTotal        = "crm_total"
	TypeCRMClosed       = "crm_closed"
)

// Types returns all that an export can contain.
func Types() []string {
	return []string{TypeForecast, TypeQuota, TypeForecastUpdated, TypeAdjustment, TypeCRMTotal, TypeCRMClosed}
}

// ExportRequest is what to export. Every field is optional; empty leaves the API's default.
type ExportRequest struct {
	TimePeriod        string   `json:"timePeriod,omitempty"` // "2024_Q3"; default and fallback for an unknown one: the current quarter
	Types             []string `json:"typesToExport,omitempty"`
	ScopeID           string   `json:"scopeId,omitempty"` // "1905::MGR"
	Currency          string   `json:"currency,omitempty"`
	Schedule          string   `json:"schedule,omitempty"` // NONE, ONCE or MAX: 0, 1 or 3 retries by Clari, 30 minutes apart
	IncludeHistorical bool     `json:"includeHistorical"`  // every week of the quarter rather than the latest
}

// Status is a job's place in its life.
type Status string

// The life of a job: SCHEDULED, STARTED, then one of the rest.
const (
	StatusScheduled Status = "SCHEDULED"
	StatusStarted   Status = "STARTED"
	StatusDone      Status = "DONE"
	StatusFailed    Status = "FAILED"
	StatusCancelled Status = "CANCELLED"
	StatusAborted   Status = "ABORTED"
)

// Job is an export job. Times are UTC, zero when the API sent none.
type Job struct {
	ID             string
	Status         Status
	Title          string
	FileName       string
	FileType       string
	Currency       string
	StartTime      time.Time
	EndTime        time.Time
	ExpiredTime    time.Time // the results are gone after it
	RowsTruncated  bool      // rows are missing from the results
	CellsTruncated bool      // values are missing from the results
}

// Terminal tells whether the job has ended, well or not.
func (j Job) Terminal() bool {
	switch j.Status {
	case StatusDone, StatusFailed, StatusCancelled, StatusAborted:
		return true
	}
	return false
}

// Truncated tells whether the results are incomplete.
func (j Job) Truncated() bool { return j.RowsTruncated || j.CellsTruncated }

// UnmarshalJSON accepts a job's fields at top level and under "job", as both occur.
func (j *Job) UnmarshalJSON(b []byte) error {
	type fields struct {
		JobID                           text
		Status, Title                   text
		FileName, FileType, Currency    text
		StartTime, EndTime, ExpiredTime millis
		RowsTruncated, CellsTruncated   flag
	}
	var wire struct {
		fields
		Job *fields
	}
	if err := json.Unmarshal(b, &wire); err != nil {
		return err
	}
	f := wire.fields
	if wire.Job != nil {
		f = *wire.Job
	}
	if f.JobID == "" || f.Status == "" {
		return errors.New("a job without jobId or status")
	}
	*j = Job{
		ID: string(f.JobID), Status: Status(f.Status), Title: string(f.Title), FileName: string(f.FileName), FileType: string(f.FileType),
		Currency: string(f.Currency), StartTime: f.StartTime.Time, EndTime: f.EndTime.Time, ExpiredTime: f.ExpiredTime.Time,
		RowsTruncated: bool(f.RowsTruncated), CellsTruncated: bool(f.CellsTruncated),
	}
	return nil
}

// Limits is the organisation's export budget: jobs at a time, and jobs in any 30 days.
type Limits struct {
	ConcurrentLimit          int      `json:"concurrentLimit"`
	AvailableConcurrentLimit int      `json:"availableConcurrentLimit"`
	MonthlyQuota             int      `json:"monthlyQuota"`
	AvailableMonthlyQuota    int      `json:"availableMonthlyQuota"`
	RunningJobIDs            []string `json:"runningJobIds"`
	SubmittedJobIDs          []string `json:"submittedJobIds"`
}

// StartExport queues an export job and returns its ID. The API has no idempotency key: after an error that is not an *APIError
// with a 4xx status the job may exist nevertheless, so look in Jobs before asking again.
func (c *Client) StartExport(ctx context.Context, forecastID string, req ExportRequest) (jobID string, err error) {
	if forecastID == "" {
		return "", errors.New("starting an export: the forecast ID is empty")
	}
	body := struct {
		ExportRequest
		ExportFormat string `json:"exportFormat"`
	}{req, "JSON"}
	var answer struct{ JobID text }
	if err := c.call(ctx, http.MethodPost, "/export/forecast/"+url.PathEscape(forecastID), body, &answer); err != nil {
		return "", fmt.Errorf("starting an export of forecast %q: %w", forecastID, err)
	}
	if answer.JobID == "" {
		return "", fmt.Errorf("starting an export of forecast %q: the answer has no jobId", forecastID)
	}
	c.logger.DebugContext(ctx, "export job started", "job_id", string(answer.JobID), "forecast_id", forecastID, "time_period", req.TimePeriod)
	return string(answer.JobID), nil
}

// Jobs lists the jobs that the key's owner has started, in the API's order.
func (c *Client) Jobs(ctx context.Context) ([]Job, error) {
	var raw json.RawMessage
	if err := c.read(ctx, "/export/jobs", &raw); err != nil {
		return nil, fmt.Errorf("listing export jobs: %w", err)
	}
	var jobs []Job
	var err error
	if bytes.HasPrefix(raw, []byte("[")) {
		err = json.Unmarshal(raw, &jobs)
	} else {
		envelope := struct{ Jobs *[]Job }{&jobs}
		if err = json.Unmarshal(raw, &envelope); err == nil && jobs == nil {
			err = errors.New("the answer has no list of jobs")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("listing export jobs: %w", err)
	}
	return jobs, nil
}

// Job reads one job.
func (c *Client) Job(ctx context.Context, jobID string) (Job, error) {
	var job Job
	if err := c.read(ctx, jobPath(jobID), &job); err != nil {
		return Job{}, fmt.Errorf("reading export job %q: %w", jobID, err)
	}
	return job, nil
}

// CancelJob cancels a job that has not ended, else it returns ErrNotCancellable.
func (c *Client) CancelJob(ctx context.Context, jobID string) error {
	var answer struct{ Successful *bool }
	body := map[string]string{"type": "CANCEL"}
	if err := c.call(ctx, http.MethodPatch, jobPath(jobID), body, &answer); err != nil {
		return fmt.Errorf("cancelling export job %q: %w", jobID, err)
	}
	if answer.Successful != nil && !*answer.Successful {
		return fmt.Errorf("cancelling export job %q: %w", jobID, ErrNotCancellable)
	}
	return nil
}

// Limits reads the export budget.
func (c *Client) Limits(ctx context.Context) (Limits, error) {
	var answer struct{ Jobs *Limits }
	if err := c.read(ctx, "/admin/limits", &answer); err != nil {
		return Limits{}, fmt.Errorf("reading the export limits: %w", err)
	}
	if answer.Jobs == nil {
		return Limits{}, errors.New("reading the export limits: the answer has no \"jobs\"")
	}
	return *answer.Jobs, nil
}

func jobPath(jobID string) string { return "/export/jobs/" + url.PathEscape(jobID) }
