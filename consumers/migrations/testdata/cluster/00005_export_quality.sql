-- What is doubtful about an export, each finding a column of its own.

-- +goose Up

ALTER TABLE export_runs_current_local ON CLUSTER `revenue`
    ADD COLUMN IF NOT EXISTS jobs Int64 DEFAULT 1 COMMENT 'Export jobs that it took: those that failed or took too long, and the last. 0 for a sync window.' AFTER error,
    ADD COLUMN IF NOT EXISTS rows_truncated Bool COMMENT 'The source says that rows are missing.' AFTER jobs,
    ADD COLUMN IF NOT EXISTS cells_truncated Bool COMMENT 'The source says that values are missing.' AFTER rows_truncated,
    ADD COLUMN IF NOT EXISTS empty Bool COMMENT 'The export had no entries.' AFTER cells_truncated,
    ADD COLUMN IF NOT EXISTS time_period_received Nullable(String) COMMENT 'Period of the results where it is another than asked for; nothing of them was published.' AFTER empty,
    ADD COLUMN IF NOT EXISTS period_gap Bool COMMENT 'The period does not end on the day before the next one begins.' AFTER time_period_received,
    ADD COLUMN IF NOT EXISTS unknown_users Int64 COMMENT 'Entries that refer to a user whom the export does not describe.' AFTER period_gap,
    ADD COLUMN IF NOT EXISTS unknown_fields Int64 COMMENT 'Entries that refer to a field that the export does not describe.' AFTER unknown_users,
    ADD COLUMN IF NOT EXISTS rows_previous Nullable(Int64) COMMENT 'Values that the source handed over in the last run of the same period and settings.' AFTER unknown_fields,
    ADD COLUMN IF NOT EXISTS unusual_count Bool COMMENT 'rows_expected is far from rows_previous.' AFTER rows_previous;

ALTER TABLE export_runs_current ON CLUSTER `revenue`
    ADD COLUMN IF NOT EXISTS jobs Int64 DEFAULT 1 COMMENT 'Export jobs that it took: those that failed or took too long, and the last. 0 for a sync window.' AFTER error,
    ADD COLUMN IF NOT EXISTS rows_truncated Bool COMMENT 'The source says that rows are missing.' AFTER jobs,
    ADD COLUMN IF NOT EXISTS cells_truncated Bool COMMENT 'The source says that values are missing.' AFTER rows_truncated,
    ADD COLUMN IF NOT EXISTS empty Bool COMMENT 'The export had no entries.' AFTER cells_truncated,
    ADD COLUMN IF NOT EXISTS time_period_received Nullable(String) COMMENT 'Period of the results where it is another than asked for; nothing of them was published.' AFTER empty,
    ADD COLUMN IF NOT EXISTS period_gap Bool COMMENT 'The period does not end on the day before the next one begins.' AFTER time_period_received,
    ADD COLUMN IF NOT EXISTS unknown_users Int64 COMMENT 'Entries that refer to a user whom the export does not describe.' AFTER period_gap,
    ADD COLUMN IF NOT EXISTS unknown_fields Int64 COMMENT 'Entries that refer to a field that the export does not describe.' AFTER unknown_users,
    ADD COLUMN IF NOT EXISTS rows_previous Nullable(Int64) COMMENT 'Values that the source handed over in the last run of the same period and settings.' AFTER unknown_fields,
    ADD COLUMN IF NOT EXISTS unusual_count Bool COMMENT 'rows_expected is far from rows_previous.' AFTER rows_previous;

ALTER TABLE export_runs_history_local ON CLUSTER `revenue`
    ADD COLUMN IF NOT EXISTS jobs Int64 DEFAULT 1 COMMENT 'Export jobs that it took: those that failed or took too long, and the last. 0 for a sync window.' AFTER error,
    ADD COLUMN IF NOT EXISTS rows_truncated Bool COMMENT 'The source says that rows are missing.' AFTER jobs,
    ADD COLUMN IF NOT EXISTS cells_truncated Bool COMMENT 'The source says that values are missing.' AFTER rows_truncated,
    ADD COLUMN IF NOT EXISTS empty Bool COMMENT 'The export had no entries.' AFTER cells_truncated,
    ADD COLUMN IF NOT EXISTS time_period_received Nullable(String) COMMENT 'Period of the results where it is another than asked for; nothing of them was published.' AFTER empty,
    ADD COLUMN IF NOT EXISTS period_gap Bool COMMENT 'The period does not end on the day before the next one begins.' AFTER time_period_received,
    ADD COLUMN IF NOT EXISTS unknown_users Int64 COMMENT 'Entries that refer to a user whom the export does not describe.' AFTER period_gap,
    ADD COLUMN IF NOT EXISTS unknown_fields Int64 COMMENT 'Entries that refer to a field that the export does not describe.' AFTER unknown_users,
    ADD COLUMN IF NOT EXISTS rows_previous Nullable(Int64) COMMENT 'Values that the source handed over in the last run of the same period and settings.' AFTER unknown_fields,
    ADD COLUMN IF NOT EXISTS unusual_count Bool COMMENT 'rows_expected is far from rows_previous.' AFTER rows_previous;

