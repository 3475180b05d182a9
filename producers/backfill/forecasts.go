package backfill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/revstream/revstream/producers/clari"
	"github.com/revstream/revstream/producers/forecast"
	"github.com/revstream/revstream/schemas/exportrun"
)

// Forecasts reads quarters again, oldest first, each by one run of the exporter: it takes the same lock, and so the same place in
// Clari's quota, as the live producer's runs, and comes between two of them.
type Forecasts struct {
	Exporter *forecast.Exporter
	Clari    *clari.Client // for what a dry run asks
	Accounts Accounts
	Config   forecast.Config
	BaseURL  string
}

// Settings implements Source.
func (f *Forecasts) Settings() map[string]string {
	return map[string]string{
		"CLARI_BASE_URL": f.BaseURL, "CLARI_FORECAST_IDS": strings.Join(f.Config.ForecastIDs, ","),
		"CLARI_TYPES": strings.Join(f.Config.Types, ","), "CLARI_SCOPE_ID": f.Config.ScopeID, "CLARI_CURRENCY": f.Config.Currency,
		"CLARI_HISTORICAL": strconv.FormatBool(f.Config.Historical),
	}
}

// plan is the exports of the quarters that overlap the range. Which quarter is the current one Clari alone knows, as fiscal years
// differ: known is false until an export has shown it. Those before it are taken for three months each, which at the edges of the
// range can be wrong by the days by which a fiscal quarter is longer or shorter; whose ID is asked for is right in any case.
func (f *Forecasts) plan(ctx context.Context, r *record) (steps []*step, known bool, err error) {
	current, known, err := f.Exporter.Periods(ctx)
	if err != nil || !known {
		return nil, false, err
	}
	periods, err := quarters(current, r)
	if err != nil {
		return nil, false, err
	}
	for _, period := range periods {
		for _, id := range f.Config.ForecastIDs {
			steps = append(steps, &step{ForecastID: id, Period: period})
		}
	}
	return steps, true, nil
}

// quarters returns the IDs of those that overlap the range, oldest first.
func quarters(current clari.TimePeriod, r *record) ([]string, error) {
	first, err := time.Parse(time.DateOnly, current.StartDate)
	if err != nil {
		return nil, fmt.Errorf("planning: Clari's current quarter %s has no start date", current.ID)
	}
	start, err := time.Parse(time.DateOnly, r.Start)
	if err != nil {
		return nil, fmt.Errorf("planning: %w", err)
	}
	var periods []string
	for id, n := current.ID, 0; ; n++ {
		begin, end := first.AddDate(0, -3*n, 0), first.AddDate(0, -3*(n-1), 0)
		if !end.After(start) {
			break
		}
		if begin.Before(r.Until) {
			periods = append(periods, id)
		}
		if id, err = forecast.Previous(id); err != nil {
			return nil, fmt.Errorf("planning: %w", err)
		}
	}
	slices.Reverse(periods)
	return periods, nil
}

func (f *Forecasts) estimate(ctx context.Context, r *record, out io.Writer) error {
	steps, known, err := f.plan(ctx, r)
	if err != nil {
		return err
	}
	limits, err := f.Clari.Limits(ctx)
	if err != nil {
		return err
	}
	jobs, err := f.Clari.Jobs(ctx)
	if err != nil {
		return err
	}
	if !known {
		fmt.Fprintln(out, "which quarters it is nobody knows before the first export: nothing of Clari is published yet")
		fmt.Fprintf(out, "the first step would export the current quarter of %s; about %d export jobs it is in all\n",
			f.Config.ForecastIDs[0], len(f.Config.ForecastIDs)*guess(r))
	}
	for _, s := range steps {
		fmt.Fprintf(out, "would export %s: one export job\n", s.name())
	}
	if known {
		fmt.Fprintf(out, "that is %d; ", len(steps))
	}
	fmt.Fprintf(out, "%d export jobs of %d are left in these 30 days", limits.AvailableMonthlyQuota, limits.MonthlyQuota)
	if each := usual(jobs); each > 0 {
		fmt.Fprintf(out, "; about %s, as earlier jobs took %s each", (time.Duration(len(steps)) * each).Round(time.Minute), each.Round(time.Second))
	}
	fmt.Fprintln(out, "; nothing was asked for but the limits and the list of jobs, nothing was published")
	return nil
}

