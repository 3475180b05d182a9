package forecast

import (
	"fmt"
	"strconv"
	"time"

	"github.com/revstream/revstream/producers/clari"
	entity "github.com/revstream/revstream/schemas/forecast"
	"github.com/revstream/revstream/schemas/money"
)

// join puts an entry together with what the export says of its user, field, period and week, so that a reader of the
// event needs no look-up. What the export does not say is null.
func join(export *clari.Export, forecastID, jobID string, e clari.Entry) entity.Forecast {
	f := entity.Forecast{
		ForecastID: forecastID, TimePeriodID: e.TimePeriodID, TimeFrameID: e.TimeFrameID, UserID: e.UserID, FieldID: e.FieldID,
		CurrencyCode: text(e.Currency.Code), CurrencySymbol: text(e.Currency.Symbol),
		IsUpdated: e.IsUpdated, UpdatedBy: text(e.UpdatedBy), JobID: jobID,
	}
	if !e.UpdatedOn.IsZero() {
		f.UpdatedOn = &e.UpdatedOn
	}
	if user, ok := export.User(e.UserID); ok {
		f.UserCRMID, f.UserEmail, f.UserName, f.ScopeID = text(user.CRMID), text(user.Email), text(user.Name), text(user.ScopeID)
		f.HierarchyID, f.HierarchyName = text(user.HierarchyID), text(user.HierarchyName)
		f.ParentHierarchyID, f.ParentHierarchyName = text(user.ParentHierarchyID), text(user.ParentHierarchyName)
	}
	if field, ok := export.Field(e.FieldID); ok {
		f.FieldName, f.FieldType = text(field.Name), text(field.Type)
	}
	if period, ok := export.TimePeriod(e.TimePeriodID); ok {
		f.TimePeriodType, f.TimePeriodLabel, f.TimePeriodCRMID = text(period.Type), text(period.Label), text(period.CRMID)
		f.TimePeriodYear = year(period.Year)
		f.TimePeriodStart, f.TimePeriodEnd = day(period.StartDate), day(period.EndDate)
	}
	if frame, ok := export.TimeFrame(e.TimeFrameID); ok {
		f.TimeFrameStart, f.TimeFrameEnd = day(frame.StartDate), day(frame.EndDate)
	}
	return f
}

// values gives the entry's values by kind. An entry without any still says that a person has edited it.
func values(e clari.Entry) []clari.Value {
	if len(e.Values) == 0 && e.IsUpdated {
		return []clari.Value{{Kind: entity.KindForecastUpdated}}
	}
	return e.Values
}

// setValue makes f the event of one of its entry's values. Errors hold no digits.
func setValue(f *entity.Forecast, v clari.Value) error {
	f.Kind, f.Value = v.Kind, nil
	if v.Number == "" {
		return nil
	}
	amount, err := money.Parse(v.Number.String())
	if err != nil {
		return fmt.Errorf("value: %w", err)
	}
	f.Value = &amount
	return nil
}

func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func year(s string) *int32 {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil {
		return nil
	}
	y := int32(n)
	return &y
}

func day(s string) *time.Time {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return nil
	}
	return &t
}
