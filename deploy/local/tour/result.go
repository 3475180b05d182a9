package tour

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"
)

// Result is what came of the tour. The numbers of all entities together, and
// by entity.
type Result struct {
	Published         int64            `json:"published"`          // records on the entity topics
	Unique            int64            `json:"unique"`             // events in ClickHouse
	DuplicatesDropped int64            `json:"duplicates_dropped"` // records whose event ClickHouse had already
	Rows              int64            `json:"rows"`               // of the views: one for each key
	DeadLettered      int64            `json:"dead_lettered"`      // records on the dead-letter topics
	Replayed          int64            `json:"replayed"`           // of them, by the replayer's decisions
	Seconds           float64          `json:"seconds"`
	Entities          map[string]tally `json:"entities"`
}

// Line is the last line of the demo.
func (r Result) Line() string {
	return fmt.Sprintf("demo ok: published=%d unique=%d duplicates_dropped=%d rows=%d dead_lettered=%d replayed=%d seconds=%.1f",
		r.Published, r.Unique, r.DuplicatesDropped, r.Rows, r.DeadLettered, r.Replayed, r.Seconds)
}

// conclude holds the two ends against each other and shows them.
func (t *Tour) conclude(ctx context.Context) (Result, error) {
	if err := t.settle(ctx); err != nil {
		return Result{}, err
	}
	out, err := t.stack.Run(ctx, "", "dlq-replayer", "stats", "--json")
	if err != nil {
		return Result{}, err
	}
	var letters struct {
		Replayed int64 `json:"replayed"`
	}
	if err := json.Unmarshal([]byte(out), &letters); err != nil {
		return Result{}, fmt.Errorf("reading the replayer's counts: %w", err)
	}
	c := t.counts
	r := Result{
		Published:    c.sum(func(n tally) int64 { return n.Published }),
		Unique:       c.sum(func(n tally) int64 { return n.Unique }),
		Rows:         c.sum(func(n tally) int64 { return n.Rows }),
		DeadLettered: c.sum(func(n tally) int64 { return n.DeadLetters }),
		Replayed:     letters.Replayed,
		Entities:     c,
	}
	r.DuplicatesDropped = r.Published - r.DeadLettered - r.Unique
	errs := []error{
		equal("dead-lettered", r.DeadLettered, 2), equal("replayed", r.Replayed, 1),
	}
	for name, n := range c {
		errs = append(errs,
			equal(name+": rows of the history against its event IDs", n.History, n.Unique),
			equal(name+": event IDs in ClickHouse against those on Kafka", n.Unique, n.EventIDs))
	}
	if err := errors.Join(errs...); err != nil {
		return r, err
	}
	if err := t.show(ctx, r); err != nil {
		return r, err
	}
	r.Seconds = time.Since(t.start).Seconds()
	return r, nil
}

// queries are what BI would ask.
var queries = []struct{ title, statement string }{
	{"Net commit against quota, by quarter, as of its latest week", `SELECT time_period_id AS quarter, any(currency_code) AS currency,
    sumIf(value, field_name = 'Net Commit' AND kind = 'forecast') AS net_commit, sumIf(value, kind = 'quota') AS quota,
    round(100 * net_commit / nullIf(quota, 0), 1) AS percent
FROM forecast
WHERE (time_period_id, time_frame_start) IN (SELECT time_period_id, max(time_frame_start) FROM forecast GROUP BY time_period_id)
GROUP BY quarter ORDER BY quarter`},
	{"People by seniority: how many, and how many may be contacted", `SELECT ifNull(job_seniority, '(none)') AS seniority, count() AS people,
    countIf(NOT ifNull(do_not_contact, false)) AS contactable, sum(emails_sent) AS emails, sum(calls) AS calls
FROM people GROUP BY seniority ORDER BY people DESC, seniority LIMIT 8`},
	{"Export runs: what was asked, what came", `SELECT source, entity, outcome, count() AS runs, sum(rows_expected) AS expected,
    sum(rows_published) AS published, sum(rows_unchanged) AS unchanged, sum(rows_rejected) AS rejected
FROM export_runs GROUP BY source, entity, outcome ORDER BY source, outcome`},
}

// show prints the table of what happened, and the queries with their results.
func (t *Tour) show(ctx context.Context, r Result) error {
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "\n\tpublished\tdead-lettered\tduplicates dropped\tevents in history\trows for BI\t\n")
	for _, e := range entities {
		n := r.Entities[e.table]
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t\n", e.table, n.Published, n.DeadLetters, n.Published-n.DeadLetters-n.Unique, n.Unique, n.Rows)
	}
	fmt.Fprintf(w, "all\t%d\t%d\t%d\t%d\t%d\t\n", r.Published, r.DeadLettered, r.DuplicatesDropped, r.Unique, r.Rows)
	if err := w.Flush(); err != nil {
		return fmt.Errorf("printing the result: %w", err)
	}
	for _, q := range queries {
		answer, err := t.query(ctx, q.statement+"\nFORMAT PrettyCompactMonoBlock SETTINGS output_format_pretty_color = 0, output_format_pretty_row_numbers = 0")
		if err != nil {
			return err
		}
		fmt.Fprintf(t.out, "\n%s\n\n%s\n\n%s\n", q.title, q.statement, answer)
	}
	fmt.Fprintln(t.out)
	return nil
}
