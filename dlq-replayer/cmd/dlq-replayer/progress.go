package main

import (
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/revstream/revstream/dlq-replayer/desk"
)

// logEvery is the time between two lines of progress where there is no terminal.
const logEvery = 10 * time.Second

// progress shows how far a run has come: with a bar on a terminal, with a line in the log now and then elsewhere.
type progress struct {
	action desk.Action
	logger *slog.Logger
	err    io.Writer
	bar    *progressbar.ProgressBar // nil without a terminal
	told   time.Time
}

func newProgress(c *console, action desk.Action, total int) *progress {
	p := &progress{action: action, logger: c.logger, err: c.err, told: time.Now()}
	if !c.terminal {
		return p
	}
	if total == 0 {
		total = -1 // a spinner
	}
	p.bar = progressbar.NewOptions(total, progressbar.OptionSetWriter(c.err), progressbar.OptionSetDescription(string(action)),
		progressbar.OptionFullWidth(), progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("letters"),
		progressbar.OptionSetPredictTime(true), progressbar.OptionThrottle(100*time.Millisecond))
	return p
}

func (p *progress) show(r desk.Report) {
	if p.bar != nil {
		p.bar.Describe(fmt.Sprintf("%s (parked %d, skipped %d, failed %d, came back %d)",
			p.action, r.Parked, r.Skipped.Letters, r.Failed.Letters, r.Returned))
		_ = p.bar.Set(r.Done + r.Parked + r.Skipped.Letters + r.Failed.Letters) // of a terminal that is gone nobody can be told
		return
	}
	if time.Since(p.told) < logEvery {
		return
	}
	p.told = time.Now()
	p.logger.Info("progress", "action", string(p.action), "run_id", r.RunID, "done", r.Done, "parked", r.Parked,
		"skipped", r.Skipped.Letters, "failed", r.Failed.Letters, "judged", r.Judged, "returned", r.Returned)
}

// end leaves the terminal's line to what comes next.
func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Exit() // likewise
		fmt.Fprintln(p.err)
	}
}
