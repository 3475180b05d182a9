// Package forecast owns the columns of the forecast tables: a row is one value of one forecast entry. It is pure.
package forecast

import (
	"time"

	"github.com/revstream/revstream/consumers/envelope"
	"github.com/revstream/revstream/pipeline/table"
	schema "github.com/revstream/revstream/schemas/forecast"
)

// Tables is the prefix of the entity's tables: forecast_current, forecast_history and forecast_ledger.
const Tables = "forecast"

// Columns fill forecast_current and forecast_history. The columns' meaning is in the schema.
var Columns = append([]table.Column[*schema.Forecast]{
	table.Of("forecast_id", "LowCardinality(String)", func(f *schema.Forecast) string { return f.ForecastID }),
	table.Of("time_period_id", "LowCardinality(String)", func(f *schema.Forecast) string { return f.TimePeriodID }),
	table.Of("time_frame_id", "LowCardinality(String)", func(f *schema.Forecast) string { return f.TimeFrameID }),
	table.Of("user_id", "String", func(f *schema.Forecast) string { return f.UserID }),
	table.Of("field_id", "LowCardinality(String)", func(f *schema.Forecast) string { return f.FieldID }),
	table.Of("kind", "LowCardinality(String)", func(f *schema.Forecast) string { return f.Kind }),
	table.Of("value", "Nullable(Decimal(76, 18))", func(f *schema.Forecast) *table.Unscaled { return (*table.Unscaled)(f.Value) }),
	table.Of("currency_code", "LowCardinality(Nullable(String))", func(f *schema.Forecast) *string { return f.CurrencyCode }),
	table.Of("currency_symbol", "LowCardinality(Nullable(String))", func(f *schema.Forecast) *string { return f.CurrencySymbol }),
	table.Of("is_updated", "Bool", func(f *schema.Forecast) bool { return f.IsUpdated }),
	table.Of("updated_by", "Nullable(String)", func(f *schema.Forecast) *string { return f.UpdatedBy }),
	table.Of("updated_on", "Nullable(DateTime64(6, 'UTC'))", func(f *schema.Forecast) *time.Time { return f.UpdatedOn }),
	table.Of("user_crm_id", "Nullable(String)", func(f *schema.Forecast) *string { return f.UserCRMID }),
	table.Of("user_email", "Nullable(String)", func(f *schema.Forecast) *string { return f.UserEmail }),
	table.Of("user_name", "Nullable(String)", func(f *schema.Forecast) *string { return f.UserName }),
	table.Of("scope_id", "Nullable(String)", func(f *schema.Forecast) *string { return f.ScopeID }),
	table.Of("hierarchy_id", "LowCardinality(Nullable(String))", func(f *schema.Forecast) *string { return f.HierarchyID }),
	table.Of("hierarchy_name", "LowCardinality(Nullable(String))", func(f *schema.Forecast) *string { return f.HierarchyName }),
	table.Of("parent_hierarchy_id", "LowCardinality(Nullable(String))", func(f *schema.Forecast) *string { return f.ParentHierarchyID }),
	table.Of("parent_hierarchy_name", "LowCardinality(Nullable(String))", func(f *schema.Forecast) *string { return f.ParentHierarchyName }),
	table.Of("field_name", "LowCardinality(Nullable(String))", func(f *schema.Forecast) *string { return f.FieldName }),
	table.Of("field_type", "LowCardinality(Nullable(String))", func(f *schema.Forecast) *string { return f.FieldType }),
	table.Of("time_period_type", "LowCardinality(Nullable(String))", func(f *schema.Forecast) *string { return f.TimePeriodType }),
	table.Of("time_period_label", "LowCardinality(Nullable(String))", func(f *schema.Forecast) *string { return f.TimePeriodLabel }),
	table.Of("time_period_year", "Nullable(Int32)", func(f *schema.Forecast) *int32 { return f.TimePeriodYear }),
	table.Of("time_period_start", "Nullable(Date32)", func(f *schema.Forecast) *time.Time { return f.TimePeriodStart }),
	table.Of("time_period_end", "Nullable(Date32)", func(f *schema.Forecast) *time.Time { return f.TimePeriodEnd }),
	table.Of("time_period_crm_id", "LowCardinality(Nullable(String))", func(f *schema.Forecast) *string { return f.TimePeriodCRMID }),
	table.Of("time_frame_start", "Nullable(Date32)", func(f *schema.Forecast) *time.Time { return f.TimeFrameStart }),
	table.Of("time_frame_end", "Nullable(Date32)", func(f *schema.Forecast) *time.Time { return f.TimeFrameEnd }),
	table.Of("job_id", "LowCardinality(String)", func(f *schema.Forecast) string { return f.JobID }),
}, envelope.Columns[*schema.Forecast]()...)
