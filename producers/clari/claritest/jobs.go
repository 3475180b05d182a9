package claritest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	orgID       = 101
	quotaWindow = 30 * 24 * time.Hour
	keptFor     = 30 * 24 * time.Hour
)

const (
	scheduled = "SCHEDULED"
	started   = "STARTED"
	done      = "DONE"
	failed    = "FAILED"
	cancelled = "CANCELLED"
	aborted   = "ABORTED"
)

var currencyCode = regexp.MustCompile(`^[A-Z]{3}$`)

var allTypes = []string{"forecast", "quota", "forecast_updated", "adjustment", "crm_total", "crm_closed"}

// job is one export. All but cancelledAt is set once; Simulator.mu guards that.
type job struct {
	id          string
	snapshot    snapshot
	fate        string // how it ends
	created     time.Time
	cancelledAt time.Time
}

// status is where the job is in its life, and when that ended or will end.
func (s *Simulator) status(j *job, now time.Time) (status string, end time.Time) {
	end = j.created.Add(s.cfg.ScheduledFor + s.cfg.StartedFor)
	switch {
	case !j.cancelledAt.IsZero():
		return cancelled, j.cancelledAt
	case now.Before(j.created.Add(s.cfg.ScheduledFor)):
		return scheduled, end
	case j.fate == started || now.Before(end):
		return started, end
	}
	return j.fate, end
}

func unfinished(status string) bool { return status == scheduled || status == started }

type exportRequest struct {
	TimePeriod        string   `json:"timePeriod"`
	Types             []string `json:"typesToExport"`
	Currency          string   `json:"currency"`
	Schedule          string   `json:"schedule"`
	IncludeHistorical bool     `json:"includeHistorical"`
	ExportFormat      string   `json:"exportFormat"`
}

func readExportRequest(body io.Reader) (exportRequest, error) {
	req := exportRequest{Currency: "USD", Schedule: "NONE", ExportFormat: "JSON", Types: []string{"forecast", "forecast_updated"}}
	switch err := json.NewDecoder(io.LimitReader(body, 1<<20)).Decode(&req); {
	case err != nil && !errors.Is(err, io.EOF):
		return req, errors.New("the body is not JSON of an export request")
	case req.ExportFormat != "JSON":
		return req, errors.New("this simulator exports JSON alone")
	case !slices.Contains([]string{"NONE", "ONCE", "MAX"}, req.Schedule):
		return req, errors.New("unknown schedule")
	case !currencyCode.MatchString(req.Currency):
		return req, errors.New("the currency is not a code of three letters")
	}
	for _, t := range req.Types {
		if !slices.Contains(allTypes, t) {
			return req, fmt.Errorf("unknown type %q", t)
		}
	}
	return req, nil
}

func (s *Simulator) startExport(w http.ResponseWriter, r *http.Request) {
	forecast := r.PathValue("forecastId")
	req, err := readExportRequest(r.Body)
	crm := slices.Contains(req.Types, "crm_total") || slices.Contains(req.Types, "crm_closed")
	switch {
	case slices.Contains(s.cfg.NoOptIn, forecast):
		s.refuse(w, http.StatusUnauthorized, "no_optin", fmt.Sprintf("No optins for scope 1::MGR for forecast '%s'.", forecast))
		return
	case !slices.Contains(s.cfg.Forecasts, forecast):
		status := http.StatusBadRequest
		if s.cfg.UnknownForecast404 {
			status = http.StatusNotFound
		}
		s.refuse(w, status, "no_such_forecast_config", fmt.Sprintf("No forecast config for '%s'.", forecast))
		return
	case err != nil:
		s.refuse(w, http.StatusBadRequest, "bad_request", err.Error())
		return
	case crm && s.cfg.RejectCRM:
		s.refuse(w, http.StatusBadRequest, "type_not_supported", "Type crm_total or crm_closed is not supported.")
		return
	}
	j := s.schedule(forecast, req)
	if j == nil {
		s.refuse(w, http.StatusBadRequest, "export_monthly_quota_reached",
			fmt.Sprintf("The monthly quota limit of %d or concurrent limit of %d has been reached.", s.cfg.MonthlyQuota, s.cfg.ConcurrentLimit))
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"jobId": j.id})
}

// schedule adds a job, or none when the quota or the limit is used up.
func (s *Simulator) schedule(forecast string, req exportRequest) *job {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Now()
	waiting, running, month := s.usage(now)
	if concurrent, monthly := s.available(now, len(waiting)+len(running), month); concurrent < 1 || monthly < 1 {
		return nil
	}
	n := uint64(len(s.jobs))
	j := &job{
		id: fmt.Sprintf("%08x%016x", uint32(now.Unix()), mix(s.cfg.Seed, saltJob, n)), fate: done, created: now,
		snapshot: s.snapshotOf(forecast, s.find(req.TimePeriod, now), now, req),
	}
	if len(s.jobFate) > 0 {
		j.fate, s.jobFate = s.jobFate[0], s.jobFate[1:]
	}
	s.jobs = append(s.jobs, j)
	return j
}

