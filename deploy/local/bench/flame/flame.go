// Package flame owns the drawing of a profile as a flame graph: an SVG that needs no program to be looked at.
package flame

import (
	"bufio"
	"cmp"
	"fmt"
	"html"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/pprof/profile"
)

// Measures of the drawing, in pixels.
const (
	width     = 1200.0
	margin    = 10.0
	rowHeight = 18
	top       = 74 // caption and legend
	letter    = 6.6
	padding   = 4.0
	tooSmall  = 0.3 // narrower frames are left out, with what is above them
)

// frame is a function with all that it calls.
type frame struct {
	name   string
	value  int64 // with what it calls
	callee map[string]*frame
}

func (f *frame) child(name string) *frame {
	c, ok := f.callee[name]
	if !ok {
		c = &frame{name: name, callee: make(map[string]*frame)}
		f.callee[name] = c
	}
	return c
}

// Render draws the samples of a type, such as "cpu" or "alloc_space": callers below, what they call above, the width a
// frame's share.
func Render(w io.Writer, p *profile.Profile, sampleType, title string) error {
	index := slices.IndexFunc(p.SampleType, func(t *profile.ValueType) bool { return t.Type == sampleType })
	if index < 0 {
		return fmt.Errorf("the profile has no samples of type %q", sampleType)
	}
	root := tree(p, index)
	if root.value <= 0 {
		return fmt.Errorf("the profile has no samples of type %q: it was taken while nothing happened", sampleType)
	}
	d := &drawing{out: bufio.NewWriter(w), unit: p.SampleType[index].Unit, total: root.value}
	height := float64(top + d.depth(root)*rowHeight + int(margin))
	d.head(title, height)
	d.draw(root, margin, height-margin-rowHeight)
	d.printf("</svg>\n")
	return d.out.Flush()
}

// tree adds the samples up by their stacks.
func tree(p *profile.Profile, index int) *frame {
	root := &frame{name: "all", callee: make(map[string]*frame)}
	for _, sample := range p.Sample {
		value := sample.Value[index]
		root.value += value
		at := root
		for _, location := range slices.Backward(sample.Location) { // the leaf is first
			for _, line := range slices.Backward(location.Line) { // as is what was inlined
				if line.Function != nil {
					at = at.child(line.Function.Name)
					at.value += value
				}
			}
		}
	}
	return root
}

type drawing struct {
	out   *bufio.Writer // whose error Flush tells
	unit  string
	total int64
}

func (d *drawing) printf(format string, args ...any) { fmt.Fprintf(d.out, format, args...) }

func (d *drawing) wide(f *frame) float64 {
	return (width - 2*margin) * float64(f.value) / float64(d.total)
}

// depth in rows of what is drawn.
func (d *drawing) depth(f *frame) int {
	deepest := 0
	for _, c := range f.callee {
		if d.wide(c) >= tooSmall {
			deepest = max(deepest, d.depth(c))
		}
	}
	return 1 + deepest
}

func (d *drawing) head(title string, height float64) {
	d.printf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" font-family="Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="11">
<rect width="100%%" height="100%%" fill="#ffffff"/>
<text x="%.0f" y="24" font-size="16" font-family="Helvetica,Arial,sans-serif" fill="#222222">%s</text>
<text x="%.0f" y="42" font-family="Helvetica,Arial,sans-serif" fill="#666666">total %s; callers below, the width is the share with all that a function calls</text>
`, width, height, width, height, margin, html.EscapeString(title), margin, d.amount(d.total))
	x := margin
	for _, o := range owners {
		d.printf(`<rect x="%.1f" y="52" width="10" height="10" fill="%s"/><text x="%.1f" y="61" fill="#444444">%s</text>
`, x, o.colour, x+14, o.label)
		x += 14 + letter*float64(len(o.label)) + 22
	}
}

// draw draws a frame and what it calls above it, the largest first: of two profiles the same things are in the same places.
func (d *drawing) draw(f *frame, x, y float64) {
	w := d.wide(f)
	share := 100 * float64(f.value) / float64(d.total)
	d.printf(`<g><title>%s: %s, %.2f %%</title><rect x="%.2f" y="%.0f" width="%.2f" height="%d" rx="1.5" fill="%s"/>`,
		html.EscapeString(f.name), d.amount(f.value), share, x, y, max(w-0.5, 0.2), rowHeight-1, colour(f.name))
	if text := label(f.name, w-2*padding); text != "" {
		d.printf(`<text x="%.2f" y="%.0f" fill="#111111">%s</text>`, x+padding, y+12, html.EscapeString(text))
	}
	d.printf("</g>\n")
	callees := make([]*frame, 0, len(f.callee))
	for _, c := range f.callee {
		if d.wide(c) >= tooSmall {
			callees = append(callees, c)
		}
	}
	slices.SortFunc(callees, func(a, b *frame) int {
		return cmp.Or(cmp.Compare(b.value, a.value), strings.Compare(a.name, b.name))
	})
	for _, c := range callees {
		d.draw(c, x, y-rowHeight)
		x += d.wide(c)
	}
}

// amount writes a value with its unit.
func (d *drawing) amount(n int64) string {
	switch d.unit {
	case "nanoseconds":
		return time.Duration(n).Round(time.Millisecond).String()
	case "bytes":
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%d %s", n, d.unit)
}

// short is a function's name without the path of its package, but with its package, and without the types that it is made for.
func short(name string) string {
	if at := strings.IndexByte(name, '['); at >= 0 {
		if end := strings.LastIndexByte(name, ']'); end > at {
			name = name[:at] + name[end+1:]
		}
	}
	return name[strings.LastIndexByte(name, '/')+1:]
}

// anonymous is how a name ends of a function that has none: it says within which it is.
var anonymous = regexp.MustCompile(`(\.(func|gowrap)?[0-9]+)+$`)

// label is the most of a function's name that has so many pixels: with its package, without, or cut. A few letters say nothing.
func label(function string, pixels float64) string {
	name, room := short(function), int(pixels/letter)
	own := name[strings.LastIndexByte(anonymous.ReplaceAllString(name, ""), '.')+1:]
	switch {
	case room < 3:
		return ""
	case len([]rune(name)) <= room:
		return name
	case len([]rune(own)) <= room:
		return own
	}
	return string([]rune(own)[:room-1]) + "…"
}