ALTER TABLE export_runs_history ON CLUSTER `revenue`
    ADD COLUMN IF NOT EXISTS jobs Int64 DEFAULT 1 COMMENT 'Export jobs that it took: those that failed or took too long, and the last. 0 for a sync window.' AFTER error,
    ADD COLUMN IF NOT EXISTS rows_truncated Bool COMMENT 'The source says that rows are missing.' AFTER jobs,
    ADD COLUMN IF NOT EXISTS cells_truncated Bool COMMENT 'The source says that values are missing.' AFTER rows_truncated,
    ADD COLUMN IF NOT EXISTS empty Bool COMMENT 'The export had no entries.' AFTER cells_truncated,
    ADD COLUMN IF NOT EXISTS time_period_received Nullable(String) COMMENT 'Period of the results where it is another than asked for; nothing of them was published.' AFTER empty,
    ADD COLUMN IF NOT EXISTS period_gap Bool COMMENT 'The period does not end on the day before the next one begins.' AFTER time_period_received,
    ADD COLUMN IF NOT EXISTS unknown_users Int64 COMMENT 'Entries that refer to a user whom the export does not describe.' AFTER period_gap,
    ADD COLUMN IF NOT EXISTS unknown_fields Int64 COMMENT 'Entries that refer to a field that the export does not describe.' AFTER unknown_users,
    ADD COLUMN IF NOT EXISTS rows_previous Nullable(Int64) COMMENT 'Values that the source handed over in the last run of the same period and settings.' AFTER unknown_fields,
    ADD COLUMN IF NOT EXISTS unusual_count Bool COMMENT 'rows_expected is far from rows_previous.' AFTER rows_previous;

CREATE OR REPLACE VIEW export_runs ON CLUSTER `revenue` AS
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

-- +goose Down

CREATE OR REPLACE VIEW export_runs ON CLUSTER `revenue` AS
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

ALTER TABLE export_runs_history_local ON CLUSTER `revenue`
    DROP COLUMN IF EXISTS unusual_count,
    DROP COLUMN IF EXISTS rows_previous,
    DROP COLUMN IF EXISTS unknown_fields,
    DROP COLUMN IF EXISTS unknown_users,
    DROP COLUMN IF EXISTS period_gap,
    DROP COLUMN IF EXISTS time_period_received,
    DROP COLUMN IF EXISTS empty,
    DROP COLUMN IF EXISTS cells_truncated,
    DROP COLUMN IF EXISTS rows_truncated,
    DROP COLUMN IF EXISTS jobs;

ALTER TABLE export_runs_history ON CLUSTER `revenue`
    DROP COLUMN IF EXISTS unusual_count,
    DROP COLUMN IF EXISTS rows_previous,
    DROP COLUMN IF EXISTS unknown_fields,
    DROP COLUMN IF EXISTS unknown_users,
    DROP COLUMN IF EXISTS period_gap,
    DROP COLUMN IF EXISTS time_period_received,
    DROP COLUMN IF EXISTS empty,
    DROP COLUMN IF EXISTS cells_truncated,
    DROP COLUMN IF EXISTS rows_truncated,
    DROP COLUMN IF EXISTS jobs;

ALTER TABLE export_runs_current_local ON CLUSTER `revenue`
    DROP COLUMN IF EXISTS unusual_count,
    DROP COLUMN IF EXISTS rows_previous,
    DROP COLUMN IF EXISTS unknown_fields,
    DROP COLUMN IF EXISTS unknown_users,
    DROP COLUMN IF EXISTS period_gap,
    DROP COLUMN IF EXISTS time_period_received,
    DROP COLUMN IF EXISTS empty,
    DROP COLUMN IF EXISTS cells_truncated,
    DROP COLUMN IF EXISTS rows_truncated,
    DROP COLUMN IF EXISTS jobs;

ALTER TABLE export_runs_current ON CLUSTER `revenue`
    DROP COLUMN IF EXISTS unusual_count,
    DROP COLUMN IF EXISTS rows_previous,
    DROP COLUMN IF EXISTS unknown_fields,
    DROP COLUMN IF EXISTS unknown_users,
    DROP COLUMN IF EXISTS period_gap,
    DROP COLUMN IF EXISTS time_period_received,
    DROP COLUMN IF EXISTS empty,
    DROP COLUMN IF EXISTS cells_truncated,
    DROP COLUMN IF EXISTS rows_truncated,
    DROP COLUMN IF EXISTS jobs;