// guess is how many quarters a range overlaps at most, wherever they begin.
func guess(r *record) int {
	start, err := time.Parse(time.DateOnly, r.Start)
	if err != nil {
		return 0
	}
	const shortest = 90 * 24 * time.Hour
	return int(r.Until.Sub(start)/shortest) + 2
}

// usual is the median of how long jobs took, or 0.
func usual(jobs []clari.Job) time.Duration {
	var took []time.Duration
	for _, j := range jobs {
		if j.Status == clari.StatusDone && !j.StartTime.IsZero() && j.EndTime.After(j.StartTime) {
			took = append(took, j.EndTime.Sub(j.StartTime))
		}
	}
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[len(took)/2]
}

func (f *Forecasts) run(ctx context.Context, r *record, show *progress, save func() error) error {
	if len(r.Steps) == 0 {
		if err := f.begin(ctx, r, save); err != nil {
			return err
		}
	}
	done, err := f.catchUp(ctx, r)
	if err != nil {
		return err
	}
	show.begin("exports", done, int64(len(r.Steps)))
	for _, s := range r.Steps {
		if s.Done {
			continue
		}
		show.next("exporting " + s.name())
		if err := f.step(ctx, r, s); err != nil {
			return err
		}
		if err := save(); err != nil {
			return err
		}
		done++
		show.at(done, fmt.Sprintf("%s %s, %d published", s.name(), s.Outcome, s.Published))
	}
	return nil
}

// catchUp enters what a process has accounted for that was killed before it could write that into the state file, so that it
// costs no second job. It returns how many steps are done.
func (f *Forecasts) catchUp(ctx context.Context, r *record) (done int64, err error) {
	runs, err := f.Accounts.of(ctx, r.CorrelationID)
	if err != nil {
		return 0, err
	}
	for _, s := range r.Steps {
		for _, run := range runs {
			if !s.Done && run.Scope == s.ForecastID && run.TimePeriodID != nil && *run.TimePeriodID == s.Period {
				r.enter(s, &run)
			}
		}
		if s.Done {
			done++
		}
	}
	return done, nil
}

// begin makes the plan. Where nobody knows the current quarter yet, exporting it is the first step; catchUp finds its account.
func (f *Forecasts) begin(ctx context.Context, r *record, save func() error) error {
	steps, known, err := f.plan(ctx, r)
	if err != nil {
		return err
	}
	if !known {
		run, err := f.Exporter.ExportPeriod(ctx, f.Config.ForecastIDs[0], "")
		if run.RunID == "" {
			return err
		}
		if steps, known, err = f.plan(ctx, r); err != nil {
			return err
		}
		if !known {
			return errors.New("finding the current quarter: its export does not say which it is: look at its account among the export runs")
		}
	}
	r.Steps = steps
	return save()
}

// step runs one export. One that failed is over as well: its account says why, and so does the summary.
func (f *Forecasts) step(ctx context.Context, r *record, s *step) error {
	run, err := f.Exporter.ExportPeriod(ctx, s.ForecastID, s.Period)
	if run.RunID == "" { // it was broken off, or refused
		return err
	}
	r.enter(s, &run)
	return nil
}

// enter takes a run's account over.
func (r *record) enter(s *step, run *exportrun.ExportRun) {
	s.Done, s.Outcome, s.Jobs = true, string(run.Outcome), run.Jobs
	s.Counts = Counts{Rows: run.RowsExpected, Published: run.RowsPublished, Unchanged: run.RowsUnchanged, Rejected: run.RowsRejected}
	if run.Error != nil {
		s.Error = *run.Error
	}
	r.Counts = r.plus(s.Counts)
}

func (f *Forecasts) summarize(r *record, run *exportrun.ExportRun) {
	run.Source, run.Kinds = "clari", f.Config.Types
	for _, s := range r.Steps {
		run.Jobs += s.Jobs
	}
}
