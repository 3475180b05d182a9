// Package exportrun owns the columns of the export_runs tables: one export job or sync window a row. It is pure.
package exportrun

import (
	"time"

	"github.com/revstream/revstream/consumers/envelope"
	"github.com/revstream/revstream/pipeline/table"
	schema "github.com/revstream/revstream/schemas/exportrun"
)

// Tables is the prefix of the entity's tables: export_runs_current, export_runs_history and export_runs_ledger.
const Tables = "export_runs"

// Columns fill export_runs_current and export_runs_history. The columns' meaning is in the schema.
var Columns = append([]table.Column[*schema.ExportRun]{
	table.Of("run_id", "String", func(r *schema.ExportRun) string { return r.RunID }),
	table.Of("source", "LowCardinality(String)", func(r *schema.ExportRun) string { return r.Source }),
	table.Of("entity", "LowCardinality(String)", func(r *schema.ExportRun) string { return r.OfEntity }),
	table.Of("scope", "LowCardinality(String)", func(r *schema.ExportRun) string { return r.Scope }),
	table.Of("time_period_id", "LowCardinality(Nullable(String))", func(r *schema.ExportRun) *string { return r.TimePeriodID }),
	table.Of("kinds", "Array(String)", func(r *schema.ExportRun) []string { return r.Kinds }),
	table.Of("job_id", "Nullable(String)", func(r *schema.ExportRun) *string { return r.JobID }),
	table.Of("window_start", "Nullable(DateTime64(6, 'UTC'))", func(r *schema.ExportRun) *time.Time { return r.WindowStart }),
	table.Of("window_end", "Nullable(DateTime64(6, 'UTC'))", func(r *schema.ExportRun) *time.Time { return r.WindowEnd }),
	table.Of("requested_at", "DateTime64(6, 'UTC')", func(r *schema.ExportRun) time.Time { return r.RequestedAt }),
	table.Of("started_at", "Nullable(DateTime64(6, 'UTC'))", func(r *schema.ExportRun) *time.Time { return r.StartedAt }),
	table.Of("ended_at", "Nullable(DateTime64(6, 'UTC'))", func(r *schema.ExportRun) *time.Time { return r.EndedAt }),
	table.Of("completed_at", "DateTime64(6, 'UTC')", func(r *schema.ExportRun) time.Time { return r.CompletedAt }),
	table.Of("rows_expected", "Int64", func(r *schema.ExportRun) int64 { return r.RowsExpected }),
	table.Of("rows_published", "Int64", func(r *schema.ExportRun) int64 { return r.RowsPublished }),
	table.Of("rows_unchanged", "Int64", func(r *schema.ExportRun) int64 { return r.RowsUnchanged }),
	table.Of("rows_rejected", "Int64", func(r *schema.ExportRun) int64 { return r.RowsRejected }),
	table.Of("truncated", "Bool", func(r *schema.ExportRun) bool { return r.Truncated }),
	table.Of("outcome", "LowCardinality(String)", func(r *schema.ExportRun) string { return string(r.Outcome) }),
	table.Of("error", "Nullable(String)", func(r *schema.ExportRun) *string { return r.Error }),
	table.Of("jobs", "Int64", func(r *schema.ExportRun) int64 { return r.Jobs }),
	table.Of("rows_truncated", "Bool", func(r *schema.ExportRun) bool { return r.RowsTruncated }),
	table.Of("cells_truncated", "Bool", func(r *schema.ExportRun) bool { return r.CellsTruncated }),
	table.Of("empty", "Bool", func(r *schema.ExportRun) bool { return r.Empty }),
	table.Of("time_period_received", "Nullable(String)", func(r *schema.ExportRun) *string { return r.TimePeriodReceived }),
	table.Of("period_gap", "Bool", func(r *schema.ExportRun) bool { return r.PeriodGap }),
	table.Of("unknown_users", "Int64", func(r *schema.ExportRun) int64 { return r.UnknownUsers }),
	table.Of("unknown_fields", "Int64", func(r *schema.ExportRun) int64 { return r.UnknownFields }),
	table.Of("rows_previous", "Nullable(Int64)", func(r *schema.ExportRun) *int64 { return r.RowsPrevious }),
	table.Of("unusual_count", "Bool", func(r *schema.ExportRun) bool { return r.UnusualCount }),
}, envelope.Columns[*schema.ExportRun]()...)
