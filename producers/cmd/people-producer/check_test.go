package main

import (
	"bytes"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/pipeline/daemon"
	"github.com/revstream/revstream/pipeline/secret"
)

// TestCheckRunsWithoutAnySettings: to find them missing is what it is for.
func TestCheckRunsWithoutAnySettings(t *testing.T) {
	t.Parallel()
	lines := func(args ...string) string {
		var s settings
		parser, err := kong.New(&s, append(options(), kong.Bind(&s.Config), secret.KongOption(), kong.Vars{"version": "1"})...)
		require.NoError(t, err)
		_, err = parser.Parse(append([]string{"check", "--salesloft-base-url=http://127.0.0.1:1/v2"}, args...))
		require.NoError(t, err)
		var out bytes.Buffer
		require.ErrorContains(t, s.Check.run(t.Context(), &daemon.Runtime{}, &out), "not ready")
		return out.String()
	}
	out := lines()
	for _, line := range []string{
		"[FAIL] API Key Set: MISSING", "[FAIL] Kafka Brokers Set: MISSING", "[FAIL] Schema Registry Set: MISSING",
		"[FAIL] Settings Valid: ", "[FAIL] Salesloft API: UNREACHABLE", "[SKIP] Salesloft Credentials: needs Salesloft API and API Key Set",
		"[SKIP] Kafka: ", "[SKIP] Schema Registry: ",
	} {
		require.Contains(t, out, line)
	}
	// An OAuth client is asked for what it lacks, not for a key.
	out = lines("--salesloft-client-id=c", "--salesloft-refresh-token=r", "--interval=0s", "--webhook-callback-url=http://x")
	for _, line := range []string{
		"[PASS] Client ID Set: Set", "[FAIL] Client Secret Set: MISSING", "[PASS] Refresh Token Set: Set",
		"[FAIL] State Keeper Set: MISSING — set STATE_KEEPER_URL", "[FAIL] Webhook Secret Set: MISSING", "POLL_INTERVAL must be positive",
	} {
		require.Contains(t, out, line)
	}
	require.NotContains(t, out, "API Key Set")
}
