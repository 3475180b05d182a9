package bench

import (
	"encoding/json"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/deploy/local/bench/bare"
	"github.com/revstream/revstream/deploy/local/bench/meter"
	"github.com/revstream/revstream/deploy/local/bench/rig"
	"github.com/revstream/revstream/deploy/local/bench/workload"
)

// TestARateIsTakenWhereThereIsMoreToRead: a batch that is stored at the end has no other beside it to be filled,
// and a rate up to there was too good by a tenth.
func TestARateIsTakenWhereThereIsMoreToRead(t *testing.T) {
	t.Parallel()
	at := func(records ...float64) (samples []sample) {
		for _, n := range records {
			samples = append(samples, sample{records: n})
		}
		return samples
	}
	first, last := steady(at(50, 150, 250, 350, 400), 400)
	require.Equal(t, []sample{{records: 50}, {records: 250}}, []sample{first, last})
	first, last = steady(at(50, 250, 300, 400), 400) // a look came too late for one
	require.Equal(t, first, last)
	first, last = steady(at(400), 400)
	require.Equal(t, first, last)
}

// TestABoundedRunMeasures lets the real programs work, on few events: what is looked at is that all is counted, not how fast
// it went.
func TestABoundedRunMeasures(t *testing.T) {
	t.Parallel()
	const events = 300_000 // five batches, so that a late look still sees two of them
	path := filepath.Join(t.TempDir(), "made", "bench.json")
	cmd := exec.CommandContext(t.Context(), filepath.Join(binDir, "bench"), "run", "--only="+InsertShareForecast+","+AllocsPerEvent,
		"--rounds=1", "--events="+strconv.Itoa(events), "--dir="+filepath.Join(t.TempDir(), "bench"), "--out="+path)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "round 1 of 1")
	require.Contains(t, string(out), AllocsPerEvent)
	require.NotContains(t, string(out), FreshnessP50)

	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	var written map[string]any
	require.NoError(t, json.Unmarshal(raw, &written))
	for _, name := range []string{InsertShareForecast, ConsumerRSS} {
		require.Positive(t, written[name], name)
	}
	require.Contains(t, written, AllocsPerEvent, "though it may be 0")
	require.NotContains(t, written, LedgerShare, "it was not asked for")
	require.InDelta(t, events, written["events"], 0)
	require.Equal(t, false, written["quick"])
	require.NotEmpty(t, written["machine"].(map[string]any)["engine"])

	var report Report
	require.NoError(t, json.Unmarshal(raw, &report))
	share := report.Raw[InsertShareForecast]
	require.InDelta(t, share["consume_events_per_s"].Median/share["bare_events_per_s"].Median, *report.InsertShareForecast, 1e-9)
	for _, quantity := range []string{"consume_rows_per_insert", "consume_rss_mb", "wire_bytes_per_event", "disk_bytes_per_event"} {
		require.Positive(t, share[quantity].Median, quantity)
	}
	for _, way := range bare.Ways() {
		require.Positive(t, share["bare_"+way.String()+"_events_per_s"].Median, way)
	}

	// What an event costs apart from time, which no machine changes: bounds that are a little above what it is.
	require.LessOrEqual(t, *report.AllocsPerEvent, 1.0)
	require.LessOrEqual(t, share["wire_bytes_per_event"].Median, 95.0, "of the topic's log, compressed, with key and headers")
	require.LessOrEqual(t, share["disk_bytes_per_event"].Median, 200.0, "in current, history and ledger")
	// Two batches take three inserts each. A machine that is very busy flushes some more by age; a consumer that
	// flushes by partition, or by answer of the broker, has ten times as many.
	require.LessOrEqual(t, share["consume_inserts_per_1m_events"].Median, 600.0)
}

// TestRowsThatAreMissingMakeTheFiguresWorthNothing, and the large ledger is made of IDs as events have them.
func TestRowsThatAreMissingMakeTheFiguresWorthNothing(t *testing.T) {
	t.Parallel()
	const events = 5000
	r, err := open(t.Context(), Config{Ledger: events, Dir: filepath.Join(t.TempDir(), "bench"), BinDir: binDir}, slog.New(slog.DiscardHandler), t.Output())
	t.Cleanup(func() { require.NoError(t, r.close()) })
	require.NoError(t, err)

	require.NoError(t, r.check(t.Context(), workload.Forecasts, rows{}))
	require.NoError(t, r.fillLedger(t.Context()))
	_, err = r.rig.SQL(t.Context(), "ALTER TABLE forecast_ledger ATTACH PARTITION ALL FROM "+filled)
	require.NoError(t, err)
	total, err := r.ledgerRows(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, events, total)
	require.NoError(t, r.check(t.Context(), workload.Forecasts, rows{}), "they are of no topic of ours")

	answer, err := r.rig.SQL(t.Context(), "SELECT event_id FROM forecast_ledger ORDER BY toUInt128(event_id)")
	require.NoError(t, err)
	for i, text := range strings.Split(answer, "\n") {
		id, err := uuid.Parse(text)
		require.NoError(t, err)
		require.EqualValues(t, 8, id.Version())
		require.Equal(t, uuid.RFC4122, id.Variant())
		ms := int64(0)
		for _, b := range id[:6] {
			ms = ms<<8 | int64(b)
		}
		older := workload.Epoch.Add(-time.Duration(events-i) * ledgerStep * time.Microsecond)
		require.Equal(t, older.UnixMilli(), ms, "by the time, older than all workloads")
	}

	_, err = r.rig.SQL(t.Context(), "INSERT INTO forecast_ledger (event_id, kafka_topic) SELECT generateUUIDv4(), '"+workload.Forecasts.Topic+"' FROM numbers(3)")
	require.NoError(t, err)
	require.ErrorContains(t, r.check(t.Context(), workload.Forecasts, rows{0, 0, 4}), "0 rows in current, 0 in history and 3 in the ledger of 0, 0 and 4")
}

