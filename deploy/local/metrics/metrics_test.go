package metrics

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

const root = "../../.."

var update = flag.Bool("update", false, "write docs/metrics.md")

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// TestCatalogue: docs/metrics.md says what the sources register.
func TestCatalogue(t *testing.T) {
	t.Parallel()
	all, err := Read(root)
	require.NoError(t, err)
	var want bytes.Buffer
	require.NoError(t, Write(&want, all))
	file := filepath.Join(root, "docs", "metrics.md")
	if *update {
		require.NoError(t, os.WriteFile(file, want.Bytes(), 0o644))
	}
	got, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, want.String(), string(got), "docs/metrics.md is out of date: make metrics-doc")
}

// TestNothingIsMissed: whatever looks like a metric's name in the sources is in the catalogue.
func TestNothingIsMissed(t *testing.T) {
	t.Parallel()
	all, err := Read(root)
	require.NoError(t, err)
	known := map[string]bool{
		"revstream_kafka": true, // the prefix of the Kafka client's
		"revstream_field": true, // an Avro record's name
	}
	for _, m := range all {
		known[m.Name] = true
	}
	text := goSources(t)
	found := regexp.MustCompile(`"(revstream_[a-z0-9_]+)"`).FindAllStringSubmatch(text, -1)
	require.Greater(t, len(found), 30)
	for _, match := range found {
		require.True(t, known[match[1]], match[1])
	}
	for metric, labels := range bounded {
		for label, values := range labels {
			for value := range strings.FieldsSeq(values) {
				require.Contains(t, text, `"`+value+`"`, "%s{%s}", metric, label)
			}
		}
		require.True(t, known[metric], metric)
	}
}

func goSources(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, dir := range []string{"schemas", "pipeline", "producers", "consumers", "dlq-replayer"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(file string, entry os.DirEntry, err error) error {
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

// TestRead: each way in which metrics are made is understood, and one that is not is an error.
func TestRead(t *testing.T) {
	t.Parallel()
	const header = "package consume\nimport \"github.com/prometheus/client_golang/prometheus\"\n"
	for _, c := range []struct {
		source, err string
		want        []Metric
	}{
		{source: `const name = "a_total"
			var c = prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: "of " + "c", ConstLabels: prometheus.Labels{"z": x}}, []string{"l"})`,
			want: []Metric{{Name: "a_total", Type: counter, Help: "of c", Labels: []string{"l", "z"}}}},
		{source: `func f(reg prometheus.Registerer) {
				h := func(name, help string, labels ...string) { prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help}, labels) }
				h("a_seconds", "a", "x", "y")
				h("b_seconds", "b")
				prometheus.WrapRegistererWith(prometheus.Labels{"topic": t}, reg)
			}`,
			want: []Metric{{Name: "a_seconds", Type: histogram, Help: "a", Labels: []string{"topic", "x", "y"}}, {Name: "b_seconds", Type: histogram, Help: "b", Labels: []string{"topic"}}}},
		{source: `var d = prometheus.NewDesc("a", "x", []string{"l"}, nil)
			func (c) Collect() { prometheus.MustNewConstMetric(d, prometheus.GaugeValue, 1, "v") }`,
			want: []Metric{{Name: "a", Type: gauge, Help: "x", Labels: []string{"l"}}}},
		{source: `func f(name string) { prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: "x"}) }`, err: "source.go:3:43: the metric's name is neither a literal"},
		{source: `var g = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "a", Help: "x"}, labels())`, err: "the metric's labels are no literal"},
		{source: `var g = prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "a", Name: "b", Help: "x"})`, err: "written in one piece"},
		{source: `var g = prometheus.NewGauge(prometheus.GaugeOpts{Name: "b"})`, err: `help ""`},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "pipeline", "consume")
		require.NoError(t, os.MkdirAll(path, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(path, "source.go"), []byte(header+c.source), 0o644))
		got, err := readModule(dir, "pipeline")
		if c.err != "" {
			require.ErrorContains(t, err, c.err)
			continue
		}
		require.NoError(t, err)
		for i := range c.want {
			c.want[i].Services = emitters["pipeline/consume"]
		}
		require.Equal(t, c.want, got)
	}
}
