package reconcile_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/consumers"
	"github.com/revstream/revstream/consumers/reconcile"
	"github.com/revstream/revstream/consumers/retention"
	"github.com/revstream/revstream/consumers/service"
	"github.com/revstream/revstream/pipeline/clickhousesink"
	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/exportrun"
)

// aDay publishes what a day brings: a cycle of two forecast runs with one correlation ID, a window, a webhook, a window that failed
// after its last count, a reconciliation that missed somebody, and a backfill with its summary.
func (s *stack) aDay() {
	for u := range 20 {
		s.publish(s.forecast("cycle", "2026_Q1", fmt.Sprint("u", u), 1), s.forecast("cycle", "2025_Q4", fmt.Sprint("u", u), 1))
	}
	for id := range int64(30) {
		s.publish(s.person("window", id+1, 1, event.Upsert))
	}
	s.publish(s.person("webhook", 5, 2, event.Upsert), s.person("webhook", 6, 2, event.Delete), s.person("failed", 7, 2, event.Upsert), s.person("failed", 8, 2, event.Upsert))
	s.publish(s.forecast("old", "2024_Q1", "u1", 1), s.forecast("old", "2024_Q2", "u1", 1))
	s.publish(
		s.account("clari:1", "cycle", 20, ofForecast("2026_Q1")), s.account("clari:2", "cycle", 20, ofForecast("2025_Q4")),
		s.account("salesloft:window", "window", 30, nil),
		s.account("salesloft:failed", "failed", 1, func(r *exportrun.ExportRun) { r.Outcome, r.RowsExpected = exportrun.Failed, 9 }),
		s.account("salesloft:reconciled", "reconciled", 0, func(r *exportrun.ExportRun) { r.Scope, r.RowsExpected = "reconciliation", 1 }),
		s.account("clari:3", "old", 1, ofForecast("2024_Q1")), s.account("clari:4", "old", 1, ofForecast("2024_Q2")),
		s.account("backfill:old", "old", 2, func(r *exportrun.ExportRun) { r.Source, r.OfEntity, r.Scope = "clari", "forecast", "backfill" }),
	)
}

// complete is what a reconciliation of aDay finds where nothing is missing.
func complete() map[string]string {
	return map[string]string{
		"forecast": "on_topic=42 stored=42 ", "people": "on_topic=30 stored=30 ", "export_run": "on_topic=8 stored=8 ",
		"clari:1": "on_topic=20 stored=20 ", "clari:2": "on_topic=20 stored=20 ",
		"salesloft:window": "on_topic=30 stored=30 ", "salesloft:failed": "on_topic=2 stored=2 rows_unaccounted=8 ", "salesloft:reconciled": "rows_unaccounted=1 ",
		"clari:3": "on_topic=1 stored=1 ", "clari:4": "on_topic=1 stored=1 ", "backfill:old": "on_topic=2 stored=2 elsewhere ",
	}
}

