//go:build promtool

package dashboards

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestExpressionsAreValid asks promtool, to which each expression is a recording rule.
func TestExpressionsAreValid(t *testing.T) {
	t.Parallel()
	variables := strings.NewReplacer("$__rate_interval", "1m", "$__range", "6h")
	var rules []any
	for _, board := range Boards() {
		for _, row := range board.Rows {
			for _, panel := range row.Panels {
				for _, s := range panel.Series {
					rules = append(rules, map[string]string{"record": fmt.Sprintf("panel:%d", len(rules)), "expr": variables.Replace(s.Expr)})
				}
			}
		}
	}
	text, err := json.Marshal(map[string]any{"groups": []any{map[string]any{"name": "panels", "rules": rules}}})
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "panels.json") // which is YAML
	require.NoError(t, os.WriteFile(file, text, 0o600))
	out, err := exec.CommandContext(t.Context(), "promtool", "check", "rules", file).CombinedOutput()
	require.NoError(t, err, "%s", out)
}
