-- Forecast amounts that moved far, and the runs that looked for them.

-- +goose Up

-- sharded by: cityHash64(anomaly_id)
CREATE TABLE IF NOT EXISTS forecast_anomalies
(
    anomaly_id UUID COMMENT 'Identity of the finding, decided by what was compared; the ID of its alert on revenue.alerts.v1, too.',
    scope LowCardinality(String) COMMENT 'user: one forecast value. hierarchy: the sum over everybody below a place of the hierarchy. storm: one run found too many of these two in one forecast and period.',
    forecast_id LowCardinality(String) COMMENT 'Clari forecast.',
    time_period_id LowCardinality(String) COMMENT 'Period the amount belongs to, such as 2026_Q1.',
    time_frame_id LowCardinality(String) COMMENT 'Week in which the amount was held, such as TF:2026-01-05. Of a storm: of its largest move, as the user, place, field, kind and amounts.',
    user_id String COMMENT 'Clari user and role; empty for scope hierarchy.',
    hierarchy_id LowCardinality(String) COMMENT 'Place in the hierarchy: the user''s own, which may be unknown and empty, or the one above those who were summed up.',
    field_id LowCardinality(String) COMMENT 'Clari forecast field, such as fc_net_commit.',
    kind LowCardinality(String) COMMENT 'Which value of the entry, such as forecast or quota.',
    currency_code LowCardinality(Nullable(String)) COMMENT 'ISO 4217 code of the amounts.',
    amount_before Nullable(Decimal(76, 18)) COMMENT 'The amount before it moved, in currency_code. Null where there was none; it counts as 0 then.',
    amount_after Nullable(Decimal(76, 18)) COMMENT 'The amount after it moved, in currency_code. Null where there is none any more; it counts as 0 then.',
    percent Nullable(Decimal(76, 2)) COMMENT 'By how much it moved, in percent of what was before without its sign. Null where that was 0: the floor alone decided.',
    limit_percent Decimal(38, 18) COMMENT 'Percent that it had to exceed.',
    limit_amount Decimal(38, 18) COMMENT 'Floor: the amount by which it had to move at least, in currency_code.',
    moves Int64 COMMENT 'Values that moved: 1, those of the people below the place, or the reviews that a storm stands for.',
    event_id UUID COMMENT 'Event of the newest of the versions that moved the amount, or the amounts.',
    previous_event_id Nullable(UUID) COMMENT 'Event of the version before it; of scope user alone.',
    source_version DateTime64(6, 'UTC') COMMENT 'The source''s clock of that version, UTC.',
    job_id LowCardinality(String) COMMENT 'Export job of that version.',
    correlation_id String COMMENT 'The producer run that published that version.',
    storm_id Nullable(UUID) COMMENT 'The storm that it is a member of, where state is suppressed.',
    run_until DateTime64(3, 'UTC') COMMENT 'The run that found it, as until in anomaly_runs.',
    opened_at DateTime64(6, 'UTC') COMMENT 'When it was found, UTC.',
    state LowCardinality(String) COMMENT 'open, acknowledged, or suppressed: nobody need look at it, why says why.',
    acked_by String COMMENT 'Who acknowledged it: user of the operating system, or the name given.',
    acked_at Nullable(DateTime64(6, 'UTC')) COMMENT 'When it was acknowledged, UTC.',
    why String COMMENT 'Why it is no longer open, in the words of who acknowledged it.',
    updated_at DateTime64(6, 'UTC') COMMENT 'When this state was written, UTC; the newest counts.',
    ingested_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When it was inserted, UTC.'
)
ENGINE = ReplacingMergeTree(updated_at)
ORDER BY toUInt128(anomaly_id)
COMMENT 'One row for each review of a forecast amount that moved far, and for each state it was in until they are merged; read it with FINAL.';

-- sharded by: cityHash64(since)
CREATE TABLE IF NOT EXISTS anomaly_runs
(
    until DateTime64(3, 'UTC') COMMENT 'Versions of forecasts that were inserted before this were looked at, UTC.',
    since DateTime64(3, 'UTC') COMMENT 'Versions that were inserted before this were looked at by the run before, UTC. 1970: there was none.',
    finished_at Nullable(DateTime64(6, 'UTC')) COMMENT 'When the run ended, UTC. Null: it was broken off, and the next run does it again.',
    versions Int64 COMMENT 'Versions looked at.',
    opened Int64 COMMENT 'Reviews opened.',
    suppressed Int64 COMMENT 'Reviews that a storm stands for.',
    updated_at DateTime64(6, 'UTC') COMMENT 'When this state was written, UTC; the newest counts.',
    ingested_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When it was inserted, UTC.'
)
ENGINE = ReplacingMergeTree(updated_at)
ORDER BY (since, until)
TTL toDateTime(until) + INTERVAL 90 DAY DELETE
COMMENT 'One row for each run that looked for anomalies; read it with FINAL.';

-- +goose Down

DROP TABLE IF EXISTS anomaly_runs;

DROP TABLE IF EXISTS forecast_anomalies;
