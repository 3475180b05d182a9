package meter

import (
	"math"
	"slices"
)

// Series is a quantity over the rounds of a run.
type Series struct {
	Rounds []float64 `json:"rounds"` // in the order of the rounds
	Min    float64   `json:"min"`
	Median float64   `json:"median"`
	Max    float64   `json:"max"`
}

// Add takes the next round's value.
func (s *Series) Add(value float64) {
	s.Rounds = append(s.Rounds, value)
	sorted := slices.Sorted(slices.Values(s.Rounds))
	s.Min, s.Max = sorted[0], sorted[len(sorted)-1]
	s.Median = (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// Quantile returns the value that a share q of the values does not exceed (nearest rank): 0.5 for the median. It sorts them.
// Of no values it is NaN.
func Quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	slices.Sort(values)
	rank := int(math.Ceil(q*float64(len(values)))) - 1
	return values[min(max(rank, 0), len(values)-1)]
}
