package compose

import (
	"bytes"
	"os"
	"path/filepath"
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
				KeepFiringFor       string `yaml:"keep_firing_for"`
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
}
