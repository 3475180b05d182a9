// Package report owns the page that shows how the last days went: what it reads, what it calls a problem, and how it draws it.
package report

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/revstream/revstream/schemas/contract"
)

const longestDays = 90 // for which samples are kept

// Config says what to show.
type Config struct {
	Days int `name:"days" default:"7" help:"How many days to show, the present one included: 1 to 90."`
}

// Reporter reads the warehouse: views and tables of results alone.
type Reporter struct {
	cfg       Config
	logger    *slog.Logger
	conn      clickhouse.Conn
	contracts []contract.Contract
	version   string
	now       func() time.Time
}

// New makes a reporter that holds freshness to contracts. It does no I/O. version is the program's.
func New(cfg Config, logger *slog.Logger, conn clickhouse.Conn, contracts []contract.Contract, version string) (*Reporter, error) {
	if cfg.Days < 1 || cfg.Days > longestDays {
		return nil, fmt.Errorf("--days must be 1 to %d, and is %d", longestDays, cfg.Days)
	}
	return &Reporter{cfg: cfg, logger: logger, conn: conn, contracts: contracts, version: version, now: time.Now}, nil
}

// Run reads everything. What of it cannot be read, as it does not exist yet or as the user may not see it, is a problem in the
// report; only where ClickHouse does not answer there is none.
func (r *Reporter) Run(ctx context.Context) (Report, error) {
	now := r.now().UTC()
	rep := Report{
		MadeAt: now, From: now.Truncate(24*time.Hour).AddDate(0, 0, 1-r.cfg.Days), Days: r.cfg.Days,
		Versions: Versions{Program: r.version},
	}
	if err := r.conn.QueryRow(ctx, "SELECT version()").Scan(&rep.Versions.ClickHouse); err != nil {
		return Report{}, fmt.Errorf("asking ClickHouse: %w", err)
	}
	var unread []Problem
	for _, section := range []struct {
		name string
		read func(context.Context, *Report) error
	}{
		{"freshness", r.freshness}, {"export runs", r.runs}, {"lag", r.lag}, {"dead letters", r.letters},
		{"reconciliation", r.reconciliation}, {"contracts", r.checks}, {"data quality", r.quality}, {"anomalies", r.anomalies},
	} {
		err := section.read(ctx, &rep)
		if ctx.Err() != nil {
			return Report{}, errors.Join(ctx.Err(), err)
		}
		if err != nil {
			r.logger.WarnContext(ctx, "reading a section of the report", "section", section.name, "error", err)
			rep.Unread = append(rep.Unread, section.name)
			unread = append(unread, Problem{
				Critical, section.name + " cannot be read", oneLine(err.Error()),
				"`warehouse migrate` makes what is missing; the user needs the roles bi_reader and ops_reader",
			})
		}
	}
	rep.Problems = append(unread, judge(&rep)...)
	return rep, nil
}

// at adds the report's span to a query, as from, until (Unix seconds) and further parameters.
func (r *Reporter) at(ctx context.Context, rep *Report, more clickhouse.Parameters) context.Context {
	params := clickhouse.Parameters{"from": fmt.Sprint(rep.From.Unix()), "until": fmt.Sprint(rep.MadeAt.Unix())}
	maps.Copy(params, more)
	return clickhouse.Context(ctx, clickhouse.WithParameters(params))
}

func oneLine(text string) string {
	const longest = 300
	text = strings.Join(strings.Fields(text), " ")
	return strings.ToValidUTF8(text[:min(len(text), longest)], "")
}
