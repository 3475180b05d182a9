-- On a cluster, after roles.sql: the tables on the shards, which a Distributed table writes to and reads from in the name of whoever asked.
-- The access rights are replicated, as in cluster.xml; so one server is told, and all know. The views' maker has them already, on revenue.*.

GRANT INSERT ON revenue.forecast_current_local TO consumer_writer;
GRANT INSERT ON revenue.forecast_history_local TO consumer_writer;
GRANT SELECT, INSERT ON revenue.forecast_ledger_local TO consumer_writer;
GRANT INSERT ON revenue.people_current_local TO consumer_writer;
GRANT INSERT ON revenue.people_history_local TO consumer_writer;
GRANT SELECT, INSERT ON revenue.people_ledger_local TO consumer_writer;
GRANT INSERT ON revenue.export_runs_current_local TO consumer_writer;
GRANT INSERT ON revenue.export_runs_history_local TO consumer_writer;
GRANT SELECT, INSERT ON revenue.export_runs_ledger_local TO consumer_writer;
GRANT INSERT ON revenue.dlq_audit_local TO consumer_writer;

-- Statements on every server, and tables that read from others.

GRANT CLUSTER, REMOTE ON *.* TO warehouse_operator;

-- A row that ClickHouse has acknowledged stands on a majority of its shard's replicas, so that the loss of one loses nothing.

ALTER USER revstream_consumer SETTINGS insert_quorum = 'auto';
