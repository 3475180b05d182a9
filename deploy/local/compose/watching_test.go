package compose

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// strict reads a YAML file of the repository; a key that v has no field for is an error.
func strict(t *testing.T, v any, file string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, file))
	require.NoError(t, err)
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	require.NoError(t, decoder.Decode(v), file)
}

// What we use of Prometheus' and Grafana's configuration.
type (
	prometheusConfig struct {
		Global struct {
			ScrapeInterval     string `yaml:"scrape_interval"`
			EvaluationInterval string `yaml:"evaluation_interval"`
		}
		RuleFiles     []string `yaml:"rule_files"`
		ScrapeConfigs []struct {
			JobName       string `yaml:"job_name"`
			StaticConfigs []struct {
				Targets []string
			} `yaml:"static_configs"`
			RelabelConfigs []struct {
				SourceLabels []string `yaml:"source_labels"`
				Regex        string
				TargetLabel  string `yaml:"target_label"`
			} `yaml:"relabel_configs"`
		} `yaml:"scrape_configs"`
	}
	alertRules struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	datasources struct {
		APIVersion  int `yaml:"apiVersion"`
		Datasources []struct {
			Name, UID, Type, Access, URL string
			IsDefault                    bool `yaml:"isDefault"`
			Editable                     bool
		}
	}
	dashboardProviders struct {
		APIVersion int `yaml:"apiVersion"`
		Providers  []struct {
			Name, Type      string
			DisableDeletion bool              `yaml:"disableDeletion"`
			AllowUIUpdates  bool              `yaml:"allowUiUpdates"`
			Options         map[string]string `yaml:"options"`
		}
	}
	dashboard struct {
		Panels []struct {
			Title   string
			Type    string
			Targets []struct {
				Expr       string
				Datasource struct{ UID string }
			}
		}
	}
)

func TestPrometheusScrapesTheServices(t *testing.T) {
	t.Parallel()
	project := load(t)
	var config prometheusConfig
	strict(t, &config, "deploy/prometheus/prometheus.yml")
	require.Equal(t, []string{"alerts.yml"}, config.RuleFiles)
	scraped := map[string]bool{}
	for _, job := range config.ScrapeConfigs {
		for _, target := range job.StaticConfigs[0].Targets {
			service, port, _ := strings.Cut(target, ":")
			require.Contains(t, project.Services, service)
			require.Equal(t, ":"+port, value(project.Services[service], "HTTP_ADDR"), "HTTP_ADDR of %s", service)
			scraped[service] = true
		}
	}
	for name, s := range project.Services {
		simulator := len(s.Command) > 0 && s.Command[0] == "sim"
		require.Equal(t, s.Build != nil && runsForever(s) && !simulator, scraped[name], name)
	}
}

func TestGrafanaFindsPrometheusAndItsDashboards(t *testing.T) {
	t.Parallel()
	project := load(t)
	var sources datasources
	strict(t, &sources, "deploy/grafana/provisioning/datasources/prometheus.yaml")
	require.Len(t, sources.Datasources, 1)
	host := strings.TrimPrefix(sources.Datasources[0].URL, "http://")
	service, port, _ := strings.Cut(host, ":")
	require.Contains(t, listens(project, service), port)

	var providers dashboardProviders
	strict(t, &providers, "deploy/grafana/provisioning/dashboards/revstream.yaml")
	var mounted []string
	for _, v := range project.Services["grafana"].Volumes {
		mounted = append(mounted, v.Target)
	}
	require.Len(t, providers.Providers, 1)
	require.Contains(t, mounted, providers.Providers[0].Options["path"])

	for _, panel := range readDashboard(t).Panels {
		require.Equal(t, panel.Type == "row", len(panel.Targets) == 0, panel.Title)
		for _, target := range panel.Targets {
			require.Equal(t, sources.Datasources[0].UID, target.Datasource.UID, panel.Title)
		}
	}
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "deploy/grafana/dashboards/revstream.json"))
	require.NoError(t, err)
	var d dashboard
	require.NoError(t, json.Unmarshal(text, &d))
	require.NotEmpty(t, d.Panels)
	return d
}

var (
	metricUsed    = regexp.MustCompile(`\brevstream_[a-z0-9_]+`)
	metricDefined = regexp.MustCompile(`"(revstream_[a-z0-9_]+)"`)
	outcomeUsed   = regexp.MustCompile(`(?:outcome|result|stage)=~?"([^"]+)"`)
)

// TestMetricsExist: an alert on a metric that nobody emits never fires, which nobody would notice.
func TestMetricsExist(t *testing.T) {
	t.Parallel()
	sources := goSources(t)
	defined := map[string]bool{}
	for _, match := range metricDefined.FindAllStringSubmatch(sources, -1) {
		defined[match[1]] = true
	}
	var exprs []string
	var rules alertRules
	strict(t, &rules, "deploy/prometheus/alerts.yml")
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			exprs = append(exprs, rule.Expr)
			require.Contains(t, []string{"critical", "warning"}, rule.Labels["severity"], rule.Alert)
			require.NotEmpty(t, rule.Annotations["summary"], rule.Alert)
		}
	}
	for _, panel := range readDashboard(t).Panels {
		for _, target := range panel.Targets {
			exprs = append(exprs, target.Expr)
		}
	}
	used := 0
	for _, expr := range exprs {
		for _, name := range metricUsed.FindAllString(expr, -1) {
			if !defined[name] {
				name = regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "") // of a histogram
			}
			require.True(t, defined[name], "%s in %s", name, expr)
			used++
		}
		for _, match := range outcomeUsed.FindAllStringSubmatch(expr, -1) {
			for label := range strings.SplitSeq(match[1], "|") {
				require.Positive(t, strings.Count(sources, `"`+label+`"`), "%s in %s", label, expr)
			}
		}
	}
	require.Greater(t, used, 30)
}

// goSources is the text of all programs of the workspace, without their tests.
func goSources(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, dir := range []string{"schemas", "pipeline", "producers", "consumers", "dlq-replayer"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(file string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || filepath.Ext(file) != ".go" || strings.HasSuffix(file, "_test.go") {
				return err
			}
			text, err := os.ReadFile(file)
			all.Write(text)
			return err
		})
		require.NoError(t, err)
	}
	return all.String()
}
