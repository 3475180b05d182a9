package metrics

import "strings"

// Values returns what a label can be, or nothing where that is open: a topic, a table, an HTTP status.
func (m Metric) Values(label string) []string {
	return strings.Fields(bounded[m.Name][label])
}

const (
	outcomes = "SUCCEEDED PARTIAL FAILED CANCELLED"
	sources  = "clari salesloft"
	kinds    = "read write"
)

// bounded are labels whose values the sources decide, by metric. A test looks for each in the sources.
var bounded = map[string]map[string]string{
	"revstream_source_requests_total":        {"source": sources, "kind": kinds},
	"revstream_source_request_seconds":       {"source": sources, "kind": kinds},
	"revstream_source_circuit_open":          {"source": sources},
	"revstream_forecast_jobs_total":          {"outcome": outcomes},
	"revstream_people_windows_total":         {"outcome": outcomes},
	"revstream_people_reconciliations_total": {"outcome": outcomes},
	"revstream_forecast_job_seconds":         {"outcome": outcomes},
	"revstream_people_window_seconds":        {"outcome": outcomes},
	"revstream_consume_stage_seconds":        {"stage": "observe publish wait decode store dead_letter commit"},
	"revstream_contract_violations":          {"rule": "relation columns unnamed_columns primary_key not_null allowed rows freshness_p95 max_age"},
	"revstream_quality_findings":             {"severity": "info warning critical"},
	"revstream_anomalies_open":               {"scope": "user hierarchy storm"},
	"revstream_watch_runs_total":             {"outcome": "succeeded failed"},
	"revstream_forecast_values_total":        {"outcome": "published unchanged rejected"},
	"revstream_forecast_quality_total": {
		"issue": "empty other_period period_gap rows_truncated cells_truncated unknown_users unknown_fields unusual_count rejected",
	},
	"revstream_people_rows_total":       {"result": "published unchanged rejected"},
	"revstream_people_reconciled_total": {"result": "deleted repaired"},
	"revstream_people_webhooks_total": {
		"result": "published unknown_event malformed invalid bad_signature not_allowed too_large cut_off unavailable",
	},
	"revstream_consume_poison_total": {
		"stage":  "decode sink",
		"reason": "truncated_header bad_magic unknown_schema incompatible_schema corrupt_value validation too_large sink_rejected",
	},
	"revstream_consume_outage_timestamp_seconds": {"class": "passes operator unknown"},
	"revstream_dlq_letters":                      {"state": "open replayed parked discarded undecipherable"},
}
