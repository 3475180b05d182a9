package dashboards

var dataQuality = Board{
	UID: "revstream-data", Title: "revstream: data quality",
	Description: "Whether the warehouse holds what it was promised to hold.",
	Rows: []Row{
		{"Now", []Panel{
			{"Contracts broken", "Contracts with at least one rule that does not hold.", "none", stat, []Series{
				{"count(max by (contract) (revstream_contract_violations) > 0) or vector(0)", ""},
			}},
			{"Rows missing", "Of the newest reconciliation.", "short", stat, []Series{
				{"sum(revstream_reconciliation_missing_rows)", ""},
			}},
			{"Critical findings", "Of the newest analysis of people.", "short", stat, []Series{
				{`sum(revstream_quality_findings{severity="critical"}) or vector(0)`, ""},
			}},
			{"Open reviews", "Forecast amounts that moved too far.", "short", stat, []Series{
				{"sum(revstream_anomalies_open)", ""},
			}},
		}},
		{"Contracts and freshness", []Panel{
			{"Violations", "By contract and rule.", "short", graph, []Series{
				{"max by (contract, rule) (revstream_contract_violations) > 0", "{{contract}}: {{rule}}"},
			}},
			{"Freshness as promised", "From the source to the warehouse, for 95 of 100 rows of a day.", "s", graph, []Series{
				{"max by (contract) (revstream_contract_freshness_p95_seconds)", "{{contract}}"},
			}},
			{"Since the last run that succeeded", "By source and entity.", "s", graph, []Series{
				{"max by (source, entity) (revstream_freshness_seconds)", "{{source}} {{entity}}"},
			}},
		}},
		{"Reconciliation and quality", []Panel{
			{"Rows that are not where they should be", "Missing ones, and those that a run does not account for.", "short", graph, []Series{
				{"max by (source, entity) (revstream_reconciliation_missing_rows)", "{{source}} {{entity}} missing"},
				{"max by (source, entity) (revstream_reconciliation_gap_rows)", "{{source}} {{entity}} gap"},
			}},
			{"Findings", "Columns in which the newest analysis found something.", "short", graph, []Series{
				{"sum by (check, severity) (revstream_quality_findings) > 0", "{{check}} ({{severity}})"},
			}},
			{"Reviews", "Open ones, by scope.", "short", graph, []Series{
				{"max by (scope) (revstream_anomalies_open)", "{{scope}}"},
			}},
		}},
		{"Who watches", []Panel{
			{"Since the last check", "Of contracts, reconciliation, people and anomalies.", "s", graph, []Series{
				{"time() - max(revstream_contract_last_check_timestamp_seconds)", "contracts"},
				{"time() - max(revstream_reconciliation_last_timestamp_seconds)", "reconciliation"},
				{"time() - max(revstream_quality_last_timestamp_seconds)", "people"},
				{"time() - max(revstream_anomalies_last_run_timestamp_seconds)", "anomalies"},
			}},
			{"Tasks of warehouse watch", "Runs within an hour, by outcome.", "short", graph, []Series{
				{"sum by (task, outcome) (increase(revstream_watch_runs_total[1h]))", "{{task}} {{outcome}}"},
			}},
			{"Time of a task", "95th percentile.", "s", graph, []Series{
				{"histogram_quantile(0.95, sum by (task, le) (rate(revstream_watch_run_seconds_bucket[$__rate_interval])))", "{{task}}"},
			}},
			{"Rows", "Rows that tables store, superseded ones included.", "short", graph, []Series{
				{"max by (table) (revstream_warehouse_rows)", "{{table}}"},
			}},
		}},
	},
}
