-- Who did what with the dead letters, copied from the topic of decisions.

-- +goose Up

-- sharded by: cityHash64(run_id)
CREATE TABLE IF NOT EXISTS dlq_audit
(
    at DateTime64(6, 'UTC') COMMENT 'When it was done, UTC. A run''s start for "run running", and its end for the others.',
    what LowCardinality(String) COMMENT 'Of a letter: replayed, parked, unparked, discarded or revealed. Of a run: "run running", "run done", "run stopped" (by itself) or "run interrupted". undecipherable: a record of no known form, of which only the key and the time are known.',
    topic LowCardinality(Nullable(String)) COMMENT 'Dead-letter topic of the letter; NULL for runs.',
    partition Nullable(Int32) COMMENT 'Partition of the letter on the dead-letter topic; NULL for runs.',
    offset Nullable(Int64) COMMENT 'Offset of the letter on the dead-letter topic; NULL for runs.',
    run_id String COMMENT 'The run that did it; empty for what was done without one. The key of the record, where that is undecipherable and names no letter.',
    by String COMMENT 'Who did it: user of the operating system, or who signed in.',
    why String COMMENT 'Why, in their words.',
    from String COMMENT 'From where: host and program, or address of the browser.',
    reason LowCardinality(String) COMMENT 'Why the letter is one: the class of its failure.',
    event_id String COMMENT 'Event in the letter, as its header has it; may be empty.',
    patched Bool COMMENT 'The record was changed before it was replayed; the run''s order holds the change.',
    action LowCardinality(String) COMMENT 'What a run does with letters: replayed, parked, unparked, discarded, exported or imported.',
    status LowCardinality(String) COMMENT 'State of a run: running, done, stopped or interrupted.',
    note String COMMENT 'Why a run has ended early, or what is odd about the record.',
    done Int64 COMMENT 'Letters that a run has dealt with as it was told.',
    parked Int64 COMMENT 'Letters that a run has set aside, as they were replayed too often.',
    skipped Int64 COMMENT 'Letters that a run could not or must not act on.',
    failed Int64 COMMENT 'Letters that a run tried in vain.',
    returned Int64 COMMENT 'Letters that a run had replayed and that came back as new ones.',
    order String COMMENT 'What a run was asked for, as JSON: the selection, the patch of a repair, the rate. May hold personal data.',
    updated_at DateTime64(6, 'UTC') COMMENT 'When the record was written, UTC; a run writes its own anew as it goes on, and the newest counts.',
    decision_offset Int64 COMMENT 'Offset of the record on the topic of decisions.',
    ingested_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When it was inserted, UTC.'
)
ENGINE = ReplacingMergeTree(updated_at)
ORDER BY (at, run_id, what, ifNull(topic, ''), ifNull(partition, -1), ifNull(offset, -1), by, why, if(what = 'undecipherable', decision_offset, -1))
COMMENT 'Who did what with the dead letters and why: a row for each decision and each reveal, and for each run one per state and person; read it with FINAL where exact counts matter.';

-- +goose Down

DROP TABLE IF EXISTS dlq_audit;
