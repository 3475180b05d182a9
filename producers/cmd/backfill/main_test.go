package main

import (
	"testing"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/pipeline/secret"
)

func TestMain(m *testing.M) { pipelinetest.Main(m) }

// parse reads a command line as the program does.
func parse(t *testing.T, args ...string) (settings, error) {
	t.Helper()
	var s settings
	parser, err := kong.New(&s, kong.PostBuild(clariOnDemand), secret.KongOption(), kong.Vars{"http_addr": "", "version": "1"})
	require.NoError(t, err)
	_, err = parser.Parse(append([]string{"--kafka-brokers=b:1", "--schema-registry-url=http://r"}, args...))
	return s, err
}

func TestEachEntityNeedsTheSettingsOfItsSourceAlone(t *testing.T) {
	t.Parallel()
	s, err := parse(t, "--entity=people", "--start=2024-01-01", "--end=2024-12-31", "--salesloft-api-key=k")
	require.NoError(t, err)
	require.NoError(t, s.validate())
	s, err = parse(t, "--entity=forecast", "--start=2024-01-01", "--clari-api-key=k", "--clari-forecast-ids=a,b")
	require.NoError(t, err)
	require.NoError(t, s.validate())

	s, err = parse(t, "--entity=forecast", "--start=2024-01-01")
	require.NoError(t, err)
	require.ErrorContains(t, s.validate(), "CLARI_FORECAST_IDS")
	s, err = parse(t, "--entity=people", "--start=2025-01-01", "--end=2024-12-31")
	require.NoError(t, err)
	require.ErrorContains(t, s.validate(), "SALESLOFT_API_KEY")
	require.ErrorContains(t, s.validate(), "--end: 2024-12-31 is before --start 2025-01-01")

	_, err = parse(t, "--entity=deals", "--start=2024-01-01")
	require.ErrorContains(t, err, "--entity must be one of")
	_, err = parse(t, "--entity=people", "--start=yesterday")
	require.ErrorContains(t, err, "want a day such as 2024-01-31")
	_, err = parse(t, "--entity=people")
	require.ErrorContains(t, err, "missing flags: --start")
}
