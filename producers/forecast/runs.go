package forecast

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/revstream/revstream/producers/clari"
)

// past is what the state holds of the last run of a forecast and time period: so that neither a restart nor another replica asks
// for the same again, which would cost the quota, and for the next one to be compared with.
type past struct {
	ForecastID string    `json:"forecast_id"`
	Settings   string    `json:"settings"`          // a hash of those that decide what an export holds
	Period     string    `json:"period,omitempty"`  // empty for a run that failed before that was known
	Current    bool      `json:"current,omitempty"` // the period was the current one when it was asked for
	CycleAt    time.Time `json:"cycle_at"`          // when the cycle began that asked
	JobID      string    `json:"job_id"`
	Failed     string    `json:"failed,omitempty"` // why nothing may be published

	// Of the last run that did not fail. Dates are as Clari sends them.
	Start  string `json:"start,omitempty"`
	End    string `json:"end,omitempty"`
	Before string `json:"before,omitempty"` // ID of the period before this one
	Rows   int64  `json:"rows,omitempty"`
	Frames int    `json:"frames,omitempty"` // weeks in it
}

const (
	runsName = "runs"
	keptRuns = 300 // of all forecasts; a backfill may go back many years
)

// settings is a hash of what decides what an export holds, apart from the forecast and the period.
func (cfg Config) settings() string {
	types := slices.Sorted(slices.Values(cfg.Types))
	b, err := json.Marshal([]any{types, cfg.ScopeID, cfg.Currency, cfg.Historical})
	if err != nil {
		panic(err) // texts and a bool have JSON
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// runs returns the past runs that had the settings of today, the newest first.
func (e *Exporter) runs() ([]past, error) {
	all, err := e.allRuns()
	return slices.DeleteFunc(all, func(p past) bool { return p.Settings != e.settings }), err
}

func (e *Exporter) allRuns() ([]past, error) {
	var all []past
	_, err := e.deps.State.Load(runsName, &all)
	return all, err
}

// lastRun returns the last run of a period, or of what was the current one if the period is empty; zero if there is none.
func (e *Exporter) lastRun(forecastID, period string) (past, error) {
	runs, err := e.runs()
	i := slices.IndexFunc(runs, func(p past) bool {
		current := period == "" && (p.Current || p.Period == "")
		return p.ForecastID == forecastID && (current || period != "" && p.Period == period)
	})
	if err != nil || i < 0 {
		return past{}, err
	}
	return runs[i], nil
}

// record saves the account of a run in the place of the one before it.
func (e *Exporter) record(ctx context.Context, p past) error {
	all, err := e.allRuns()
	if err != nil {
		return err
	}
	same := func(o past) bool { return o.ForecastID == p.ForecastID && o.Settings == p.Settings }
	all = slices.DeleteFunc(all, func(o past) bool {
		// What is known of the current quarter supersedes that nothing was.
		return same(o) && (o.Period == p.Period || o.Period == "" && p.Current)
	})
	for i := range all {
		if p.Current && same(all[i]) {
			all[i].Current = false
		}
	}
	all = slices.Insert(all, 0, p)
	return e.deps.State.Save(ctx, runsName, all[:min(len(all), keptRuns)])
}

// startAfter is the day on which the period begins that comes after one, as far as that is known.
func (e *Exporter) startAfter(forecastID, period string) (string, error) {
	runs, err := e.runs()
	for _, p := range runs {
		if p.ForecastID == forecastID && p.Before == period && period != "" {
			return p.Start, nil
		}
	}
	return "", err
}

// Periods returns the quarter that was last seen as the current one, by this process or another: its ID, start and end. found is
// false before the first export.
func (e *Exporter) Periods(ctx context.Context) (current clari.TimePeriod, found bool, err error) {
	if err := e.deps.State.Sync(ctx); err != nil {
		return current, false, fmt.Errorf("looking for the current quarter: %w", err)
	}
	all, err := e.allRuns()
	for _, p := range all {
		if p.Current && p.Start != "" {
			return clari.TimePeriod{ID: p.Period, Type: "QUARTER", StartDate: p.Start, EndDate: p.End}, true, nil
		}
	}
	return current, false, err
}
