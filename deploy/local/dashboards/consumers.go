package dashboards

var consumers = Board{
	UID: "revstream-consumers", Title: "revstream: consumers",
	Description: "From Kafka to ClickHouse, stage by stage.",
	Rows: []Row{
		{"Flow", []Panel{
			{"Settled", "Records stored, dropped as duplicates, or dead-lettered.", "ops", graph, []Series{
				{"sum by (service, topic) (rate(revstream_consume_records_total[$__rate_interval]))", "{{service}} {{topic}}"},
			}},
			{"Lag", "Records between the last one polled and the end.", "short", graph, []Series{
				{"sum by (topic) (revstream_consume_lag_records)", "{{topic}}"},
			}},
			{"Stored and dropped", "Events stored for the first time, and duplicates.", "ops", graph, []Series{
				{"sum by (entity) (rate(revstream_clickhousesink_events_stored_total[$__rate_interval]))", "{{entity}} stored"},
				{"sum by (entity) (rate(revstream_clickhousesink_duplicates_dropped_total[$__rate_interval]))", "{{entity}} duplicates"},
			}},
			{"Tombstones", "Records without a value that were passed over.", "ops", graph, []Series{
				{"sum by (topic) (rate(revstream_consume_tombstones_total[$__rate_interval]))", "{{topic}}"},
			}},
		}},
		{"Stages", []Panel{
			{"Before the consumer", "Of a batch's first event: until it was observed, published, polled. Median.", "s", graph, []Series{
				{`histogram_quantile(0.5, sum by (stage, le) (rate(revstream_consume_stage_seconds_bucket{stage=~"observe|publish|wait"}[$__rate_interval])))`, "{{stage}}"},
			}},
			{"In the consumer", "Of a batch, 95th percentile.", "s", graph, []Series{
				{`histogram_quantile(0.95, sum by (stage, le) (rate(revstream_consume_stage_seconds_bucket{stage=~"decode|store|dead_letter|commit"}[$__rate_interval])))`, "{{stage}}"},
			}},
			{"From Kafka to ClickHouse", "Age of a batch's oldest record when it was settled.", "s", graph, []Series{
				{"histogram_quantile(0.5, sum by (topic, le) (rate(revstream_consume_visible_seconds_bucket[$__rate_interval])))", "{{topic}} p50"},
				{"histogram_quantile(0.95, sum by (topic, le) (rate(revstream_consume_visible_seconds_bucket[$__rate_interval])))", "{{topic}} p95"},
			}},
		}},
		{"Batches and inserts", []Panel{
			{"A batch", "From taking it to its commit, 95th percentile.", "s", graph, []Series{
				{"histogram_quantile(0.95, sum by (topic, le) (rate(revstream_consume_store_seconds_bucket[$__rate_interval])))", "{{topic}}"},
			}},
			{"Records of a batch", "On average.", "short", graph, []Series{
				{"sum by (topic) (rate(revstream_consume_batch_records_sum[$__rate_interval])) / sum by (topic) (rate(revstream_consume_batch_records_count[$__rate_interval]))", "{{topic}}"},
			}},
			{"An insert", "95th percentile, by table.", "s", graph, []Series{
				{"histogram_quantile(0.95, sum by (table, le) (rate(revstream_clickhousesink_insert_seconds_bucket[$__rate_interval])))", "{{table}}"},
			}},
			{"Errors", "Inserts and commits that failed.", "ops", graph, []Series{
				{"sum by (table, code) (rate(revstream_clickhousesink_insert_errors_total[$__rate_interval]))", "{{table}} {{code}}"},
				{"sum by (topic) (rate(revstream_consume_commit_errors_total[$__rate_interval]))", "commit {{topic}}"},
			}},
		}},
		{"Held up", []Panel{
			{"Outages", "For how long a consumer has waited for something.", "s", graph, []Series{
				{"time() - revstream_consume_outage_timestamp_seconds", "{{topic}}: {{what}} ({{class}})"},
			}},
			{"Bytes from Kafka", "Read from the brokers.", "Bps", graph, []Series{
				{"sum by (service) (rate(revstream_kafka_fetch_bytes_total[$__rate_interval]))", "{{service}}"},
			}},
		}},
	},
}
