-- A consumer inserts up to 100,000 rows at a time. Beyond 10 MB, the default, such a part has a few files for each of its
-- columns, hundreds in all; below this bound it has one for all of them. Larger parts, which hold nearly all rows once
-- merged, are as they were.

-- +goose Up

ALTER TABLE forecast_current_local ON CLUSTER `revenue`
    MODIFY SETTING min_bytes_for_wide_part = 67108864;

ALTER TABLE forecast_history_local ON CLUSTER `revenue`
    MODIFY SETTING min_bytes_for_wide_part = 67108864;

ALTER TABLE people_current_local ON CLUSTER `revenue`
    MODIFY SETTING min_bytes_for_wide_part = 67108864;

ALTER TABLE people_history_local ON CLUSTER `revenue`
    MODIFY SETTING min_bytes_for_wide_part = 67108864;

-- +goose Down

ALTER TABLE people_history_local ON CLUSTER `revenue`
    RESET SETTING min_bytes_for_wide_part;

ALTER TABLE people_current_local ON CLUSTER `revenue`
    RESET SETTING min_bytes_for_wide_part;

ALTER TABLE forecast_history_local ON CLUSTER `revenue`
    RESET SETTING min_bytes_for_wide_part;

ALTER TABLE forecast_current_local ON CLUSTER `revenue`
    RESET SETTING min_bytes_for_wide_part;
