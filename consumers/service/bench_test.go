package service_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/consumers"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/forecast"
	"github.com/revstream/revstream/schemas/wire"
)

// BenchmarkDecode is what the consumer does with a record before the sink:
// decode and validate.
func BenchmarkDecode(b *testing.B) {
	s := newStack(b)
	rec := s.record(s.forecast("u", "125000.5", 1))
	decoder := wire.NewDecoder(forecast.Schema, s.registry)
	b.ReportAllocs()
	for b.Loop() {
		var f forecast.Forecast
		require.NoError(b, decoder.Decode(b.Context(), rec.Value, &f))
		require.NoError(b, event.Check(&f, rec.Key))
	}
}

// BenchmarkConsume is the way of forecasts from a topic into ClickHouse: with
// every event new, and with every event there already. Broker, engine and
// consumer share the machine.
func BenchmarkConsume(b *testing.B) {
	const events = 50_000
	s := newStack(b)
	s.cfg.BatchRows, s.cfg.BatchBytes, s.cfg.BatchAge = 20_000, 32<<20, time.Second
	version := int64(0)
	produce := func() {
		version++
		records := make([]*kgo.Record, events)
		for i := range records {
			records[i] = s.record(s.forecast(fmt.Sprint(i), "125000.5", version))
		}
		s.produce(records...)
	}
	consume := func(b *testing.B) {
		r := s.run(consumers.Forecast)
		s.drained(schemas.ForecastTopic, "revstream-forecast")
		b.StopTimer()
		require.NoError(b, r.stop())
		b.StartTimer()
	}
	measure := func(name string, before func()) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				before()
				b.StartTimer()
				consume(b)
			}
			b.ReportMetric(float64(events)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
	measure("new", produce)
	measure("duplicates", func() { version--; produce() })
}
