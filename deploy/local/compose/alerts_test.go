package compose

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/deploy/local/metrics"
)

// An alertTest is what we use of promtool's unit tests.
type alertTest struct {
	RuleFiles          []string `yaml:"rule_files"`
	EvaluationInterval string   `yaml:"evaluation_interval"`
	Tests              []struct {
		Name           string
		Interval       string
		InputSeries    []struct{ Series, Values string } `yaml:"input_series"`
		PromqlExprTest []struct {
			Expr       string
			EvalTime   string `yaml:"eval_time"`
			ExpSamples []struct {
				Labels string
				Value  float64
			} `yaml:"exp_samples"`
		} `yaml:"promql_expr_test"`
	}
}

var (
	alertsExpr   = regexp.MustCompile(`^ALERTS\{alertname="(\w+)",alertstate="firing"\}$`)
	series       = regexp.MustCompile(`^(\w+)(?:\{(.*)\})?$`)
	labelsUsed   = regexp.MustCompile(`\$labels\.(\w+)`)
	pairOfLabels = regexp.MustCompile(`(\w+)="([^"]*)"`)
)

const runbooks = "https://github.com/revstream/revstream/blob/main/deploy/runbooks/"

// rules are the alerts, by name.
func rules(t *testing.T) map[string]string {
	t.Helper()
	var file alertRules
	strict(t, &file, "deploy/prometheus/alerts.yml")
	exprs := map[string]string{}
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			require.Empty(t, exprs[rule.Alert], rule.Alert)
			exprs[rule.Alert] = rule.Expr
			require.Contains(t, map[string][]string{"critical": {"P1", "P2"}, "warning": {"P2", "P3", "P4"}}[rule.Labels["severity"]], rule.Labels["priority"], rule.Alert)
			require.NotEmpty(t, rule.Annotations["summary"], rule.Alert)
			require.NotEmpty(t, rule.Annotations["description"], rule.Alert)
			require.Equal(t, runbooks+rule.Alert+".md", rule.Annotations["runbook_url"])
		}
	}
	require.NotEmpty(t, exprs)
	return exprs
}

// TestEachAlertIsTried: promtool sees it fire and sees it silent, on metrics that exist, and its texts name labels that it has then.
func TestEachAlertIsTried(t *testing.T) {
	t.Parallel()
	all, err := metrics.Read(root)
	require.NoError(t, err)
	exprs := rules(t)
	fired, silent := map[string]string{}, map[string]bool{}
	files, err := filepath.Glob(filepath.Join(root, "deploy/prometheus/tests/*.yml"))
	require.NoError(t, err)
	for _, file := range files {
		var tests alertTest
		strict(t, &tests, filepath.Join("deploy/prometheus/tests", filepath.Base(file)))
		require.Equal(t, []string{"../alerts.yml"}, tests.RuleFiles)
		for _, test := range tests.Tests {
			for _, input := range test.InputSeries {
				hasSeries(t, all, input.Series, test.Name)
			}
			for _, try := range test.PromqlExprTest {
				match := alertsExpr.FindStringSubmatch(try.Expr)
				require.NotNil(t, match, try.Expr)
				require.Contains(t, exprs, match[1])
				require.True(t, strings.HasPrefix(test.Name, match[1]+": "), test.Name)
				silent[match[1]] = silent[match[1]] || len(try.ExpSamples) == 0
				for _, sample := range try.ExpSamples {
					fired[match[1]] += sample.Labels
				}
			}
		}
	}
	var file alertRules
	strict(t, &file, "deploy/prometheus/alerts.yml")
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			require.NotEmpty(t, fired[rule.Alert], "%s has no test in which it fires", rule.Alert)
			require.True(t, silent[rule.Alert], "%s has no test in which it is silent", rule.Alert)
			for _, label := range labelsUsed.FindAllStringSubmatch(rule.Annotations["summary"]+rule.Annotations["description"], -1) {
				require.Contains(t, fired[rule.Alert], label[1]+"=", "%s speaks of a label that it does not have", rule.Alert)
			}
		}
	}
}

