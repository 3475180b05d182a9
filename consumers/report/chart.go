package report

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"slices"
	"strings"
)

// Kinds of chart.
const (
	lines   = iota
	columns // side by side
	stacked // on top of one another
)

// none is a value that there is not.
var none = math.NaN()

// Chart is a chart of values at equal distances, drawn for a card of about its own width: text in it is as large as text beside it.
type Chart struct {
	ID     string // distinct on the page
	Title  string
	Desc   string // what to see in it, for who does not see it
	Empty  string // what to say where there is nothing to draw
	Kind   int
	Labels []string // of the values, in order
	Series []Series // seriesShown at most are drawn; their colours are those of their places
	Top    float64  // of the scale; 0 is what the values need
	Unit   func(float64) string

	Head []string   // of the figures behind the chart
	Rows [][]string // likewise
}

// Series are values, one for each label; none where there is none.
type Series struct {
	Name   string
	Values []float64
}

const (
	seriesShown = 6

	smallest, largest = 1e-9, 1e18 // that a scale is made for; what is beyond is drawn as if it were these

	chartWidth, chartHeight = 420, 190
	left, right             = 56, 412
	top, bottom             = 12, 164
)

// Drawn tells whether there is anything to draw.
func (c Chart) Drawn() bool {
	for _, s := range c.Series {
		if slices.ContainsFunc(s.Values, finite) {
			return true
		}
	}
	return false
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// SVG is the chart.
func (c Chart) SVG() template.HTML {
	d := drawing{Chart: c}
	scale, step := d.scale()
	d.add(`<svg viewBox="0 0 %d %d" role="img" aria-labelledby="%[3]s-t %[3]s-d"><title id="%[3]s-t">%[4]s</title><desc id="%[3]s-d">%[5]s</desc>`,
		chartWidth, chartHeight, html.EscapeString(c.ID), html.EscapeString(c.Title), html.EscapeString(c.Desc))
	for v := 0.0; v <= scale*1.0001; v += step {
		d.add(`<path class="grid" d="M%d %sH%d"/><text class="tick" x="%d" y="%s" text-anchor="end">%s</text>`,
			left, coordinate(d.y(v, scale)), right, left-6, coordinate(d.y(v, scale)+4), html.EscapeString(c.unit(v)))
	}
	d.labels()
	if c.Kind == lines {
		d.lines(scale)
	} else {
		d.columns(scale)
	}
	d.add(`</svg>`)
	return template.HTML(d.b.String()) //nolint:gosec // texts are escaped where they are added
}

func (c Chart) unit(v float64) string {
	if c.Unit == nil {
		return short(v)
	}
	return c.Unit(v)
}

// drawing is a chart being drawn.
type drawing struct {
	Chart

	b strings.Builder
}

func (d *drawing) add(format string, args ...any) { fmt.Fprintf(&d.b, format, args...) }

// scale is the value at the top, and how far the lines of the grid are apart: a round number, so that there are two to five.
func (d *drawing) scale() (most, step float64) {
	most = d.Top
	for i := range d.Labels {
		sum := 0.0
		for _, s := range d.Series {
			v := s.at(i)
			if !finite(v) {
				continue
			}
			if sum += v; d.Kind != stacked {
				sum = v
			}
			most = math.Max(most, sum)
		}
	}
	if most < smallest {
		return 1, 1
	}
	most = math.Min(most, largest)
	base := math.Pow(10, math.Floor(math.Log10(most)))
	for _, share := range []float64{0.2, 0.5, 1, 2} {
		if step = base * share; most/step <= 5.0001 {
			break
		}
	}
	if d.Top > 0 {
		return most, step
	}
	return math.Ceil(most/step-1e-9) * step, step
}

// at is a value; none beyond the last one.
func (s Series) at(i int) float64 {
	if i >= len(s.Values) {
		return none
	}
	return s.Values[i]
}

func (d *drawing) y(v, scale float64) float64 {
	return bottom - (bottom-top)*math.Min(math.Max(v, 0), scale)/scale
}

// x is the middle of a value's share of the width.
func (d *drawing) x(i int) float64 { return left + d.share()*(float64(i)+0.5) }

func (d *drawing) share() float64 { return float64(right-left) / float64(max(1, len(d.Labels))) }

// labels writes the first label, the one in the middle and the last.
func (d *drawing) labels() {
	last := len(d.Labels) - 1
	for _, at := range []struct {
		i      int
		anchor string
		x      float64
	}{{0, "start", left}, {last / 2, "middle", d.x(last / 2)}, {last, "end", right}} {
		if at.i < 0 || (at.i == 0 && at.anchor == "end") || (at.anchor == "middle" && last < 4) {
			continue
		}
		d.add(`<text class="tick" x="%s" y="%d" text-anchor="%s">%s</text>`, coordinate(at.x), bottom+18, at.anchor, html.EscapeString(d.Labels[at.i]))
	}
}

// lines draws each series where it has values; one that stands alone is a dot.
func (d *drawing) lines(scale float64) {
	for n, s := range d.Series {
		var path, dots strings.Builder
		for i := range d.Labels {
			if !finite(s.at(i)) {
				continue
			}
			x, y := coordinate(d.x(i)), coordinate(d.y(s.at(i), scale))
			before, after := i > 0 && finite(s.at(i-1)), finite(s.at(i+1))
			switch {
			case !before && !after:
				fmt.Fprintf(&dots, `<circle class="fill s%d" cx="%s" cy="%s" r="3"/>`, n%seriesShown, x, y)
			case !before:
				fmt.Fprintf(&path, "M%s %s", x, y)
			default:
				fmt.Fprintf(&path, "L%s %s", x, y)
			}
		}
		if path.Len() > 0 {
			d.add(`<path class="line s%d" d="%s"/>`, n%seriesShown, path.String())
		}
		d.add("%s", dots.String())
	}
}

// columns draws a rectangle for each value above 0, none so low that it cannot be seen.
func (d *drawing) columns(scale float64) {
	groups := max(1, len(d.Series))
	if d.Kind == stacked {
		groups = 1
	}
	width := math.Min(28, d.share()*0.8/float64(groups))
	for i := range d.Labels {
		from := 0.0
		for n, s := range d.Series {
			v := s.at(i)
			if !finite(v) || v <= 0 {
				continue
			}
			x := d.x(i) - width*float64(groups)/2
			base := bottom + 0.0
			if d.Kind == stacked {
				base = d.y(from, scale)
				from += v
			} else {
				x += width * float64(n)
			}
			y := math.Min(d.y(math.Max(from, v), scale), base-1.5)
			d.add(`<rect class="fill s%d" x="%s" y="%s" width="%s" height="%s"><title>%s: %s</title></rect>`, n%seriesShown,
				coordinate(x), coordinate(y), coordinate(width), coordinate(base-y), html.EscapeString(d.Labels[i]), html.EscapeString(strings.TrimPrefix(s.Name+" "+d.unit(v), " ")))
		}
	}
}

// coordinate is short and never in exponents.
func coordinate(v float64) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.1f", v), "0"), ".")
}
