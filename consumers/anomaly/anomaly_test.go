package anomaly_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/consumers/anomaly"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/alert"
	"github.com/revstream/revstream/schemas/wire"
)

// TestAMoveOpensAReview, tells subscribers of it once, and is closed by a person.
func TestAMoveOpensAReview(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(version{user: "far", amount: "10000"}, version{user: "near", amount: "10000"}, version{user: "small", amount: "10"}, version{user: "none", amount: "0"},
		version{user: "mark"}, version{user: "money", amount: "10000", currency: "EUR"}, version{user: "gone", amount: "5000"})
	require.Empty(t, w.run(defaults()), "first versions open nothing")
	w.put(version{user: "far", amount: "12000.01"}, version{user: "near", amount: "12000"}, version{user: "small", amount: "900"}, version{user: "none", amount: "1000"},
		version{user: "mark", amount: "999.99"}, version{user: "money", amount: "90000"}, version{user: "gone", deleted: true})
	require.Equal(t, []string{"user far forecast 10000>12000.01", "user gone forecast 5000>-", "user none forecast 0>1000"}, w.run(defaults()))
	require.Empty(t, w.run(defaults()), "nothing is found twice")

	alerts := w.alerts()
	require.Len(t, alerts, 3)
	reviews := w.list(false)
	require.Len(t, reviews, 3)
	byID := map[uuid.UUID]anomaly.Review{}
	for _, r := range reviews {
		byID[r.ID] = r
	}
	first := alerts[0]
	review := byID[first.AlertID]
	require.Equal(t, "net|2026_Q4|TF:1|far|commit|forecast", first.Subject)
	require.Equal(t, alert.ForecastAnomaly, first.Kind)
	require.Equal(t, "commit (forecast) of net, 2026_Q4 moved by 20.0 %", first.Title)
	require.Equal(t, "10000 12000.01", first.AmountBefore.String()+" "+first.AmountAfter.String())
	require.Equal(t, "20", first.Attributes["percent"])
	require.Equal(t, review.EventID.String(), first.Attributes["event_id"])
	require.Equal(t, review.PreviousEventID.String(), first.Attributes["previous_event_id"])
	require.Equal(t, review.SourceVersion, first.SourceVersion)
	require.Equal(t, review.RunUntil, review.UpdatedAt)
	require.Equal(t, "20 1000", review.LimitPercent.String()+" "+review.LimitAmount.String())

	reg := prometheus.NewRegistry()
	metrics, err := anomaly.NewMetrics(reg)
	require.NoError(t, err)
	require.NoError(t, metrics.Observe(t.Context(), w.conn))
	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP revstream_anomalies_open Reviews of forecast amounts that are open, by scope: user, hierarchy or storm.
# TYPE revstream_anomalies_open gauge
revstream_anomalies_open{scope="hierarchy"} 0
revstream_anomalies_open{scope="storm"} 0
revstream_anomalies_open{scope="user"} 3
`), "revstream_anomalies_open"))
	families, err := reg.Gather()
	require.NoError(t, err)
	require.InDelta(t, float64(time.Now().Unix()), families[0].Metric[0].Gauge.GetValue(), 120)

	_, err = anomaly.Acknowledge(t.Context(), w.conn, []uuid.UUID{review.ID, uuid.Max}, "ann", "a typo")
	require.ErrorIs(t, err, anomaly.ErrUnknown)
	require.ErrorContains(t, err, uuid.Max.String())
	require.Len(t, w.list(false), 3, "one is unknown: none is closed")
	for _, changed := range []int{1, 0} {
		closed, err := anomaly.Acknowledge(t.Context(), w.conn, []uuid.UUID{review.ID}, "ann", fmt.Sprint("a typo ", changed))
		require.NoError(t, err)
		require.Len(t, closed, changed)
	}
	require.Len(t, w.list(false), 2)
	require.Empty(t, w.run(defaults()), "an acknowledged one stays so")
	for _, r := range w.list(true) {
		if r.ID == review.ID {
			require.Equal(t, "acknowledged ann a typo 1", r.State+" "+r.AckedBy+" "+r.Why)
			require.Equal(t, review.Before, r.Before)
			require.NotNil(t, r.AckedAt)
		}
	}
}

// TestOnlyWhatWasShownIsCompared: a version that comes late moves nothing, and what was found before stays found as it was.
func TestOnlyWhatWasShownIsCompared(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(version{user: "u", amount: "10000", at: 100})
	w.put(version{user: "u", amount: "20000", at: 300})
	require.Equal(t, []string{"user u forecast 10000>20000"}, w.run(defaults()))
	review := w.list(false)[0]
	_, err := anomaly.Acknowledge(t.Context(), w.conn, []uuid.UUID{review.ID}, "ann", "known")
	require.NoError(t, err)
	w.put(version{user: "u", amount: "90000", at: 200})
	require.Empty(t, w.run(defaults()), "it was never shown")
	require.Empty(t, w.list(false))
	w.put(version{user: "u", amount: "21000", at: 400})
	require.Empty(t, w.run(defaults()), "21000 after 20000 is near")
	w.put(version{user: "u", amount: "50000", at: 500}, version{user: "u", amount: "51000", at: 600})
	require.Equal(t, []string{"user u forecast 21000>50000"}, w.run(defaults()), "the first of two that came at once moved it")
}

// TestAnInsertThatShowsLateIsSeen, where it began before the run before ended.
func TestAnInsertThatShowsLateIsSeen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(version{user: "u", amount: "10000", arrived: "now64(3) - INTERVAL 20 MINUTE"})
	require.Empty(t, w.run(defaults()))
	w.put(version{user: "u", amount: "20000", arrived: "now64(3) - INTERVAL 5 MINUTE"})
	require.Equal(t, []string{"user u forecast 10000>20000"}, w.run(defaults()))
	require.Empty(t, w.run(defaults()))
}

// TestWhatIsOldOrABackfillsOpensNothing, also where the backfill is known as one only after its versions.
func TestWhatIsOldOrABackfillsOpensNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	place := version{place: "below", above: "top"}
	of := func(user, amount, correlationID string, at int64) version {
		v := place
		v.user, v.amount, v.correlationID, v.at = user, amount, correlationID, at
		return v
	}
	const day = 24 * 3600 * 1_000_000
	w.put(of("old", "10000", "live", -20*day), of("backfilled", "10000", "live", 0), of("unknown", "10000", "live", 0))
	require.Empty(t, w.run(defaults()))
	w.backfill("known before")
	w.put(of("old", "99999", "live", -8*day), of("backfilled", "99999", "known before", 0))
	require.Empty(t, w.run(defaults()))
	w.put(of("unknown", "99999", "known after", 0))
	require.Equal(t, []string{"user unknown forecast 10000>99999", "hierarchy top forecast 209998>299997"}, w.run(defaults()))
	w.backfill("known after")
	require.Empty(t, w.run(defaults()))
	require.Empty(t, w.list(false))
	for _, r := range w.list(true) {
		require.Equal(t, "suppressed published by a backfill", r.State+" "+r.Why)
	}
}

// TestSeveralMayLookAtOnce: each review is there once, and subscribers know it under one event ID.
func TestSeveralMayLookAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(version{user: "a", amount: "10000", place: "p1", above: "p0"}, version{user: "b", amount: "10000", place: "p2", above: "p0"})
	require.Empty(t, w.run(defaults()))
	for round := range 5 {
		amount := fmt.Sprint(20000 * (round + 1))
		w.put(version{user: "a", amount: amount, place: "p1", above: "p0"}, version{user: "b", amount: amount, place: "p2", above: "p0"})
		var wg sync.WaitGroup
		for range 3 {
			d := w.detector(defaults())
			wg.Go(func() {
				_, err := d.Run(t.Context())
				require.NoError(t, err)
			})
		}
		wg.Wait()
		require.Len(t, w.list(true), 3*(round+1), "%v", told(w.list(true)))
	}
	ids := map[uuid.UUID]bool{}
	for _, a := range w.alerts() {
		ids[a.EventID] = true
	}
	require.Len(t, ids, len(w.list(true)))
}

// TestAStormIsOneReview: too many of one forecast and period at once are one, and its members are kept.
func TestAStormIsOneReview(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := defaults()
	cfg.Storm = 3
	var before, three, four []version
	for i := range 7 {
		user := fmt.Sprint("u", i)
		before = append(before, version{user: user, amount: "10000"})
		moved := version{user: user, amount: fmt.Sprint(20000 + i)}
		if i < 3 {
			three = append(three, moved)
		} else {
			four = append(four, moved)
		}
	}
	w.put(before...)
	require.Empty(t, w.run(cfg))
	w.put(three...)
	require.Len(t, w.run(cfg), 3, "as many as may be")
	w.put(four...)
	require.Equal(t, []string{"storm u6 forecast 10000>20006"}, w.run(cfg))
	require.Empty(t, w.run(cfg))
	require.Len(t, w.list(false), 4)
	storm := w.list(false)[0]
	require.Equal(t, int64(4), storm.Moves)
	members := 0
	for _, r := range w.list(true) {
		if r.State == "suppressed" {
			require.Equal(t, storm.ID, *r.StormID)
			members++
		}
	}
	require.Equal(t, 4, members)

	// On a cluster a part of the rows may be there when a run breaks off: it stays one storm.
	at := "'" + storm.RunUntil.Format("2006-01-02 15:04:05.000") + "'"
	since := pipelinetest.SQL(t, w.url, "SELECT any(since) FROM anomaly_runs WHERE until = "+at)
	pipelinetest.SQL(t, w.url, "DELETE FROM forecast_anomalies WHERE user_id IN ('u4', 'u5') OR scope = 'storm'")
	pipelinetest.SQL(t, w.url, "DELETE FROM anomaly_runs WHERE until >= "+at)
	pipelinetest.SQL(t, w.url, "INSERT INTO anomaly_runs (since, until) VALUES ('"+since+"', "+at+")")
	require.Equal(t, []string{"storm u6 forecast 10000>20006"}, w.run(cfg))
	require.Equal(t, storm.ID, w.list(false)[0].ID)
	require.Len(t, w.list(true), 8)

	alerts := w.alerts()
	require.Len(t, alerts, 5)
	require.Equal(t, alerts[3].EventID, alerts[4].EventID)
	last := alerts[4]
	require.Equal(t, "net|2026_Q4 4 amounts of net, 2026_Q4 moved far at once, commit (forecast) the farthest", last.Subject+" "+last.Title)
	require.Equal(t, alert.Critical, last.Severity)
}

func TestNewNamesEverythingThatIsWrong(t *testing.T) {
	t.Parallel()
	minus := decimal.NewFromInt(-1)
	cfg := anomaly.Config{Percent: minus, Floor: minus, Overlap: -1, Rules: anomaly.Rules{
		Floors: map[string]decimal.Decimal{"EUR": minus}, Rules: []anomaly.Rule{{Percent: &minus}, {Kind: "quota"}},
	}}
	_, err := anomaly.New(cfg, pipelinetest.Logger(t), anomaly.Deps{})
	require.EqualError(t, err, strings.Join([]string{
		"--percent: want 0 or more", "--floor: want 0 or more", "--max-age: want more than 0, such as 168h", "--overlap: want 0 or more, such as 10m",
		"--storm: want 1 or more", "floors: EUR: want 0 or more", "rules: number 1: want a percent and a floor of 0 or more",
		"rules: number 1 fits every amount, and those after it are never tried: make it the last",
	}, "\n"))
}

func TestOpenPublisherNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	registry, err := wire.NewRegistry(pipelinetest.Registry(t))
	require.NoError(t, err)
	_, err = anomaly.OpenPublisher(t.Context(), pipelinetest.Client(t, pipelinetest.Kafka(t, 1, "another")), registry)
	require.EqualError(t, err, "revenue.alerts.v1: topic does not exist: create it with `provision`")
	_, err = anomaly.OpenPublisher(t.Context(), pipelinetest.Client(t, pipelinetest.Kafka(t, 1, schemas.AlertsTopic)), registry)
	require.ErrorIs(t, err, wire.ErrNotRegistered)
	require.ErrorContains(t, err, "revenue.alerts.v1-value")
	require.ErrorContains(t, err, "register it with `provision`")
}
