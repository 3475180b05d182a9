-- What retention has let go of, and who was erased, so that what arrives of them later can be let go of as well.

-- +goose Up

-- sharded by: cityHash64(key)
CREATE TABLE IF NOT EXISTS erasures
(
    key String COMMENT 'Key of who was erased, such as salesloft:123.',
    until_event_id UUID COMMENT 'Everything of the key up to this event is erased, whenever it arrives; compare as toUInt128(until_event_id).',
    until DateTime64(6, 'UTC') COMMENT 'Source version of that event, UTC. What the source tells of the key after it is stored.',
    at DateTime64(6, 'UTC') COMMENT 'When the erasure was asked for, UTC.',
    by String COMMENT 'Who asked for it: user of the operating system.',
    why String COMMENT 'Why, in their words.',
    forced Bool COMMENT 'Whether the source had not deleted the person, as far as the warehouse knew.',
    rows Map(String, UInt64) COMMENT 'Rows that went, by table, of all times together.',
    finished_at Nullable(DateTime64(6, 'UTC')) COMMENT 'When all of it was last gone from topic and tables, UTC. NULL where it was interrupted.',
    updated_at DateTime64(6, 'UTC') COMMENT 'When this row was written, UTC; the newest of a key counts.'
)
ENGINE = ReplacingMergeTree(updated_at)
ORDER BY (key)
COMMENT 'One row for each erased key: who asked for it and why, and up to which event. Holds no personal data. Read it with FINAL.';

-- sharded by: cityHash64(table_name)
CREATE TABLE IF NOT EXISTS retentions
(
    at DateTime64(6, 'UTC') COMMENT 'When it began, UTC.',
    by String COMMENT 'Who ran it: user of the operating system.',
    cutoff Date COMMENT 'What was over before this day was let go of.',
    table_name LowCardinality(String) COMMENT 'Table of which rows were let go of.',
    quarter LowCardinality(String) COMMENT 'Quarter that the rows are of, such as 2024-Q3.',
    rows UInt64 COMMENT 'Rows that were there to go. What was left of them when a run was interrupted is in the next one again.',
    bytes UInt64 COMMENT 'What they took on the disk, bytes, estimated.',
    oldest DateTime64(6, 'UTC') COMMENT 'The oldest of them, UTC.'
)
ENGINE = ReplacingMergeTree
ORDER BY (at, table_name, quarter)
COMMENT 'One row for each table and quarter of which `warehouse retention` has let rows go.';

-- +goose Down

DROP TABLE IF EXISTS retentions;

DROP TABLE IF EXISTS erasures;
