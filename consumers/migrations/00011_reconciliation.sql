-- What `warehouse reconcile` found: what the sources handed over against what the tables hold.

-- +goose Up

-- sharded by: cityHash64(source, entity)
CREATE TABLE IF NOT EXISTS reconciliations
(
    reconciliation_id UUID COMMENT 'One reconciliation: one call of `warehouse reconcile`.',
    checked_at DateTime64(6, 'UTC') COMMENT 'When it began, UTC.',
    complete Bool COMMENT 'Whether it was of all runs of its span and of all keys, rather than of one run.',
    source LowCardinality(String) COMMENT 'System the rows come from: clari or salesloft; revstream for the export runs themselves.',
    entity LowCardinality(String) COMMENT 'forecast, people or export_run.',
    subject LowCardinality(String) COMMENT 'run: the events of one export run against the history. keys: the newest event of each key on the topic against the current table.',
    run_id String COMMENT 'Export run; empty for keys.',
    correlation_id String COMMENT 'Correlation ID of the run\'s events; empty for keys.',
    scope LowCardinality(String) COMMENT 'What the run was asked for; empty for keys.',
    time_period_id LowCardinality(Nullable(String)) COMMENT 'Period of the run, where it has one.',
    outcome LowCardinality(String) COMMENT 'Outcome of the run: SUCCEEDED, PARTIAL, FAILED, CANCELLED; empty for keys.',
    completed_at Nullable(DateTime64(6, 'UTC')) COMMENT 'When the run was completed, UTC; null for keys.',
    counted_elsewhere Bool COMMENT 'Whether the events are also those of another row: of the steps of a backfill, or of a run with the same correlation ID, scope and period. Leave such rows out of sums.',
    rows_expected Int64 COMMENT 'Rows that the source handed over, as the run says.',
    rows_published Int64 COMMENT 'Rows that the run published, as it says.',
    rows_unchanged Int64 COMMENT 'Rows that stood on the topic already, as the run says.',
    rows_rejected Int64 COMMENT 'Rows that could not be published, as the run says.',
    rows_unaccounted Int64 COMMENT 'rows_expected less rows_published, rows_unchanged and rows_rejected.',
    on_topic Int64 COMMENT 'Records of the run on the topic, replays left out; for keys, keys on the topic.',
    compacted Int64 COMMENT 'Events of the run that are in the history and no more on the topic.',
    stored Int64 COMMENT 'Of on_topic: in the history; for keys, current with the newest version or a newer one.',
    pending Int64 COMMENT 'Of on_topic: not stored yet, and not behind what the consumers have committed.',
    dead_lettered Int64 COMMENT 'Of on_topic: on the dead-letter topic, waiting for somebody.',
    erased Int64 COMMENT 'Of on_topic: not stored, as the key was erased later: a tombstone follows.',
    expired Int64 COMMENT 'Of on_topic: not stored, as retention has let it go.',
    missing Int64 COMMENT 'Of on_topic: behind what the consumers have committed, and nowhere. For keys, also those that are there in an older version.',
    stale Int64 COMMENT 'Of missing: keys that are current with an older version than the topic\'s newest.',
    discarded Int64 COMMENT 'Of missing: dead letters that somebody discarded.',
    lost Int64 COMMENT 'Published as the run says, and neither on the topic nor in the history, though the topic may not have compacted them away yet.',
    untold Int64 COMMENT 'The same, where the topic may have compacted them away: perhaps another run had published the same events first. No gap.',
    unidentified Int64 COMMENT 'For keys: records without an event ID in their headers; no event of ours.',
    gap Int64 COMMENT 'What should be there and is not: missing and lost, and rows_unaccounted where the run ended well.'
)
ENGINE = ReplacingMergeTree
ORDER BY (source, entity, subject, run_id, checked_at, reconciliation_id)
COMMENT 'Every result of every reconciliation; read the view reconciliation.';

-- sharded by: cityHash64(source, entity)
CREATE TABLE IF NOT EXISTS reconciliation_missing
(
    reconciliation_id UUID COMMENT 'The reconciliation that missed it.',
    checked_at DateTime64(6, 'UTC') COMMENT 'When that began, UTC.',
    source LowCardinality(String) COMMENT 'System the row comes from.',
    entity LowCardinality(String) COMMENT 'forecast, people or export_run.',
    run_id String COMMENT 'Export run whose event is missing; empty where a key is.',
    what LowCardinality(String) COMMENT 'not_in_history, not_current, stale (current in an older version), or discarded (a dead letter that somebody discarded).',
    key String COMMENT 'Key of the record.',
    event_id UUID COMMENT 'Event that is missing.',
    kafka_topic LowCardinality(String) COMMENT 'Topic on which it is.',
    kafka_partition Int32 COMMENT 'Its partition.',
    kafka_offset Int64 COMMENT 'Its offset.'
)
ENGINE = ReplacingMergeTree
ORDER BY (source, entity, checked_at, reconciliation_id, run_id, what, key, event_id)
COMMENT 'The missing keys that each reconciliation listed.';

CREATE OR REPLACE VIEW reconciliation DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT
    source,
    entity,
    subject,
    run_id,
    correlation_id,
    scope,
    time_period_id,
    outcome,
    completed_at,
    counted_elsewhere,
    rows_expected,
    rows_published,
    rows_unchanged,
    rows_rejected,
    rows_unaccounted,
    on_topic,
    compacted,
    stored,
    pending,
    dead_lettered,
    erased,
    expired,
    missing,
    stale,
    discarded,
    lost,
    untold,
    unidentified,
    gap,
    complete,
    reconciliation_id,
    checked_at
FROM reconciliations FINAL
ORDER BY checked_at DESC
LIMIT 1 BY source, entity, subject, run_id
COMMENT 'One row for each export run, and one for the keys of each entity: what the newest reconciliation of it found.';

-- +goose Down

DROP VIEW IF EXISTS reconciliation;

DROP TABLE IF EXISTS reconciliation_missing;

DROP TABLE IF EXISTS reconciliations;
