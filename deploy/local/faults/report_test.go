package faults

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestAReportComplainsOfEachInvariant: a count that the verdict forgets would make the checker blind.
func TestAReportComplainsOfEachInvariant(t *testing.T) {
	t.Parallel()
	good := Report{Seed: 7, Events: 10, Records: 11, Kills: 3, Letters: 2, MaxRSS: MemoryBound, Drained: DrainBound, Duration: 90, Samples: 4}
	require.Empty(t, good.Wrong())
	for _, field := range []string{"Lost", "Doubled", "Stale", "LettersWrong", "Foreign", "Ahead", "Crashes"} {
		bad := good
		reflect.ValueOf(&bad).Elem().FieldByName(field).SetInt(1)
		require.Len(t, bad.Wrong(), 1, field)
	}
	fat, slow, blind := good, good, good
	fat.MaxRSS++
	slow.Drained++
	blind.Samples = 0
	for _, bad := range []Report{fat, slow, blind} {
		require.Len(t, bad.Wrong(), 1)
	}
}

// TestAReportIsWrittenForMachinesAndForPeople: under the names that others read it by.
func TestAReportIsWrittenForMachinesAndForPeople(t *testing.T) {
	t.Parallel()
	report := Report{Seed: 7, Events: 10, Kills: 3, Faults: map[string]int{"kill consumer": 3}, Lost: 1, Examples: []string{"lost: forecast_history: event x"}}
	path := filepath.Join(t.TempDir(), "faults.json")
	require.NoError(t, report.Write(path))
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	var written map[string]any
	require.NoError(t, json.Unmarshal(raw, &written))
	for _, name := range []string{"events", "kills", "faults", "lost", "doubled", "stale", "dlq_wrong", "max_rss_mb", "drained_s", "seed"} {
		require.Contains(t, written, name)
	}
	var text bytes.Buffer
	require.NoError(t, report.Print(&text))
	require.Contains(t, text.String(), "kill consumer  3")
	require.Contains(t, text.String(), "lost: forecast_history: event x")
}

// TestWrongSettingsAreNamed: and a folder of somebody else's is left alone.
func TestWrongSettingsAreNamed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	precious := filepath.Join(dir, "precious")
	require.NoError(t, os.WriteFile(precious, nil, 0o600))
	_, err := Run(t.Context(), Config{Events: 1, Kills: -1, Members: 1, Dir: dir}, slog.New(slog.DiscardHandler), io.Discard)
	for _, flag := range []string{"--events", "--kills", "--duration", "--members", "--dir"} {
		require.ErrorContains(t, err, flag)
	}
	require.FileExists(t, precious)
}
