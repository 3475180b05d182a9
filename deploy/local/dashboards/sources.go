package dashboards

var sources = Board{
	UID: "revstream-sources", Title: "revstream: sources",
	Description: "Clari and Salesloft: what is asked of them, how they answer, what comes of it.",
	Rows: []Row{
		{"Requests", []Panel{
			{"Answers", "Tries of requests by what came of them.", "ops", graph, []Series{
				{"sum by (source, code) (rate(revstream_source_requests_total[$__rate_interval])) > 0", "{{source}} {{code}}"},
			}},
			{"Latency of reads", "Median and 99th percentile. The baseline is 0.3 s.", "s", graph, []Series{
				{`histogram_quantile(0.5, sum by (source, le) (rate(revstream_source_request_seconds_bucket{kind="read"}[$__rate_interval])))`, "{{source}} p50"},
				{`histogram_quantile(0.99, sum by (source, le) (rate(revstream_source_request_seconds_bucket{kind="read"}[$__rate_interval])))`, "{{source}} p99"},
			}},
			{"Latency of writes", "Median and 99th percentile. The baseline is 0.5 s.", "s", graph, []Series{
				{`histogram_quantile(0.5, sum by (source, le) (rate(revstream_source_request_seconds_bucket{kind="write"}[$__rate_interval])))`, "{{source}} p50"},
				{`histogram_quantile(0.99, sum by (source, le) (rate(revstream_source_request_seconds_bucket{kind="write"}[$__rate_interval])))`, "{{source}} p99"},
			}},
		}},
		{"Limits", []Panel{
			{"Circuit", "1 while a source is not asked.", "none", graph, []Series{
				{"max by (service, source) (revstream_source_circuit_open)", "{{service}} {{source}}"},
			}},
			{"Clari's quota", "Export jobs left of the month, and at a time.", "short", graph, []Series{
				{"revstream_clari_quota_available", "this month"},
				{"revstream_clari_concurrency_available", "at a time"},
			}},
			{"Salesloft's budget", "Cost points left to the team for its minute, and points spent in a minute.", "short", graph, []Series{
				{"revstream_salesloft_budget_remaining", "left"},
				{"60 * rate(revstream_salesloft_points_total[$__rate_interval])", "spent by us"},
			}},
			{"Waiting", "Share of the time for which requests waited for the budget, and whether exports wait for quota.", "percentunit", graph, []Series{
				{"rate(revstream_salesloft_budget_wait_seconds_total[$__rate_interval])", "Salesloft"},
				{"revstream_clari_quota_waiting", "Clari"},
			}},
		}},
		{"Forecasts", []Panel{
			{"Export runs", "Runs that ended within an hour, by outcome.", "short", graph, []Series{
				{"sum by (outcome) (increase(revstream_forecast_jobs_total[1h]))", "{{outcome}}"},
				{"sum(increase(revstream_forecast_requeued_jobs_total[1h]))", "asked for again"},
			}},
			{"Time of a run", "From asking for the job to the run's end, 95th percentile.", "s", graph, []Series{
				{"histogram_quantile(0.95, sum by (outcome, le) (rate(revstream_forecast_job_seconds_bucket[$__rate_interval])))", "{{outcome}}"},
			}},
			{"Values", "Values of exports, by what became of them.", "ops", graph, []Series{
				{"sum by (outcome) (rate(revstream_forecast_values_total[$__rate_interval]))", "{{outcome}}"},
			}},
			{"Doubtful runs", "By what is doubtful, within an hour.", "short", graph, []Series{
				{"sum by (issue) (increase(revstream_forecast_quality_total[1h])) > 0", "{{issue}}"},
			}},
		}},
		{"People", []Panel{
			{"Sync windows", "Windows that ended within an hour, by outcome.", "short", graph, []Series{
				{"sum by (outcome) (increase(revstream_people_windows_total[1h]))", "{{outcome}}"},
			}},
			{"Time of a window", "95th percentile.", "s", graph, []Series{
				{"histogram_quantile(0.95, sum by (outcome, le) (rate(revstream_people_window_seconds_bucket[$__rate_interval])))", "{{outcome}}"},
			}},
			{"People", "People that the list handed over, by what became of them.", "ops", graph, []Series{
				{"sum by (result) (rate(revstream_people_rows_total[$__rate_interval]))", "{{result}}"},
			}},
			{"Webhooks", "Deliveries, by what became of them.", "ops", graph, []Series{
				{"sum by (result) (rate(revstream_people_webhooks_total[$__rate_interval]))", "{{result}}"},
			}},
		}},
		{"How far behind", []Panel{
			{"Since the last export", "Since a run of forecasts last succeeded.", "s", graph, []Series{
				{"time() - (revstream_forecast_last_job_timestamp_seconds > 0)", "{{instance}}"},
			}},
			{"Since the newest change", "Since the newest updated_at of a person that was published.", "s", graph, []Series{
				{"time() - (revstream_people_cursor_timestamp_seconds > 0)", "{{instance}}"},
			}},
			{"Reconciliation of people", "Missing at the source; 1 where so many are that nothing is deleted.", "short", graph, []Series{
				{"revstream_people_reconcile_missing", "missing"},
				{"revstream_people_reconcile_blocked", "blocked"},
			}},
		}},
	},
}
