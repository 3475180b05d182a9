package bench

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Print writes the figures as a table.
func (r *Report) Print(w io.Writer) error {
	fmt.Fprintf(w, "\n%s\n", r.Machine)
	what := "rounds"
	if r.Rounds == 1 {
		what = "round"
	}
	fmt.Fprintf(w, "%d %s of %s events", r.Rounds, what, grouped(float64(r.Events), 0))
	if r.Quick {
		fmt.Fprint(w, "; QUICK: fewer rounds and events, so that figures vary more")
	}
	fmt.Fprint(w, "\n\n")
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "figure\tmedian\tmin\tmax\ttarget\tof target\t")
	for _, f := range Figures {
		series := r.series(f.Name)
		if series == nil {
			continue
		}
		sign := "≥"
		if f.AtMost {
			sign = "≤"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s %s\t%.2f\t%s\n", f.Name, grouped(series.Median, f.Digits), grouped(series.Min, f.Digits),
			grouped(series.Max, f.Digits), sign, strconv.FormatFloat(f.Target, 'g', -1, 64), series.Median/f.Target, f.What)
	}
	return table.Flush()
}

// grouped writes a number with commas between thousands.
func grouped(n float64, digits int) string {
	text := strconv.FormatFloat(n, 'f', digits, 64)
	whole, decimals, _ := strings.Cut(text, ".")
	for i := len(whole) - 3; i > 0 && whole[i-1] != '-'; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if decimals == "" {
		return whole
	}
	return whole + "." + decimals
}
