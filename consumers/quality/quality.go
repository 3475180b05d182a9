// Package quality owns looking for what is wrong with the data: in a sample of the view people, which is masked, and in what the export
// runs say of themselves. It reads nothing that an analyst may not read, and no output of it holds personal data.
//
// The sample is chosen by cityHash64(person_id), so that two analyses, and the two sides of a comparison, look at the same people.
// Duplicates alone are looked for among the people whose address has a hash within the same share: chosen by person, most pairs
// would be torn apart.
package quality

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"

	"github.com/revstream/revstream/pipeline/clickhousesink"
)

// week is how far back the baseline lies.
const week = 7 * 24 * time.Hour

// Config says how to look.
type Config struct {
	Sample int64 // people to look at, about; 0 for all
}

// Conn is what an Analyzer needs of ClickHouse; clickhousesink.Open makes one.
type Conn interface {
	clickhousesink.Conn
	Query(ctx context.Context, query string, args ...any) (driver.Rows, error)
	QueryRow(ctx context.Context, query string, args ...any) driver.Row
}

// Analyzer analyzes.
type Analyzer struct {
	cfg    Config
	logger *slog.Logger
	conn   Conn
	now    func() time.Time
}

// New checks the configuration. It does no I/O.
func New(cfg Config, logger *slog.Logger, conn Conn) (*Analyzer, error) {
	if cfg.Sample < 0 {
		return nil, errors.New("--sample must not be negative; 0 is for all")
	}
	return &Analyzer{cfg: cfg, logger: logger, conn: conn, now: time.Now}, nil
}

// Severity says how bad a finding is.
type Severity string

// The severities.
const (
	Info     Severity = "info"
	Warning  Severity = "warning"
	Critical Severity = "critical"
)

// Finding is something wrong.
type Finding struct {
	Check    string   `json:"check"`
	Column   string   `json:"column"`
	Severity Severity `json:"severity"`
	Share    float64  `json:"share"` // Count of Of; for distribution_drift, the population stability index
	Count    int64    `json:"count"`
	Of       int64    `json:"of"`
	Baseline *float64 `json:"baseline,omitempty"` // the share a week before, or the bound that an outlier is above
	Text     string   `json:"text"`
}

// NullRate is how much of a column is null.
type NullRate struct {
	Column   string   `json:"column"`
	Share    float64  `json:"share"`
	Count    int64    `json:"count"`
	Of       int64    `json:"of"`
	Baseline *float64 `json:"baseline,omitempty"` // a week before
}

// Report is what one analysis found.
type Report struct {
	ID              uuid.UUID  `json:"analysis_id"`
	CheckedAt       time.Time  `json:"checked_at"`
	People          int64      `json:"people"`
	Sampled         int64      `json:"sampled"`
	BaselineAt      time.Time  `json:"baseline_at"`
	BaselineSampled int64      `json:"baseline_sampled"`
	Compared        bool       `json:"compared"` // with the baseline: both sides were large enough
	Recorded        bool       `json:"recorded"` // written down: the user may
	Findings        []Finding  `json:"findings"`
	NullRates       []NullRate `json:"null_rates"`
}

// Criticals is how many findings are critical.
func (r Report) Criticals() (n int) {
	for _, f := range r.Findings {
		if f.Severity == Critical {
			n++
		}
	}
	return n
}

// Run analyzes once, and writes down what it found if the user may.
func (a *Analyzer) Run(ctx context.Context) (Report, error) {
	now := a.now().UTC().Truncate(time.Microsecond)
	s := &sample{Analyzer: a, report: Report{ID: uuid.New(), CheckedAt: now, BaselineAt: now.Add(-week), Findings: []Finding{}}}
	for _, step := range []func(context.Context) error{
		s.choose, s.columns, s.contacts, s.duplicates, s.times, s.outliers, s.distributions, s.exports,
	} {
		if err := step(ctx); err != nil {
			return s.report, fmt.Errorf("analyzing: %w", err)
		}
	}
	err := a.record(ctx, &s.report)
	a.logger.InfoContext(ctx, "analyzed", "people", s.report.People, "sampled", s.report.Sampled, "findings", len(s.report.Findings),
		"critical", s.report.Criticals(), "recorded", s.report.Recorded)
	return s.report, err
}
