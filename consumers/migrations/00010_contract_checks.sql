-- What `warehouse contract check` found: whether the views keep what BI was promised.

-- +goose Up

-- sharded by: cityHash64(contract)
CREATE TABLE IF NOT EXISTS contract_checks
(
    contract LowCardinality(String) COMMENT 'Contract that the relation was held to, such as forecast_v1.',
    relation LowCardinality(String) COMMENT 'View that it is about.',
    rule LowCardinality(String) COMMENT 'relation, columns, primary_key, not_null, allowed, freshness_p95, max_age, rows; unnamed_columns where those were asked for. Only relation where the view does not exist.',
    checked_at DateTime64(3, 'UTC') COMMENT 'When the check began, UTC; one time for all contracts of a check.',
    ok Bool COMMENT 'The rule holds, or there was nothing to judge it by, which found says.',
    violations UInt64 COMMENT 'What breaks the rule: columns for columns and unnamed_columns, rows for primary_key, not_null and allowed, else 1. 0 where ok.',
    measured Nullable(Float64) COMMENT 'Seconds for freshness_p95 and max_age, rows for rows; NULL for other rules, and where there was nothing to measure.',
    found String COMMENT 'What is there, in words. Names columns, never values.',
    expected String COMMENT 'What the contract promises, in words.'
)
ENGINE = ReplacingMergeTree
ORDER BY (contract, checked_at, rule)
TTL toDateTime(checked_at) + INTERVAL 400 DAY DELETE
COMMENT 'One row for each rule of a contract and check of it; the newest checked_at of a contract is how it stands.';

-- +goose Down

DROP TABLE IF EXISTS contract_checks;
