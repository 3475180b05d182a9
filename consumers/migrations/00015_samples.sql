-- What `warehouse watch` writes down each minute: how far consumers are behind, and the dead letters, without what is in them.

-- +goose Up

-- sharded by: cityHash64(consumer_group, topic)
CREATE TABLE IF NOT EXISTS consumer_lag_samples
(
    at DateTime64(6, 'UTC') COMMENT 'Minute of the sample, UTC.',
    consumer_group LowCardinality(String) COMMENT 'Consumer group that has committed offsets on the topic.',
    topic LowCardinality(String) COMMENT 'Topic of the catalogue.',
    partitions Int32 COMMENT 'Partitions of the topic.',
    committed_offset Int64 COMMENT 'Offset that the group goes on from, summed over the partitions; the first one where it has committed none.',
    end_offset Int64 COMMENT 'Offset after the last committed record, summed over the partitions.',
    lag Int64 COMMENT 'Offsets that the group has before it, summed over the partitions. Markers of transactions count.',
    ingested_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When it was inserted, UTC.'
)
ENGINE = ReplacingMergeTree(ingested_at)
PARTITION BY toYYYYMM(at)
ORDER BY (consumer_group, topic, at)
TTL toDateTime(at) + INTERVAL 90 DAY DELETE
SETTINGS ttl_only_drop_parts = 1
COMMENT 'How far consumer groups were behind, minute by minute; read the view consumer_lag.';

-- sharded by: cityHash64(topic, partition)
CREATE TABLE IF NOT EXISTS dead_letters
(
    topic LowCardinality(String) COMMENT 'Dead-letter topic on which the letter lies.',
    partition Int32 COMMENT 'Partition of the letter on the dead-letter topic.',
    offset Int64 COMMENT 'Offset of the letter on the dead-letter topic.',
    topic_id UUID COMMENT 'Kafka''s ID of the dead-letter topic; another one after the topic was made anew.',
    original_topic LowCardinality(String) COMMENT 'Topic of the record that failed.',
    original_partition Int32 COMMENT 'Partition of the record that failed; -1 where a source''s record never became an event.',
    original_offset Int64 COMMENT 'Offset of the record that failed; -1 where a source''s record never became an event.',
    reason LowCardinality(String) COMMENT 'Why it failed: its class, such as validation. unreadable: the record is no dead letter.',
    stage LowCardinality(String) COMMENT 'What failed: decode, insert, produce and the like.',
    consumer_group LowCardinality(String) COMMENT 'Consumer group in which it failed; empty for stage produce.',
    event_id Nullable(UUID) COMMENT 'Event in the letter, where its header has one.',
    attempts Int32 COMMENT 'How often a consumer failed on it.',
    replays Int32 COMMENT 'How often it was replayed before it came back.',
    first_failure DateTime64(6, 'UTC') COMMENT 'When it failed first, UTC.',
    last_failure DateTime64(6, 'UTC') COMMENT 'When it failed last, UTC.',
    written_at DateTime64(6, 'UTC') COMMENT 'When it was written to the dead-letter topic, by Kafka''s timestamp, UTC.',
    ingested_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When it was inserted, UTC.'
)
ENGINE = ReplacingMergeTree(ingested_at)
ORDER BY (topic, partition, offset)
TTL toDateTime(written_at) + INTERVAL 90 DAY DELETE
COMMENT 'What is known of each dead letter without its key, its value and its message; read the view dead_letter_states.';

-- sharded by: cityHash64(topic, partition)
CREATE TABLE IF NOT EXISTS dead_letter_positions
(
    topic LowCardinality(String) COMMENT 'Dead-letter topic.',
    partition Int32 COMMENT 'Its partition.',
    topic_id UUID COMMENT 'Kafka''s ID of the topic, as of then.',
    first_offset Int64 COMMENT 'First offset that the partition still had.',
    next_offset Int64 COMMENT 'Offset to which dead_letters has it, exclusive.',
    at DateTime64(6, 'UTC') COMMENT 'When it was looked at, UTC.'
)
ENGINE = ReplacingMergeTree(at)
ORDER BY (topic, partition)
COMMENT 'How far the dead-letter topics were copied into dead_letters.';

CREATE OR REPLACE VIEW consumer_lag
DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT at, consumer_group, topic, partitions, committed_offset, end_offset, lag
FROM consumer_lag_samples FINAL
COMMENT 'One row for each minute, consumer group and topic, for 90 days.';

CREATE OR REPLACE VIEW dead_letter_states
DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT
    l.topic AS topic,
    l.partition AS partition,
    l.offset AS offset,
    l.original_topic AS original_topic,
    l.original_partition AS original_partition,
    l.original_offset AS original_offset,
    l.reason AS reason,
    l.stage AS stage,
    l.consumer_group AS consumer_group,
    l.event_id AS event_id,
    l.attempts AS attempts,
    l.replays AS replays,
    l.first_failure AS first_failure,
    l.last_failure AS last_failure,
    l.written_at AS written_at,
    multiIf(d.what NOT IN ('', 'unparked'), d.what, l.topic_id != p.topic_id OR l.offset < p.first_offset, 'expired', 'open') AS state,
    if(d.what = '', NULL, d.decided_at) AS decided_at
FROM (SELECT * FROM dead_letters FINAL) AS l
GLOBAL LEFT JOIN (SELECT topic, partition, topic_id, first_offset FROM dead_letter_positions FINAL) AS p
    ON l.topic = p.topic AND l.partition = p.partition
GLOBAL LEFT JOIN
(
    SELECT
        assumeNotNull(a.topic) AS topic,
        assumeNotNull(a.partition) AS partition,
        assumeNotNull(a.offset) AS offset,
        argMax(toString(a.what), (a.at, a.decision_offset)) AS what,
        max(a.at) AS decided_at
    FROM dlq_audit AS a FINAL
    WHERE a.what IN ('replayed', 'parked', 'unparked', 'discarded', 'undecipherable') AND a.topic IS NOT NULL
    GROUP BY a.topic, a.partition, a.offset
) AS d ON l.topic = d.topic AND l.partition = d.partition AND l.offset = d.offset
COMMENT 'One row for each dead letter of the last 90 days. state: open; what was decided; or expired, where the topic has let go of it undecided.';

CREATE OR REPLACE VIEW dead_letters_open
DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT
    original_topic,
    reason,
    stage,
    count() AS letters,
    min(first_failure) AS oldest_failure,
    max(last_failure) AS newest_failure,
    countIf(replays > 0) AS returned
FROM dead_letter_states
WHERE state = 'open'
GROUP BY original_topic, reason, stage
COMMENT 'One row for each topic, reason and stage that has open dead letters. returned: of them, those that a replay has not mended.';

-- +goose Down

DROP VIEW IF EXISTS dead_letters_open;

DROP VIEW IF EXISTS dead_letter_states;

DROP VIEW IF EXISTS consumer_lag;

DROP TABLE IF EXISTS dead_letter_positions;

DROP TABLE IF EXISTS dead_letters;

DROP TABLE IF EXISTS consumer_lag_samples;
