package clari_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/producers/clari"
	"github.com/revstream/revstream/producers/clari/claritest"
)

// read collects an export's entries by their key, all of which must be good, known and unlike.
func read(t *testing.T, export *clari.Export) map[string]clari.Entry {
	t.Helper()
	entries := map[string]clari.Entry{}
	for entry, err := range export.Entries(t.Context()) {
		require.NoError(t, err)
		for list, find := range map[string]func() bool{
			"users":       func() bool { return export.User(entry.UserID) != nil },
			"fields":      func() bool { return export.Field(entry.FieldID) != nil },
			"timePeriods": func() bool { return export.TimePeriod(entry.TimePeriodID) != nil },
			"timeFrames":  func() bool { return export.TimeFrame(entry.TimeFrameID) != nil },
		} {
			require.True(t, find(), "%v is not in %s", entry, list)
		}
		id := strings.Join([]string{entry.TimePeriodID, entry.TimeFrameID, entry.UserID, entry.FieldID}, "|")
		_, twice := entries[id]
		require.False(t, twice, id)
		require.True(t, json.Valid([]byte(entry.Raw)))
		entry.Raw = "" // the order and the spelling of its keys differ
		entries[id] = entry
	}
	require.Len(t, entries, export.EntryCount)
	require.Zero(t, export.Malformed)
	return entries
}

func countValues(entries map[string]clari.Entry) (n int) {
	for _, e := range entries {
		n += len(e.Values)
	}
	return n
}

func TestExportIsWhatTheSimulatorHas(t *testing.T) {
	t.Parallel()
	var first map[string]clari.Entry
	for _, cfg := range []claritest.Config{
		{}, {EntriesLast: true}, {ValueKeys: claritest.SpellingBare}, {ValueKeys: claritest.SpellingSnake, EntriesLast: true},
	} {
		cfg.Seed, cfg.Users, cfg.UpdatedValues = 7, 60, true
		b := connect(t, cfg)
		state := b.sim.State(claritest.Scope{Historical: true})
		export := b.export(t, clari.ExportRequest{Types: everyType, IncludeHistorical: true, TimePeriod: "2024_Q2"})
		entries := read(t, export)
		got := claritest.Count{Entries: len(entries), Values: countValues(entries)}
		require.Equal(t, state.Periods["2024_Q2"], got)
		require.Len(t, entries, 60*4*13, "users, fields, weeks")
		if first == nil {
			first = entries
		}
		require.Equal(t, first, entries, "the order of lists and the spelling of keys make no difference")

		require.Len(t, export.Users, 60)
		require.Equal(t, "h0", export.Users[5].ParentHierarchyID)
		require.NotEmpty(t, export.Users[5].HierarchyName)
		objects, nameless := 0, 0
		for _, u := range export.Users {
			if strings.HasPrefix(u.ScopeID, "{") {
				require.True(t, json.Valid([]byte(u.ScopeID)))
				objects++
			}
			if u.Name == "" {
				nameless++
			}
		}
		require.NotZero(t, objects)
		require.NotZero(t, nameless)
		require.Equal(t, []clari.TimePeriod{{
			ID: "2024_Q2", Type: "QUARTER", Label: "Q2", Year: "2024", StartDate: "2024-04-01", EndDate: "2024-06-30", CRMID: "026000000008097",
		}}, export.TimePeriods)
		require.Len(t, export.TimeFrames, 13)
		require.Len(t, export.Fields, 4)
	}
	kinds, updated, plain, noCurrency := map[string]bool{}, 0, 0, 0
	for _, e := range first {
		for _, v := range e.Values {
			kinds[v.Kind] = true
		}
		if e.IsUpdated {
			require.NotZero(t, e.UpdatedOn)
			require.NotEmpty(t, e.UpdatedBy)
			updated++
		} else {
			require.Zero(t, e.UpdatedOn)
			plain++
		}
		if e.Currency == (clari.Currency{}) {
			noCurrency++
		} else {
			require.Equal(t, clari.Currency{Code: "USD", Symbol: "$"}, e.Currency)
		}
	}
	require.Len(t, kinds, len(everyType))
	for _, kind := range everyType {
		require.True(t, kinds[kind], kind)
	}
	for _, n := range []int{updated, plain, noCurrency} {
		require.NotZero(t, n)
	}
}

func TestUnknownTimePeriodFallsBack(t *testing.T) {
	t.Parallel()
	b := connect(t, claritest.Config{FiscalStart: time.February, Users: 3})
	for asked, want := range map[string]string{"": "2025_Q3", "2024_Q4": "2024_Q4", "1999_Q1": "2025_Q3", "nonsense": "2025_Q3", "2025_Q4": "2025_Q3"} {
		export := b.export(t, clari.ExportRequest{TimePeriod: asked})
		require.Equal(t, want, export.TimePeriods[0].ID, asked)
		for _, entry := range read(t, export) {
			require.Equal(t, want, entry.TimePeriodID)
		}
	}
}

