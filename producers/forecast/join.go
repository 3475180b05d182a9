package forecast

import (
	"fmt"
	"strconv"
	"time"

	"github.com/revstream/revstream/producers/clari"
	entity "github.com/revstream/revstream/schemas/forecast"
	"github.com/revstream/revstream/schemas/money"
)

// joiner puts the entries of an export together with what it says of their user, field, period and week, so that a reader of
// the event needs no look-up. What the export does not say is null. It has room for one entry: what it returns is valid until
// the next.
type joiner struct {
	export            *clari.Export
	forecastID, jobID string
	days              map[string]*time.Time // read already: there are few, and each is in every entry
	years             map[string]*int32

	entry  clari.Entry
	amount money.Amount
	event  entity.Forecast

	unknownUser, unknownField bool // the entry refers to one that the export does not describe
}

func newJoiner(export *clari.Export, forecastID, jobID string) *joiner {
	return &joiner{export: export, forecastID: forecastID, jobID: jobID, days: map[string]*time.Time{}, years: map[string]*int32{}}
}

// join returns the event of an entry, to which setValue gives a value.
func (j *joiner) join(entry clari.Entry) *entity.Forecast {
	j.entry = entry
	e, f := &j.entry, &j.event
	*f = entity.Forecast{
		ForecastID: j.forecastID, TimePeriodID: e.TimePeriodID, TimeFrameID: e.TimeFrameID, UserID: e.UserID, FieldID: e.FieldID,
		CurrencyCode: text(&e.Currency.Code), CurrencySymbol: text(&e.Currency.Symbol),
		IsUpdated: e.IsUpdated, UpdatedBy: text(&e.UpdatedBy), JobID: j.jobID,
	}
	if !e.UpdatedOn.IsZero() {
		f.UpdatedOn = &e.UpdatedOn
	}
	user, field := j.export.User(e.UserID), j.export.Field(e.FieldID)
	j.unknownUser, j.unknownField = user == nil, field == nil
	if user != nil {
		f.UserCRMID, f.UserEmail, f.UserName, f.ScopeID = text(&user.CRMID), text(&user.Email), text(&user.Name), text(&user.ScopeID)
		f.HierarchyID, f.HierarchyName = text(&user.HierarchyID), text(&user.HierarchyName)
		f.ParentHierarchyID, f.ParentHierarchyName = text(&user.ParentHierarchyID), text(&user.ParentHierarchyName)
	}
	if field != nil {
		f.FieldName, f.FieldType = text(&field.Name), text(&field.Type)
	}
	if period := j.export.TimePeriod(e.TimePeriodID); period != nil {
		f.TimePeriodType, f.TimePeriodLabel, f.TimePeriodCRMID = text(&period.Type), text(&period.Label), text(&period.CRMID)
		f.TimePeriodYear = once(j.years, period.Year, year)
		f.TimePeriodStart, f.TimePeriodEnd = once(j.days, period.StartDate, day), once(j.days, period.EndDate, day)
	}
	if frame := j.export.TimeFrame(e.TimeFrameID); frame != nil {
		f.TimeFrameStart, f.TimeFrameEnd = once(j.days, frame.StartDate, day), once(j.days, frame.EndDate, day)
	}
	return f
}

// once reads a text that has not been read before.
func once[T any](known map[string]*T, s string, read func(string) *T) *T {
	v, ok := known[s]
	if !ok {
		v = read(s)
		known[s] = v
	}
	return v
}

// values gives the entry's values by kind. An entry without any still says that a person has edited it.
func values(e clari.Entry) []clari.Value {
	if len(e.Values) == 0 && e.IsUpdated {
		return []clari.Value{{Kind: entity.KindForecastUpdated}}
	}
	return e.Values
}

// setValue makes the event that of one of its entry's values. Errors hold no digits.
func (j *joiner) setValue(v clari.Value) error {
	j.event.Kind, j.event.Value = v.Kind, nil
	if v.Number == "" {
		return nil
	}
	var err error
	if j.amount, err = money.Parse(v.Number.String()); err != nil {
		return fmt.Errorf("value: %w", err)
	}
	j.event.Value = &j.amount
	return nil
}

// text is s, or nil if it is empty.
func text(s *string) *string {
	if *s == "" {
		return nil
	}
	return s
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