// TestMissingRowsAreFound, exactly those, and none where nothing is missing; in the report, the tables, the view and the metrics.
func TestMissingRowsAreFound(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.aDay()
	s.consume()
	results, missing := s.results()
	require.Equal(t, complete(), results)
	require.Empty(t, missing)

	s.sql("DELETE FROM forecast_history WHERE time_period_id = '2025_Q4' AND user_id IN ('u3', 'u4', 'u11')")
	s.sql("DELETE FROM people_current WHERE person_id IN (5, 9)")
	s.publish(s.person("webhook", 10, 3, event.Upsert))
	s.consume()
	s.sql("DELETE FROM people_current WHERE person_id = 10 AND correlation_id = 'webhook'")
	if s.sql("SELECT count() FROM people_current WHERE person_id = 10") == "0" { // merged already
		s.sql("INSERT INTO people_current (person_id, event_id) SELECT person_id, event_id FROM people_history WHERE person_id = 10 AND correlation_id = 'window'")
	}
	s.sql("DELETE FROM export_runs_current WHERE run_id = 'clari:3'")
	results, missing = s.results()
	want := complete()
	delete(want, "clari:3") // of a run that the warehouse does not know, only that it is missing is known
	want["clari:2"] = "on_topic=20 stored=17 missing=3 gap=3 "
	want["people"] = "on_topic=30 stored=27 missing=3 stale=1 gap=3 "
	want["export_run"] = "on_topic=8 stored=7 missing=1 gap=1 "
	require.Equal(t, want, results)
	keys := map[string]string{}
	for _, m := range missing {
		keys[m.RunID+" "+m.Key] = m.What
		require.NotEqual(t, uuid.Nil, m.EventID)
	}
	require.Equal(t, map[string]string{
		"clari:2 net|2025_Q4|TF:2026-01-05|u3|commit|quota": "not_in_history", "clari:2 net|2025_Q4|TF:2026-01-05|u4|commit|quota": "not_in_history",
		"clari:2 net|2025_Q4|TF:2026-01-05|u11|commit|quota": "not_in_history",
		" salesloft:5": "not_current", " salesloft:9": "not_current", " salesloft:10": "stale", " clari:3": "not_current",
	}, keys)

	// What it wrote down is what it found.
	require.Equal(t, "7", s.sql("SELECT count() FROM reconciliation_missing FINAL"))
	require.Equal(t, "11\t7", s.sql("SELECT count(), sumIf(gap, NOT counted_elsewhere) FROM reconciliation"), "a row for each run and entity, of which one is no more known")
	conn, err := clickhousesink.Open(s.url)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	reg := prometheus.NewRegistry()
	metrics, err := reconcile.NewMetrics(reg)
	require.NoError(t, err)
	require.NoError(t, metrics.Observe(t.Context(), conn))
	gap := func(name, labels string) float64 { return sample(t, reg, name, labels) }
	require.InDelta(t, 3, gap("revstream_reconciliation_gap_rows", "clari forecast"), 0)
	require.InDelta(t, 3, gap("revstream_reconciliation_missing_rows", "salesloft people"), 0)
	require.InDelta(t, 1, gap("revstream_reconciliation_gap_rows", "revstream export_run"), 0)
	require.WithinDuration(t, time.Now(), time.Unix(int64(gap("revstream_reconciliation_last_timestamp_seconds", "clari forecast")), 0), time.Minute)
	_, err = testutil.GatherAndLint(reg)
	require.NoError(t, err)

	// One run alone says nothing of the keys, and is not what the metrics show.
	report, err := s.reconcile(reconcile.Config{RunID: "salesloft:window", Listed: 5})
	require.NoError(t, err)
	require.Len(t, report.Results, 1)
	require.Equal(t, "on_topic=30 stored=30 ", brief(t, report.Results[0]))
	require.Empty(t, report.Missing)
	require.NoError(t, metrics.Observe(t.Context(), conn))
	require.InDelta(t, 3, gap("revstream_reconciliation_gap_rows", "salesloft people"), 0)
	_, err = s.reconcile(reconcile.Config{RunID: "clari:no"})
	require.ErrorIs(t, err, reconcile.ErrNoRun)

	// As docs/data-quality.md has it: what the ledgers forget, and the consumers read again, is there again.
	for _, table := range []string{"forecast", "people", "export_runs"} {
		s.sql("DELETE FROM " + table + "_ledger WHERE event_id IN (SELECT event_id FROM reconciliation_missing)")
	}
	admin := kadm.NewClient(s.client)
	for _, stream := range []service.Stream{consumers.Forecast, consumers.People, consumers.ExportRuns} {
		starts, err := admin.ListStartOffsets(t.Context(), stream.Topic)
		require.NoError(t, err)
		require.NoError(t, admin.CommitAllOffsets(t.Context(), stream.Group, starts.Offsets()))
	}
	s.consume()
	results, _ = s.results()
	require.Equal(t, complete(), results)
}

