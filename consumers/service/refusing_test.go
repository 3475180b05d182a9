package service_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/consumers"
	"github.com/revstream/revstream/pipeline/clickhousesink"
	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/schemas"
)

// TestATableThatRefusesEverythingStopsTheConsumer: the column's type has
// drifted, so each row is poison by itself. Nothing is dead-lettered, and the
// table is not asked for each row before the consumer stops; once it is mended, the consumer goes on.
func TestATableThatRefusesEverythingStopsTheConsumer(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.cfg.BatchRows, s.cfg.PoisonShare = 5000, 0.5
	s.sql("ALTER TABLE forecast_current ADD CONSTRAINT drifted CHECK value < 0")
	const events = 3000
	records := make([]*kgo.Record, events)
	for i := range records {
		records[i] = s.record(s.forecast(fmt.Sprint("u", i), "1", 1))
	}
	s.produce(records...)
	r := s.run(consumers.Forecast)
	err := <-r.ended
	r.ended <- err
	var capped *consume.PoisonCapError
	require.ErrorAs(t, err, &capped)
	require.Equal(t, clickhousesink.ReasonRejected, capped.Reason)
	require.Empty(t, pipelinetest.ReadAll(t, s.cluster, schemas.DLQTopic(schemas.ForecastTopic)))

	s.sql("ALTER TABLE forecast_current DROP CONSTRAINT drifted")
	s.run(consumers.Forecast)
	s.drained(schemas.ForecastTopic, "revstream-forecast")
	require.Equal(t, fmt.Sprint(events), s.sql("SELECT count() FROM forecast"))
	require.Empty(t, pipelinetest.ReadAll(t, s.cluster, schemas.DLQTopic(schemas.ForecastTopic)))
}
