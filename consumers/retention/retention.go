// Package retention owns what the warehouse lets go of as it gets old.
package retention

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/revstream/revstream/consumers/migrations"
	"github.com/revstream/revstream/pipeline/clickhousesink"
)

// keysAtOnce bounds a statement, which the server keeps until the last part is written anew.
const keysAtOnce = 10_000

// Config says what is kept.
type Config struct {
	Quarters int    // whole quarters before the present one
	By       string // who lets go, for the record
}

// Retention lets go of what is over since before the quarters that are kept.
//
// It deletes by statements, not by a TTL of the tables: a TTL looks at one row and at one part at a time, so the newest version
// of a key may go while an older one stays, and is seen again.
type Retention struct {
	cfg    Config
	logger *slog.Logger
	conn   clickhouse.Conn
	now    func() time.Time
}

// New makes a retention. It does no I/O. The connection stays the caller's to close.
func New(cfg Config, logger *slog.Logger, conn clickhouse.Conn) (*Retention, error) {
	var errs []error
	if cfg.Quarters < 1 {
		errs = append(errs, errors.New("RETENTION_QUARTERS must be positive (or --quarters)"))
	}
	if cfg.By == "" || logger == nil || conn == nil {
		errs = append(errs, errors.New("retention: a name, a logger and a connection are required"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &Retention{cfg: cfg, logger: logger, conn: conn, now: time.Now}, nil
}

// Share is what goes of a table and quarter.
type Share struct {
	Table   string    `json:"table" ch:"table_name"`
	Quarter string    `json:"quarter" ch:"quarter"` // such as 2024-Q3
	Rows    uint64    `json:"rows" ch:"rows"`       // superseded ones included
	Bytes   uint64    `json:"bytes" ch:"bytes"`     // on the disk; an estimate
	Oldest  time.Time `json:"oldest" ch:"oldest"`
}

// Report is what goes, or has gone.
type Report struct {
	Cutoff time.Time `json:"cutoff"` // what was over before it goes
	Shares []Share   `json:"shares"`
}

// Cutoff is the first day of the quarter from which on all is kept.
func Cutoff(now time.Time, quarters int) time.Time {
	now = now.UTC()
	first := (now.Month()-1)/3*3 + 1
	return time.Date(now.Year(), first-time.Month(3*quarters), 1, 0, 0, 0, 0, time.UTC)
}

// Plan says what would go. It changes nothing.
func (r *Retention) Plan(ctx context.Context) (Report, error) {
	s, err := r.begin(ctx)
	if err != nil {
		return Report{}, err
	}
	return s.plan(ctx)
}

// Run lets go, and returns when it is gone on all replicas. What it reports was there when it began.
func (r *Retention) Run(ctx context.Context) (Report, error) {
	s, err := r.begin(ctx)
	if err != nil {
		return Report{}, err
	}
	report, err := s.plan(ctx)
	if err != nil || len(report.Shares) == 0 {
		return report, err
	}
	// First, as reconciliations ask it what is missing on purpose: after a crash there may be nothing left to write down.
	if err := s.record(ctx, report); err != nil {
		return report, err
	}
	for _, rule := range rules {
		goes := slices.ContainsFunc(report.Shares, func(s Share) bool { return s.Table == rule.table })
		if !goes {
			continue
		}
		if err := s.apply(ctx, rule); err != nil {
			return report, err
		}
	}
	r.logger.InfoContext(ctx, "let go of old rows", "cutoff", s.cutoff, "tables_and_quarters", len(report.Shares))
	return report, nil
}

// session is one plan or run.
type session struct {
	*Retention

	layout migrations.Layout
	began  time.Time
	cutoff time.Time
	keys   map[string][]string // by what selects them
}

func (r *Retention) begin(ctx context.Context) (*session, error) {
	layout, err := migrations.Find(ctx, r.conn)
	if err != nil {
		return nil, err
	}
	now := r.now().UTC()
	return &session{Retention: r, layout: layout, began: now, cutoff: Cutoff(now, r.cfg.Quarters), keys: map[string][]string{}}, nil
}

// text fills in a rule's text.
func (s *session) text(text, self string) string {
	cutoff := "toDateTime64('" + s.cutoff.Format(time.DateTime) + "', 6, 'UTC')"
	return strings.NewReplacer("{cutoff}", cutoff, "{self}", self).Replace(text)
}

func (s *session) plan(ctx context.Context) (Report, error) {
	report := Report{Cutoff: s.cutoff, Shares: []Share{}}
	for _, rule := range rules {
		var goes []string
		if rule.where != "" {
			goes = append(goes, "("+s.text(rule.where, rule.table)+")")
		}
		if rule.key != "" {
			goes = append(goes, rule.key+" GLOBAL IN ("+s.text(rule.keys, "")+")")
		}
		perRow, err := s.bytesPerRow(ctx, rule.table)
		if err != nil {
			return report, err
		}
		var shares []Share
		err = s.conn.Select(ctx, &shares, fmt.Sprintf(`SELECT '%[1]s' AS table_name, concat(toString(toYear(%[2]s)), '-Q', toString(toQuarter(%[2]s))) AS quarter,
count() AS rows, toUInt64(rows * %[3]f) AS bytes, toDateTime64(min(%[2]s), 6, 'UTC') AS oldest FROM %[1]s WHERE %[4]s GROUP BY quarter ORDER BY quarter`,
			rule.table, rule.when, perRow, strings.Join(goes, " OR ")))
		if err != nil {
			return report, fmt.Errorf("looking for what goes of %s: %w", rule.table, clickhousesink.Safe(err))
		}
		report.Shares = append(report.Shares, shares...)
	}
	return report, nil
}

// bytesPerRow is what a row takes on the disk of this server.
func (s *session) bytesPerRow(ctx context.Context, table string) (perRow float64, err error) {
	err = s.conn.QueryRow(ctx, fmt.Sprintf("SELECT sum(bytes_on_disk) / greatest(sum(rows), 1) FROM system.parts WHERE active AND database = currentDatabase() AND table = '%s'", s.local(table))).Scan(&perRow)
	if err != nil {
		return 0, fmt.Errorf("asking how large %s is: %w", table, clickhousesink.Safe(err))
	}
	return perRow, nil
}

// local is the name of what holds a table's rows.
func (s *session) local(table string) string {
	name, _, _ := strings.Cut(s.layout.Storage(table), " ")
	return name
}

// apply deletes what goes of a table.
func (s *session) apply(ctx context.Context, r rule) error {
	if r.where != "" {
		if err := s.remove(ctx, r.table, s.text(r.where, s.local(r.table))); err != nil {
			return err
		}
	}
	if r.key == "" {
		return nil
	}
	keys, err := s.selected(ctx, r)
	if err != nil {
		return err
	}
	for some := range slices.Chunk(keys, keysAtOnce) {
		where := r.key + " IN (" + strings.Join(some, ", ") + ")"
		if r.only != "" {
			where += " AND " + s.text(r.only, "")
		}
		if r.first != "" {
			if err := s.remove(ctx, r.table, where+" AND "+r.first); err != nil {
				return err
			}
		}
		if err := s.remove(ctx, r.table, where); err != nil {
			return err
		}
	}
	return nil
}

// selected returns the keys that go, as SQL has them: once for all tables, as they cannot be told any more when the first of them
// is through.
func (s *session) selected(ctx context.Context, r rule) ([]string, error) {
	if keys, known := s.keys[r.keys]; known {
		return keys, nil
	}
	var rows []struct {
		Key string `ch:"literal"`
	}
	if err := s.conn.Select(ctx, &rows, fmt.Sprintf("SELECT toString(%[1]s) AS literal FROM (%[2]s) ORDER BY %[1]s", r.key, s.text(r.keys, ""))); err != nil {
		return nil, fmt.Errorf("looking for keys that go: %w", clickhousesink.Safe(err))
	}
	keys := make([]string, len(rows))
	for i, row := range rows {
		keys[i] = "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(row.Key) + "'"
	}
	s.keys[r.keys] = keys
	return keys, nil
}

// remove deletes rows, and returns when they are gone on all replicas.
func (s *session) remove(ctx context.Context, table, where string) error {
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{
		"mutations_sync": 2,
		// Which rows go does not change while some have gone, so replicas agree on them.
		"allow_nondeterministic_mutations": 1,
		"max_query_size":                   1 << 20, "max_ast_elements": 1_000_000, "max_expanded_ast_elements": 1_000_000,
	}))
	if err := s.conn.Exec(ctx, "ALTER TABLE "+s.layout.Storage(table)+" DELETE WHERE "+where); err != nil {
		return fmt.Errorf("deleting from %s: %w", table, clickhousesink.Safe(err))
	}
	return nil
}

// record writes down what goes.
func (s *session) record(ctx context.Context, report Report) error {
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhousesink.InsertSettings))
	for _, share := range report.Shares {
		err := s.conn.Exec(ctx, `INSERT INTO retentions (at, by, cutoff, table_name, quarter, rows, bytes, oldest)
SELECT fromUnixTimestamp64Micro(?, 'UTC'), ?, toDate(?), ?, ?, ?, ?, fromUnixTimestamp64Micro(?, 'UTC')`,
			s.began.UnixMicro(), s.cfg.By, s.cutoff.Format(time.DateOnly), share.Table, share.Quarter, share.Rows, share.Bytes, share.Oldest.UnixMicro())
		if err != nil {
			return fmt.Errorf("writing down what goes: %w", clickhousesink.Safe(err))
		}
	}
	return nil
}