// sample is the value of a gauge with these label values.
func sample(t *testing.T, reg *prometheus.Registry, name, labels string) float64 {
	t.Helper()
	families, err := reg.Gather()
	require.NoError(t, err)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			var source, entity string
			for _, l := range m.GetLabel() {
				if l.GetName() == "source" {
					source = l.GetValue()
				} else {
					entity = l.GetValue()
				}
			}
			if family.GetName() == name && source+" "+entity == labels {
				return m.GetGauge().GetValue()
			}
		}
	}
	require.Failf(t, "no such metric", "%s{%s}", name, labels)
	return 0
}

// TestWhatIsOnItsWayIsNotMissing: before the consumers, on the dead-letter topic, replayed, or erased since. What somebody discarded is.
func TestWhatIsOnItsWayIsNotMissing(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	poison := map[int64]*kgo.Record{}
	for id := range int64(10) {
		rec := s.record(schemas.PeopleTopic, s.person("window", id+1, 1, event.Upsert))
		if id+1 <= 4 {
			rec.Value = rec.Value[:len(rec.Value)-3]
			poison[id+1] = rec
		}
		s.produce(rec)
	}
	s.publish(s.account("salesloft:window", "window", 12, nil))
	s.produce(&kgo.Record{Topic: schemas.PeopleTopic, Key: []byte("salesloft:9")}) // a tombstone
	s.consume()
	s.sql("DELETE FROM people_history WHERE person_id = 9")
	s.sql("DELETE FROM people_current WHERE person_id = 9")
	s.produce(s.record(schemas.PeopleTopic, s.person("window", 11, 1, event.Upsert)), s.record(schemas.PeopleTopic, s.person("window", 12, 1, event.Upsert)))
	results, missing := s.results()
	require.Equal(t, "on_topic=12 stored=5 pending=2 dead_lettered=4 erased=1 ", results["salesloft:window"])
	require.Equal(t, "on_topic=11 stored=5 pending=2 dead_lettered=4 ", results["people"])
	require.Empty(t, missing)

	// One is discarded, one parked, one replayed but not consumed yet, and one replayed that failed again.
	replayed := s.decide(1, deadletter.Discarded, 2, deadletter.Parked, 3, deadletter.Replayed, 4, deadletter.Replayed)
	s.produce(replayed[4])
	s.consume() // brings number 4 back as another letter
	results, missing = s.results()
	require.Equal(t, "on_topic=12 stored=7 pending=1 dead_lettered=2 erased=1 missing=1 discarded=1 gap=1 ", results["salesloft:window"], "number 3 was replayed beyond the end")
	require.Equal(t, "on_topic=11 stored=7 pending=1 dead_lettered=2 missing=1 discarded=1 gap=1 ", results["people"])
	require.Len(t, missing, 2, "of the run, and of the keys")
	require.Equal(t, reconcile.Missing{
		Source: "salesloft", Entity: "people", What: "discarded", Key: "salesloft:1", EventID: missing[0].EventID, Topic: schemas.PeopleTopic,
		Partition: missing[0].Partition, Offset: missing[0].Offset,
	}, missing[0])

	s.produce(replayed[3])
	results, _ = s.results()
	require.Equal(t, "on_topic=12 stored=7 pending=1 dead_lettered=2 erased=1 missing=1 discarded=1 gap=1 ", results["salesloft:window"], "the replay is on the topic, and pending")
	s.consume()
	s.decide(3, deadletter.Discarded, 4, deadletter.Discarded) // their newest letters
	results, _ = s.results()
	require.Equal(t, "on_topic=12 stored=7 dead_lettered=1 erased=1 missing=3 discarded=3 gap=3 ", results["salesloft:window"])

	// A replay that is stored is there, whichever record it was.
	mended := s.record(schemas.PeopleTopic, s.person("window", 2, 1, event.Upsert))
	mended.Headers = append(mended.Headers, kgo.RecordHeader{Key: deadletter.HeaderReplayID, Value: []byte("replay-2")})
	s.produce(mended)
	s.consume()
	s.decide(2, deadletter.Replayed)
	results, _ = s.results()
	require.Equal(t, "on_topic=12 stored=8 erased=1 missing=3 discarded=3 gap=3 ", results["salesloft:window"])

	// The letter of one that was replayed, stored and then lost explains nothing any more.
	s.publish(s.person("webhook", 2, 5, event.Upsert))
	s.consume()
	s.sql("DELETE FROM people_history WHERE person_id = 2 AND correlation_id = 'window'")
	results, _ = s.results()
	require.Equal(t, "on_topic=12 stored=7 erased=1 missing=4 discarded=3 gap=4 ", results["salesloft:window"])
	require.Equal(t, "on_topic=11 stored=8 missing=3 discarded=3 gap=3 ", results["people"])
}

