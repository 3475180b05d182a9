package report

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/consumers/migrations"
	"github.com/revstream/revstream/pipeline/clickhousesink"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/contract"
)

func TestMain(m *testing.M) { pipelinetest.Main(m) }

// bench is a warehouse, and a reporter on it.
type bench struct {
	*Reporter

	t   *testing.T
	url string
}

func newBench(t *testing.T, scenes ...string) *bench {
	t.Helper()
	url := pipelinetest.ClickHouse(t)
	_, err := migrations.Up(t.Context(), url)
	require.NoError(t, err)
	conn, err := clickhousesink.Open(url)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	promised, err := contract.Files(schemas.Contracts())
	require.NoError(t, err)
	reporter, err := New(Config{Days: 7}, pipelinetest.Logger(t), conn, promised, "v1.2.3")
	require.NoError(t, err)
	b := &bench{Reporter: reporter, t: t, url: url}
	for _, scene := range scenes {
		for statement := range strings.SplitSeq(scene, ";\n") {
			if strings.TrimSpace(statement) != "" {
				b.sql(statement)
			}
		}
	}
	return b
}

func (b *bench) sql(statement string) string { return pipelinetest.SQL(b.t, b.url, statement) }

func (b *bench) report() Report {
	b.t.Helper()
	rep, err := b.Run(b.t.Context())
	require.NoError(b.t, err)
	return rep
}

// goodWeek is one in which everything went well: runs by the hour and by the ten minutes, letters that were all decided, a lag that
// came back to 0, checks that found nothing. Names and addresses that must not be seen are canaries.
const goodWeek = `
INSERT INTO export_runs_current (run_id, source, entity, scope, requested_at, completed_at, rows_expected, rows_published, outcome, event_id, source_version, observed_at, is_deleted, correlation_id)
SELECT 'clari:' || toString(number), 'clari', 'forecast', 'forecast', at - INTERVAL 40 + number % 30 SECOND, at, 900, 100 + number % 50, 'SUCCEEDED',
	generateUUIDv4(number), at, at, 0, 'c' FROM (SELECT number, now() - INTERVAL number HOUR AS at FROM numbers(150));
INSERT INTO export_runs_current (run_id, source, entity, scope, requested_at, completed_at, rows_expected, rows_published, outcome, event_id, source_version, observed_at, is_deleted, correlation_id)
SELECT 'salesloft:' || toString(number), 'salesloft', 'people', 'people', at - INTERVAL 300 + number % 200 MILLISECOND, at, 25, 20 + number % 9, 'SUCCEEDED',
	generateUUIDv4(number), at, at, 0, 'c' FROM (SELECT number, now64(6) - INTERVAL 10 * number MINUTE AS at FROM numbers(900));
INSERT INTO forecast_history (forecast_id, user_id, user_name, user_email, event_id, source_version, observed_at, ingested_at, value, is_deleted)
SELECT 'f', toString(number), 'Canary Bird', 'canary@example.com', generateUUIDv4(number), at, at, at + INTERVAL 2 + number % 3 SECOND, 100, 0 FROM (SELECT number, now() - INTERVAL 9 * number MINUTE AS at FROM numbers(1, 100));
INSERT INTO people_history (person_id, first_name, email_address, event_id, source_version, observed_at, ingested_at, is_deleted)
SELECT number, 'Canary', 'canary@example.com', generateUUIDv4(number), at, at, at + INTERVAL 1 SECOND, 0 FROM (SELECT number, now() - INTERVAL 9 * number MINUTE AS at FROM numbers(1, 100));
INSERT INTO consumer_lag_samples (at, consumer_group, topic, partitions, committed_offset, end_offset, lag)
SELECT toStartOfMinute(now() - INTERVAL number MINUTE), g.1, g.2, 6, 0, 0, if(number % 700 < 30 AND number > 30, (30 - number % 700) * g.3, 0)
FROM numbers(9000) ARRAY JOIN [('revstream-forecast', 'revenue.forecast.v1', 900), ('revstream-people', 'revenue.people.v1', 120), ('revstream-export-runs', 'revenue.export-runs.v1', 1)] AS g;
INSERT INTO dead_letters (topic, partition, offset, original_topic, original_partition, original_offset, reason, stage, consumer_group, attempts, first_failure, last_failure, written_at)
SELECT 'revenue.people.v1.dlq', 0, number, 'revenue.people.v1', 0, number, if(number % 3 = 0, 'validation', 'unknown_schema'), 'decode', 'revstream-people', 1, at, at, at
FROM (SELECT number, now() - INTERVAL 60 + number HOUR AS at FROM numbers(40));
INSERT INTO dlq_audit (at, what, topic, partition, offset, decision_offset, updated_at)
SELECT now() - INTERVAL 50 HOUR, 'replayed', 'revenue.people.v1.dlq', 0, number, number, now() FROM numbers(40);
INSERT INTO reconciliations (reconciliation_id, checked_at, complete, source, entity, subject, run_id, outcome, rows_expected, on_topic, stored, gap)
SELECT toUUID('00000000-0000-4000-8000-000000000001'), now() - INTERVAL 3 HOUR, 1, r.1, r.2, r.3, r.4, 'SUCCEEDED', 900, 140, 140, 0
FROM (SELECT arrayJoin([('clari', 'forecast', 'run', 'clari:1'), ('clari', 'forecast', 'run', 'clari:2'), ('clari', 'forecast', 'keys', ''), ('salesloft', 'people', 'run', 'salesloft:1'), ('salesloft', 'people', 'keys', '')]) AS r);
INSERT INTO contract_checks (contract, relation, rule, checked_at, ok, violations, measured, found, expected)
SELECT c, replaceOne(c, '_v1', ''), r, now() - INTERVAL 20 MINUTE, 1, 0, if(r = 'freshness_p95', 3.5, NULL), 'as promised', 'as promised'
FROM (SELECT arrayJoin(['forecast_v1', 'people_v1', 'export_runs_v1']) AS c, arrayJoin(['columns', 'primary_key', 'freshness_p95']) AS r);
INSERT INTO data_quality_analyses (analysis_id, checked_at, people, sampled, findings) VALUES (toUUID('00000000-0000-4000-8000-000000000003'), now() - INTERVAL 2 HOUR, 1000, 1000, 1);
INSERT INTO data_quality_findings (analysis_id, checked_at, check, column, severity, share, rows, of_rows, text)
VALUES (toUUID('00000000-0000-4000-8000-000000000003'), now() - INTERVAL 2 HOUR, 'null_rate', 'title', 'info', 0.25, 250, 1000, 'a quarter has none');
INSERT INTO anomaly_runs (until, since, finished_at, updated_at) SELECT now64(3), now64(3) - 60, now64(6), now64(6)
`

