package metrics

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Write writes the catalogue, a table for each group of services.
func Write(w io.Writer, all []Metric) error {
	var doc strings.Builder
	doc.WriteString(`# Metrics

Every service has these on ` + "`/metrics`" + ` at its ` + "`HTTP_ADDR`" + `, besides ` + "`go_…` and `process_…`" + `. ` + "`make metrics-doc`" + ` writes this file from the sources;
a test holds it to them, and another to what a running stack serves. Alerts are in [alerts.md](alerts.md).

Prometheus adds ` + "`job`, `instance` and `service`" + ` ([prometheus.yml](../deploy/prometheus/prometheus.yml)). Labels without values listed are open: topics of the catalogue,
tables, HTTP statuses. No label has anything personal.
`)
	var groups []string
	members := map[string][]Metric{}
	for _, m := range all {
		group := title(m)
		if members[group] == nil {
			groups = append(groups, group)
		}
		members[group] = append(members[group], m)
	}
	slices.SortFunc(groups, func(a, b string) int { return rank(members[a][0]) - rank(members[b][0]) })
	for _, group := range groups {
		fmt.Fprintf(&doc, "\n## %s\n\n| name | type | labels | unit | meaning |\n|---|---|---|---|---|\n", group)
		for _, m := range members[group] {
			fmt.Fprintf(&doc, "| `%s` | %s | %s | %s | %s |\n", m.Name, m.Type, labels(m), m.Unit(), strings.ReplaceAll(m.Help, "|", `\|`))
		}
	}
	_, err := io.WriteString(w, doc.String())
	return err
}

// title of the group that a metric is in.
func title(m Metric) string {
	switch {
	case strings.HasPrefix(m.Name, "revstream_kafka_"):
		return "The Kafka client of `" + strings.Join(m.Services, "`, `") + "`"
	case len(m.Services) == len(Services):
		return "Every service"
	}
	return "`" + strings.Join(m.Services, "`, `") + "`"
}

// rank sorts groups: by their first service, and those of all services last.
func rank(m Metric) int {
	switch {
	case strings.HasPrefix(m.Name, "revstream_kafka_"):
		return 102
	case len(m.Services) == len(Services):
		return 101
	}
	return 10*slices.Index(Services, m.Services[0]) + len(m.Services)
}

func labels(m Metric) string {
	var all []string
	for _, label := range m.Labels {
		text := "`" + label + "`"
		if values := m.Values(label); len(values) > 0 {
			text += ": " + strings.Join(values, ", ")
		}
		all = append(all, text)
	}
	return strings.Join(all, "; ")
}
