// Package metrics knows which metrics the services serve: it reads them out of the sources, where they are registered, so that the
// catalogue in docs/metrics.md, the alerts and the dashboards can be held to what there is.
package metrics

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Metric is a family.
type Metric struct {
	Name   string
	Type   string // counter, gauge or histogram
	Help   string
	Labels []string // sorted; those that Prometheus adds, such as service, are not among them
	// Services that serve it, by their names in Prometheus.
	Services []string
}

// Unit is said by the name's end.
func (m Metric) Unit() string {
	name := strings.TrimSuffix(m.Name, "_total")
	switch {
	case strings.HasSuffix(name, "_timestamp_seconds"):
		return "Unix seconds"
	case strings.HasSuffix(name, "_seconds"):
		return "seconds"
	case strings.HasSuffix(name, "_bytes"):
		return "bytes"
	}
	return ""
}

// Series are the names under which a family is stored.
func (m Metric) Series() []string {
	if m.Type == histogram {
		return []string{m.Name + "_bucket", m.Name + "_count", m.Name + "_sum"}
	}
	return []string{m.Name}
}

const (
	counter   = "counter"
	gauge     = "gauge"
	histogram = "histogram"
)

// Names of the services in Prometheus.
const (
	forecastProducer = "forecast-producer"
	peopleProducer   = "people-producer"
	forecastConsumer = "forecast-consumer"
	peopleConsumer   = "people-consumer"
	desk             = "dlq-desk"
	watch            = "warehouse-watch"
)

// Services are all that serve metrics.
var Services = []string{forecastProducer, peopleProducer, forecastConsumer, peopleConsumer, desk, watch}

// emitters says who serves what a package registers. Which packages a program imports does not say it: a command of its own may
// be all that needs one.
var emitters = map[string][]string{
	"pipeline/daemon":         Services,
	"pipeline/secret":         {forecastProducer, peopleProducer},
	"pipeline/kafkaclient":    {forecastProducer, peopleProducer, forecastConsumer, peopleConsumer, watch},
	"pipeline/consume":        {forecastConsumer, peopleConsumer},
	"pipeline/resilience":     {forecastProducer, peopleProducer},
	"pipeline/clickhousesink": {forecastConsumer, peopleConsumer},
	"producers/clari":         {forecastProducer},
	"producers/forecast":      {forecastProducer},
	"producers/people":        {peopleProducer},
	"producers/publish":       {forecastProducer, peopleProducer},
	"producers/salesloft":     {peopleProducer},
	"dlq-replayer/web":        {desk},
	"consumers/anomaly":       {watch},
	"consumers/contracts":     {watch},
	"consumers/quality":       {watch},
	"consumers/reconcile":     {watch},
	"consumers/samples":       {watch},
	"consumers/watch":         {watch},
}

// Find returns the family that a series belongs to.
func Find(all []Metric, series string) (Metric, bool) {
	for _, m := range all {
		if slices.Contains(m.Series(), series) {
			return m, true
		}
	}
	return Metric{}, false
}

// Read returns all metrics of the services, sorted, out of the sources below root.
func Read(root string) ([]Metric, error) {
	all, err := kafkaMetrics()
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, module := range []string{"schemas", "pipeline", "producers", "consumers", "dlq-replayer"} {
		found, err := readModule(root, module)
		errs = append(errs, err)
		all = append(all, found...)
	}
	slices.SortFunc(all, func(a, b Metric) int { return cmp.Compare(a.Name, b.Name) })
	merged := all[:0]
	for _, m := range all {
		if n := len(merged); n > 0 && merged[n-1].Name == m.Name {
			before := &merged[n-1]
			if before.Type != m.Type || before.Help != m.Help || !slices.Equal(before.Labels, m.Labels) {
				errs = append(errs, fmt.Errorf("%s is registered in two ways", m.Name))
			}
			before.Services = union(before.Services, m.Services)
			continue
		}
		merged = append(merged, m)
	}
	return merged, errors.Join(errs...)
}

// union keeps the order of Services.
func union(a, b []string) []string {
	var both []string
	for _, service := range Services {
		if slices.Contains(a, service) || slices.Contains(b, service) {
			both = append(both, service)
		}
	}
	return both
}
