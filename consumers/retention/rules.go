package retention

// rule says which rows of a table go. In its texts {cutoff} is the moment from which rows are kept, and {self} the table as it
// lies on one shard.
type rule struct {
	table string
	when  string // what dates a row
	// keys selects keys of which all rows go, as the newest of them hides the others: were that to go alone, an older one would be
	// seen again. first are those of them that go before the others, and only are all of them; empty is no matter.
	key, keys   string
	first, only string
	// where is what goes row by row. Which rows that are must not change when some of them have gone.
	where string
}

const (
	// A period goes when all that is known of it says that it ended before. It is part of the key of a forecast.
	oldPeriods = `SELECT time_period_id FROM
(SELECT time_period_id, time_period_end FROM forecast_current UNION ALL SELECT time_period_id, time_period_end FROM forecast_history)
GROUP BY time_period_id HAVING max(time_period_end) < toDate32({cutoff})`
	// Who is deleted since before goes. The living stay in current, however old their newest version is.
	longDeleted = `SELECT person_id FROM
(SELECT person_id, event_id, is_deleted, source_version FROM people_current UNION ALL SELECT person_id, event_id, is_deleted, source_version FROM people_history)
GROUP BY person_id HAVING argMax(is_deleted, toUInt128(event_id)) = 1 AND max(source_version) < {cutoff}`
	// A version goes when it was superseded before: the one that held at the cutoff is what was believed from then on.
	superseded = `source_version < {cutoff} AND (person_id, event_id) NOT IN
(SELECT person_id, argMax(event_id, toUInt128(event_id)) FROM {self} WHERE source_version < {cutoff} GROUP BY person_id)`
	ofBefore  = "source_version < {cutoff}" // what has come of a key since it was selected stays
	periodEnd = "coalesce(time_period_end, toDate32(source_version))"
)

// rules are all tables that retention lets go of.
var rules = []rule{
	{table: "forecast_current", when: periodEnd, key: "time_period_id", keys: oldPeriods},
	{table: "forecast_history", when: periodEnd, key: "time_period_id", keys: oldPeriods},
	{table: "people_history", when: "source_version", where: superseded, key: "person_id", keys: longDeleted, only: ofBefore},
	{table: "people_current", when: "source_version", key: "person_id", keys: longDeleted, first: "is_deleted = 0", only: ofBefore},
	{table: "export_runs_current", when: "requested_at", where: "requested_at < {cutoff}"},
	{table: "export_runs_history", when: "requested_at", where: "requested_at < {cutoff}"},
	{table: "dlq_audit", when: "at", where: "at < {cutoff}"},
	{table: "reconciliations", when: "checked_at", where: "checked_at < {cutoff}"},
	{table: "reconciliation_missing", when: "checked_at", where: "checked_at < {cutoff}"},
	{table: "data_quality_analyses", when: "checked_at", where: "checked_at < {cutoff}"},
	{table: "data_quality_findings", when: "checked_at", where: "checked_at < {cutoff}"},
	{table: "forecast_anomalies", when: "opened_at", where: "opened_at < {cutoff}"},
	{table: "retentions", when: "at", where: "at < {cutoff}"},
}

// Kept are the other tables, and why they are not here.
var kept = map[string]string{
	"forecast_ledger":       "goes by its TTL of 90 days",
	"people_ledger":         "goes by its TTL of 90 days",
	"export_runs_ledger":    "goes by its TTL of 90 days",
	"contract_checks":       "goes by its TTL of 400 days",
	"anomaly_runs":          "goes by its TTL of 90 days",
	"consumer_lag_samples":  "goes by its TTL of 90 days",
	"dead_letters":          "goes by its TTL of 90 days",
	"dead_letter_positions": "has a row for each partition",
	"erasures":              "what arrives late of erased people is found by it",
	"masking_key":           "masked people could not be joined with what was kept of them before",
	"goose_db_version":      "what was migrated stays migrated",
}
