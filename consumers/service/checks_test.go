package service_test

import (
	"log/slog"
	"time"

	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/revstream/revstream/consumers/anomaly"
	"github.com/revstream/revstream/consumers/quality"
	"github.com/revstream/revstream/consumers/reconcile"
	"github.com/revstream/revstream/pipeline/clickhousesink"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/alert"
)

// forEver is longer ago than any of the events.
const forEver = 100 * 365 * 24 * time.Hour

// check has everything looked at that arrived, so that the views of what was found have rows. Most of the export runs are of events
// that nobody published, and so have a gap.
func (s *stack) check() {
	s.t.Helper()
	ctx, logger := s.t.Context(), slog.New(slog.DiscardHandler)
	created, err := kadm.NewClient(s.producer).CreateTopics(ctx, 1, 1, nil, schemas.DLQDecisionsTopic, schemas.AlertsTopic)
	require.NoError(s.t, err)
	require.NoError(s.t, created.Error())
	_, err = s.registry.Register(ctx, schemas.AlertsTopic, schemas.MustAvro(alert.SchemaFile))
	require.NoError(s.t, err)
	conn, err := clickhousesink.Open(s.url)
	require.NoError(s.t, err)
	defer conn.Close()

	reconciler, err := reconcile.New(reconcile.Config{Since: forEver, Listed: 10}, logger, s.producer, conn)
	require.NoError(s.t, err)
	_, err = reconciler.Run(ctx)
	require.NoError(s.t, err)

	analyzer, err := quality.New(quality.Config{}, logger, conn)
	require.NoError(s.t, err)
	_, err = analyzer.Run(ctx)
	require.NoError(s.t, err)

	publisher, err := anomaly.OpenPublisher(ctx, s.producer, s.registry)
	require.NoError(s.t, err)
	detector, err := anomaly.New(anomaly.Config{Percent: decimal.NewFromInt(20), Floor: decimal.NewFromInt(10), MaxAge: forEver, Storm: 25},
		logger, anomaly.Deps{Conn: conn, Alerts: publisher})
	require.NoError(s.t, err)
	_, err = detector.Run(ctx)
	require.NoError(s.t, err)
}
