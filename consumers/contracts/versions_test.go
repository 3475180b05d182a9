package contracts_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/consumers"
	"github.com/revstream/revstream/consumers/contracts"
	"github.com/revstream/revstream/consumers/service"
	"github.com/revstream/revstream/pipeline/clickhousesink"
	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/contract"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/forecast"
	"github.com/revstream/revstream/schemas/money"
	"github.com/revstream/revstream/schemas/wire"
)

// TestTwoVersionsOfAContractLiveSideBySide: a change that breaks forecast_v1 is a forecast_v2 over a view of its own. What the
// consumer stores is at once in both, both keep what they promise, and neither hides a change from the other.
func TestTwoVersionsOfAContractLiveSideBySide(t *testing.T) {
	t.Parallel()
	url, conn := migrated(t)
	pipelinetest.SQL(t, url, `CREATE VIEW forecast_v2 AS
		SELECT forecast_id, time_period_id, time_frame_id, user_id, field_id, anyIf(f.value, kind = 'forecast') AS forecast_amount, anyIf(f.value, kind = 'quota') AS quota_amount,
			max(f.observed_at) AS observed_at, max(f.ingested_at) AS ingested_at
		FROM forecast_current AS f FINAL GROUP BY forecast_id, time_period_id, time_frame_id, user_id, field_id`)
	raw, err := os.ReadFile("testdata/forecast_v2.yaml")
	require.NoError(t, err)
	v2, err := contract.Parse("forecast_v2.yaml", raw)
	require.NoError(t, err)
	promised, err := contracts.Promised()
	require.NoError(t, err)
	both, err := contracts.Named(append(promised, v2), []string{"forecast_v1", "forecast_v2"})
	require.NoError(t, err)
	require.Error(t, contract.Breaking(contract.Diff(both[0], v2)), "in place it would break readers")
	require.NoError(t, contract.Breaking(contract.DiffAll(both[:1], both)), "beside it does not")

	publish := consuming(t, url, conn)
	for user, values := range map[string][2]string{"u1": {"10.5", "20"}, "u2": {"-3", "4.000000000000000001"}} {
		publish(user, forecast.KindForecast, values[0], 10)
		publish(user, forecast.KindQuota, values[1], 10)
	}
	publish("u1", forecast.KindForecast, "11", 30)
	publish("u1", forecast.KindForecast, "9", 20) // comes late
	require.Eventually(t, func() bool {
		return pipelinetest.SQL(t, url, "SELECT count() FROM forecast_ledger") == "6"
	}, time.Minute, 20*time.Millisecond)

	require.Equal(t, "u1\tforecast\t11\nu1\tquota\t20\nu2\tforecast\t-3\nu2\tquota\t4.000000000000000001", pipelinetest.SQL(t, url, "SELECT user_id, kind, value FROM forecast ORDER BY ALL"))
	require.Equal(t, "u1\t11\t20\nu2\t-3\t4.000000000000000001", pipelinetest.SQL(t, url, "SELECT user_id, forecast_amount, quota_amount FROM forecast_v2 ORDER BY ALL"))
	report := check(t, conn, both...)
	require.Empty(t, report.Broken())
	for _, name := range []string{"forecast_v1", "forecast_v2"} {
		require.Equal(t, "7\t0", pipelinetest.SQL(t, url, fmt.Sprintf("SELECT count(), sum(violations) FROM contract_checks WHERE contract = '%s'", name)))
	}

	pipelinetest.SQL(t, url, "DROP VIEW forecast_v2")
	broken := check(t, conn, both...).Broken()
	require.Len(t, broken, 1)
	require.Equal(t, "forecast_v2", broken[0].Contract, "one version's fault is not the other's")
}

// consuming runs the consumer of forecasts until the test ends, and returns what publishes one: who says what, as of a version
// in microseconds.
func consuming(t *testing.T, url string, conn clickhouse.Conn) func(user, kind, amount string, version int64) {
	t.Helper()
	cluster := pipelinetest.Kafka(t, 1, schemas.ForecastTopic, schemas.DLQTopic(schemas.ForecastTopic))
	registry, err := wire.NewRegistry(pipelinetest.Registry(t))
	require.NoError(t, err)
	registered, err := registry.Register(t.Context(), schemas.ForecastTopic, schemas.MustAvro(forecast.SchemaFile))
	require.NoError(t, err)
	loop, err := consumers.Forecast.Loop(service.Parts{
		Consume: consume.Config{
			BatchRows: 100, BatchBytes: 1 << 20, BatchAge: 20 * time.Millisecond, MaxValueBytes: 64 << 10,
			StopTimeout: 10 * time.Second, SessionTimeout: 6 * time.Second, RetryMax: 20 * time.Millisecond,
			PoisonShare: 1, PoisonWindow: 1000, PoisonMin: 100,
		},
		Sink: clickhousesink.Config{InsertTimeout: time.Minute}, Logger: pipelinetest.Logger(t), Metrics: prometheus.NewRegistry(),
		Registry: registry, Conn: conn, Letters: pipelinetest.Client(t, cluster, deadletter.Options()...),
	})
	require.NoError(t, err)
	client := pipelinetest.Client(t, cluster, loop.Options()...)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- loop.Run(ctx, client) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-ended)
		client.Close()
	})
	encoder, producer, start := wire.NewEncoder(forecast.Schema, registered.ID), pipelinetest.Client(t, cluster), time.Now().Truncate(time.Second)
	return func(user, kind, amount string, version int64) {
		value, err := money.Parse(amount)
		require.NoError(t, err)
		f := &forecast.Forecast{ForecastID: "net", TimePeriodID: "2026_Q1", TimeFrameID: "TF:2026-01-05", UserID: user, FieldID: "commit", Kind: kind, Value: &value, JobID: "job"}
		require.NoError(t, event.Seal(f, event.Upsert, start.Add(time.Duration(version)*time.Microsecond), start, "run"))
		encoded, err := encoder.Encode(f)
		require.NoError(t, err)
		require.NoError(t, producer.ProduceSync(t.Context(), &kgo.Record{Topic: schemas.ForecastTopic, Key: []byte(f.Key()), Value: encoded}).FirstErr())
	}
}
