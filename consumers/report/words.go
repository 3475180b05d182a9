package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// duration is seconds in words of two units at most.
func duration(seconds float64) string {
	switch {
	case math.IsNaN(seconds) || math.IsInf(seconds, 0):
		return "–"
	case seconds < 0:
		return "-" + duration(-seconds)
	case seconds < 1:
		return fmt.Sprintf("%.0f ms", seconds*1000)
	case seconds < 10:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", seconds), ".0") + " s"
	case seconds < 99.5:
		return fmt.Sprintf("%.0f s", seconds)
	}
	minutes := int64(math.Round(math.Min(seconds, 1e15) / 60))
	switch {
	case minutes < 60:
		return fmt.Sprintf("%d min", minutes)
	case minutes < 10*60 && minutes%60 != 0:
		return fmt.Sprintf("%d h %d min", minutes/60, minutes%60)
	case minutes < 48*60:
		return fmt.Sprintf("%d h", (minutes+30)/60)
	default:
		return grouped((minutes+12*60)/(24*60)) + " days"
	}
}

// short is a number in the room that an axis has.
func short(v float64) string {
	for _, unit := range []struct {
		of   float64
		name string
	}{{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if math.Abs(v) >= unit.of {
			if math.Abs(v) >= 1e15 {
				return fmt.Sprintf("%.0e", v)
			}
			return strconv.FormatFloat(v/unit.of, 'f', -1, 32) + unit.name
		}
	}
	return strconv.FormatFloat(v, 'f', -1, 32)
}

// grouped is a number with its thousands apart.
func grouped(n int64) string {
	text := strconv.FormatInt(n, 10)
	for at := len(text) - 3; at > 0 && text[at-1] != '-'; at -= 3 {
		text = text[:at] + "\u202f" + text[at:]
	}
	return text
}

func percent(v float64) string {
	if v > 0.999 && v < 1 {
		return "99.9 %" // which is not all
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", 100*v), ".0") + " %"
}

// count is a number and its noun.
func count(n int64, one string, many ...string) string {
	switch {
	case n == 1:
		return "1 " + one
	case len(many) > 0:
		return grouped(n) + " " + many[0]
	default:
		return grouped(n) + " " + one + "s"
	}
}

func stamp(at time.Time) string { return at.UTC().Format("2006-01-02 15:04 UTC") }
