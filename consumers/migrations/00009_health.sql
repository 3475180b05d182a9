-- How the sources do, by day, and how old what BI sees may be.

-- +goose Up

CREATE OR REPLACE VIEW export_runs DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
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
    jobs,
    rows_truncated,
    cells_truncated,
    empty,
    time_period_received,
    period_gap,
    unknown_users,
    unknown_fields,
    rows_previous,
    unusual_count,
    source_version,
    observed_at,
    correlation_id,
    ingested_at
FROM export_runs_current FINAL
SETTINGS optimize_move_to_prewhere_if_final = 1
COMMENT 'One row for each export run, sync window, reconciliation or backfill; newest source version, deletes hidden.';

CREATE OR REPLACE VIEW pipeline_health DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT
    toDate(completed_at, 'UTC') AS day,
    source,
    entity,
    count() AS runs,
    countIf(outcome = 'SUCCEEDED') AS succeeded,
    countIf(outcome = 'PARTIAL') AS partial,
    countIf(outcome = 'FAILED') AS failed,
    countIf(outcome = 'CANCELLED') AS cancelled,
    succeeded / nullIf(runs - cancelled, 0) AS completion_rate,
    quantileExactOrNullIf(0.5)(dateDiff('millisecond', requested_at, completed_at) / 1000, outcome IN ('SUCCEEDED', 'PARTIAL')) AS seconds_p50,
    quantileExactOrNullIf(0.95)(dateDiff('millisecond', requested_at, completed_at) / 1000, outcome IN ('SUCCEEDED', 'PARTIAL')) AS seconds_p95,
    maxOrNullIf(dateDiff('millisecond', requested_at, completed_at) / 1000, outcome IN ('SUCCEEDED', 'PARTIAL')) AS seconds_max,
    sum(r.rows_expected) AS rows_expected,
    sum(r.rows_published) AS rows_published,
    sum(r.rows_unchanged) AS rows_unchanged,
    sum(r.rows_rejected) AS rows_rejected,
    maxOrNullIf(completed_at, outcome = 'SUCCEEDED') AS last_success
FROM export_runs_current AS r FINAL
GROUP BY day, source, entity
COMMENT 'One row for each day (UTC, of the end), source and entity that had runs: how many and how they ended, how long those took that published something, their rows. completion_rate is succeeded / (runs - cancelled).';

CREATE OR REPLACE VIEW freshness DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT
    d.source AS source,
    d.entity AS entity,
    r.last_success AS last_success,
    d.newest_source_version AS newest_source_version,
    d.newest_ingested_at AS newest_ingested_at,
    dateDiff('second', r.last_success, now64(6)) AS age_seconds,
    d.delay_p95_seconds AS delay_p95_seconds
FROM
(
    SELECT
        'clari' AS source,
        'forecast' AS entity,
        maxOrNull(source_version) AS newest_source_version,
        maxOrNull(ingested_at) AS newest_ingested_at,
        quantileOrNullIf(0.95)(dateDiff('millisecond', observed_at, ingested_at) / 1000, ingested_at > now() - INTERVAL 1 DAY) AS delay_p95_seconds
    FROM forecast_history
    UNION ALL
    SELECT
        'salesloft',
        'people',
        maxOrNull(source_version),
        maxOrNull(ingested_at),
        quantileOrNullIf(0.95)(dateDiff('millisecond', observed_at, ingested_at) / 1000, ingested_at > now() - INTERVAL 1 DAY)
    FROM people_history
) AS d
GLOBAL LEFT JOIN
(
    SELECT source, entity, maxOrNull(completed_at) AS last_success
    FROM export_runs_current FINAL
    WHERE outcome = 'SUCCEEDED' AND scope NOT IN ('backfill', 'reconciliation')
    GROUP BY source, entity
) AS r ON r.source = d.source AND r.entity = d.entity
COMMENT 'One row for each source and entity: when it was last read whole (age_seconds ago), what is newest, and how long rows of the last day took from the producer''s read to the insert (95th percentile).';

-- +goose Down

DROP VIEW IF EXISTS freshness;

DROP VIEW IF EXISTS pipeline_health;

CREATE OR REPLACE VIEW export_runs AS
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
    jobs,
    rows_truncated,
    cells_truncated,
    empty,
    time_period_received,
    period_gap,
    unknown_users,
    unknown_fields,
    rows_previous,
    unusual_count,
    source_version,
    observed_at,
    correlation_id,
    ingested_at
FROM export_runs_current FINAL
COMMENT 'One row for each export run, sync window, reconciliation or backfill; newest source version, deletes hidden.';
