-- The present state is read through FINAL, which costs the more the more versions of a key lie in several parts. ClickHouse merges large parts
-- late or never: here it merges all that are an hour old into one, which rewrites the table once an hour at most.

-- +goose Up

ALTER TABLE forecast_current MODIFY SETTING min_age_to_force_merge_seconds = 3600;

ALTER TABLE people_current MODIFY SETTING min_age_to_force_merge_seconds = 3600;

ALTER TABLE export_runs_current MODIFY SETTING min_age_to_force_merge_seconds = 3600;

-- +goose Down

ALTER TABLE export_runs_current RESET SETTING min_age_to_force_merge_seconds;

ALTER TABLE people_current RESET SETTING min_age_to_force_merge_seconds;

ALTER TABLE forecast_current RESET SETTING min_age_to_force_merge_seconds;
