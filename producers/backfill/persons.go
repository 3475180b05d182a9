package backfill

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/revstream/revstream/producers/people"
	"github.com/revstream/revstream/producers/salesloft"
	"github.com/revstream/revstream/schemas/exportrun"
)

// Persons reads people again by when they were changed. Who was changed since has left the range: the live producer has that
// change. Going on after an interruption reads those again who were changed at the very time that it had come to, and counts
// them again: their events have the IDs that they had.
type Persons struct {
	Producer *people.Producer  // on a client that makes room for everybody else in the team's budget
	Client   *salesloft.Client // of the Producer
	BaseURL  string
	// PointsPerMinute is what the client spends at most.
	PointsPerMinute int
}

// Settings implements Source.
func (p *Persons) Settings() map[string]string {
	return map[string]string{"SALESLOFT_BASE_URL": p.BaseURL}
}

func (p *Persons) estimate(ctx context.Context, r *record, out io.Writer) error {
	start, err := time.Parse(time.DateOnly, r.Start)
	if err != nil {
		return err
	}
	rows, err := p.Client.Count(ctx, start, r.Until)
	if err != nil {
		return err
	}
	points := rows/salesloft.MaxPageSize + 1
	fmt.Fprintf(out, "would read %d people, in %d requests for %d points of the team's budget: at least %s at %d points a minute\n",
		rows, points, points, (time.Duration(points) * time.Minute / time.Duration(p.PointsPerMinute)).Round(time.Second), p.PointsPerMinute)
	fmt.Fprintln(out, "nothing was asked for but this count, nothing was published")
	return nil
}

func (p *Persons) run(ctx context.Context, r *record, show *progress, save func() error) error {
	from, err := time.Parse(time.DateOnly, r.Start)
	if err != nil {
		return err
	}
	if r.Cursor != nil {
		from = *r.Cursor
	}
	rest, err := p.Client.Count(ctx, from, r.Until)
	if err != nil {
		return err
	}
	before := r.Counts
	show.every = 10 * time.Second
	show.begin("people", before.Rows, before.Rows+int64(rest))
	return p.Producer.SyncRange(ctx, from, r.Until, func(done people.Progress) error {
		r.Counts = before.plus(Counts{Rows: done.Rows, Published: done.Published, Unchanged: done.Unchanged, Rejected: done.Rejected})
		cursor := done.Cursor.UTC()
		r.Cursor = &cursor
		if err := save(); err != nil {
			return err
		}
		show.at(r.Rows, "up to "+cursor.Format(time.DateTime))
		return nil
	})
}

func (p *Persons) summarize(_ *record, run *exportrun.ExportRun) { run.Source = "salesloft" }
