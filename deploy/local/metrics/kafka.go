package metrics

import (
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/revstream/revstream/pipeline/kafkaclient"
)

// description is how prometheus.Desc prints itself, which is the only way in which it tells what it holds.
var description = regexp.MustCompile(`^Desc\{fqName: "(.*)", help: "(.*)", constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)

// uncounted are the metrics that kprom describes, and counts only if it is told to.
var uncounted = regexp.MustCompile(`^Desc\{fqName: "revstream_kafka_(\w+_seconds|(fetch|produce)_(batches|records|compressed_bytes)_total)"`)

// kafkaMetrics are the Kafka client's own, whose names are no literals of ours: a client that connects to nothing registers them.
func kafkaMetrics() ([]Metric, error) {
	registry := prometheus.NewRegistry()
	client, err := kafkaclient.New(kafkaclient.Config{Brokers: []string{"127.0.0.1:1"}, ClientID: "catalogue"}, slog.New(slog.DiscardHandler), registry)
	if err != nil {
		return nil, fmt.Errorf("making a Kafka client for its metrics: %w", err)
	}
	descriptions := make(chan *prometheus.Desc)
	go func() {
		defer close(descriptions)
		registry.Describe(descriptions)
	}()
	var all []Metric
	for d := range descriptions {
		if uncounted.MatchString(d.String()) {
			continue
		}
		parts := description.FindStringSubmatch(d.String())
		if parts == nil {
			err = fmt.Errorf("the Kafka client's metric %s cannot be read", d)
			continue
		}
		m := Metric{Name: parts[1], Help: parts[2] + ".", Type: gauge, Services: emitters["pipeline/kafkaclient"]}
		if strings.HasSuffix(m.Name, "_total") && !strings.Contains(m.Name, "_buffered_") { // which a description does not tell
			m.Type = counter
		}
		for pair := range strings.SplitSeq(parts[3], ",") {
			name, _, _ := strings.Cut(pair, "=")
			m.Labels = append(m.Labels, name)
		}
		m.Labels = append(m.Labels, strings.Split(parts[4], ",")...)
		m.Labels = slices.DeleteFunc(m.Labels, func(label string) bool { return label == "" })
		slices.Sort(m.Labels)
		all = append(all, m)
	}
	client.Close()
	return all, err
}