// usage counts against the limits. The caller holds mu.
func (s *Simulator) usage(now time.Time) (waiting, running []string, month int) {
	waiting, running = []string{}, []string{}
	for _, j := range s.jobs {
		switch status, _ := s.status(j, now); status {
		case scheduled:
			waiting = append(waiting, j.id)
		case started:
			running = append(running, j.id)
		}
		if now.Sub(j.created) < quotaWindow {
			month++
		}
	}
	return waiting, running, month
}

// Quota is what is available in place of what is left, for so many requests that start an export or ask for the limits, or until
// a time, whichever is first.
type Quota struct {
	AvailableMonthlyQuota    *int      `json:"availableMonthlyQuota"`    // none: what is left
	AvailableConcurrentLimit *int      `json:"availableConcurrentLimit"` // likewise
	Requests                 int       `json:"requests"`                 // default as many as come until Until
	Until                    time.Time `json:"until"`                    // of the simulator's clock; default until Requests have come
}

// SetQuota lets a quota be used up, or be there again, for a while.
func (s *Simulator) SetQuota(q Quota) error {
	if q.Requests < 0 || q.Requests == 0 && q.Until.IsZero() {
		return errors.New("setting the quota: want a number of requests or a time until which it lasts")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quota = q
	return nil
}

// available is what may be started, after one more request has asked. The caller holds mu.
func (s *Simulator) available(now time.Time, running, month int) (concurrent, monthly int) {
	concurrent, monthly = max(0, s.cfg.ConcurrentLimit-running), max(0, s.cfg.MonthlyQuota-month)
	if q := s.quota; q.Until.IsZero() || now.Before(q.Until) {
		if q.AvailableConcurrentLimit != nil {
			concurrent = *q.AvailableConcurrentLimit
		}
		if q.AvailableMonthlyQuota != nil {
			monthly = *q.AvailableMonthlyQuota
		}
	}
	if s.quota.Requests > 0 {
		if s.quota.Requests--; s.quota.Requests == 0 {
			s.quota = Quota{}
		}
	}
	return concurrent, monthly
}

func (s *Simulator) limits(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	now := s.cfg.Now()
	waiting, running, month := s.usage(now)
	concurrent, monthly := s.available(now, len(waiting)+len(running), month)
	s.mu.Unlock()
	writeJSON(w, http.StatusOK, map[string]any{"jobs": map[string]any{
		"concurrentLimit": s.cfg.ConcurrentLimit, "monthlyQuota": s.cfg.MonthlyQuota,
		"runningJobIds": running, "submittedJobIds": waiting,
		"availableConcurrentLimit": concurrent, "availableMonthlyQuota": monthly,
	}})
}

// render is a job as the API shows it. The caller holds mu.
func (s *Simulator) render(j *job, now time.Time) any {
	status, end := s.status(j, now)
	fields := map[string]any{
		"jobId": j.id, "userId": 1, "orgId": orgID, "title": "Forecast Export", "module": "FORECAST", "version": 1,
		"startTime": j.created.UnixMilli(), "status": status, "viewed": false, "downloads": 0,
		"deliveryStatusMap": map[string]any{}, "currency": j.snapshot.currency, "fileType": "JSON",
		"fileName": fmt.Sprintf("clari_export_%s_%s_%s.json", j.snapshot.forecast, s.id(j.snapshot.quarter),
			j.created.UTC().Format("20060102_150405")),
		"cellsTruncated": s.cfg.CellsTruncated && status == done, "rowsTruncated": s.cfg.RowsTruncated && status == done,
	}
	if !unfinished(status) {
		fields["endTime"], fields["expiredTime"] = end.UnixMilli(), end.Add(keptFor).UnixMilli()
	}
	if s.cfg.FlatJobs {
		return fields
	}
	return map[string]any{"job": fields}
}

func (s *Simulator) listJobs(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	now := s.cfg.Now()
	list := make([]any, 0, len(s.jobs))
	for _, j := range s.jobs {
		list = append(list, s.render(j, now))
	}
	s.mu.Unlock()
	writeJSON(w, http.StatusOK, list)
}

// job finds the job of a request's path, with its status; when there is none it answers the request. The caller holds mu.
func (s *Simulator) job(w http.ResponseWriter, r *http.Request) *job {
	id := r.PathValue("jobId")
	if i := slices.IndexFunc(s.jobs, func(j *job) bool { return j.id == id }); i >= 0 {
		return s.jobs[i]
	}
	s.refuse(w, http.StatusBadRequest, "invalid_jobId", "The jobId is invalid.")
	return nil
}

func (s *Simulator) getJob(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if j := s.job(w, r); j != nil {
		writeJSON(w, http.StatusOK, s.render(j, s.cfg.Now()))
	}
}

func (s *Simulator) cancelJob(w http.ResponseWriter, r *http.Request) {
	var body struct{ Type string }
	if json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&body) != nil || !strings.EqualFold(body.Type, "CANCEL") {
		s.refuse(w, http.StatusBadRequest, "bad_request", "The type is not CANCEL.")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.job(w, r)
	if j == nil {
		return
	}
	now := s.cfg.Now()
	if status, _ := s.status(j, now); !unfinished(status) {
		s.refuse(w, http.StatusBadRequest, "export_failed_to_cancel", "The job has ended.")
		return
	}
	j.cancelledAt = now
	writeJSON(w, http.StatusOK, map[string]any{"status": cancelled, "successful": true})
}