// decide writes decisions on the newest letters of people down, and returns the records that replays of them would put on the topic.
func (s *stack) decide(decisions ...any) map[int]*kgo.Record {
	s.t.Helper()
	letters, records := map[string]deadletter.Letter{}, map[int]*kgo.Record{}
	for _, rec := range pipelinetest.ReadAll(s.t, s.cluster, schemas.DLQTopic(schemas.PeopleTopic)) {
		l, err := deadletter.Parse(rec)
		require.NoError(s.t, err)
		letters[string(l.Key)] = l
	}
	for i := 0; i < len(decisions); i += 2 {
		l := letters[fmt.Sprint("salesloft:", decisions[i])]
		run := fmt.Sprint("replay-", decisions[i])
		d, err := deadletter.Decision{Decision: decisions[i+1].(string), RunID: run, At: s.now, By: "me"}.
			Record(schemas.DLQDecisionsTopic, deadletter.Place{Topic: schemas.DLQTopic(schemas.PeopleTopic), Partition: l.Partition, Offset: l.Offset})
		require.NoError(s.t, err)
		s.produce(d)
		records[decisions[i].(int)] = l.Replay(run)
	}
	return records
}

// TestWhatTheTopicHasNoMore: the history answers for it, and what nobody can tell is said to be just that.
func TestWhatTheTopicHasNoMore(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	old := func(r *exportrun.ExportRun) { r.CompletedAt = s.now.Add(-8 * 24 * time.Hour) }
	for id := range int64(6) {
		s.publish(s.person("first", id+1, 1, event.Upsert))
	}
	for id := range int64(3) { // a crash: the next window publishes some again
		s.publish(s.person("second", id+1, 1, event.Upsert))
	}
	s.publish(
		s.account("salesloft:first", "first", 6, old), s.account("salesloft:second", "second", 3, old),
		s.account("salesloft:third", "third", 2, nil), s.account("salesloft:fourth", "third", 1, nil), // cannot be told apart
		s.person("third", 7, 1, event.Upsert), s.person("third", 8, 1, event.Upsert), s.person("third", 9, 1, event.Upsert),
	)
	s.consume()
	reconciled := func() map[string]string {
		report, err := s.reconcile(reconcile.Config{Since: 30 * 24 * time.Hour, Listed: 10})
		require.NoError(t, err)
		results := map[string]string{}
		for _, r := range report.Results {
			if r.Subject == reconcile.SubjectRun {
				results[r.RunID] = brief(t, r)
			}
		}
		return results
	}
	want := map[string]string{
		"salesloft:first": "on_topic=6 stored=6 ", "salesloft:second": "on_topic=3 stored=3 ",
		"salesloft:third": "elsewhere ", "salesloft:fourth": "on_topic=3 stored=3 ",
	}
	require.Equal(t, want, reconciled())

	// The first of these events goes from the topic.
	admin := kadm.NewClient(s.client)
	ends, err := admin.ListEndOffsets(t.Context(), schemas.PeopleTopic)
	require.NoError(t, err)
	_, err = admin.DeleteRecords(t.Context(), ends.Offsets())
	require.NoError(t, err)
	want = map[string]string{
		"salesloft:first": "compacted=6 ", "salesloft:second": "untold=3 ",
		"salesloft:third": "elsewhere ", "salesloft:fourth": "compacted=3 ",
	}
	require.Equal(t, want, reconciled())

	// What another run has brought into the history is not what this one has there.
	s.publish(s.person("third", 1, 1, event.Upsert))
	s.consume()
	want["salesloft:fourth"] = "on_topic=1 compacted=3 stored=1 "
	require.Equal(t, want, reconciled())

	s.sql("DELETE FROM people_history WHERE person_id IN (6, 8, 9)")
	want["salesloft:first"], want["salesloft:fourth"] = "compacted=5 untold=1 ", "on_topic=1 compacted=1 stored=1 lost=1 gap=1 "
	require.Equal(t, want, reconciled())
}

