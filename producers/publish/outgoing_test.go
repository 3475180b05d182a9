package publish

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/forecast"
	"github.com/revstream/revstream/schemas/wire"
)

func sealedForecast(t *testing.T) *forecast.Forecast {
	t.Helper()
	f := &forecast.Forecast{ForecastID: "f", TimePeriodID: "2026_Q1", TimeFrameID: "w", UserID: "u", FieldID: "x", Kind: forecast.KindQuota, UserName: new("José")}
	require.NoError(t, event.Seal(f, event.Upsert, time.UnixMicro(1_700_000_000_000_001), time.UnixMicro(1_700_000_001_000_000), "run"))
	return f
}

func publisherOf(schemaFile string) *Publisher {
	const id = 7
	return &Publisher{topic: "t", schemaFile: schemaFile, schemaID: id, encoder: wire.NewEncoder(forecast.Schema, id), maxBytes: 1 << 20}
}

// TestEventWritesItselfAsItsSchemaDoes, and only where that is the topic's schema.
func TestEventWritesItselfAsItsSchemaDoes(t *testing.T) {
	t.Parallel()
	f := sealedForecast(t)
	want, err := publisherOf("").encoder.Encode(f)
	require.NoError(t, err)
	for _, file := range []string{forecast.SchemaFile, "forecast.v0.avsc"} {
		got, err := publisherOf(file).appendValue(nil, f)
		require.NoError(t, err)
		require.Equal(t, want, got, file)
	}
}

// TestAnEventIsOnePieceOfMemory: an event on its way is one allocation, and its bytes another.
//
//nolint:paralleltest // allocations are the whole process's
func TestAnEventIsOnePieceOfMemory(t *testing.T) {
	f, o := sealedForecast(t), &outgoing{publisher: publisherOf(forecast.SchemaFile)}
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() {
		if err := o.write(f, nil); err != nil {
			panic(err)
		}
	}), 1.0)
}
