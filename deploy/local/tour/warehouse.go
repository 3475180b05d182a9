package tour

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/revstream/revstream/deploy/local/stack"
	"github.com/revstream/revstream/producers/clari/claritest"
)

// command runs a command of warehouse, and reads the JSON that it prints. One that found something wrong is an error.
func (t *Tour) command(ctx context.Context, into any, args ...string) error {
	out, err := t.stack.Run(ctx, "", "warehouse", append(args, "--json")...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(out), into); err != nil {
		return fmt.Errorf("reading what warehouse %s prints: %w", strings.Join(args, " "), err)
	}
	return nil
}

// review is one of `warehouse anomalies detect`.
type review struct {
	Scope   string      `json:"scope"`
	UserID  string      `json:"user_id"`
	FieldID string      `json:"field_id"`
	Kind    string      `json:"kind"`
	Before  json.Number `json:"amount_before"`
	After   json.Number `json:"amount_after"`
	Percent json.Number `json:"percent"`
}

// ofUsers are the reviews of single amounts.
func ofUsers(reviews []review) (of []review) {
	for _, r := range reviews {
		if r.Scope == "user" {
			of = append(of, r)
		}
	}
	return of
}

// largest is the largest call of a person in the current quarter's latest week, as Clari has it.
const largest = `SELECT time_period_id, time_frame_id, user_id, field_id, toString(truncate(value * 0.35, 2))
FROM forecast
WHERE kind = 'forecast' AND forecast_id = 'forecast' AND value > 0
    AND (time_period_start, time_frame_start) IN (SELECT time_period_start, max(time_frame_start) FROM forecast
        WHERE time_period_start = (SELECT max(time_period_start) FROM forecast WHERE time_period_start <= today()) GROUP BY time_period_start)
ORDER BY value DESC, user_id, field_id LIMIT 1`

// anomaly has one person cut the largest call of the week, and looks for amounts that moved too far.
func (t *Tour) anomaly(ctx context.Context) (string, error) {
	var earlier, now struct {
		Versions int64    `json:"versions"`
		Opened   []review `json:"opened"`
	}
	if err := t.command(ctx, &earlier, "anomalies", "detect"); err != nil {
		return "", err
	}
	answer, err := t.query(ctx, largest)
	if err != nil {
		return "", err
	}
	entry := strings.Split(strings.TrimSpace(answer), "\t")
	if len(entry) != 5 {
		return "", fmt.Errorf("ClickHouse answered %q where an amount was expected", answer)
	}
	change := claritest.Update{Kind: "forecast", Value: json.Number(entry[4]), Key: &claritest.Key{
		ForecastID: "forecast", TimePeriodID: entry[0], TimeFrameID: entry[1], UserID: entry[2], FieldID: entry[3]}}
	if err := call(ctx, t.clari("/_sim/update"), change, nil); err != nil {
		return "", err
	}
	if _, err := t.stack.Run(ctx, "", stack.ForecastProducer, "--once"); err != nil {
		return "", err
	}
	if err := t.settle(ctx); err != nil {
		return "", err
	}
	if err := t.command(ctx, &now, "anomalies", "detect"); err != nil {
		return "", err
	}
	found := ofUsers(now.Opened)
	if len(found) != 1 {
		return "", fmt.Errorf("reviews of single amounts: %d, should be 1: %v", len(found), now.Opened)
	}
	r := found[0]
	return fmt.Sprintf("1 anomaly: %s of %s went from %s to %s (%s %%). Reviews of the steps before: %d, of places above: %d",
			r.FieldID, r.UserID, r.Before, r.After, r.Percent, len(earlier.Opened), len(now.Opened)-1), errors.Join(
			equal("whose amount", r.UserID, entry[2]), equal("field", r.FieldID, entry[3]), equal("kind", r.Kind, "forecast"))
}

// contracts holds the warehouse to what BI was promised.
func (t *Tour) contracts(ctx context.Context) (string, error) {
	var report struct {
		Results []struct {
			Contract string `json:"contract"`
			OK       bool   `json:"ok"`
		} `json:"results"`
	}
	if err := t.command(ctx, &report, "contract", "check"); err != nil {
		return "", err
	}
	names := make(map[string]bool)
	kept := 0
	for _, r := range report.Results {
		names[r.Contract] = true
		if r.OK {
			kept++
		}
	}
	return fmt.Sprintf("%d contracts hold, in %d rules", len(names), kept), equal("rules that hold", kept, len(report.Results))
}

// reconcile holds every run and every key against the tables.
func (t *Tour) reconcile(ctx context.Context) (string, error) {
	var report struct {
		Results []struct {
			RunID        string `json:"run_id"`
			Expected     int64  `json:"rows_expected"`
			Published    int64  `json:"rows_published"`
			Stored       int64  `json:"stored"`
			DeadLettered int64  `json:"dead_lettered"`
			Gap          int64  `json:"gap"`
		} `json:"results"`
	}
	if err := t.command(ctx, &report, "reconcile"); err != nil {
		return "", err
	}
	var runs, expected, published, stored, keys, gap int64
	for _, r := range report.Results {
		gap += r.Gap
		if r.RunID == "" {
			keys += r.Stored
			continue
		}
		runs, expected, published, stored = runs+1, expected+r.Expected, published+r.Published, stored+r.Stored
	}
	return fmt.Sprintf("%d runs: the sources handed over %d rows, %d were new or changed and published, all of them are in the history; all %d keys are the newest",
			runs, expected, published, keys), errors.Join(
			equal("rows that are missing", gap, 0),
			equal("export runs", runs, t.counts["export_runs"].Rows))
}
