// Package alert owns the alert event: something about the data that a person should look at.
package alert

import (
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/avro"

	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/money"
)

// Entity is the name of the entity in event IDs and types.
const Entity = "alert"

// Kind says what was found.
type Kind string

// The kinds of the Avro enum. Unknown is what a reader makes of a kind that came later than it.
const (
	Unknown           Kind = "UNKNOWN"
	ForecastAnomaly   Kind = "FORECAST_ANOMALY"
	ReconciliationGap Kind = "RECONCILIATION_GAP"
	ContractViolation Kind = "CONTRACT_VIOLATION"
)

// Severity says how soon somebody should look.
type Severity string

// The severities of the Avro enum.
const (
	Info     Severity = "INFO"
	Warning  Severity = "WARNING"
	Critical Severity = "CRITICAL"
)

// SchemaFile is the file of the schema under schemas/avro.
const SchemaFile = "alert.v1.avsc"

// Schema is the newest schema of the event.
var Schema = avro.MustParse(schemas.MustAvro(SchemaFile))

// Alert is something that a person should look at. The fields' meaning and units are in the schema.
type Alert struct {
	event.Envelope
	AlertID      uuid.UUID         `avro:"alert_id"`
	Kind         Kind              `avro:"kind"`
	Severity     Severity          `avro:"severity"`
	Title        string            `avro:"title"`
	Relation     string            `avro:"relation"`
	Subject      string            `avro:"subject"`
	OccurredAt   time.Time         `avro:"occurred_at"`
	AmountBefore *money.Amount     `avro:"amount_before"`
	AmountAfter  *money.Amount     `avro:"amount_after"`
	CurrencyCode *string           `avro:"currency_code"`
	Attributes   map[string]string `avro:"attributes"`
}

// Head implements event.Event.
func (a *Alert) Head() *event.Envelope { return &a.Envelope }

// Entity implements event.Event.
func (*Alert) Entity() string { return Entity }

// Key implements event.Event: the alert's ID.
func (a *Alert) Key() string { return a.AlertID.String() }

// AppendKey implements event.Event.
func (a *Alert) AppendKey(dst []byte) []byte { return event.AppendID(dst, a.AlertID) }

// Validate implements event.Event.
func (a *Alert) Validate() error {
	var errs []error
	if a.AlertID == uuid.Nil {
		errs = append(errs, errors.New("alert_id is empty"))
	}
	for _, text := range [...]struct{ name, value string }{{"title", a.Title}, {"relation", a.Relation}, {"subject", a.Subject}} {
		if text.value == "" {
			errs = append(errs, errors.New(text.name+" is empty"))
		}
	}
	if a.AmountBefore != nil && !a.AmountBefore.Valid() || a.AmountAfter != nil && !a.AmountAfter.Valid() {
		errs = append(errs, errors.New("an amount exceeds decimal(38,18)"))
	}
	if err := event.CheckTimes(event.Moment{Name: "occurred_at", Time: &a.OccurredAt}); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
