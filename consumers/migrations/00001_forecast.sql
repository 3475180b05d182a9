-- +goose Up

-- sharded by: cityHash64(forecast_id, time_period_id, time_frame_id, user_id, field_id, kind)
CREATE TABLE IF NOT EXISTS forecast_current
(
    forecast_id LowCardinality(String) COMMENT 'Clari forecast (configuration of the producer). Part of the key.',
    time_period_id LowCardinality(String) COMMENT 'Period the value belongs to, such as 2026_Q1. Part of the key.',
    time_frame_id LowCardinality(String) COMMENT 'Week in which the value was held, such as TF:2026-01-05; repeats across periods. Part of the key.',
    user_id String COMMENT 'Clari user and role, such as 280627:00E4M000001RgqRUAS. Part of the key.',
    field_id LowCardinality(String) COMMENT 'Clari forecast field, such as fc_net_commit. Part of the key.',
    kind LowCardinality(String) COMMENT 'Which value of the entry: forecast, quota, forecast_updated, adjustment, crm_total, crm_closed, or the snake_case name of a value that Clari added since. Part of the key.',
    value Nullable(Decimal(76, 18)) COMMENT 'The amount, exact to 18 decimals, in currency_code where the field is money. Null where the entry has only the mark of an update.',
    currency_code LowCardinality(Nullable(String)) COMMENT 'ISO 4217 code.',
    currency_symbol LowCardinality(Nullable(String)) COMMENT 'Symbol as Clari shows it.',
    is_updated Bool COMMENT 'Clari marks the entry as edited by a person.',
    updated_by Nullable(String) COMMENT 'Clari ID of who edited it.',
    updated_on Nullable(DateTime64(6, 'UTC')) COMMENT 'When it was edited, UTC, to the millisecond.',
    user_crm_id Nullable(String) COMMENT 'CRM ID of the user.',
    user_email Nullable(String) COMMENT 'E-mail of the user. Personal data.',
    user_name Nullable(String) COMMENT 'Name of the user. Personal data.',
    scope_id Nullable(String) COMMENT 'Clari scope of the user; JSON text where Clari sends an object.',
    hierarchy_id LowCardinality(Nullable(String)) COMMENT 'The user\'s place in the hierarchy.',
    hierarchy_name LowCardinality(Nullable(String)) COMMENT 'Name of that place.',
    parent_hierarchy_id LowCardinality(Nullable(String)) COMMENT 'The place above.',
    parent_hierarchy_name LowCardinality(Nullable(String)) COMMENT 'Name of the place above.',
    field_name LowCardinality(Nullable(String)) COMMENT 'Display name of the field.',
    field_type LowCardinality(Nullable(String)) COMMENT 'Type of the field, such as NUMERIC.',
    time_period_type LowCardinality(Nullable(String)) COMMENT 'Type of the period, such as QUARTER.',
    time_period_label LowCardinality(Nullable(String)) COMMENT 'Label of the period, such as Q4.',
    time_period_year Nullable(Int32) COMMENT 'Fiscal year of the period.',
    time_period_start Nullable(Date32) COMMENT 'First day of the period.',
    time_period_end Nullable(Date32) COMMENT 'Last day of the period.',
    time_period_crm_id LowCardinality(Nullable(String)) COMMENT 'CRM ID of the period.',
    time_frame_start Nullable(Date32) COMMENT 'First day of the week.',
    time_frame_end Nullable(Date32) COMMENT 'Last day of the week.',
    job_id LowCardinality(String) COMMENT 'Export job in which this state was first seen. Not part of the event\'s identity.',
    event_id UUID COMMENT 'Identity of the fact; sorts by source_version as toUInt128(event_id).',
    source_version DateTime64(6, 'UTC') COMMENT 'The source\'s clock for this state, UTC. The newest wins.',
    observed_at DateTime64(6, 'UTC') COMMENT 'When the producer read it, UTC.',
    is_deleted UInt8 COMMENT '1 where the source removed the entity.',
    correlation_id String COMMENT 'The producer run that published it.',
    version UInt128 MATERIALIZED toUInt128(event_id) COMMENT 'Total order of the versions of a key.',
    ingested_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When it was inserted, UTC.'
)
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (forecast_id, time_period_id, time_frame_id, user_id, field_id, kind)
COMMENT 'The newest version of each key, deletes included; read the view forecast.';