// badDay is what comes on top of it.
const badDay = `
INSERT INTO export_runs_current (run_id, source, entity, scope, requested_at, completed_at, rows_expected, outcome, error, event_id, source_version, observed_at, is_deleted, correlation_id)
SELECT 'clari:bad' || toString(number), 'clari', 'forecast', 'forecast', now() - INTERVAL 1 SECOND, now(), 0, 'FAILED', 'the job failed', generateUUIDv4(number), now(), now(), 0, 'c' FROM numbers(4);
INSERT INTO forecast_history (forecast_id, user_id, event_id, source_version, observed_at, ingested_at, is_deleted)
SELECT 'f', 'late' || toString(number), generateUUIDv4(number), now(), now() - INTERVAL 3 HOUR, now(), 0 FROM numbers(50);
INSERT INTO consumer_lag_samples (at, consumer_group, topic, partitions, committed_offset, end_offset, lag, ingested_at)
SELECT toStartOfMinute(now() - INTERVAL number MINUTE), 'revstream-forecast', 'revenue.forecast.v1', 6, 0, 0, (121 - number) * 1500, now64(3) + 1 FROM numbers(120);
INSERT INTO dead_letters (topic, partition, offset, original_topic, original_partition, original_offset, reason, stage, consumer_group, attempts, replays, first_failure, last_failure, written_at)
SELECT 'revenue.forecast.v1.dlq', 0, number, 'revenue.forecast.v1', 0, number, ['validation', 'unknown_schema', 'bad_magic', 'truncated_header', 'incompatible_schema', 'corrupt_value', 'too_large', 'sink_rejected'][1 + toUInt8(log2(1 + number % 255))], 'decode',
	'revstream-forecast', 1, number % 2, at, at, at FROM (SELECT number, now() - INTERVAL number * 7 MINUTE AS at FROM numbers(300));
INSERT INTO reconciliations (reconciliation_id, checked_at, complete, source, entity, subject, run_id, outcome, rows_expected, on_topic, stored, missing, gap)
SELECT toUUID('00000000-0000-4000-8000-000000000002'), now() - INTERVAL 1 HOUR, 1, 'clari', 'forecast', 'run', 'clari:3', 'SUCCEEDED', 900, 140, 137, 3, 3;
INSERT INTO contract_checks (contract, relation, rule, checked_at, ok, violations, measured, found, expected)
VALUES ('people_v1', 'people', 'primary_key', toStartOfMinute(now()), 0, 2, NULL, '2 keys have more than one row', 'person_id is unique'), ('people_v1', 'people', 'columns', toStartOfMinute(now()), 1, 0, NULL, 'all columns', 'all columns');
INSERT INTO data_quality_analyses (analysis_id, checked_at, people, sampled, findings) VALUES (toUUID('00000000-0000-4000-8000-000000000004'), now() - INTERVAL 1 HOUR, 1000, 1000, 2);
INSERT INTO data_quality_findings (analysis_id, checked_at, check, column, severity, share, rows, of_rows, text)
VALUES (toUUID('00000000-0000-4000-8000-000000000004'), now() - INTERVAL 1 HOUR, 'email_invalid', 'email_address', 'critical', 0.31, 310, 1000, '310 of 1000 addresses are none'),
	(toUUID('00000000-0000-4000-8000-000000000004'), now() - INTERVAL 1 HOUR, 'phone_invalid', 'phone', 'warning', 0.02, 20, 1000, '20 of 1000 phones are none');
INSERT INTO forecast_anomalies (anomaly_id, scope, forecast_id, time_period_id, time_frame_id, user_id, field_id, kind, amount_before, amount_after, percent, event_id, source_version, opened_at, state, updated_at)
SELECT generateUUIDv4(number), ['user', 'hierarchy', 'storm'][1 + number % 3], 'f', '2026_Q4', 'TF:2026-11-16', '280627:canary', 'fc_net_commit', 'forecast', 100, 300, if(number = 2, NULL, 200), generateUUIDv4(100 + number), now(), now64(6) - 600 * number, 'open', now64(6) FROM numbers(7)
`
