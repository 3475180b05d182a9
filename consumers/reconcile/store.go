package reconcile

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/revstream/revstream/pipeline/clickhousesink"
	"github.com/revstream/revstream/pipeline/table"
)

// storeTimeout bounds one insert of results.
const storeTimeout = time.Minute

// resultRow is a result of a reconciliation.
type resultRow struct {
	*Report
	*Result
}

// missingRow is a missing event of a reconciliation.
type missingRow struct {
	*Report
	of *Missing
}

// resultColumns fill the table reconciliations.
var resultColumns = []table.Column[resultRow]{
	table.Of("reconciliation_id", "UUID", func(r resultRow) uuid.UUID { return r.ID }),
	table.Of("checked_at", "DateTime64(6, 'UTC')", func(r resultRow) time.Time { return r.CheckedAt }),
	table.Of("complete", "Bool", func(r resultRow) bool { return r.Complete }),
	table.Of("source", "LowCardinality(String)", func(r resultRow) string { return r.Source }),
	table.Of("entity", "LowCardinality(String)", func(r resultRow) string { return r.Entity }),
	table.Of("subject", "LowCardinality(String)", func(r resultRow) string { return r.Subject }),
	table.Of("run_id", "String", func(r resultRow) string { return r.RunID }),
	table.Of("correlation_id", "String", func(r resultRow) string { return r.CorrelationID }),
	table.Of("scope", "LowCardinality(String)", func(r resultRow) string { return r.Scope }),
	table.Of("time_period_id", "LowCardinality(Nullable(String))", func(r resultRow) *string { return r.TimePeriodID }),
	table.Of("outcome", "LowCardinality(String)", func(r resultRow) string { return r.Outcome }),
	table.Of("completed_at", "Nullable(DateTime64(6, 'UTC'))", func(r resultRow) *time.Time { return r.CompletedAt }),
	table.Of("counted_elsewhere", "Bool", func(r resultRow) bool { return r.CountedElsewhere }),
	table.Of("rows_expected", "Int64", func(r resultRow) int64 { return r.RowsExpected }),
	table.Of("rows_published", "Int64", func(r resultRow) int64 { return r.RowsPublished }),
	table.Of("rows_unchanged", "Int64", func(r resultRow) int64 { return r.RowsUnchanged }),
	table.Of("rows_rejected", "Int64", func(r resultRow) int64 { return r.RowsRejected }),
	table.Of("rows_unaccounted", "Int64", func(r resultRow) int64 { return r.RowsUnaccounted }),
	table.Of("on_topic", "Int64", func(r resultRow) int64 { return r.OnTopic }),
	table.Of("compacted", "Int64", func(r resultRow) int64 { return r.Compacted }),
	table.Of("stored", "Int64", func(r resultRow) int64 { return r.Stored }),
	table.Of("pending", "Int64", func(r resultRow) int64 { return r.Pending }),
	table.Of("dead_lettered", "Int64", func(r resultRow) int64 { return r.DeadLettered }),
	table.Of("erased", "Int64", func(r resultRow) int64 { return r.Erased }),
	table.Of("expired", "Int64", func(r resultRow) int64 { return r.Expired }),
	table.Of("missing", "Int64", func(r resultRow) int64 { return r.Result.Missing }),
	table.Of("stale", "Int64", func(r resultRow) int64 { return r.Stale }),
	table.Of("discarded", "Int64", func(r resultRow) int64 { return r.Discarded }),
	table.Of("lost", "Int64", func(r resultRow) int64 { return r.Lost }),
	table.Of("untold", "Int64", func(r resultRow) int64 { return r.Untold }),
	table.Of("unidentified", "Int64", func(r resultRow) int64 { return r.Unidentified }),
	table.Of("gap", "Int64", func(r resultRow) int64 { return r.Result.Gap }),
}

// missingColumns fill the table reconciliation_missing.
var missingColumns = []table.Column[missingRow]{
	table.Of("reconciliation_id", "UUID", func(r missingRow) uuid.UUID { return r.ID }),
	table.Of("checked_at", "DateTime64(6, 'UTC')", func(r missingRow) time.Time { return r.CheckedAt }),
	table.Of("source", "LowCardinality(String)", func(r missingRow) string { return r.of.Source }),
	table.Of("entity", "LowCardinality(String)", func(r missingRow) string { return r.of.Entity }),
	table.Of("run_id", "String", func(r missingRow) string { return r.of.RunID }),
	table.Of("what", "LowCardinality(String)", func(r missingRow) string { return r.of.What }),
	table.Of("key", "String", func(r missingRow) string { return r.of.Key }),
	table.Of("event_id", "UUID", func(r missingRow) uuid.UUID { return r.of.EventID }),
	table.Of("kafka_topic", "LowCardinality(String)", func(r missingRow) string { return r.of.Topic }),
	table.Of("kafka_partition", "Int32", func(r missingRow) int32 { return r.of.Partition }),
	table.Of("kafka_offset", "Int64", func(r missingRow) int64 { return r.of.Offset }),
}

// store writes a report down. What is missing goes first, so that no result is without it.
func (r *Reconciler) store(ctx context.Context, report Report) error {
	cfg := clickhousesink.Config{InsertTimeout: storeTimeout}
	missing, results := table.NewBlock(missingColumns), table.NewBlock(resultColumns)
	for i := range report.Missing {
		missing.Append(missingRow{&report, &report.Missing[i]})
	}
	for i := range report.Results {
		results.Append(resultRow{&report, &report.Results[i]})
	}
	if missing.Rows() > 0 {
		if err := clickhousesink.Insert(ctx, cfg, r.conn, "reconciliation_missing", missingColumns, missing); err != nil {
			return fmt.Errorf("writing down what is missing: %w", err)
		}
	}
	if err := clickhousesink.Insert(ctx, cfg, r.conn, "reconciliations", resultColumns, results); err != nil {
		return fmt.Errorf("writing the reconciliation down: %w", err)
	}
	return nil
}
