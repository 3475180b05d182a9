package quality

import (
	"context"
	"fmt"
	"math"
)

// outliers finds counts that are below 0, or far above the others: by the median of the logarithm, and the larger of what the median
// absolute deviation and the interquartile range say of its standard deviation.
func (s *sample) outliers(ctx context.Context) error {
	log := func(column string) string { return "log1p(greatest(" + column + ", 0))" }
	const each = 5 // expressions of a column
	var expressions []string
	for _, c := range countColumns {
		expressions = append(expressions, "count("+c+")", "countIf("+c+" < 0)")
		for _, q := range []string{"0.25", "0.5", "0.75"} {
			expressions = append(expressions, "ifNull(quantile("+q+")("+log(c)+"), 0)")
		}
	}
	n, err := s.ask(ctx, s.today(), expressions...)
	if err != nil {
		return err
	}
	expressions = nil
	for i, c := range countColumns {
		expressions = append(expressions, fmt.Sprintf("ifNull(quantile(0.5)(abs(%s - %v)), 0)", log(c), n[i*each+3]))
	}
	deviations, err := s.ask(ctx, s.today(), expressions...)
	if err != nil {
		return err
	}
	expressions = nil
	bounds := make([]float64, len(countColumns))
	for i, c := range countColumns {
		const ofMAD, ofIQR = 1.4826, 1 / 1.349 // by which they are standard deviations, of what is distributed normally
		deviation := max(ofMAD*deviations[i], ofIQR*(n[i*each+4]-n[i*each+2]), leastDeviation)
		bounds[i] = math.Floor(math.Expm1(n[i*each+3] + outlierDistance*deviation))
		expressions = append(expressions, fmt.Sprintf("countIf(%s > %.0f)", c, bounds[i]))
	}
	above, err := s.ask(ctx, s.today(), expressions...)
	if err != nil {
		return err
	}
	for i, c := range countColumns {
		of := n[i*each]
		s.found(Negative, c, negative, n[i*each+1], of, "are below 0")
		if of < leastOutliers || above[i] == 0 {
			continue
		}
		s.found(Outlier, c, outliers, above[i], of, fmt.Sprintf("are above %.0f, which is far beyond the others", bounds[i]))
		s.report.Findings[len(s.report.Findings)-1].Baseline = &bounds[i]
	}
	return nil
}