func TestASettingThatCannotBeIsRefused(t *testing.T) {
	t.Parallel()
	cfg, err := Config{}.withDefaults()
	require.NoError(t, err)
	require.Equal(t, [3]int{5, 1_000_000, 50_000_000}, [3]int{cfg.Rounds, cfg.Events, cfg.Ledger})
	quick, err := Config{Quick: true, Rounds: 7}.withDefaults()
	require.NoError(t, err)
	require.Equal(t, 7, quick.Rounds)
	require.Less(t, quick.Events, cfg.Events)

	for want, cfg := range map[string]Config{
		"--rounds": {Rounds: -1}, "--events": {Events: 10}, "--ledger": {Ledger: -5}, "there is no figure speed": {Only: []string{"speed"}},
	} {
		_, err := cfg.withDefaults()
		require.ErrorContains(t, err, want)
	}
	foreign := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(foreign, "thesis.txt"), nil, 0o644))
	require.ErrorContains(t, empty(foreign), "choose another with --dir")
	require.FileExists(t, filepath.Join(foreign, "thesis.txt"))
	require.NoError(t, empty(filepath.Join(foreign, "new")))
}

// TestTheReportHasEveryFigure: one that is measured but has no place in the report would be lost.
func TestTheReportHasEveryFigure(t *testing.T) {
	t.Parallel()
	report := newReport(Config{Quick: true, Rounds: 3}, Machine{CPU: "some", Cores: 2})
	require.ErrorContains(t, report.finish(), "nothing was measured")
	for i, f := range Figures {
		for _, n := range []float64{3, 1, 2} {
			report.add(f.Name, "", n*float64(i+1))
		}
	}
	require.NoError(t, report.finish())
	raw, err := json.Marshal(report)
	require.NoError(t, err)
	var written map[string]any
	require.NoError(t, json.Unmarshal(raw, &written))
	for i, f := range Figures {
		require.InDelta(t, 2*(i+1), written[f.Name], 0, f.Name)
	}
	require.Len(t, written, len(Figures)+7, "machine, quick, rounds, events, ledger_rows, view_events, raw")

	var table strings.Builder
	require.NoError(t, report.Print(&table))
	for _, f := range Figures {
		require.Contains(t, table.String(), f.Name)
	}
	require.Contains(t, table.String(), "QUICK")
}

func TestNumbersAreGrouped(t *testing.T) {
	t.Parallel()
	for want, n := range map[string]float64{"0": 0, "999": 999, "1,000": 1000, "-1,234,567": -1_234_567, "12,345": 12_345.4} {
		require.Equal(t, want, grouped(n, 0))
	}
	require.Equal(t, "1,234.50", grouped(1234.5, 2))
}

func TestALatencyEndsWithTheFirstLookThatShowsTheEvent(t *testing.T) {
	t.Parallel()
	at := func(ms int) time.Time { return time.UnixMilli(int64(ms)) }
	seen := views{all: []view{{at(100), map[int32]int64{0: 2}}, {at(200), map[int32]int64{0: 3, 1: 1}}}}
	published := &publications{times: map[place]time.Time{{0, 1}: at(10), {0, 2}: at(20), {1, 0}: at(30)}}
	seconds, err := seen.latencies(published)
	require.NoError(t, err)
	require.InDelta(t, 0.09, meter.Quantile(seconds, 0), 1e-9)
	require.InDelta(t, 0.17, meter.Quantile(seconds, 0.5), 1e-9)
	require.InDelta(t, 0.18, meter.Quantile(seconds, 1), 1e-9)
	published.times[place{1, 1}] = at(40)
	_, err = seen.latencies(published)
	require.ErrorContains(t, err, "partition 1 offset 1")
}

func TestACommandThatIsStoppedLeavesNoProcess(t *testing.T) {
	t.Parallel()
	r, err := rig.New(t.Context(), rig.Config{Dir: t.TempDir(), BinDir: binDir}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	broker, err := r.Broker(t.Context(), "broker")
	require.NoError(t, err)
	require.NoError(t, r.Close())
	for _, p := range []<-chan struct{}{r.Engine.Exited(), broker.Process.Exited()} {
		select {
		case <-p:
		default:
			t.Error("a process has outlived the rig")
		}
	}
	_, err = rig.New(t.Context(), rig.Config{Dir: t.TempDir(), BinDir: t.TempDir(), ChdbLib: "somewhere"}, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "starting registry")
}
