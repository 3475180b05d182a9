package alert_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"github.com/twmb/avro"

	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/alert"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/money"
)

func sealed(t *testing.T) *alert.Alert {
	t.Helper()
	a := &alert.Alert{
		AlertID: uuid.MustParse("0190825e-a538-80db-9770-6c50c4e69696"), Kind: alert.ForecastAnomaly, Severity: alert.Warning,
		Title: "moved", Relation: "forecast", Subject: "f|2026_Q1", OccurredAt: time.Unix(1, 0).UTC(), Attributes: map[string]string{},
	}
	require.NoError(t, event.Seal(a, event.Upsert, time.UnixMicro(1_700_000_000_000_001), time.UnixMicro(1_700_000_001_000_000), "run"))
	return a
}

func TestValidateNamesEverythingThatIsWrong(t *testing.T) {
	t.Parallel()
	a := sealed(t)
	require.NoError(t, event.Check(a, []byte(a.Key())))
	a.AlertID, a.Title, a.Relation, a.Subject, a.OccurredAt = uuid.Nil, "", "", "", time.Date(2262, 1, 1, 0, 0, 0, 0, time.UTC)
	a.AmountAfter = &money.Amount{0x7f}
	require.EqualError(t, a.Validate(), strings.Join([]string{
		"alert_id is empty", "title is empty", "relation is empty", "subject is empty", "an amount exceeds decimal(38,18)",
		"occurred_at: not a time from 1900 to 2261",
	}, "\n"))
}

// TestAKindOfTheFutureIsUnknown: whoever reads with today's schema reads on.
func TestAKindOfTheFutureIsUnknown(t *testing.T) {
	t.Parallel()
	text := strings.NewReplacer(`"CONTRACT_VIOLATION"]`, `"CONTRACT_VIOLATION", "LATE"]`, `"CRITICAL"]`, `"CRITICAL", "FATAL"]`).
		Replace(schemas.MustAvro(alert.SchemaFile))
	newer := avro.MustParse(text)
	a := sealed(t)
	a.Kind, a.Severity = "LATE", "FATAL"
	value, err := newer.Encode(a)
	require.NoError(t, err)
	reader, err := avro.Resolve(newer, alert.Schema)
	require.NoError(t, err)
	var got alert.Alert
	rest, err := reader.Decode(value, &got)
	require.NoError(t, err)
	require.Empty(t, rest)
	a.Kind, a.Severity = alert.Unknown, "UNKNOWN"
	require.Equal(t, *a, got)
}
