package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/wire"
)

// TestAnExportIsImportedElsewhere byte for byte, once, in either format.
func TestAnExportIsImportedElsewhere(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var files []string
	for _, format := range []string{".jsonl", ".parquet"} {
		file := filepath.Join(t.TempDir(), "letters"+format)
		text, err := b.run(t, "export", "--out="+file, "--reveal", "--reason=a copy")
		require.NoError(t, err)
		require.Equal(t, "exported=3 to "+file+"\n", text)
		info, err := os.Stat(file)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
		files = append(files, file)
	}
	text, err := b.run(t, "audit")
	require.NoError(t, err)
	require.Regexp(t, `export run .* a copy +done: done 3`, text)
	was := pipelinetest.ReadAll(t, b.cluster, schemas.DLQTopic(schemas.PeopleTopic))
	for _, file := range files {
		importTwice(t, b.registry, file, was)
	}
}

// importTwice imports a file into a new cluster, where it must give these letters once.
func importTwice(t *testing.T, registry, file string, was []*kgo.Record) {
	t.Helper()
	b := &bench{registry: registry, cluster: pipelinetest.Kafka(t, 1, schemas.PeopleTopic, schemas.DLQTopic(schemas.PeopleTopic), schemas.DLQDecisionsTopic)}
	text, err := b.run(t, "import", file)
	require.NoError(t, err)
	require.Contains(t, text, "would import letters of revenue.people.v1: corrupt_value=1 unknown_schema=1 validation=1\n")
	require.Contains(t, text, "nothing was written")
	require.Empty(t, pipelinetest.ReadAll(t, b.cluster, schemas.DLQTopic(schemas.PeopleTopic)))
	_, err = b.run(t, "import", file, "--yes")
	require.ErrorContains(t, err, "--reason")
	text, err = b.run(t, "import", file, "--yes", "--reason=moved")
	require.NoError(t, err)
	require.Contains(t, text, "imported=3 skipped=0 failed=0")
	text, err = b.run(t, "import", file, "--yes", "--reason=moved")
	require.NoError(t, err, "what is there already is no shortfall: the same import goes on after a crash")
	require.Contains(t, text, "imported=0 skipped=3 failed=0")

	is := pipelinetest.ReadAll(t, b.cluster, schemas.DLQTopic(schemas.PeopleTopic))
	require.Len(t, is, len(was))
	for i := range was {
		require.Equal(t, string(was[i].Key), string(is[i].Key))
		require.Equal(t, was[i].Value, is[i].Value)
		from, err := deadletter.Parse(was[i])
		require.NoError(t, err)
		to, err := deadletter.Parse(is[i])
		require.NoError(t, err)
		require.Equal(t, from.Headers, to.Headers)
	}
}

// TestAnExportMasksPersonalData unless it is asked not to, and then cannot be imported.
func TestAnExportMasksPersonalData(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	sh := new(shell)
	text, err := b.in(t, sh, "export", "--out=-", "--class="+wire.ReasonValidation)
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(text, "\n"))
	require.Contains(t, text, "[masked]")
	require.NotContains(t, text, "Zebedee")
	require.Equal(t, "exported=1 to standard output\n", sh.stderr.String())
	_, err = b.in(t, &shell{stdin: strings.NewReader(text)}, "import", "-")
	require.ErrorContains(t, err, "--reveal")
	_, err = b.run(t, "export", "--out=-", "--reveal")
	require.ErrorContains(t, err, "--reason is required with --reveal")
	require.Empty(t, pipelinetest.ReadAll(t, b.cluster, schemas.DLQDecisionsTopic))
}

// TestABrokenFileIsToldOf with where it breaks, and a broken export leaves none.
func TestABrokenFileIsToldOf(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	dir := t.TempDir()
	_, err := b.run(t, "export", "--out="+filepath.Join(dir, "letters.csv"))
	require.ErrorContains(t, err, "--out")
	_, err = b.run(t, "export", "--out="+filepath.Join(dir, "no", "letters.jsonl"))
	require.ErrorContains(t, err, "--out")
	file := filepath.Join(dir, "letters.jsonl")
	_, err = b.run(t, "export", "--out="+file, "revenue.people.v1/0/9")
	require.ErrorContains(t, err, "no dead letter there")
	require.NoFileExists(t, file)

	text, err := b.run(t, "export", "--out=-", "--reveal", "--reason=a copy")
	require.NoError(t, err)
	lines := strings.SplitAfter(text, "\n")
	_, err = b.in(t, &shell{stdin: strings.NewReader(lines[0] + lines[1][:len(lines[1])/2])}, "import", "-", "--yes", "--reason=moved")
	require.ErrorContains(t, err, "line 2")
	_, err = b.run(t, "import", filepath.Join(dir, "none.parquet"))
	require.ErrorContains(t, err, "no such file")
	_, err = b.run(t, "import", filepath.Join(dir, "letters.csv"))
	require.ErrorContains(t, err, ".parquet")
}
