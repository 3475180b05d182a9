-- What `warehouse analyze` found wrong with the data.

-- +goose Up

-- sharded by: cityHash64(analysis_id)
CREATE TABLE IF NOT EXISTS data_quality_analyses
(
    analysis_id UUID COMMENT 'One analysis: one call of `warehouse analyze`.',
    checked_at DateTime64(6, 'UTC') COMMENT 'When it began, UTC.',
    people Int64 COMMENT 'People in the view people.',
    sampled Int64 COMMENT 'Of them, those that were looked at: chosen by cityHash64(person_id), and so the same ones each time.',
    baseline_at DateTime64(6, 'UTC') COMMENT 'What they were compared with: the people as of this time, UTC.',
    baseline_sampled Int64 COMMENT 'People of the same choice as of then.',
    findings Int64 COMMENT 'How many findings it has in data_quality_findings.'
)
ENGINE = ReplacingMergeTree
ORDER BY (checked_at, analysis_id)
COMMENT 'Every analysis of the data, those without findings included.';

-- sharded by: cityHash64(analysis_id)
CREATE TABLE IF NOT EXISTS data_quality_findings
(
    analysis_id UUID COMMENT 'The analysis.',
    checked_at DateTime64(6, 'UTC') COMMENT 'When it began, UTC.',
    check LowCardinality(String) COMMENT 'What was looked for, such as email_invalid; docs/data-quality.md lists them.',
    column LowCardinality(String) COMMENT 'Column of the view people or export_runs.',
    severity LowCardinality(String) COMMENT 'info, warning or critical.',
    share Float64 COMMENT 'rows of of_rows; for distribution_drift, the population stability index.',
    rows Int64 COMMENT 'Rows that it is found in.',
    of_rows Int64 COMMENT 'Rows that it was looked for in.',
    baseline Nullable(Float64) COMMENT 'The share a week before, or the bound that an outlier is above, where there is one.',
    text String COMMENT 'The finding in words. Holds no personal data.'
)
ENGINE = ReplacingMergeTree
ORDER BY (checked_at, analysis_id, check, column)
COMMENT 'The findings of every analysis; read the view data_quality.';

CREATE OR REPLACE VIEW data_quality DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT
    check,
    column,
    severity,
    share,
    rows,
    of_rows,
    baseline,
    text,
    analysis_id,
    checked_at
FROM data_quality_findings FINAL
WHERE analysis_id GLOBAL IN
(
    SELECT argMax(analysis_id, checked_at)
    FROM data_quality_analyses
)
COMMENT 'One row for each check and column in which the newest analysis found something.';

-- +goose Down

DROP VIEW IF EXISTS data_quality;

DROP TABLE IF EXISTS data_quality_findings;

DROP TABLE IF EXISTS data_quality_analyses;
