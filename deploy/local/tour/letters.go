package tour

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/forecast"
	"github.com/revstream/revstream/schemas/money"
	"github.com/revstream/revstream/schemas/wire"
)

// sameVersion compares a record of the source with a row.
func sameVersion(record json.RawMessage, email *string, micros int64) (bool, error) {
	if record == nil {
		return false, nil
	}
	var person struct {
		Email     *string   `json:"email_address"`
		UpdatedAt time.Time `json:"updated_at"`
	}
	if err := json.Unmarshal(record, &person); err != nil {
		return false, fmt.Errorf("reading a person of the simulator: %w", err)
	}
	sameEmail := person.Email == nil && email == nil || person.Email != nil && email != nil && *person.Email == *email
	return sameEmail && person.UpdatedAt.UnixMicro() == micros, nil
}

func join(ids []int64) string {
	var list []byte
	for i, id := range ids {
		if i > 0 {
			list = append(list, ',')
		}
		list = strconv.AppendInt(list, id, 10)
	}
	return string(list)
}

// poll waits until a number is 0.
func poll(ctx context.Context, what string, left func() (int64, error)) error {
	ctx, cancel := context.WithTimeout(ctx, drainPatience)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		n, err := left()
		if err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: still %d after %s", what, n, drainPatience)
		}
	}
}

// invalidForecast is an event of somebody who mixed up two dates.
func invalidForecast() (*forecast.Forecast, error) {
	amount, err := money.Parse("1250000.50")
	if err != nil {
		return nil, err
	}
	start, end := time.Date(2026, 3, 31, 0, 0, 0, 0, time.UTC), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	currency := "USD"
	f := &forecast.Forecast{
		ForecastID: "forecast", TimePeriodID: "2026_Q1", TimeFrameID: "TF:imported", UserID: "imported", FieldID: "fc_commit",
		Kind: forecast.KindForecast, Value: &amount, CurrencyCode: &currency, TimePeriodStart: &start, TimePeriodEnd: &end, JobID: "import",
	}
	now := time.Now()
	return f, event.Seal(f, event.Upsert, now, now, "import")
}

// poison publishes what no producer of ours would, between records that are good.
func (t *Tour) poison(ctx context.Context) (string, error) {
	before := t.counts["forecast"]
	registry, err := wire.NewRegistry(t.stack.Config().RegistryURL())
	if err != nil {
		return "", err
	}
	registered, err := registry.Lookup(ctx, schemas.ForecastTopic, schemas.MustAvro(forecast.SchemaFile))
	if err != nil {
		return "", err
	}
	invalid, err := invalidForecast()
	if err != nil {
		return "", err
	}
	value, err := wire.NewEncoder(forecast.Schema, registered.ID).Encode(invalid)
	if err != nil {
		return "", err
	}
	record := &kgo.Record{Topic: schemas.ForecastTopic, Key: []byte(invalid.Key()), Value: value}
	for _, h := range event.Headers(invalid, "/import", registered.String()) {
		record.Headers = append(record.Headers, kgo.RecordHeader{Key: h.Key, Value: []byte(h.Value)})
	}
	corrupt := &kgo.Record{Topic: schemas.ForecastTopic, Key: []byte("corrupt"), Value: bytes.Repeat([]byte{0xff}, 64)}
	if err := t.kafka.ProduceSync(ctx, corrupt, record).FirstErr(); err != nil {
		return "", fmt.Errorf("publishing poison: %w", err)
	}
	// More good records follow: poison does not block its partition.
	changes, err := t.changeForecasts(ctx, forecastChanges)
	if err != nil {
		return "", err
	}
	if _, err := t.stack.Run(ctx, "", "forecast-producer", "--once"); err != nil {
		return "", err
	}
	if err := t.settle(ctx); err != nil {
		return "", err
	}
	after := t.counts["forecast"]
	letters, err := t.openLetters(ctx)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("dead-lettered: %s (offset %s), %s (offset %s); the %d events behind them landed",
			letters[0].Reason, letters[0].offset(), letters[1].Reason, letters[1].offset(), after.Unique-before.Unique), errors.Join(
			equal("dead letters", after.DeadLetters-before.DeadLetters, 2),
			t.sameForecasts(ctx, changes))
}

// letter is a line of `dlq-replayer list --json`.
type letter struct {
	ID     string `json:"id"`
	Reason string `json:"reason"`
}

func (l letter) offset() string { return l.ID[bytes.LastIndexByte([]byte(l.ID), '/')+1:] }

// openLetters asks the replayer, as ops would: the corrupt one first.
func (t *Tour) openLetters(ctx context.Context) ([]letter, error) {
	out, err := t.stack.Run(ctx, "", "dlq-replayer", "list", "--json")
	if err != nil {
		return nil, err
	}
	byReason := make(map[string]letter)
	for lines := json.NewDecoder(bytes.NewReader([]byte(out))); lines.More(); {
		var l letter
		if err := lines.Decode(&l); err != nil {
			return nil, fmt.Errorf("reading the list of dead letters: %w", err)
		}
		byReason[l.Reason] = l
	}
	corrupt, invalid := byReason[wire.ReasonMagic], byReason[wire.ReasonValidation]
	if len(byReason) != 2 || corrupt.ID == "" || invalid.ID == "" {
		return nil, fmt.Errorf("open dead letters are not one of each kind: %v", byReason)
	}
	return []letter{corrupt, invalid}, nil
}

// repair is what an operator writes for the invalid record.
const repair = `{"time_period_start": "2026-01-01", "time_period_end": "2026-03-31"}`

// replay repairs the record that fails validation, and leaves the other.
func (t *Tour) replay(ctx context.Context) (string, error) {
	letters, err := t.openLetters(ctx)
	if err != nil {
		return "", err
	}
	invalid := letters[1].ID
	if _, err := t.stack.Run(ctx, repair, "dlq-replayer", "repair", invalid, "--patch=-"); err != nil {
		return "", err
	}
	before := t.counts["forecast"]
	if err := t.settle(ctx); err != nil {
		return "", err
	}
	if err := equal("records on the topic after a dry run", t.counts["forecast"].Published, before.Published); err != nil {
		return "", err
	}
	if _, err := t.stack.Run(ctx, repair, "dlq-replayer", "repair", invalid, "--patch=-", "--reason=mixed-up dates", "--yes"); err != nil {
		return "", err
	}
	if err := t.settle(ctx); err != nil {
		return "", err
	}
	answer, err := t.query(ctx, "SELECT value FROM forecast WHERE user_id = 'imported'")
	if err != nil {
		return "", err
	}
	audited, err := t.query(ctx, "SELECT what, patched FROM dlq_audit FINAL WHERE why = 'mixed-up dates' AND run_id != '' AND topic IS NOT NULL")
	if err != nil {
		return "", err
	}
	after := t.counts["forecast"]
	return fmt.Sprintf("dry run wrote nothing; the replay brought %s of user_id=imported into ClickHouse, and the audit says why", answer), errors.Join(
		equal("rows of the audit", audited, "replayed\ttrue"),
		equal("value of the replayed event", answer, "1250000.5"),
		equal("events", after.Unique-before.Unique, 1), equal("dead letters", after.DeadLetters, before.DeadLetters))
}