func TestTypesAskedForAreTypesDelivered(t *testing.T) {
	t.Parallel()
	b := connect(t, claritest.Config{Users: 5})
	for _, kind := range []string{clari.TypeQuota, clari.TypeForecast, clari.TypeCRMClosed} {
		entries := read(t, b.export(t, clari.ExportRequest{Types: []string{kind}}))
		require.NotEmpty(t, entries)
		for _, e := range entries {
			require.Len(t, e.Values, 1)
			require.Equal(t, kind, e.Values[0].Kind)
		}
	}
}

func TestDigitsSurvive(t *testing.T) {
	t.Parallel()
	b := connect(t, claritest.Config{Users: 3})
	id := claritest.Key{
		ForecastID: "forecast", TimePeriodID: "2024_Q3", TimeFrameID: "TF:2024-08-12", UserID: "280628:00E4M0000000001UAS", FieldID: "fc_best_case",
	}
	entryID := "2024_Q3|TF:2024-08-12|280628:00E4M0000000001UAS|fc_best_case"
	for _, digits := range []json.Number{
		"12345678901234.123456789", "0.1", "1e3", "-0.00", "1E+16", "100.0", "99999999999999999999999999999999999999", "9007199254740993", "-1.10e-2",
	} {
		_, err := b.sim.Update(claritest.Update{Key: &id, Kind: clari.TypeAdjustment, Value: digits})
		require.NoError(t, err)
		entry := read(t, b.export(t, clari.ExportRequest{Types: []string{clari.TypeAdjustment}}))[entryID]
		require.Equal(t, []clari.Value{{Kind: clari.TypeAdjustment, Number: digits}}, entry.Values)
	}
}

func TestUpdatesShowInTheNextExport(t *testing.T) {
	t.Parallel()
	b := connect(t, claritest.Config{Users: 20})
	req := clari.ExportRequest{Types: everyType}
	before := read(t, b.export(t, req))
	require.Equal(t, before, read(t, b.export(t, req)), "a re-export is the same")

	changes, err := b.sim.Update(claritest.Update{Entries: 30})
	require.NoError(t, err)
	require.Len(t, changes, 30)
	old, err := b.sim.Update(claritest.Update{Key: &changes[0].Key, UpdatedOn: 1_600_000_000_123})
	require.NoError(t, err)
	silent, err := b.sim.Update(claritest.Update{Key: &changes[1].Key, WithoutUpdatedOn: true})
	require.NoError(t, err)
	changes[0], changes[1] = old[0], silent[0]
	now := b.clock.Now()

	after := read(t, b.export(t, req))
	require.Len(t, after, len(before))
	for i, change := range changes {
		id := strings.Join([]string{change.TimePeriodID, change.TimeFrameID, change.UserID, change.FieldID}, "|")
		entry := after[id]
		require.Contains(t, entry.Values, clari.Value{Kind: change.Kind, Number: change.Value})
		switch i {
		case 0:
			require.Equal(t, time.UnixMilli(1_600_000_000_123).UTC(), entry.UpdatedOn)
		case 1:
			require.Zero(t, entry.UpdatedOn)
			require.False(t, entry.IsUpdated)
		default:
			require.Equal(t, now, entry.UpdatedOn)
			require.NotContains(t, before[id].Values, clari.Value{Kind: change.Kind, Number: change.Value})
		}
		delete(before, id)
		delete(after, id)
	}
	require.Equal(t, before, after, "nothing else has changed")
}

func TestMalformedEntriesAreReportedOneByOne(t *testing.T) {
	t.Parallel()
	b := connect(t, claritest.Config{Users: 5, MalformedEntries: 4})
	export := b.export(t, clari.ExportRequest{})
	good, want := 0, []string{"not an object", "userId is missing", "value of kind forecast: not a number", "updatedOn: not a time"}
	for entry, err := range export.Entries(t.Context()) {
		if err == nil {
			good++
			continue
		}
		var bad *clari.EntryError
		require.ErrorAs(t, err, &bad)
		require.Equal(t, good+4-len(want), bad.Index)
		require.ErrorContains(t, err, want[0])
		require.Equal(t, clari.Entry{}, entry)
		want = want[1:]
	}
	require.Empty(t, want)
	require.Equal(t, b.sim.State(claritest.Scope{Types: []string{"forecast"}}).Periods["2024_Q3"].Entries, good)
	require.Equal(t, good+4, export.EntryCount)
}

func TestEntriesStopWhenToldTo(t *testing.T) {
	t.Parallel()
	export := connect(t, claritest.Config{Users: 5}).export(t, clari.ExportRequest{})
	for _, err := range export.Entries(t.Context()) {
		require.NoError(t, err)
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var n int
	var last error
	for _, err := range export.Entries(ctx) {
		if last = err; err == nil {
			n++
		}
		if n == 3 {
			cancel()
		}
	}
	require.ErrorIs(t, last, context.Canceled)
	require.Equal(t, 3, n)
	require.NotEmpty(t, read(t, export), "it can be read again")
	require.NoError(t, export.Close())
	require.NoError(t, export.Close())
	for _, err := range export.Entries(t.Context()) {
		require.Error(t, err, "closed")
	}
}
