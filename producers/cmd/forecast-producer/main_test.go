package main

import (
	"bytes"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/pipeline/daemon"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/pipeline/secret"
)

func TestMain(m *testing.M) { pipelinetest.Main(m) }

// TestCheckRunsWithoutAnySettings: to find them missing is what it is for.
func TestCheckRunsWithoutAnySettings(t *testing.T) {
	t.Parallel()
	var s settings
	parser, err := kong.New(&s, append(options(), secret.KongOption(), kong.Vars{"version": "1"})...)
	require.NoError(t, err)
	_, err = parser.Parse(nil)
	require.Error(t, err, "the service must not start without them")
	_, err = parser.Parse([]string{"check", "--clari-base-url=http://127.0.0.1:1/v4"})
	require.NoError(t, err)
	var out bytes.Buffer
	require.ErrorContains(t, s.Check.run(t.Context(), &daemon.Runtime{}, &out), "not ready")
	for _, line := range []string{
		"[FAIL] API Key Set: MISSING", "[FAIL] Forecast IDs Set: MISSING", "[FAIL] Kafka Brokers Set: MISSING",
		"[FAIL] Schema Registry Set: MISSING", "[FAIL] Settings Valid: CLARI_FORECAST_IDS", "[FAIL] Clari API: UNREACHABLE",
		"[SKIP] Clari Credentials: ", "[SKIP] Kafka: ", "[SKIP] Schema Registry: ",
	} {
		require.Contains(t, out.String(), line)
	}
}
