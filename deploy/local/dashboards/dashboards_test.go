package dashboards

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/revstream/revstream/deploy/local/metrics"
)

const (
	root   = "../../.."
	folder = root + "/deploy/grafana/dashboards"
)

var update = flag.Bool("update", false, "write deploy/grafana/dashboards")

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// TestFiles: what Grafana is given is what is said here, and nothing else.
func TestFiles(t *testing.T) {
	t.Parallel()
	for file, board := range Boards() {
		want, err := board.JSON()
		require.NoError(t, err)
		path := filepath.Join(folder, file)
		if *update {
			require.NoError(t, os.WriteFile(path, want, 0o644))
		}
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, string(want), string(got), "%s is out of date: make metrics-doc", file)
	}
	files, err := os.ReadDir(folder)
	require.NoError(t, err)
	require.Len(t, files, len(Boards()))
	provisioned, err := os.ReadFile(root + "/deploy/grafana/provisioning/datasources/prometheus.yaml")
	require.NoError(t, err)
	require.Contains(t, string(provisioned), "uid: "+source["uid"]+"\n")
}

var legendLabel = regexp.MustCompile(`\{\{(\w+)\}\}`)

// TestPanelsShowWhatExists: a panel on a metric, a label or a value that nobody has is empty, which looks like good news.
func TestPanelsShowWhatExists(t *testing.T) {
	t.Parallel()
	all, err := metrics.Read(root)
	require.NoError(t, err)
	units := []string{"s", "short", "none", "ops", "bytes", "Bps", "percentunit"}
	ids := map[string]bool{}
	for file, board := range Boards() {
		require.False(t, ids[board.UID], board.UID)
		ids[board.UID] = true
		for _, row := range board.Rows {
			titles := map[string]bool{}
			for _, panel := range row.Panels {
				name := file + ": " + panel.Title
				require.NotEmpty(t, panel.Title, name)
				require.NotEmpty(t, panel.Description, name)
				require.Contains(t, units, panel.Unit, name)
				require.NotEmpty(t, panel.Series, name)
				require.False(t, titles[panel.Title], name)
				titles[panel.Title] = true
				for _, s := range panel.Series {
					require.NoError(t, metrics.Check(all, s.Expr), name)
					for _, label := range legendLabel.FindAllStringSubmatch(s.Legend, -1) {
						require.True(t, has(all, s.Expr, label[1]), "%s: %s in %s", name, s.Legend, s.Expr)
					}
				}
			}
		}
	}
}

var (
	by   = regexp.MustCompile(`by \(([^)]*)\)`)
	word = regexp.MustCompile(`\w+`)
)

// has reports whether an expression's result has a label: one that it is grouped by, or without grouping one of its series.
func has(all []metrics.Metric, expr, label string) bool {
	if groups := by.FindAllStringSubmatch(expr, -1); len(groups) > 0 {
		return slices.Contains(word.FindAllString(groups[0][1], -1), label)
	}
	for _, name := range word.FindAllString(expr, -1) {
		if m, found := metrics.Find(all, name); found && slices.Contains(m.Labels, label) {
			return true
		}
	}
	return label == "service" || label == "instance"
}

// TestPanelsDoNotOverlap, and none is off the grid.
func TestPanelsDoNotOverlap(t *testing.T) {
	t.Parallel()
	for file, board := range Boards() {
		text, err := board.JSON()
		require.NoError(t, err)
		var drawn struct {
			Panels []struct {
				ID      int
				Title   string
				GridPos struct{ X, Y, W, H int } `json:"gridPos"`
			}
		}
		require.NoError(t, json.Unmarshal(text, &drawn))
		taken := map[[2]int]string{}
		for i, p := range drawn.Panels {
			require.Equal(t, i+1, p.ID)
			at := p.GridPos
			require.Positive(t, at.W*at.H, p.Title)
			require.LessOrEqual(t, at.X+at.W, columns, "%s: %s", file, p.Title)
			for x := at.X; x < at.X+at.W; x++ {
				for y := at.Y; y < at.Y+at.H; y++ {
					require.Empty(t, taken[[2]int{x, y}], "%s: %s", file, p.Title)
					taken[[2]int{x, y}] = p.Title
				}
			}
		}
	}
}
