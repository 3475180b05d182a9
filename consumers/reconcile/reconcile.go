// Package reconcile owns holding what the sources handed over against what the tables have.
//
// # By run
//
// An export run accounts for its rows itself:
//
//	expected = published + unchanged + rejected + unaccounted
//
// Its events carry its correlation ID; those of a forecast run its forecast and period in their keys, too, as one export cycle
// has one correlation ID for all of its runs. Of the records on the topic those are its own that no replay has put there, and
// each of them is in one of these states:
//
//		on topic  = stored + pending + dead-lettered + erased + expired + missing
//		published = on topic + compacted + lost + untold            (more on the topic than published: the run failed after its last count)
//
//	  - stored: its event ID is in the history, whichever run, webhook or replay brought it there first;
//	  - pending: at or beyond what the consumer group had committed before the topic was read, or a replay of it is;
//	  - dead-lettered: its newest dead letter is not discarded, and if it was replayed, the replay lies beyond what was read;
//	  - erased: a tombstone of its key follows it;
//	  - expired: it is older than what retention keeps;
//	  - missing: none of these. Discarded dead letters are among them;
//	  - compacted: in the history under the run's correlation ID, and no more on the topic;
//	  - lost: in neither, though the topic keeps everything that is as young as the run;
//	  - untold: in neither, and the run is older than that: another run may have published the same event first, so that the
//	    history names that one, and compaction has taken both records. Nothing tells that from a loss, so it is shown and is no gap.
//
// Two runs with the same correlation ID, forecast and period cannot be told apart: the first row has the counts of both. The
// summary of a backfill counts all events of its correlation ID again; such rows say counted_elsewhere.
//
// # By key
//
// The newest event of each key on the topic is held against the newest row of that key in the current table, whatever brought it
// there: webhooks have no run. A row is missing, or stale if it is of an older event. A row that is newer than the topic's is
// right, as partitions grow and topics move on; a key whose newest event is a delete may have no row at all.
//
//	gap = missing + lost + unaccounted of runs that ended well
//
// # Order
//
// What the group has committed is asked for first, then the topic is read, then the tables: so what was committed is stored by the
// time that the tables are asked. It is read once, partition by partition. Memory is bounded by the keys of a partition (some 60
// bytes each) and by maxCandidates.
package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/consumers"
	"github.com/revstream/revstream/consumers/exportrun"
	"github.com/revstream/revstream/consumers/forecast"
	"github.com/revstream/revstream/consumers/people"
	"github.com/revstream/revstream/pipeline/clickhousesink"
	"github.com/revstream/revstream/schemas"
)

// ErrNoRun is returned by Run where the run to reconcile is not in the warehouse.
var ErrNoRun = errors.New("no such export run in the warehouse")

// Config says what to reconcile.
type Config struct {
	Since  time.Duration // runs that were completed within it
	RunID  string        // this run alone, whenever it was; empty for all within Since
	Listed int           // missing keys that are listed, by entity; the others are counted
}

// Conn is what a Reconciler needs of ClickHouse; clickhousesink.Open makes one.
type Conn interface {
	clickhousesink.Conn
	Query(ctx context.Context, query string, args ...any) (driver.Rows, error)
	QueryRow(ctx context.Context, query string, args ...any) driver.Row
}

// Reconciler reconciles.
type Reconciler struct {
	cfg      Config
	logger   *slog.Logger
	kafka    *kgo.Client
	conn     Conn
	entities []entity
	now      func() time.Time
}

// entity is a topic and the tables that it fills.
type entity struct {
	source, name string
	topic        schemas.Topic
	group        string
	runs         bool // export runs are of it
	scoped       bool // a correlation ID is of several runs: the key's first two parts are a run's forecast and period
}

// New checks the configuration. It does no I/O.
func New(cfg Config, logger *slog.Logger, kafka *kgo.Client, conn Conn) (*Reconciler, error) {
	var errs []error
	if cfg.Since <= 0 {
		errs = append(errs, errors.New("--since must be more than 0, such as 48h"))
	}
	if cfg.Listed < 0 {
		errs = append(errs, errors.New("--missing must not be negative"))
	}
	catalogue, err := schemas.Topics()
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	r := &Reconciler{cfg: cfg, logger: logger, kafka: kafka, conn: conn, now: time.Now}
	of := map[string]entity{
		forecast.Tables:  {source: "clari", name: "forecast", group: consumers.Forecast.Group, runs: true, scoped: true},
		people.Tables:    {source: "salesloft", name: "people", group: consumers.People.Group, runs: true},
		exportrun.Tables: {source: "revstream", name: "export_run", group: consumers.ExportRuns.Group},
	}
	for _, topic := range catalogue {
		if e, ok := of[topic.Table]; ok {
			e.topic = topic
			r.entities = append(r.entities, e)
		}
	}
	return r, nil
}

// Run reconciles once, and writes down what it found.
func (r *Reconciler) Run(ctx context.Context) (Report, error) {
	report := Report{ID: uuid.New(), CheckedAt: r.now().UTC().Truncate(time.Microsecond), Complete: r.cfg.RunID == "", Missing: []Missing{}}
	for _, e := range r.entities {
		runs, err := r.runs(ctx, e, report.CheckedAt)
		if err != nil {
			return report, err
		}
		if !report.Complete && len(runs) == 0 {
			continue
		}
		if err := r.entity(ctx, e, runs, &report); err != nil {
			return report, fmt.Errorf("reconciling %s: %w", e.name, err)
		}
	}
	if len(report.Results) == 0 {
		return report, fmt.Errorf("%w: %q", ErrNoRun, r.cfg.RunID)
	}
	return report, r.store(ctx, report)
}

func (r *Reconciler) entity(ctx context.Context, e entity, runs []run, report *Report) error {
	began := r.now()
	c := newCheck(r, e, runs)
	if err := c.read(ctx); err != nil {
		return err
	}
	if err := c.readLetters(ctx); err != nil {
		return err
	}
	if err := c.readGone(ctx); err != nil {
		return err
	}
	c.classify()
	if err := c.countCompacted(ctx); err != nil {
		return err
	}
	results := c.results(report.CheckedAt)
	if !report.Complete {
		results = results[1:] // a look at one run is none at the keys
	}
	report.Results = append(report.Results, results...)
	report.Missing = append(report.Missing, c.missing(r.cfg.Listed, report.Complete)...)
	r.logger.InfoContext(ctx, "reconciled", "entity", e.name, "runs", len(runs), "keys", c.counts[keysGroup].onTopic,
		"records", c.records, "missing", c.counts[keysGroup].missing, "seconds", r.now().Sub(began).Seconds())
	return nil
}