// hasSeries holds a series of a test to what a service serves, with exactly these labels and no others than Prometheus adds.
func hasSeries(t *testing.T, all []metrics.Metric, text, test string) {
	t.Helper()
	match := series.FindStringSubmatch(text)
	require.NotNil(t, match, text)
	if match[1] == "up" || match[1] == "process_start_time_seconds" {
		return
	}
	metric, found := metrics.Find(all, match[1])
	require.True(t, found, "%s: %s", test, text)
	for _, pair := range pairOfLabels.FindAllStringSubmatch(match[2], -1) {
		switch pair[1] {
		case "service":
			require.Contains(t, metric.Services, pair[2], "%s: %s", test, text)
		case "instance", "le":
		default:
			require.Contains(t, metric.Labels, pair[1], "%s: %s", test, text)
			if values := metric.Values(pair[1]); len(values) > 0 && pair[2] != "" {
				require.Contains(t, values, pair[2], "%s: %s", test, text)
			}
		}
	}
	for _, label := range metric.Labels {
		if len(metric.Values(label)) == 0 { // an open label that decides nothing may be left out
			continue
		}
		require.Contains(t, match[2], label+"=", "%s: %s has a label %s", test, match[1], label)
	}
}

// TestAlertsAreOnWhatExists: an alert on a metric or a label that nobody emits never fires, which nobody would notice.
func TestAlertsAreOnWhatExists(t *testing.T) {
	t.Parallel()
	all, err := metrics.Read(root)
	require.NoError(t, err)
	for alert, expr := range rules(t) {
		require.NoError(t, metrics.Check(all, expr), alert)
	}
	for _, wrong := range []string{
		`sum(revstream_no_such_total)`, `revstream_publish_events_total{entity="x"}`, `sum by (entity) (revstream_publish_events_total)`,
		`revstream_people_windows_total{outcome="OK"}`, `revstream_people_windows_total{outcome=~"SUCCEEDED|OK"}`, `revstream_consume_visible_seconds`,
	} {
		require.Error(t, metrics.Check(all, wrong), wrong)
	}
}

// TestEachAlertHasARunbook, and each runbook its alert; what it says to run is there.
func TestEachAlertHasARunbook(t *testing.T) {
	t.Parallel()
	build(t)
	exprs := rules(t)
	files, err := filepath.Glob(filepath.Join(root, "deploy/runbooks/Revstream*.md"))
	require.NoError(t, err)
	require.Len(t, files, len(exprs))
	help := helps(t)
	commands := 0
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".md")
		require.Contains(t, exprs, name)
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(string(text), "# "+name+"\n"), name)
		for _, part := range []string{"\n## What is lost\n", "\n## Look\n", "\n## Do\n", "\n## Over\n"} {
			require.Contains(t, string(text), part, name)
		}
		for _, command := range commandsOf(string(text)) {
			require.True(t, exists(help, command), "%s: `%s`", name, command)
			commands++
		}
	}
	require.Greater(t, commands, 40)
}

// ourPrograms are those that runbooks speak of.
var ourPrograms = []string{"dlq-replayer", "warehouse", "forecast-producer", "people-producer", "provision", "backfill"}

// helps are the flags of each command of ourPrograms, by "program command".
func helps(t *testing.T) map[string]help {
	t.Helper()
	all := map[string]help{}
	for _, p := range build(t) {
		name := filepath.Base(p)
		if !slices.Contains(ourPrograms, name) {
			continue
		}
		h := helpOf(t, p)
		all[name] = h
		for _, command := range h.commands {
			all[name+" "+command] = helpOf(t, p, strings.Fields(command)...)
		}
	}
	return all
}

var inCode = regexp.MustCompile("(?s)```console\n(.*?)```|`([^`\n]+)`")

// commandsOf are the lines and the code in a text that run one of ourPrograms.
func commandsOf(text string) []string {
	var found []string
	for _, match := range inCode.FindAllStringSubmatch(text, -1) {
		for line := range strings.SplitSeq(match[1]+match[2], "\n") {
			line = strings.TrimPrefix(line, "$ ")
			line, _, _ = strings.Cut(line, " | ")
			program, _, isCommand := strings.Cut(line, " ")
			if isCommand && slices.Contains(ourPrograms, program) {
				found = append(found, line)
			}
		}
	}
	return found
}

// exists reports whether a command is there and has the flags that it is given.
func exists(helps map[string]help, command string) bool {
	words := strings.Fields(command)
	h, known := help{}, false
	for n := min(3, len(words)); n > 0 && !known; n-- {
		h, known = helps[strings.Join(words[:n], " ")]
		known = known && (n > 1 || len(h.commands) == 0 || strings.HasPrefix(words[min(1, len(words)-1)], "--"))
	}
	if !known {
		return false
	}
	for _, word := range words {
		flag, isFlag := strings.CutPrefix(word, "--")
		flag, _, _ = strings.Cut(flag, "=")
		if isFlag && !slices.Contains(h.flags, flag) {
			return false
		}
	}
	return true
}
