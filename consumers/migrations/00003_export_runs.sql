-- +goose Up

-- sharded by: cityHash64(run_id)
CREATE TABLE IF NOT EXISTS export_runs_current
(
    run_id String COMMENT 'clari:<job ID>, or salesloft:<correlation ID>. The key.',
    source LowCardinality(String) COMMENT 'clari or salesloft.',
    entity LowCardinality(String) COMMENT 'forecast or people.',
    scope LowCardinality(String) COMMENT 'What was asked: a forecast ID, or the list.',
    time_period_id LowCardinality(Nullable(String)) COMMENT 'Period asked for.',
    kinds Array(String) COMMENT 'Kinds of value asked for.',
    job_id Nullable(String) COMMENT 'Export job of the source.',
    window_start Nullable(DateTime64(6, 'UTC')) COMMENT 'Start of the sync window, UTC, inclusive.',
    window_end Nullable(DateTime64(6, 'UTC')) COMMENT 'End of the sync window, UTC, inclusive: the newest source version read.',
    requested_at DateTime64(6, 'UTC') COMMENT 'When the producer asked, UTC.',
    started_at Nullable(DateTime64(6, 'UTC')) COMMENT 'When the source began, by its clock, UTC.',
    ended_at Nullable(DateTime64(6, 'UTC')) COMMENT 'When the source finished, by its clock, UTC.',
    completed_at DateTime64(6, 'UTC') COMMENT 'When the producer had published everything, UTC.',
    rows_expected Int64 COMMENT 'Values the source handed over.',
    rows_published Int64 COMMENT 'Events published: values that were new or had changed.',
    rows_unchanged Int64 COMMENT 'Values that stood on the topic already.',
    rows_rejected Int64 COMMENT 'Values that could not be read or represented; the producer\'s log says which.',
    truncated Bool COMMENT 'The source says that its answer is incomplete.',
    outcome LowCardinality(String) COMMENT 'SUCCEEDED: everything was published. PARTIAL: truncated or with rejected rows.',
    error Nullable(String) COMMENT 'Why it did not succeed; holds no secret and no personal data.',
    event_id UUID COMMENT 'Identity of the fact; sorts by source_version as toUInt128(event_id).',
    source_version DateTime64(6, 'UTC') COMMENT 'The source\'s clock for this state, UTC. The newest wins.',
    observed_at DateTime64(6, 'UTC') COMMENT 'When the producer read it, UTC.',
    is_deleted UInt8 COMMENT '1 where the source removed the entity.',
    correlation_id String COMMENT 'The producer run that published it.',
    version UInt128 MATERIALIZED toUInt128(event_id) COMMENT 'Total order of the versions of a key.',
    ingested_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When it was inserted, UTC.'
)
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (run_id)
COMMENT 'The newest version of each key, deletes included; read the view export_runs.';

-- sharded by: cityHash64(run_id)
CREATE TABLE IF NOT EXISTS export_runs_history
(
    run_id String COMMENT 'clari:<job ID>, or salesloft:<correlation ID>. The key.',
    source LowCardinality(String) COMMENT 'clari or salesloft.',
    entity LowCardinality(String) COMMENT 'forecast or people.',
    scope LowCardinality(String) COMMENT 'What was asked: a forecast ID, or the list.',
    time_period_id LowCardinality(Nullable(String)) COMMENT 'Period asked for.',
    kinds Array(String) COMMENT 'Kinds of value asked for.',
    job_id Nullable(String) COMMENT 'Export job of the source.',
    window_start Nullable(DateTime64(6, 'UTC')) COMMENT 'Start of the sync window, UTC, inclusive.',
    window_end Nullable(DateTime64(6, 'UTC')) COMMENT 'End of the sync window, UTC, inclusive: the newest source version read.',
    requested_at DateTime64(6, 'UTC') COMMENT 'When the producer asked, UTC.',
    started_at Nullable(DateTime64(6, 'UTC')) COMMENT 'When the source began, by its clock, UTC.',
    ended_at Nullable(DateTime64(6, 'UTC')) COMMENT 'When the source finished, by its clock, UTC.',
    completed_at DateTime64(6, 'UTC') COMMENT 'When the producer had published everything, UTC.',
    rows_expected Int64 COMMENT 'Values the source handed over.',
    rows_published Int64 COMMENT 'Events published: values that were new or had changed.',
    rows_unchanged Int64 COMMENT 'Values that stood on the topic already.',
    rows_rejected Int64 COMMENT 'Values that could not be read or represented; the producer\'s log says which.',
    truncated Bool COMMENT 'The source says that its answer is incomplete.',
    outcome LowCardinality(String) COMMENT 'SUCCEEDED: everything was published. PARTIAL: truncated or with rejected rows.',
    error Nullable(String) COMMENT 'Why it did not succeed; holds no secret and no personal data.',
    event_id UUID COMMENT 'Identity of the fact; sorts by source_version as toUInt128(event_id).',
    source_version DateTime64(6, 'UTC') COMMENT 'The source\'s clock for this state, UTC. The newest wins.',
    observed_at DateTime64(6, 'UTC') COMMENT 'When the producer read it, UTC.',
    is_deleted UInt8 COMMENT '1 where the source removed the entity.',
    correlation_id String COMMENT 'The producer run that published it.',
    kafka_topic LowCardinality(String) COMMENT 'Topic it was read from.',
    kafka_partition Int32 COMMENT 'Partition it was read from.',
    kafka_offset Int64 COMMENT 'Offset it was read at.',
    ingested_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When it was inserted, UTC.'
)
ENGINE = ReplacingMergeTree
ORDER BY (run_id, source_version, event_id)
COMMENT 'Every version of each key; read it with FINAL where exact counts matter.';

-- sharded by: cityHash64(event_id)
CREATE TABLE IF NOT EXISTS export_runs_ledger
(
    event_id UUID COMMENT 'Identity of the fact; sorts by source_version as toUInt128(event_id).',
    kafka_topic LowCardinality(String) COMMENT 'Topic it was read from.',
    kafka_partition Int32 COMMENT 'Partition it was read from.',
    kafka_offset Int64 COMMENT 'Offset it was read at.',
    ingested_at DateTime DEFAULT now() COMMENT 'When it was inserted, UTC.'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ingested_at)
ORDER BY toUInt128(event_id)
TTL ingested_at + INTERVAL 90 DAY DELETE
SETTINGS index_granularity = 1024, ttl_only_drop_parts = 1
COMMENT 'The events that are in current and in history; consumers drop what it has.';

CREATE VIEW IF NOT EXISTS export_runs AS
SELECT
    run_id,
    source,
    entity,
    scope,
    time_period_id,
    kinds,
    job_id,
    window_start,
    window_end,
    requested_at,
    started_at,
    ended_at,
    completed_at,
    rows_expected,
    rows_published,
    rows_unchanged,
    rows_rejected,
    truncated,
    outcome,
    error,
    source_version,
    observed_at,
    correlation_id,
    ingested_at
FROM export_runs_current FINAL
COMMENT 'One row for each export job or sync window; newest source version, deletes hidden.';

-- +goose Down

DROP VIEW IF EXISTS export_runs;

DROP TABLE IF EXISTS export_runs_ledger;

DROP TABLE IF EXISTS export_runs_history;

DROP TABLE IF EXISTS export_runs_current;
