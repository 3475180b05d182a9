-- The key of the hashes by which masked people can be joined and counted. Who knew it could look an e-mail up by hashing it, so nobody is granted the table.

-- +goose Up

-- sharded by: 0
CREATE TABLE IF NOT EXISTS masking_key_local ON CLUSTER `revenue`
(
    half_1 UInt64 COMMENT 'First half of the key of 128 bits, random. Secret.',
    half_2 UInt64 COMMENT 'Second half. Secret.',
    created_at DateTime64(6, 'UTC') COMMENT 'When it was made, UTC. The oldest one is in use.'
)
ENGINE = ReplicatedReplacingMergeTree
ORDER BY (created_at, half_1, half_2)
COMMENT 'The key of the hashes in masked views; warehouse migrate makes one where there is none. Only the views read it.';

CREATE TABLE IF NOT EXISTS masking_key ON CLUSTER `revenue` AS masking_key_local
ENGINE = Distributed('revenue', 'warehouse', 'masking_key_local', 0)
COMMENT 'The key of the hashes in masked views; warehouse migrate makes one where there is none. Only the views read it.';

-- +goose Down

DROP TABLE IF EXISTS masking_key ON CLUSTER `revenue`;

DROP TABLE IF EXISTS masking_key_local ON CLUSTER `revenue` SYNC;
