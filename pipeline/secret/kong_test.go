package secret_test

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/pipeline/secret"
)

type settings struct {
	Key secret.Ref `env:"REVSTREAM_TEST_KEY" required:""`
}

func parse(t *testing.T, args ...string) (settings, error) {
	t.Helper()
	var s settings
	parser, err := kong.New(&s, secret.KongOption())
	require.NoError(t, err)
	_, err = parser.Parse(args)
	return s, err
}

// These set environment variables, and so cannot run in parallel.
func TestFlagTakesEveryForm(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a key?")
	write(t, path, "from file\n")

	_, err := parse(t)
	require.ErrorContains(t, err, "missing flags: --key")

	t.Setenv("REVSTREAM_TEST_KEY_FILE", path)
	s, err := parse(t)
	require.NoError(t, err)
	require.Equal(t, "from file", open(t, s.Key).Get())

	s, err = parse(t, "--key=from flag")
	require.NoError(t, err)
	require.Equal(t, "from flag", open(t, s.Key).Get())

	t.Setenv("REVSTREAM_TEST_KEY", "hunter2")
	_, err = parse(t)
	require.ErrorContains(t, err, "both REVSTREAM_TEST_KEY and REVSTREAM_TEST_KEY_FILE")
	require.NotContains(t, err.Error(), "hunter2")

	t.Setenv("REVSTREAM_TEST_KEY_FILE", "")
	s, err = parse(t)
	require.NoError(t, err)
	require.Equal(t, "hunter2", open(t, s.Key).Get())
}

func TestFlagNamesAFileThatIsNotThere(t *testing.T) {
	t.Setenv("REVSTREAM_TEST_KEY_FILE", "/no/such/file")
	_, err := parse(t)
	require.ErrorContains(t, err, "REVSTREAM_TEST_KEY_FILE: open /no/such/file")
}

func TestHelpShowsTheFileForm(t *testing.T) {
	t.Parallel()
	var s settings
	var out bytes.Buffer
	parser, err := kong.New(&s, secret.KongOption(), kong.Writers(&out, &out), kong.Exit(func(int) {}))
	require.NoError(t, err)
	_, _ = parser.Parse([]string{"--help"}) // goes on after the help, as Exit returns
	require.Contains(t, out.String(), "$REVSTREAM_TEST_KEY_FILE")
}