-- sharded by: cityHash64(forecast_id, time_period_id, time_frame_id, user_id, field_id, kind)
CREATE TABLE IF NOT EXISTS forecast_history
(
    forecast_id LowCardinality(String) COMMENT 'Clari forecast (configuration of the producer). Part of the key.',
    time_period_id LowCardinality(String) COMMENT 'Period the value belongs to, such as 2026_Q1. Part of the key.',
    time_frame_id LowCardinality(String) COMMENT 'Week in which the value was held, such as TF:2026-01-05; repeats across periods. Part of the key.',
    user_id String COMMENT 'Clari user and role, such as 280627:00E4M000001RgqRUAS. Part of the key.',
    field_id LowCardinality(String) COMMENT 'Clari forecast field, such as fc_net_commit. Part of the key.',
    kind LowCardinality(String) COMMENT 'Which value of the entry: forecast, quota, forecast_updated, adjustment, crm_total, crm_closed, or the snake_case name of a value that Clari added since. Part of the key.',
    value Nullable(Decimal(76, 18)) COMMENT 'The amount, exact to 18 decimals, in currency_code where the field is money. Null where the entry has only the mark of an update.',
    currency_code LowCardinality(Nullable(String)) COMMENT 'ISO 4217 code.',
    currency_symbol LowCardinality(Nullable(String)) COMMENT 'Symbol as Clari shows it.',
    is_updated Bool COMMENT 'Clari marks the entry as edited by a person.',
    updated_by Nullable(String) COMMENT 'Clari ID of who edited it.',
    updated_on Nullable(DateTime64(6, 'UTC')) COMMENT 'When it was edited, UTC, to the millisecond.',
    user_crm_id Nullable(String) COMMENT 'CRM ID of the user.',
    user_email Nullable(String) COMMENT 'E-mail of the user. Personal data.',
    user_name Nullable(String) COMMENT 'Name of the user. Personal data.',
    scope_id Nullable(String) COMMENT 'Clari scope of the user; JSON text where Clari sends an object.',
    hierarchy_id LowCardinality(Nullable(String)) COMMENT 'The user\'s place in the hierarchy.',
    hierarchy_name LowCardinality(Nullable(String)) COMMENT 'Name of that place.',
    parent_hierarchy_id LowCardinality(Nullable(String)) COMMENT 'The place above.',
    parent_hierarchy_name LowCardinality(Nullable(String)) COMMENT 'Name of the place above.',
    field_name LowCardinality(Nullable(String)) COMMENT 'Display name of the field.',
    field_type LowCardinality(Nullable(String)) COMMENT 'Type of the field, such as NUMERIC.',
    time_period_type LowCardinality(Nullable(String)) COMMENT 'Type of the period, such as QUARTER.',
    time_period_label LowCardinality(Nullable(String)) COMMENT 'Label of the period, such as Q4.',
    time_period_year Nullable(Int32) COMMENT 'Fiscal year of the period.',
    time_period_start Nullable(Date32) COMMENT 'First day of the period.',
    time_period_end Nullable(Date32) COMMENT 'Last day of the period.',
    time_period_crm_id LowCardinality(Nullable(String)) COMMENT 'CRM ID of the period.',
    time_frame_start Nullable(Date32) COMMENT 'First day of the week.',
    time_frame_end Nullable(Date32) COMMENT 'Last day of the week.',
    job_id LowCardinality(String) COMMENT 'Export job in which this state was first seen. Not part of the event\'s identity.',
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
ORDER BY (forecast_id, time_period_id, time_frame_id, user_id, field_id, kind, source_version, event_id)
COMMENT 'Every version of each key; read it with FINAL where exact counts matter.';

-- sharded by: cityHash64(event_id)
CREATE TABLE IF NOT EXISTS forecast_ledger
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

CREATE VIEW IF NOT EXISTS forecast AS
SELECT
    forecast_id,
    time_period_id,
    time_frame_id,
    user_id,
    field_id,
    kind,
    value,
    currency_code,
    currency_symbol,
    is_updated,
    updated_by,
    updated_on,
    user_crm_id,
    user_email,
    user_name,
    scope_id,
    hierarchy_id,
    hierarchy_name,
    parent_hierarchy_id,
    parent_hierarchy_name,
    field_name,
    field_type,
    time_period_type,
    time_period_label,
    time_period_year,
    time_period_start,
    time_period_end,
    time_period_crm_id,
    time_frame_start,
    time_frame_end,
    job_id,
    source_version,
    observed_at,
    correlation_id,
    ingested_at
FROM forecast_current FINAL
COMMENT 'One row for each forecast value: forecast, period, week, user, field, kind; newest source version, deletes hidden.';

-- +goose Down

DROP VIEW IF EXISTS forecast;

DROP TABLE IF EXISTS forecast_ledger;

DROP TABLE IF EXISTS forecast_history;

DROP TABLE IF EXISTS forecast_current;
