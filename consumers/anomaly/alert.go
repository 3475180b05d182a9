package anomaly

import (
	"context"
	"fmt"
	"strconv"

	"github.com/shopspring/decimal"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/snapshot"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/alert"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/money"
	"github.com/revstream/revstream/schemas/wire"
)

// source is the ce_source of alerts: they come from the warehouse, not from a system that it is filled from.
const source = "/warehouse"

// Publisher puts alerts onto their topic.
type Publisher struct {
	client  *kgo.Client
	encoder *wire.Encoder
	version string // of the schema
}

// OpenPublisher makes sure that the topic exists and the registry knows its schema. The client needs to be one that waits for all
// in-sync replicas; it stays the caller's to close.
func OpenPublisher(ctx context.Context, client *kgo.Client, registry *wire.Registry) (*Publisher, error) {
	if err := snapshot.Exists(ctx, client, schemas.AlertsTopic); err != nil {
		return nil, err
	}
	registered, err := registry.Lookup(ctx, schemas.AlertsTopic, schemas.MustAvro(alert.SchemaFile))
	if err != nil {
		return nil, fmt.Errorf("%w: register it with `provision`", err)
	}
	return &Publisher{client: client, encoder: wire.NewEncoder(alert.Schema, registered.ID), version: registered.String()}, nil
}

// Publish implements Alerts.
func (p *Publisher) Publish(ctx context.Context, alerts []*alert.Alert) error {
	records := make([]*kgo.Record, len(alerts))
	for i, a := range alerts {
		value, err := p.encoder.Encode(a)
		if err != nil {
			return fmt.Errorf("publishing alert %s: %w", a.AlertID, err)
		}
		records[i] = &kgo.Record{Topic: schemas.AlertsTopic, Key: []byte(a.Key()), Value: value}
		for _, h := range event.Headers(a, source, p.version) {
			records[i].Headers = append(records[i].Headers, kgo.RecordHeader{Key: h.Key, Value: []byte(h.Value)})
		}
	}
	if err := p.client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return fmt.Errorf("publishing alerts to %s: %w", schemas.AlertsTopic, err)
	}
	return nil
}

// alert is what subscribers are told of a review: IDs and amounts, and nothing of a person but the ID.
func (r *Review) alert() (*alert.Alert, error) {
	a := &alert.Alert{
		AlertID: r.ID, Kind: alert.ForecastAnomaly, Severity: alert.Warning, Title: r.title(), Relation: "forecast", Subject: r.subject(),
		OccurredAt: r.SourceVersion, AmountBefore: avroAmount(r.Before), AmountAfter: avroAmount(r.After), CurrencyCode: r.Currency,
		Attributes: map[string]string{
			"scope": r.Scope, "forecast_id": r.ForecastID, "time_period_id": r.TimePeriodID, "time_frame_id": r.TimeFrameID,
			"field_id": r.FieldID, "kind": r.Kind, "moves": strconv.FormatInt(r.Moves, 10), "event_id": r.EventID.String(),
		},
	}
	if r.Scope == ScopeStorm {
		a.Severity = alert.Critical
	}
	for name, value := range map[string]string{"user_id": r.UserID, "hierarchy_id": r.HierarchyID} {
		if value != "" {
			a.Attributes[name] = value
		}
	}
	if r.Percent != nil {
		a.Attributes["percent"] = r.Percent.String()
	}
	if r.PreviousEventID != nil {
		a.Attributes["previous_event_id"] = r.PreviousEventID.String()
	}
	if err := event.Seal(a, event.Upsert, r.SourceVersion, r.OpenedAt, r.CorrelationID); err != nil {
		return nil, fmt.Errorf("telling of review %s: %w", r.ID, err)
	}
	return a, nil
}

// title is a review in a line.
func (r *Review) title() string {
	moved := "from nothing"
	if r.Percent != nil {
		moved = "by " + r.Percent.StringFixed(1) + " %"
	}
	what := fmt.Sprintf("%s (%s) of %s, %s", r.FieldID, r.Kind, r.ForecastID, r.TimePeriodID)
	switch r.Scope {
	case ScopeHierarchy:
		return fmt.Sprintf("%s moved %s below a place of the hierarchy", what, moved)
	case ScopeStorm:
		return fmt.Sprintf("%d amounts of %s, %s moved far at once, %s (%s) the farthest", r.Moves, r.ForecastID, r.TimePeriodID, r.FieldID, r.Kind)
	}
	return fmt.Sprintf("%s moved %s", what, moved)
}

// subject is the key of the value, that of a sum with the place instead of the user, and of a storm forecast and period.
func (r *Review) subject() string {
	group := r.ForecastID + "|" + r.TimePeriodID
	switch r.Scope {
	case ScopeHierarchy:
		return group + "|" + r.TimeFrameID + "|" + r.HierarchyID + "|" + r.FieldID + "|" + r.Kind
	case ScopeStorm:
		return group
	}
	return group + "|" + r.TimeFrameID + "|" + r.UserID + "|" + r.FieldID + "|" + r.Kind
}

// avroAmount is nil also for a sum that has more digits than an amount may; the row has it.
func avroAmount(d *decimal.Decimal) *money.Amount {
	if d == nil {
		return nil
	}
	a, err := money.Parse(d.String())
	if err != nil {
		return nil
	}
	return &a
}
