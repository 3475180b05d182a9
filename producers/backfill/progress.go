package backfill

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress shows how far it has come: with a bar on a terminal, with a line now and then elsewhere.
type progress struct {
	out      io.Writer
	terminal bool
	now      func() time.Time

	every       time.Duration // between two lines, where there is no terminal
	unit        string        // of what is counted: "exports"
	total       int64         // 0 if it is not known
	done, begun int64         // begun is what was done before this process
	since, told time.Time
	bar         *progressbar.ProgressBar // nil without a terminal
}

// begin says how much there is to do, and how much of it was done before.
func (p *progress) begin(unit string, done, total int64) {
	p.unit, p.total, p.done, p.begun, p.since = unit, total, done, done, p.now()
	if !p.terminal {
		return
	}
	size := total
	if size == 0 {
		size = -1 // a spinner
	}
	p.bar = progressbar.NewOptions64(size, progressbar.OptionSetWriter(p.out), progressbar.OptionSetDescription(unit),
		progressbar.OptionFullWidth(), progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(true),
		progressbar.OptionSetElapsedTime(true), progressbar.OptionThrottle(100*time.Millisecond))
	_ = p.bar.Set64(done) // of a terminal that is gone nobody can be told
}

// next says what is being done now, which may take minutes.
func (p *progress) next(what string) {
	if p.bar != nil {
		p.bar.Describe(p.unit + " (" + what + ")")
		return
	}
	fmt.Fprintf(p.out, "%s\n", what)
}

// at says how much is done. detail is what of, for a line.
func (p *progress) at(done int64, detail string) {
	p.done = done
	if p.bar != nil {
		_ = p.bar.Set64(done) // likewise
		p.bar.Describe(p.unit + " (" + detail + ")")
		return
	}
	now := p.now()
	if done < p.total && now.Sub(p.told) < p.every {
		return
	}
	p.told = now
	line := fmt.Sprintf("%d of %d %s", done, p.total, p.unit)
	if p.total == 0 {
		line = fmt.Sprintf("%d %s", done, p.unit)
	}
	fmt.Fprintf(p.out, "%s: %s%s\n", line, detail, p.left(now))
}

// left tells how long the rest takes if it goes on as it went in this process.
func (p *progress) left(now time.Time) string {
	here, rest := p.done-p.begun, p.total-p.done
	if here <= 0 || rest <= 0 {
		return ""
	}
	left := time.Duration(float64(now.Sub(p.since)) / float64(here) * float64(rest))
	return fmt.Sprintf(", about %s left", left.Round(time.Second))
}

// end leaves the terminal's line to what comes next.
func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Exit() // likewise
		fmt.Fprintln(p.out)
	}
}
