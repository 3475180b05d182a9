package quality

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/uuid"

	"github.com/revstream/revstream/pipeline/clickhousesink"
	"github.com/revstream/revstream/pipeline/table"
)

const (
	// recordTimeout bounds one insert of findings.
	recordTimeout = time.Minute
	// ClickHouse's codes of what a user may not do: not at all, and in a session that only reads.
	codeAccessDenied = 497
	codeReadonly     = 164
)

// findingRow is a finding of an analysis.
type findingRow struct {
	*Report
	*Finding
}

var findingColumns = []table.Column[findingRow]{
	table.Of("analysis_id", "UUID", func(r findingRow) uuid.UUID { return r.ID }),
	table.Of("checked_at", "DateTime64(6, 'UTC')", func(r findingRow) time.Time { return r.CheckedAt }),
	table.Of("check", "LowCardinality(String)", func(r findingRow) string { return r.Check }),
	table.Of("column", "LowCardinality(String)", func(r findingRow) string { return r.Column }),
	table.Of("severity", "LowCardinality(String)", func(r findingRow) string { return string(r.Severity) }),
	table.Of("share", "Float64", func(r findingRow) float64 { return r.Share }),
	table.Of("rows", "Int64", func(r findingRow) int64 { return r.Count }),
	table.Of("of_rows", "Int64", func(r findingRow) int64 { return r.Of }),
	table.Of("baseline", "Nullable(Float64)", func(r findingRow) *float64 { return r.Baseline }),
	table.Of("text", "String", func(r findingRow) string { return r.Text }),
}

var analysisColumns = []table.Column[*Report]{
	table.Of("analysis_id", "UUID", func(r *Report) uuid.UUID { return r.ID }),
	table.Of("checked_at", "DateTime64(6, 'UTC')", func(r *Report) time.Time { return r.CheckedAt }),
	table.Of("people", "Int64", func(r *Report) int64 { return r.People }),
	table.Of("sampled", "Int64", func(r *Report) int64 { return r.Sampled }),
	table.Of("baseline_at", "DateTime64(6, 'UTC')", func(r *Report) time.Time { return r.BaselineAt }),
	table.Of("baseline_sampled", "Int64", func(r *Report) int64 { return r.BaselineSampled }),
	table.Of("findings", "Int64", func(r *Report) int64 { return int64(len(r.Findings)) }),
}

// record writes a report down, the findings first, so that no analysis is without them. Who may only read has the report alone.
func (a *Analyzer) record(ctx context.Context, report *Report) error {
	cfg := clickhousesink.Config{InsertTimeout: recordTimeout}
	findings, analyses := table.NewBlock(findingColumns), table.NewBlock(analysisColumns)
	for i := range report.Findings {
		findings.Append(findingRow{report, &report.Findings[i]})
	}
	analyses.Append(report)
	var err error
	if findings.Rows() > 0 {
		err = clickhousesink.Insert(ctx, cfg, a.conn, "data_quality_findings", findingColumns, findings)
	}
	if err == nil {
		err = clickhousesink.Insert(ctx, cfg, a.conn, "data_quality_analyses", analysisColumns, analyses)
	}
	if refused, ok := errors.AsType[*clickhouse.Exception](err); ok && (refused.Code == codeAccessDenied || refused.Code == codeReadonly) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("writing the findings down: %w", err)
	}
	report.Recorded = true
	return nil
}
