package check

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/revstream/revstream/producers/clari"
)

const (
	clariName       = "Clari API"
	clariAccessName = "Clari Credentials"
)

const month = 30 * 24 * time.Hour // of Clari's quota, which rolls

// ClariConfig is what the forecast producer needs of Clari.
type ClariConfig struct {
	Needs       []string // checks that the settings are there
	BaseURL     string
	HTTP        *http.Client
	Open        func(ctx context.Context) (*clari.Client, error)
	ForecastIDs []string
	Quarters    int
	Interval    time.Duration // between two cycles, of a job for each forecast and quarter
	Reserve     float64       // share of the monthly quota that is left to people
	// Deep starts an export job of each forecast of which nothing else says that it can be exported, and cancels it at once: no
	// request finds that out for nothing.
	Deep bool
}

// Clari checks the API, the key, what is left of the quota, and which forecasts the key may export.
func Clari(cfg ClariConfig) []Check {
	c := &clariChecks{cfg: cfg}
	checks := []Check{
		{Name: clariName, Run: func(ctx context.Context) Result {
			return reach(ctx, cfg.HTTP, strings.TrimRight(cfg.BaseURL, "/")+c.probe(), "CLARI_BASE_URL")
		}},
		{Name: clariAccessName, Needs: append([]string{clariName}, cfg.Needs...), Run: c.access},
		{Name: "Clari Quota", Needs: []string{clariAccessName}, Run: c.quota},
	}
	for _, id := range cfg.ForecastIDs {
		checks = append(checks, Check{Name: "Forecast " + id, Needs: []string{clariAccessName}, Run: func(ctx context.Context) Result {
			return c.forecast(ctx, id)
		}})
	}
	return checks
}

// clariChecks is what the checks know of each other; they run one after the other.
type clariChecks struct {
	cfg    ClariConfig
	client *clari.Client
	types  []string // forecasts that /forecast/types lists; nil on version 4, which has no such list
	limits clari.Limits
	jobs   []clari.Job
	listed bool // jobs has been asked for
}

// v1 is the version of the API that lists forecasts.
func (c *clariChecks) v1() bool {
	return strings.HasSuffix(strings.TrimRight(c.cfg.BaseURL, "/"), "/v1")
}

func (c *clariChecks) probe() string {
	if c.v1() {
		return "/forecast/types"
	}
	return "/admin/limits"
}

func (c *clariChecks) access(ctx context.Context) Result {
	var err error
	if c.client, err = c.cfg.Open(ctx); err != nil {
		return failed("set it right", "%v", err)
	}
	if c.v1() {
		c.types, err = c.client.ForecastTypes(ctx)
	} else {
		c.limits, err = c.client.Limits(ctx)
	}
	answer, _ := errors.AsType[*clari.APIError](err)
	switch {
	case err == nil:
		return passed("Valid")
	case errors.Is(err, clari.ErrKeyExpired):
		return failed("make a new key in Clari and set CLARI_API_KEY to it", "EXPIRED: %v", err)
	case errors.Is(err, clari.ErrUnauthorized):
		return failed("set CLARI_API_KEY to a valid key; CLARI_AUTH_SCHEME says how it is sent", "REFUSED: wrong or revoked: %v", err)
	case errors.Is(err, clari.ErrNoOptIn), answer != nil && answer.Status == http.StatusForbidden:
		return failed("let a Clari administrator grant the key's owner the right to export", "VALID, BUT LACKS PERMISSION: %v", err)
	}
	return failed("run the check again; if it stays, ask Clari's support", "UNKNOWN: %v", err)
}

func (c *clariChecks) quota(ctx context.Context) Result {
	if c.v1() {
		var err error
		if c.limits, err = c.client.Limits(ctx); err != nil {
			return warned("UNVERIFIED: %v", err)
		}
	}
	l := c.limits
	said := fmt.Sprintf("%d of %d export jobs left in these 30 days, %d of %d at a time",
		l.AvailableMonthlyQuota, l.MonthlyQuota, l.AvailableConcurrentLimit, l.ConcurrentLimit)
	cycle := len(c.cfg.ForecastIDs) * c.cfg.Quarters
	if c.cfg.Interval > 0 {
		ours := int(float64(l.MonthlyQuota) * (1 - c.cfg.Reserve))
		if wants := cycle * int(month/c.cfg.Interval); wants > ours {
			return warned("%s; the schedule wants %d in 30 days and may have %d: raise CLARI_INTERVAL, or lower CLARI_QUARTERS", said, wants, ours)
		}
	}
	switch {
	case l.AvailableMonthlyQuota < cycle:
		return warned("%s; a cycle takes %d: it will wait", said, cycle)
	case l.AvailableConcurrentLimit < 1:
		return warned("%s; the producer waits for the others", said)
	}
	return passed("%s", said)
}

// forecast finds out whether a forecast can be exported. No endpoint of version 4 says so; a job that has done it does.
func (c *clariChecks) forecast(ctx context.Context, id string) Result {
	if c.v1() {
		if slices.Contains(c.types, id) {
			return passed("Accessible")
		}
		return failed("correct CLARI_FORECAST_IDS, or let a Clari administrator opt the key's owner in", "NOT AMONG the forecasts of this key: %s", strings.Join(c.types, ", "))
	}
	if !c.listed {
		var err error
		if c.jobs, err = c.client.Jobs(ctx); err != nil {
			return failed("run the check again", "%v", err)
		}
		c.listed = true
	}
	name := regexp.MustCompile("^clari_export_" + regexp.QuoteMeta(id) + `_\d{4}_Q[1-4]_`)
	var last time.Time
	for _, job := range c.jobs {
		if job.Status == clari.StatusDone && name.MatchString(job.FileName) && job.StartTime.After(last) {
			last = job.StartTime
		}
	}
	switch {
	case !last.IsZero():
		return passed("Accessible: last exported %s", last.Format(time.DateTime))
	case c.cfg.Deep:
		return c.start(ctx, id)
	}
	return warned("UNVERIFIED: nothing was exported of it with this key in 30 days; --deep finds out, at the cost of one export job")
}

// start starts an export job and cancels it.
func (c *clariChecks) start(ctx context.Context, id string) Result {
	jobID, err := c.client.StartExport(ctx, id, clari.ExportRequest{Types: []string{clari.TypeForecast}})
	switch {
	case errors.Is(err, clari.ErrUnknownForecast):
		return failed("correct CLARI_FORECAST_IDS: the ID is in the address of the forecast's page in Clari", "UNKNOWN to Clari: %v", err)
	case errors.Is(err, clari.ErrNoOptIn):
		return failed("let a Clari administrator opt the key's owner in", "LACKS PERMISSION: %v", err)
	case errors.Is(err, clari.ErrQuota):
		return warned("UNVERIFIED: %v", err)
	case err != nil:
		return failed("run the check again; a job may have been started", "%v", err)
	}
	// The job must not outlive the check because that has run out of time.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), each)
	defer cancel()
	if err := c.client.CancelJob(ctx, jobID); err != nil && !errors.Is(err, clari.ErrNotCancellable) {
		return warned("Accessible; its export job %s goes on: %v", jobID, err)
	}
	return passed("Accessible: an export job was started and cancelled")
}
