package metrics

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

var (
	selector = regexp.MustCompile(`\b(revstream_[a-z0-9_]+)(?:\{([^}]*)\})?`)
	matcher  = regexp.MustCompile(`(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"`)
	grouping = regexp.MustCompile(`\b(?:by|without|on|ignoring)\s*\(([^)]*)\)`)
)

// added are labels that Prometheus and histograms add.
var added = []string{"job", "instance", "service", "le"}

// Check says what a PromQL expression asks for that no service has: series, labels, and values of bounded labels. Whether it is valid
// is promtool's to say.
func Check(all []Metric, expr string) error {
	var errs []error
	known := slices.Clone(added)
	for _, match := range selector.FindAllStringSubmatch(expr, -1) {
		m, found := Find(all, match[1])
		if !found {
			errs = append(errs, fmt.Errorf("no service has the series %s", match[1]))
			continue
		}
		known = append(known, m.Labels...)
		for _, pair := range matcher.FindAllStringSubmatch(match[2], -1) {
			label, value := pair[1], pair[3]
			if slices.Contains(added, label) {
				continue
			}
			if !slices.Contains(m.Labels, label) {
				errs = append(errs, fmt.Errorf("%s has no label %s", m.Name, label))
			}
			for one := range strings.SplitSeq(value, "|") {
				if values := m.Values(label); len(values) > 0 && !slices.Contains(values, one) {
					errs = append(errs, fmt.Errorf("%s of %s is never %q", label, m.Name, one))
				}
			}
		}
	}
	for _, match := range grouping.FindAllStringSubmatch(expr, -1) {
		for label := range strings.SplitSeq(match[1], ",") {
			if label = strings.TrimSpace(label); label != "" && len(known) > len(added) && !slices.Contains(known, label) {
				errs = append(errs, fmt.Errorf("no series of the expression has a label %s", label))
			}
		}
	}
	return errors.Join(errs...)
}
