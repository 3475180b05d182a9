package report

import (
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden charts")

func charts() map[string]Chart {
	week := []string{"17 Nov", "18 Nov", "19 Nov", "20 Nov", "21 Nov", "22 Nov", "23 Nov"}
	return map[string]Chart{
		"lines":   {Labels: week, Series: []Series{{"median", []float64{40, 41, none, 44, 43, none, 47}}, {"95th percentile", []float64{60, 75, 61, 62, 61.5, 64, 66}}}, Unit: duration},
		"columns": {Kind: columns, Labels: week, Series: []Series{{"forecast", []float64{1, 1, 0.4, none, 1, 1, 0.999}}, {"people", []float64{1, 1, 1, 1, 1, 0, 1}}}, Top: 1, Unit: percent},
		"stacked": {Kind: stacked, Labels: week, Series: []Series{{"validation", []float64{0, 12, 30, 30, 30, 5, 1}}, {"bad_magic", []float64{0, 0, 3, 3, 100, 0, 0}}}},
		"one":     {Labels: week[:1], Series: []Series{{"", []float64{12345}}}},
		"zero":    {Labels: week, Series: []Series{{"", make([]float64, 7)}}},
		"huge":    {Kind: columns, Labels: week, Series: []Series{{"", []float64{math.MaxFloat64, math.Inf(1), 1e-300, -5, math.NaN(), 1, 2}}}},
		"tiny":    {Labels: week, Series: []Series{{"", []float64{1e-300, 0, 5e-324}}}},
		"escaped": {Kind: columns, Labels: []string{`<a href="x">&'`}, Series: []Series{{`"><script>`, []float64{1}}}},
	}
}

// TestCharts against what was looked at once.
func TestCharts(t *testing.T) {
	t.Parallel()
	for name, c := range charts() {
		c.ID, c.Title, c.Desc = name, "Title <of> "+name, "What & why"
		svg := string(c.SVG())
		wellDrawn(t, name, svg)
		path := filepath.Join("testdata", name+".svg")
		if *update {
			require.NoError(t, os.MkdirAll("testdata", 0o755))
			require.NoError(t, os.WriteFile(path, []byte(strings.ReplaceAll(svg, "><", ">\n<")+"\n"), 0o644))
		}
		golden, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, string(golden), strings.ReplaceAll(svg, "><", ">\n<")+"\n", name)
	}
}

var coordinates = regexp.MustCompile(`\b(x|y|cx|cy|width|height)="([^"]*)"`)

// wellDrawn: whatever the data, it is XML, and nothing lies beside the paper.
func wellDrawn(t *testing.T, name, svg string) {
	t.Helper()
	decoder := xml.NewDecoder(strings.NewReader(svg))
	for {
		_, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err, name)
	}
	require.NotContains(t, svg, "NaN")
	require.NotContains(t, svg, "Inf")
	require.NotContains(t, svg, "<script")
	for _, match := range coordinates.FindAllStringSubmatch(svg, -1) {
		v, err := strconv.ParseFloat(match[2], 64)
		require.NoError(t, err, match[0])
		require.True(t, v >= 0 && v <= chartWidth, "%s: %s", name, match[0])
	}
}

// TestScalesAreRound, have two to five lines, and hold what is drawn.
func TestScalesAreRound(t *testing.T) {
	t.Parallel()
	for _, most := range []float64{1, 2, 3, 4, 5, 7, 9, 9.99, 10, 11, 19, 99, 100, 101, 450, 12345, 0.03, 1e-8, 1e17} {
		d := drawing{Chart: Chart{Labels: []string{"a"}, Series: []Series{{"", []float64{most}}}}}
		top, step := d.scale()
		require.GreaterOrEqual(t, top, most*0.999999, most)
		require.LessOrEqual(t, top, 2*most, most)
		steps := top / step
		require.True(t, steps >= 1.99 && steps <= 5.01, "%g: %g steps of %g", most, steps, step)
		digit := step / math.Pow(10, math.Floor(math.Log10(step*1.0000001)))
		require.True(t, slices.ContainsFunc([]float64{1, 2, 5}, func(d float64) bool { return math.Abs(d-digit) < 1e-6 }), "%g: step %g", most, step)
	}
}

func FuzzChart(f *testing.F) {
	f.Add(0, 1.0, 2.0, "label", 0.0)
	f.Add(2, math.NaN(), math.MaxFloat64, "<&>", 1.0)
	f.Add(1, -1.0, 5e-324, "\xff", math.Inf(1))
	f.Fuzz(func(t *testing.T, kind int, a, b float64, label string, top float64) {
		if top < 0 || !finite(top) {
			top = 0
		}
		c := Chart{Kind: kind % 3, Labels: []string{"1", "2", "3", "4", "5"}, Series: []Series{{"s", []float64{a, b, a + b}}, {"t", []float64{b}}}, Top: top}
		wellDrawn(t, label, string(c.SVG()))
	})
}

func TestWords(t *testing.T) {
	t.Parallel()
	for seconds, want := range map[float64]string{
		0: "0 ms", 0.25: "250 ms", 2: "2 s", 2.54: "2.5 s", 42: "42 s", 99.4: "99 s", 100: "2 min", 3600: "1 h", 5400: "1 h 30 min", 86400 * 2: "2 days", 86400 * 10: "10 days", -5: "-5 s", math.Inf(1): "–",
	} {
		require.Equal(t, want, duration(seconds), seconds)
	}
	for v, want := range map[float64]string{0: "0", 950: "950", 1000: "1k", 1500: "1.5k", 2e6: "2M", 1e18: "1e+18", 0.2: "0.2"} {
		require.Equal(t, want, short(v))
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1\u202f000", -1234567: "-1\u202f234\u202f567"} {
		require.Equal(t, want, grouped(n))
	}
	for v, want := range map[float64]string{1: "100 %", 0.9999: "99.9 %", 0.5: "50 %", 0.125: "12.5 %", 0: "0 %"} {
		require.Equal(t, want, percent(v))
	}
	require.Equal(t, "1 anomaly", count(1, "anomaly", "anomalies"))
	require.Equal(t, "2 anomalies", count(2, "anomaly", "anomalies"))
}
