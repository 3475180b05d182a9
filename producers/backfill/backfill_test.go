package backfill

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/producers/clari/claritest"
)

func TestRangesThatMakeNoSenseAreNamed(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 2, 11, 9, 0, 0, 0, time.UTC)
	ok := Config{Entity: People, Start: day("2025-01-01"), End: day("2026-02-11")}
	require.NoError(t, ok.Validate(now))
	require.Equal(t, now, ok.until(now), "today is not over")
	require.NoError(t, Config{Entity: People, Start: day("2025-01-01"), End: day("2025-01-01")}.Validate(now))
	for want, cfg := range map[string]Config{
		"--start: 2026-02-12 has not come yet":             {Entity: People, Start: day("2026-02-12")},
		"--end: 2024-12-31 is before --start 2025-01-01":   {Entity: People, Start: day("2025-01-01"), End: day("2024-12-31")},
		"--end: 2026-02-12 has not come yet: leave it out": {Entity: People, Start: day("2025-01-01"), End: day("2026-02-12")},
		"--start is required: the first day":               {Entity: People},
		"--entity: want forecast or people":                {Entity: "deals", Start: day("2025-01-01")},
		"--rate-limit: want more than 0":                   {Entity: People, Start: day("2025-01-01"), RateLimit: -1},
	} {
		require.ErrorContains(t, cfg.Validate(now), want)
	}
	var d Date
	require.ErrorContains(t, d.UnmarshalText([]byte("31.12.2024")), "want a day such as 2024-01-31")
}

func TestStateFileOfAnotherBackfillIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withClari(claritest.Config{})
	p := w.start()
	source := w.forecasts(p)
	require.ErrorIs(t, killedAfter(w.backfill(p, source, lastYear), 1).Run(t.Context()), errKilled)

	other := lastYear
	other.Start, other.End = day("2025-01-01"), Date{}
	err := w.backfill(p, source, other).Run(t.Context())
	require.ErrorContains(t, err, `--start was "2025-04-15" and is "2025-01-01"`)
	require.ErrorContains(t, err, `--end was "2025-12-31" and is ""`)
	require.ErrorContains(t, err, "--restart")
	source.Config.Currency = "EUR"
	require.ErrorContains(t, w.backfill(p, source, lastYear).Run(t.Context()), `CLARI_CURRENCY was "" and is "EUR"`)

	require.NoError(t, os.WriteFile(w.file, []byte(`{"format":1`), 0o600))
	require.ErrorContains(t, w.backfill(p, source, lastYear).Run(t.Context()), "is none of this program's")
}

func TestStateFilesAreNamedAfterEntityAndRange(t *testing.T) {
	t.Parallel()
	require.Equal(t, "backfill-people-2025-01-01-2025-06-30.json", Config{Entity: People, Start: day("2025-01-01"), End: day("2025-06-30")}.stateFile())
	require.Equal(t, "backfill-people-2025-01-01-now.json", Config{Entity: People, Start: day("2025-01-01")}.stateFile())
}
