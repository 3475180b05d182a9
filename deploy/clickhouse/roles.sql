-- Roles of the warehouse, each with what its work needs and no more. Run it as an administrator, and again after every
-- upgrade that brings views: nobody may read a new one until it is granted here. README.md says how, also for another database name.
-- A test holds this file to the tables and views of the migrations.

CREATE ROLE IF NOT EXISTS consumer_writer;
CREATE ROLE IF NOT EXISTS bi_reader;
CREATE ROLE IF NOT EXISTS bi_pii_reader;
CREATE ROLE IF NOT EXISTS ops_reader;
CREATE ROLE IF NOT EXISTS warehouse_operator;

-- consumer_writer: both consumers. They add rows, and read only which events they have stored.

GRANT INSERT ON revenue.forecast_current TO consumer_writer;
GRANT INSERT ON revenue.forecast_history TO consumer_writer;
GRANT INSERT ON revenue.people_current TO consumer_writer;
GRANT INSERT ON revenue.people_history TO consumer_writer;
GRANT INSERT ON revenue.export_runs_current TO consumer_writer;
GRANT INSERT ON revenue.export_runs_history TO consumer_writer;
GRANT SELECT, INSERT ON revenue.forecast_ledger TO consumer_writer;
GRANT SELECT, INSERT ON revenue.people_ledger TO consumer_writer;
GRANT SELECT, INSERT ON revenue.export_runs_ledger TO consumer_writer;
GRANT INSERT ON revenue.dlq_audit TO consumer_writer;
GRANT CREATE TEMPORARY TABLE ON *.* TO consumer_writer; -- for the table function by which event IDs are looked up

-- bi_reader: dashboards. Views alone; what is personal is masked in them.

GRANT SELECT ON revenue.forecast TO bi_reader;
GRANT SELECT ON revenue.forecast_as_of TO bi_reader;
GRANT SELECT ON revenue.forecast_changes TO bi_reader;
GRANT SELECT ON revenue.forecast_vs_quota TO bi_reader;
GRANT SELECT ON revenue.people TO bi_reader;
GRANT SELECT ON revenue.people_as_of TO bi_reader;
GRANT SELECT ON revenue.export_runs TO bi_reader;
GRANT SELECT ON revenue.pipeline_health TO bi_reader;
GRANT SELECT ON revenue.freshness TO bi_reader;
GRANT SELECT ON revenue.reconciliation TO bi_reader;
GRANT SELECT ON revenue.data_quality TO bi_reader;

-- bi_pii_reader: those who may see names and addresses as well.

GRANT bi_reader TO bi_pii_reader;
GRANT SELECT ON revenue.forecast_full TO bi_pii_reader;
GRANT SELECT ON revenue.people_full TO bi_pii_reader;

-- ops_reader: how the pipeline does, and what checks have found. Of the decisions about dead letters all but what may hold a record's content.

GRANT SELECT ON revenue.export_runs TO ops_reader;
GRANT SELECT ON revenue.pipeline_health TO ops_reader;
GRANT SELECT ON revenue.freshness TO ops_reader;
GRANT SELECT ON revenue.reconciliation TO ops_reader;
GRANT SELECT ON revenue.data_quality TO ops_reader;
GRANT SELECT ON revenue.consumer_lag TO ops_reader;
GRANT SELECT ON revenue.dead_letter_states TO ops_reader;
GRANT SELECT ON revenue.dead_letters_open TO ops_reader;
GRANT SELECT ON revenue.reconciliations TO ops_reader;
GRANT SELECT ON revenue.reconciliation_missing TO ops_reader;
GRANT SELECT ON revenue.data_quality_analyses TO ops_reader;
GRANT SELECT ON revenue.data_quality_findings TO ops_reader;
GRANT SELECT ON revenue.contract_checks TO ops_reader;
GRANT SELECT ON revenue.anomaly_runs TO ops_reader;
GRANT SELECT ON revenue.forecast_anomalies TO ops_reader;
GRANT SELECT ON revenue.erasures TO ops_reader;
GRANT SELECT ON revenue.retentions TO ops_reader;
GRANT SELECT(`at`, `what`, `topic`, `partition`, `offset`, `run_id`, `by`, `why`, `from`, `reason`, `event_id`, `patched`, `action`, `status`, `note`, `done`, `parked`, `skipped`, `failed`, `returned`, `updated_at`, `decision_offset`, `ingested_at`) ON revenue.dlq_audit TO ops_reader;
GRANT SELECT ON system.tables TO ops_reader;
GRANT SELECT ON system.columns TO ops_reader;
GRANT SELECT ON system.parts TO ops_reader;
GRANT SELECT ON system.merges TO ops_reader;
GRANT SELECT ON system.mutations TO ops_reader;
GRANT SELECT ON system.replicas TO ops_reader;
GRANT SELECT ON system.replication_queue TO ops_reader;
GRANT SELECT ON system.distribution_queue TO ops_reader;
GRANT SELECT ON system.errors TO ops_reader;
GRANT SELECT ON system.metrics TO ops_reader;
GRANT SELECT ON system.events TO ops_reader;
GRANT SELECT ON system.asynchronous_metrics TO ops_reader;

-- warehouse_operator: the command warehouse, which makes tables and views, checks, erases and lets go of old rows. The views run with its rights.

GRANT CREATE DATABASE, CREATE TABLE, CREATE VIEW, DROP TABLE, DROP VIEW ON revenue.* TO warehouse_operator;
GRANT SELECT, INSERT, ALTER TABLE, ALTER VIEW ON revenue.* TO warehouse_operator;
GRANT SELECT ON system.tables TO warehouse_operator;
GRANT SELECT ON system.columns TO warehouse_operator;
GRANT SELECT ON system.parts TO warehouse_operator;
GRANT SELECT ON system.mutations TO warehouse_operator;
