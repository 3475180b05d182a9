// Package anomaly owns the reviews of forecast amounts that moved far: finding them, telling of them, closing them.
package anomaly

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/shopspring/decimal"

	"github.com/revstream/revstream/schemas/alert"
)

// Config says how far is too far. Embed it in a command's settings.
type Config struct {
	Percent decimal.Decimal `name:"percent" default:"20" placeholder:"N" help:"Open a review where an amount moves by more than this percentage of what it was." group:"Anomalies"`
	Floor   decimal.Decimal `name:"floor" default:"10000" placeholder:"AMOUNT" help:"And by at least this amount, in its currency. It alone decides where the amount was 0." group:"Anomalies"`
	MaxAge  time.Duration   `name:"max-age" default:"168h" help:"Open nothing for changes that are older by the source's clock. The first run looks back so far." group:"Anomalies"`
	Storm   int             `name:"storm" default:"25" placeholder:"N" help:"Open a single review where one run would open more than this many for one forecast and period." group:"Anomalies"`
	Overlap time.Duration   `name:"overlap" default:"10m" help:"Look again at what came so shortly before the run before: an insert shows some time after its start." group:"Anomalies"`

	RulesFile string `name:"rules" env:"ANOMALY_RULES" placeholder:"YAML" type:"path" help:"File with other limits for some fields, kinds and currencies." group:"Anomalies"`
	Rules     Rules  `kong:"-"` // as ReadRules has read them
}

// Validate names every setting that is wrong. It does no I/O.
func (cfg Config) Validate() error {
	var errs []error
	if cfg.Percent.IsNegative() {
		errs = append(errs, errors.New("--percent: want 0 or more"))
	}
	if cfg.Floor.IsNegative() {
		errs = append(errs, errors.New("--floor: want 0 or more"))
	}
	if cfg.MaxAge <= 0 {
		errs = append(errs, errors.New("--max-age: want more than 0, such as 168h"))
	}
	if cfg.Overlap < 0 {
		errs = append(errs, errors.New("--overlap: want 0 or more, such as 10m"))
	}
	if cfg.Storm < 1 {
		errs = append(errs, errors.New("--storm: want 1 or more"))
	}
	return errors.Join(append(errs, cfg.Rules.validate())...)
}

// Alerts tells subscribers. It returns when the brokers have acknowledged all; Publisher is one.
type Alerts interface {
	Publish(ctx context.Context, alerts []*alert.Alert) error
}

// Deps is what a Detector works with.
type Deps struct {
	Conn   clickhouse.Conn
	Alerts Alerts
}

// Detector looks for amounts that moved far.
//
// Invariant: a review has an ID that what was compared decides, its alert is on the topic before its row is in the table, and
// a row is written at most once by a run and never over a person's answer. So a run may be broken off at any point and be done
// again: it tells of the same reviews under the same event IDs.
type Detector struct {
	cfg    Config
	logger *slog.Logger
	deps   Deps
}

// New checks the configuration.
func New(cfg Config, logger *slog.Logger, deps Deps) (*Detector, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Detector{cfg: cfg, logger: logger, deps: deps}, nil
}

// Report says what a run has found.
type Report struct {
	Since      time.Time `json:"since"`    // versions inserted from here on
	Until      time.Time `json:"until"`    // up to here
	Versions   int64     `json:"versions"` // looked at
	Opened     []Review  `json:"opened"`
	Suppressed int64     `json:"suppressed"` // that a storm stands for
}

// Run looks at the versions that have come since the last run. What a run that was broken off has left is done first.
func (d *Detector) Run(ctx context.Context) (Report, error) {
	if err := d.suppressBackfills(ctx); err != nil {
		return Report{}, err
	}
	report := Report{Opened: []Review{}}
	for {
		w, again, err := d.plan(ctx)
		if err != nil {
			return Report{}, err
		}
		if report.Since.IsZero() {
			report.Since = w.From
		}
		report.Until = w.Until
		if err := d.examine(ctx, &w, &report); err != nil {
			return Report{}, fmt.Errorf("looking for anomalies among the versions of %s to %s: %w",
				w.From.Format(time.RFC3339), w.Until.Format(time.RFC3339), err)
		}
		if err := d.finish(ctx, w); err != nil {
			return Report{}, err
		}
		if !again {
			d.logger.InfoContext(ctx, "anomalies looked for", "versions", report.Versions, "opened", len(report.Opened), "suppressed", report.Suppressed)
			return report, nil
		}
	}
}

// examine looks at a window, one forecast and period after the other.
func (d *Detector) examine(ctx context.Context, w *window, report *Report) error {
	groups, err := d.touched(ctx, *w)
	if err != nil {
		return err
	}
	for _, g := range groups {
		w.Versions += int64(g.Versions)
		found, err := d.moves(ctx, *w, g)
		if err != nil {
			return err
		}
		sums, err := d.rollUps(ctx, *w, g)
		if err != nil {
			return err
		}
		opened, suppressed, err := d.open(ctx, *w, append(found, sums...))
		if err != nil {
			return err
		}
		w.Opened += int64(len(opened))
		w.Suppressed += suppressed
		report.Opened = append(report.Opened, opened...)
	}
	report.Versions += w.Versions
	report.Suppressed += w.Suppressed
	return nil
}

// open tells of the reviews that are new, and then enters them.
func (d *Detector) open(ctx context.Context, w window, found []Review) (opened []Review, suppressed int64, err error) {
	if len(found) == 0 {
		return nil, 0, nil
	}
	known, err := d.known(ctx, found)
	if err != nil {
		return nil, 0, err
	}
	var fresh, all []Review
	for _, r := range found {
		run, entered := known[r.ID]
		if !entered {
			fresh = append(fresh, r)
		}
		if !entered || run.Equal(w.Until) { // this very window had entered it before it was broken off
			all = append(all, r)
		}
	}
	if len(fresh) > 0 && len(all) > d.cfg.Storm {
		storm := stormOf(w, all)
		for i := range fresh {
			fresh[i].State, fresh[i].StormID, fresh[i].Why = stateSuppressed, &storm.ID, "one of too many at once"
		}
		if err := d.announce(ctx, []Review{storm}); err != nil {
			return nil, 0, err
		}
		return []Review{storm}, int64(len(fresh)), d.insert(ctx, append([]Review{storm}, fresh...))
	}
	if len(fresh) == 0 {
		return nil, 0, nil
	}
	if err := d.announce(ctx, fresh); err != nil {
		return nil, 0, err
	}
	return fresh, 0, d.insert(ctx, fresh)
}

func (d *Detector) announce(ctx context.Context, reviews []Review) error {
	alerts := make([]*alert.Alert, len(reviews))
	for i, r := range reviews {
		a, err := r.alert()
		if err != nil {
			return err
		}
		alerts[i] = a
	}
	return d.deps.Alerts.Publish(ctx, alerts)
}
