// Package contracts owns the check of the live warehouse against what BI was promised.
package contracts

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/contract"
)

// Config says what is checked.
type Config struct {
	Contracts []contract.Contract
	// Strict finds fault with columns that no contract of their view names.
	Strict bool
}

// Promised are the contracts of this build.
func Promised() ([]contract.Contract, error) {
	return contract.Files(schemas.Contracts())
}

// Named returns those of the contracts that have one of the names, or all without names.
func Named(contracts []contract.Contract, names []string) ([]contract.Contract, error) {
	if len(names) == 0 {
		return contracts, nil
	}
	var named []contract.Contract
	var errs []error
	for _, name := range names {
		i := slices.IndexFunc(contracts, func(c contract.Contract) bool { return c.Name == name })
		if i < 0 {
			known := make([]string, len(contracts))
			for j, c := range contracts {
				known[j] = c.Name
			}
			errs = append(errs, fmt.Errorf("there is no contract %q; there are %s", name, strings.Join(known, ", ")))
			continue
		}
		named = append(named, contracts[i])
	}
	return named, errors.Join(errs...)
}

// Checker holds a database to contracts.
type Checker struct {
	cfg    Config
	logger *slog.Logger
	conn   clickhouse.Conn
}

// New makes a Checker.
func New(cfg Config, logger *slog.Logger, conn clickhouse.Conn) (*Checker, error) {
	if len(cfg.Contracts) == 0 {
		return nil, errors.New("there is no contract to check")
	}
	return &Checker{cfg: cfg, logger: logger, conn: conn}, nil
}

// Report is what a check found.
type Report struct {
	CheckedAt time.Time `json:"checked_at"`
	Results   []Result  `json:"results"`
}

// Result is a row of contract_checks; its columns' comments say what the fields mean.
type Result struct {
	Contract   string   `json:"contract" ch:"contract"`
	Relation   string   `json:"relation" ch:"relation"`
	Rule       string   `json:"rule" ch:"rule"`
	OK         bool     `json:"ok" ch:"ok"`
	Violations uint64   `json:"violations" ch:"violations"`
	Measured   *float64 `json:"measured" ch:"measured"`
	Found      string   `json:"found" ch:"found"`
	Expected   string   `json:"expected" ch:"expected"`
}

// Broken are the results of rules that do not hold.
func (r Report) Broken() []Result {
	return slices.DeleteFunc(slices.Clone(r.Results), func(one Result) bool { return one.OK })
}

// Run checks every contract and writes down what it found. An error is about the check, never about the data.
func (c *Checker) Run(ctx context.Context) (Report, error) {
	report := Report{CheckedAt: time.Now().UTC().Truncate(time.Millisecond)}
	live, err := c.columns(ctx)
	if err != nil {
		return report, err
	}
	for _, promised := range c.cfg.Contracts {
		results, err := c.check(ctx, promised, live)
		if err != nil {
			return report, fmt.Errorf("checking contract %s: %w", promised.Name, err)
		}
		report.Results = append(report.Results, results...)
	}
	if err := c.write(ctx, report); err != nil {
		return report, err
	}
	c.logger.DebugContext(ctx, "checked the contracts", "contracts", len(c.cfg.Contracts), "broken", len(report.Broken()))
	return report, nil
}

// check holds one relation to its contract.
func (c *Checker) check(ctx context.Context, promised contract.Contract, live relations) ([]Result, error) {
	j := judge{contract: promised, live: live[promised.Relation]}
	if !j.exists() {
		return j.results, nil
	}
	j.columns()
	if c.cfg.Strict {
		j.unnamed(c.cfg.Contracts)
	}
	counted, err := c.count(ctx, promised, j.live)
	if err != nil {
		return nil, err
	}
	j.primaryKey(counted)
	j.notNull(counted)
	j.allowed(counted)
	j.freshness(counted)
	j.maxAge(counted)
	j.rows(counted)
	return j.results, nil
}

// relations are the views of the database: their columns, and the columns' types.
type relations map[string]map[string]string

func (c *Checker) columns(ctx context.Context) (relations, error) {
	var rows []struct {
		Table string `ch:"table"`
		Name  string `ch:"name"`
		Type  string `ch:"type"`
	}
	err := c.conn.Select(ctx, &rows, `SELECT table, name, type FROM system.columns
		WHERE database = currentDatabase() AND table IN (SELECT name FROM system.tables WHERE database = currentDatabase() AND engine = 'View')`)
	if err != nil {
		return nil, fmt.Errorf("reading the views' columns: %w", err)
	}
	live := relations{}
	for _, row := range rows {
		if live[row.Table] == nil {
			live[row.Table] = map[string]string{}
		}
		live[row.Table][row.Name] = row.Type
	}
	return live, nil
}

func (c *Checker) write(ctx context.Context, report Report) error {
	batch, err := c.conn.PrepareBatch(ctx, "INSERT INTO contract_checks (contract, relation, rule, checked_at, ok, violations, measured, found, expected)")
	if err != nil {
		return fmt.Errorf("writing the check down: %w", err)
	}
	for _, r := range report.Results {
		if err := batch.Append(r.Contract, r.Relation, r.Rule, report.CheckedAt, r.OK, r.Violations, r.Measured, r.Found, r.Expected); err != nil {
			return fmt.Errorf("writing the check down: %w", errors.Join(err, batch.Abort()))
		}
	}
	if err := batch.Send(); err != nil {
		return fmt.Errorf("writing the check down: %w", err)
	}
	return nil
}