// TestWhatWasLetGoIsNotMissed: by retention, and by an erasure of somebody of whom an event came late.
func TestWhatWasLetGoIsNotMissed(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	now := s.now
	s.now = time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)
	begin, end := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2020, 3, 31, 0, 0, 0, 0, time.UTC)
	old := s.forecast("old", "2020_Q1", "u1", 1)
	old.TimePeriodStart, old.TimePeriodEnd = &begin, &end
	s.publish(
		old, s.person("window", 1, 1, event.Upsert), s.person("window", 2, 1, event.Upsert), s.person("window", 3, 1, event.Delete),
		s.account("salesloft:2020", "2020", 0, nil),
	)
	s.now = now
	s.publish(
		s.forecast("cycle", "2026_Q4", "u1", 1), s.person("window", 1, 2, event.Upsert), s.person("window", 4, 1, event.Upsert), s.person("window", 5, 1, event.Upsert),
		s.account("clari:1", "cycle", 1, ofForecast("2026_Q4")), s.account("clari:2", "old", 1, ofForecast("2020_Q1")), s.account("salesloft:window", "window", 6, nil),
	)
	s.consume()
	conn, err := clickhousesink.Open(s.url)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	letGo, err := retention.New(retention.Config{Quarters: 8, By: "me"}, pipelinetest.Logger(t), conn)
	require.NoError(t, err)
	_, err = letGo.Run(t.Context())
	require.NoError(t, err)
	want := map[string]string{
		"forecast": "on_topic=2 stored=1 expired=1 ", "people": "on_topic=5 stored=5 ", "export_run": "on_topic=4 stored=3 expired=1 ",
		"clari:1": "on_topic=1 stored=1 ", "clari:2": "on_topic=1 expired=1 ", "salesloft:window": "on_topic=6 stored=5 expired=1 ",
	}
	results, missing := s.results()
	require.Equal(t, want, results)
	require.Empty(t, missing)

	// What is younger is missed as ever, a whole period, too; and who was erased is not.
	s.sql("DELETE FROM forecast_history WHERE time_period_id = '2026_Q4'")
	s.sql("DELETE FROM forecast_current WHERE time_period_id = '2026_Q4'")
	s.sql("INSERT INTO erasures (key, until_event_id) SELECT 'salesloft:5', event_id FROM people_history WHERE person_id = 5")
	for _, table := range []string{"people_current", "people_history"} {
		s.sql("DELETE FROM " + table + " WHERE person_id IN (4, 5)")
	}
	want["forecast"], want["clari:1"] = "on_topic=2 expired=1 missing=1 gap=1 ", "on_topic=1 missing=1 gap=1 "
	want["people"], want["salesloft:window"] = "on_topic=5 stored=3 erased=1 missing=1 gap=1 ", "on_topic=6 stored=3 erased=1 expired=1 missing=1 gap=1 "
	results, missing = s.results()
	require.Equal(t, want, results)
	require.Len(t, missing, 4)
}
