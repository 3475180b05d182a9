package dashboards

var health = Board{
	UID: "revstream-health", Title: "revstream: health",
	Description: "Does everything run, and does what is published arrive.",
	Rows: []Row{
		{"Now", []Panel{
			{"Services that answer", "Of those that Prometheus knows.", "none", stat, []Series{
				{`sum(up{job="revstream"})`, ""},
			}},
			{"Checks that fail", "Checks of /readyz that are degraded, in all services.", "none", stat, []Series{
				{"count(revstream_check_healthy == 0) or vector(0)", ""},
			}},
			{"Published", "Events that the brokers have acknowledged, in the time shown.", "short", stat, []Series{
				{"sum(increase(revstream_publish_events_total[$__range]))", ""},
			}},
			{"Stored", "Events stored for the first time, in the time shown.", "short", stat, []Series{
				{"sum(increase(revstream_clickhousesink_events_stored_total[$__range]))", ""},
			}},
			{"Dead-lettered", "Records that can never succeed, in the time shown.", "short", stat, []Series{
				{"sum(increase(revstream_consume_poison_total[$__range])) or vector(0)", ""},
			}},
			{"Lag", "Records that wait to be consumed.", "short", stat, []Series{
				{"sum(revstream_consume_lag_records)", ""},
			}},
		}},
		{"The pipeline", []Panel{
			{"Published", "Events acknowledged by the brokers, and those that were not published.", "ops", graph, []Series{
				{"sum by (topic) (rate(revstream_publish_events_total[$__rate_interval]))", "{{topic}}"},
				{"sum by (topic) (rate(revstream_publish_failures_total[$__rate_interval])) > 0", "{{topic}} failed"},
			}},
			{"Consumed", "Records settled: stored, dropped as duplicates, or dead-lettered.", "ops", graph, []Series{
				{"sum by (topic) (rate(revstream_consume_records_total[$__rate_interval]))", "{{topic}}"},
			}},
			{"From Kafka to ClickHouse", "Age of a batch's oldest record when it was settled, 95th percentile.", "s", graph, []Series{
				{"histogram_quantile(0.95, sum by (topic, le) (rate(revstream_consume_visible_seconds_bucket[$__rate_interval])))", "{{topic}}"},
			}},
		}},
		{"How old the data is", []Panel{
			{"Since the last run that succeeded", "By source and entity.", "s", graph, []Series{
				{"max by (source, entity) (revstream_freshness_seconds)", "{{source}} {{entity}}"},
			}},
			{"Checks", "1 where a check of /readyz is healthy.", "none", graph, []Series{
				{"min by (service, check) (revstream_check_healthy)", "{{service}}: {{check}}"},
			}},
			{"Age of secrets", "To be replaced within 90 days.", "s", graph, []Series{
				{"max by (service, name) (revstream_secret_age_seconds)", "{{service}}: {{name}}"},
				{"max by (service) (revstream_salesloft_token_age_seconds)", "{{service}}: access token"},
			}},
		}},
		{"Processes", []Panel{
			{"Memory", "Resident memory.", "bytes", graph, []Series{
				{`process_resident_memory_bytes{job="revstream"}`, "{{service}}"},
			}},
			{"CPU", "Seconds of CPU in a second.", "none", graph, []Series{
				{`rate(process_cpu_seconds_total{job="revstream"}[$__rate_interval])`, "{{service}}"},
			}},
			{"Goroutines", "Goroutines of each process.", "short", graph, []Series{
				{`go_goroutines{job="revstream"}`, "{{service}}"},
			}},
		}},
	},
}
