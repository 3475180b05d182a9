package main

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/pipeline/pipelinetest"
)

// TestMigrateFromTheCommandLine: what was applied is said, and is taken back only by who says so.
func TestMigrateFromTheCommandLine(t *testing.T) {
	t.Parallel()
	url := pipelinetest.ClickHouse(t)
	out, stderr, code := program(t, url, "migrate")
	require.Zero(t, code, stderr)
	require.Contains(t, out, "applied 00001_forecast.sql\n")
	out, stderr, code = program(t, url, "migrate")
	require.Zero(t, code, stderr)
	require.Equal(t, "nothing to apply\n", out)

	out, stderr, code = program(t, url, "migrate", "--down-to", "7")
	require.Equal(t, 1, code)
	require.Contains(t, out, "would take back 00008_views.sql\n")
	require.NotContains(t, out, "00007")
	require.Contains(t, stderr, "give --yes")
	out, stderr, code = program(t, url, "migrate", "--down-to", "7", "--yes")
	require.Zero(t, code, stderr)
	require.Contains(t, out, "took back 00008_views.sql\n")

	out, stderr, code = program(t, url, "migrate", "--status", "--json")
	require.Zero(t, code, stderr)
	var states []struct {
		Version   int
		AppliedAt *string `json:"applied_at"`
	}
	require.NoError(t, json.Unmarshal([]byte(out), &states))
	for _, s := range states {
		require.Equal(t, s.Version <= 7, s.AppliedAt != nil, s.Version)
	}
	out, _, _ = program(t, url, "migrate", "--status")
	require.Regexp(t, `(?m)^7 +00007_masking_key.sql +20\d\d-`, out)
	require.Regexp(t, `(?m)^8 +00008_views.sql +-$`, out)

	for _, args := range [][]string{{"--yes"}, {"--json"}, {"--status", "--down-to", "1"}, {"--cluster", "a b"}} {
		_, stderr, code = program(t, url, append([]string{"migrate"}, args...)...)
		require.Equal(t, 1, code, args)
		require.Contains(t, stderr, args[0], args)
	}
}
