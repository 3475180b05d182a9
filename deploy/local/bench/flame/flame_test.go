package flame_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/google/pprof/profile"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/revstream/revstream/deploy/local/bench/flame"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// made is a profile of stacks, each from its leaf to its root.
func made(stacks map[string]int64) *profile.Profile {
	p := &profile.Profile{SampleType: []*profile.ValueType{{Type: "samples", Unit: "count"}, {Type: "cpu", Unit: "nanoseconds"}}}
	locations := make(map[string]*profile.Location)
	for stack, value := range stacks {
		sample := &profile.Sample{Value: []int64{1, value}}
		for name := range strings.SplitSeq(stack, ";") {
			if locations[name] == nil {
				// inlined|outer is two functions at one place.
				location := &profile.Location{ID: uint64(len(locations) + 1)}
				for inlined := range strings.SplitSeq(name, "|") {
					location.Line = append(location.Line, profile.Line{Function: &profile.Function{Name: inlined}})
				}
				locations[name] = location
			}
			sample.Location = append(sample.Location, locations[name])
		}
		p.Sample = append(p.Sample, sample)
	}
	return p
}

// drawn are the frames of a drawing: title, place and width.
type drawn struct {
	Title string `xml:"title"`
	Rect  struct {
		X     string `xml:"x,attr"`
		Y     string `xml:"y,attr"`
		Width string `xml:"width,attr"`
	} `xml:"rect"`
	Text string `xml:"text"`
}

func number(t *testing.T, text string) float64 {
	t.Helper()
	n, err := strconv.ParseFloat(text, 64)
	require.NoError(t, err)
	return n
}

func render(t *testing.T, p *profile.Profile) map[string]drawn {
	t.Helper()
	var svg bytes.Buffer
	require.NoError(t, flame.Render(&svg, p, "cpu", `<"speed" & more>`))
	var doc struct {
		Frames []drawn  `xml:"g"`
		Text   []string `xml:"text"`
	}
	require.NoError(t, xml.Unmarshal(svg.Bytes(), &doc), svg.String())
	require.Equal(t, `<"speed" & more>`, doc.Text[0])
	frames := make(map[string]drawn)
	for _, f := range doc.Frames {
		name, _, _ := strings.Cut(f.Title, ": ")
		frames[name] = f
	}
	return frames
}

func TestWidthsAddUp(t *testing.T) {
	t.Parallel()
	frames := render(t, made(map[string]int64{
		"leaf;work;main.run":       600e6,
		"other;work;main.run":      200e6,
		"inner|outer;main.run":     100e6,
		"runtime.gcBgMarkWorker":   90e6,
		"tiny;runtime.sysmon;main": 1e3,
		"work;main":                10e6,
	}))
	width := func(name string) float64 { return number(t, frames[name].Rect.Width) + 0.5 }
	require.InDelta(t, 1180, width("all"), 0.1)
	require.InDelta(t, 0.9*1180, width("main.run"), 0.1)
	require.InDelta(t, width("main.run"), width("leaf")+width("other")+width("outer"), 0.1)
	require.InDelta(t, width("outer"), width("inner"), 0.01)
	require.Equal(t, "main.run: 900ms, 90.00 %", frames["main.run"].Title)
	require.NotContains(t, frames, "tiny", "too narrow to be seen")
	require.Equal(t, "main.run", frames["main.run"].Text)

	y := func(name string) float64 { return number(t, frames[name].Rect.Y) }
	require.Less(t, y("main.run"), y("all"), "what is called is above")
	require.Less(t, y("inner"), y("outer"))
	require.InDelta(t, y("leaf"), y("other"), 0)
	x := func(name string) float64 { return number(t, frames[name].Rect.X) }
	require.InDelta(t, x("leaf")+width("leaf"), x("other"), 0.1, "side by side, the larger first")
}

func TestNamesAreEscapedAndCut(t *testing.T) {
	t.Parallel()
	const inner, runs = "github.com/revstream/revstream/pipeline/consume.(*Loop).fetch.func1.2", "main.run"
	frames := render(t, made(map[string]int64{inner + ";" + runs: 10, runs: 90}))
	require.Equal(t, "fetch.func1.2", frames[inner].Text, "without package and receiver")

	const generic = `github.com/revstream/revstream/pipeline/table.Of[go.shape.*uint8,"a"&<b>].func1`
	frames = render(t, made(map[string]int64{generic: 10, "path/to/pkg.averageLongName;main": 1, "pkg.(*T).veryVeryLongMethodNameIndeed;main": 1, "x;main": 88}))
	require.Equal(t, "table.Of.func1", frames[generic].Text, "without path and types; the title has them")
	require.Less(t, len(frames["pkg.(*T).veryVeryLongMethodNameIndeed"].Text), 12)
}

func TestAProfileOfNothingIsAnError(t *testing.T) {
	t.Parallel()
	require.ErrorContains(t, flame.Render(io.Discard, made(nil), "cpu", ""), "while nothing happened")
	require.ErrorContains(t, flame.Render(io.Discard, made(nil), "alloc_space", ""), "alloc_space")
	full := errors.New("the disk is full")
	require.ErrorIs(t, flame.Render(failing{full}, made(map[string]int64{"main": math.MaxInt32}), "cpu", ""), full)
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
