package main

import (
	"strings"
	"testing"
	"time"

	"github.com/mattn/go-runewidth"
	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/dlq-replayer/desk"
)

func TestMoments(t *testing.T) {
	t.Parallel()
	var m moment
	require.NoError(t, m.UnmarshalText([]byte("2026-02-03T04:05:06.789012Z")))
	require.Equal(t, version, m.Time)
	require.NoError(t, m.UnmarshalText([]byte("90m")))
	require.WithinDuration(t, time.Now().Add(-90*time.Minute), m.Time, time.Minute)
	for _, text := range []string{"", "yesterday", "-1h", "2026-02-03"} {
		require.ErrorContains(t, m.UnmarshalText([]byte(text)), "neither a time")
	}
}

func TestRangesOfOffsets(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]desk.Offsets{"5": {From: 5, To: 5}, "5-9": {From: 5, To: 9}, "5-": {From: 5, To: -1}, "0-0": {}} {
		var o offsets
		require.NoError(t, o.UnmarshalText([]byte(text)))
		require.Equal(t, offsets{want, true}, o)
	}
	for _, text := range []string{"", "-", "-5", "a-b", "1-2-3", "9-5"} {
		require.Error(t, new(offsets).UnmarshalText([]byte(text)), text)
	}
}

// TestKeysCannotDriveATerminal: a key is anyone's to choose who may write to the topic.
func TestKeysCannotDriveATerminal(t *testing.T) {
	t.Parallel()
	require.Equal(t, `"a\x1b[2Jb"`, printable("a\x1b[2Jb"))
	require.Equal(t, "f|2026_Q1|TF:2026-01-05|7:00E|x|quota 李", printable("f|2026_Q1|TF:2026-01-05|7:00E|x|quota 李"))
	require.NotContains(t, printable("\xff\n"), "\n")
}

// TestAChartShowsTheWholeSpan in a bounded number of rows and slots, whatever times the headers claim.
func TestAChartShowsTheWholeSpan(t *testing.T) {
	t.Parallel()
	times := newTimeline()
	for i := range 48 {
		times.add(version.Add(time.Duration(i)*time.Hour), "validation", i%4 != 0)
	}
	chart := times.chart(80, blocks)
	lines := strings.Split(strings.TrimSpace(chart), "\n")
	require.LessOrEqual(t, len(lines), chartRows)
	require.Greater(t, len(lines), 10)
	require.Regexp(t, `^2026-02-03 03:00Z +2  █+▌?░+$`, lines[0])
	require.Regexp(t, `^2026-02-03 06:00Z +3  █+[▏▎▍▌▋▊▉]?░+$`, lines[1])
	for _, line := range lines {
		require.LessOrEqual(t, runewidth.StringWidth(line), 80)
	}
	require.NotRegexp(t, `[^\x00-\x7f]`, times.chart(80, ascii))

	total := func() (n int) {
		for _, s := range times.slots {
			n += s.open + s.decided
		}
		return n
	}
	for i := range 20_000 {
		times.add(version.Add(time.Duration(i*i)*time.Second), "x", true)
	}
	require.LessOrEqual(t, len(times.slots), maxSlots)
	times.add(time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), "x", true)
	times.add(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), "x", true)
	require.LessOrEqual(t, strings.Count(times.chart(80, blocks), "\n"), chartRows)
	require.Equal(t, 20_050, total())
}

func TestBarsAreWithinTheirRoom(t *testing.T) {
	t.Parallel()
	for open := range 20 {
		for decided := range 20 - open {
			for _, g := range []glyphs{blocks, ascii} {
				require.LessOrEqual(t, runewidth.StringWidth(g.bar(&slot{open: open, decided: decided}, 19, 30)), 30+1)
			}
		}
	}
}
