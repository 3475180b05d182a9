package mutants

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMutantsFitTheSources: an edit that no longer applies would make its mutant a right consumer.
func TestMutantsFitTheSources(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..", "..", "..")
	for _, m := range All {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			path, err := m.overlay(root, t.TempDir())
			require.NoError(t, err)
			raw, err := os.ReadFile(path)
			require.NoError(t, err)
			var overlay struct{ Replace map[string]string }
			require.NoError(t, json.Unmarshal(raw, &overlay))
			require.NotEmpty(t, overlay.Replace)
		})
	}
}

func TestAnEditThatDoesNotApplyIsNamed(t *testing.T) {
	t.Parallel()
	m := Mutant{Name: "old", edits: []edit{{"go.work", "no such line", ""}}}
	_, err := m.overlay(filepath.Join("..", "..", "..", ".."), t.TempDir())
	require.ErrorContains(t, err, "mutant old is out of date: go.work has 0 places")
}
