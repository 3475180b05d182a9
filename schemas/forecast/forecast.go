// Package forecast owns the forecast event: one value of one Clari forecast entry.
package forecast

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/avro"

	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/money"
)

// Entity is the name of the entity in event IDs and types.
const Entity = "forecast"

// Kinds of value that Clari documents.
const (
	KindForecast        = "forecast"
	KindQuota           = "quota"
	KindForecastUpdated = "forecast_updated"
	KindAdjustment      = "adjustment"
	KindCRMTotal        = "crm_total"
	KindCRMClosed       = "crm_closed"
)

// SchemaFile is the file of the schema under schemas/avro.
const SchemaFile = "forecast.v1.avsc"

// Schema is the newest schema of the event.
var Schema = avro.MustParse(schemas.MustAvro(SchemaFile))

// Forecast is one value of one forecast entry. The fields' meaning and units
// are in the schema.
type Forecast struct {
	event.Envelope
	ForecastID          string        `avro:"forecast_id"`
	TimePeriodID        string        `avro:"time_period_id"`
	TimeFrameID         string        `avro:"time_frame_id"`
	UserID              string        `avro:"user_id"`
	FieldID             string        `avro:"field_id"`
	Kind                string        `avro:"kind"`
	Value               *money.Amount `avro:"value"`
	CurrencyCode        *string       `avro:"currency_code"`
	CurrencySymbol      *string       `avro:"currency_symbol"`
	IsUpdated           bool          `avro:"is_updated"`
	UpdatedBy           *string       `avro:"updated_by"`
	UpdatedOn           *time.Time    `avro:"updated_on"`
	UserCRMID           *string       `avro:"user_crm_id"`
	UserEmail           *string       `avro:"user_email"`
	UserName            *string       `avro:"user_name"`
	ScopeID             *string       `avro:"scope_id"`
	HierarchyID         *string       `avro:"hierarchy_id"`
	HierarchyName       *string       `avro:"hierarchy_name"`
	ParentHierarchyID   *string       `avro:"parent_hierarchy_id"`
	ParentHierarchyName *string       `avro:"parent_hierarchy_name"`
	FieldName           *string       `avro:"field_name"`
	FieldType           *string       `avro:"field_type"`
	TimePeriodType      *string       `avro:"time_period_type"`
	TimePeriodLabel     *string       `avro:"time_period_label"`
	TimePeriodYear      *int32        `avro:"time_period_year"`
	TimePeriodStart     *time.Time    `avro:"time_period_start"`
	TimePeriodEnd       *time.Time    `avro:"time_period_end"`
	TimePeriodCRMID     *string       `avro:"time_period_crm_id"`
	TimeFrameStart      *time.Time    `avro:"time_frame_start"`
	TimeFrameEnd        *time.Time    `avro:"time_frame_end"`
	JobID               string        `avro:"job_id"`
}

// Head implements event.Event.
func (f *Forecast) Head() *event.Envelope { return &f.Envelope }

// Entity implements event.Event.
func (*Forecast) Entity() string { return Entity }

// Key implements event.Event: forecastId|timePeriodId|timeFrameId|userId|fieldId|kind.
func (f *Forecast) Key() string { return string(f.AppendKey(make([]byte, 0, 128))) }

// AppendKey implements event.Event.
func (f *Forecast) AppendKey(dst []byte) []byte {
	dst = append(append(dst, f.ForecastID...), '|')
	dst = append(append(dst, f.TimePeriodID...), '|')
	dst = append(append(dst, f.TimeFrameID...), '|')
	dst = append(append(dst, f.UserID...), '|')
	dst = append(append(dst, f.FieldID...), '|')
	return append(dst, f.Kind...)
}

// isKind tells whether s is ^[a-z][a-z0-9_]{0,63}$.
func isKind(s string) bool {
	if len(s) == 0 || len(s) > 64 || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return true
}

// isCurrency tells whether s is ^[A-Z]{3}$.
func isCurrency(s string) bool {
	capital := func(c byte) bool { return 'A' <= c && c <= 'Z' }
	return len(s) == 3 && capital(s[0]) && capital(s[1]) && capital(s[2])
}

// Validate implements event.Event. It allocates nothing for a valid event.
func (f *Forecast) Validate() error {
	var errs []error
	for _, part := range [...]struct{ name, value string }{
		{"forecast_id", f.ForecastID}, {"time_period_id", f.TimePeriodID}, {"time_frame_id", f.TimeFrameID},
		{"user_id", f.UserID}, {"field_id", f.FieldID},
	} {
		switch {
		case part.value == "":
			errs = append(errs, fmt.Errorf("%s is empty", part.name))
		case strings.IndexByte(part.value, '|') >= 0:
			errs = append(errs, fmt.Errorf("%s contains |, which separates the parts of the key", part.name))
		}
	}
	if !isKind(f.Kind) {
		errs = append(errs, errors.New("kind is not a snake_case name"))
	}
	if f.Value != nil && !f.Value.Valid() {
		errs = append(errs, errors.New("value exceeds decimal(38,18)"))
	}
	if f.CurrencyCode != nil && !isCurrency(*f.CurrencyCode) {
		errs = append(errs, errors.New("currency_code is not three capital letters"))
	}
	if err := event.CheckTimes(event.Moment{Name: "updated_on", Time: f.UpdatedOn},
		event.Moment{Name: "time_period_start", Time: f.TimePeriodStart}, event.Moment{Name: "time_period_end", Time: f.TimePeriodEnd},
		event.Moment{Name: "time_frame_start", Time: f.TimeFrameStart}, event.Moment{Name: "time_frame_end", Time: f.TimeFrameEnd}); err != nil {
		errs = append(errs, err)
	}
	if endsFirst(f.TimePeriodStart, f.TimePeriodEnd) {
		errs = append(errs, errors.New("time_period_end is before time_period_start"))
	}
	if endsFirst(f.TimeFrameStart, f.TimeFrameEnd) {
		errs = append(errs, errors.New("time_frame_end is before time_frame_start"))
	}
	return errors.Join(errs...)
}

func endsFirst(start, end *time.Time) bool {
	return start != nil && end != nil && end.Before(*start)
}
