package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"time"

	"github.com/revstream/revstream/dlq-replayer/board"
	"github.com/revstream/revstream/dlq-replayer/desk"
	"github.com/revstream/revstream/pipeline/deadletter"
)

type watchCommand struct {
	Count int  `name:"count" default:"0" placeholder:"N" help:"End after so many changes, of which the present counts are the first; 0 for never." group:"Watching"`
	JSON  bool `name:"json" help:"One JSON object per change and line."`
}

const watchEvery = time.Second

// change is the counts at a moment, as JSON.
type change struct {
	At      time.Time                    `json:"at"`
	States  map[string]int               `json:"states"`
	Letters int                          `json:"letters"`
	Topics  map[string]map[string]*tally `json:"topics"`
}

// run shows the counts whenever they change, until it is interrupted. That is its end, and no failure.
func (c *watchCommand) run(ctx context.Context, con *console) error {
	if c.Count < 0 {
		return errors.New("--count must not be negative")
	}
	live := board.New(board.Config{Compile: con.compile}, con.logger, con.client, con.desk)
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	shown, last := 0, map[string]int(nil)
	for {
		err := live.Refresh(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && shown == 0:
			return err
		case err != nil:
			con.logger.WarnContext(ctx, "the counts may be old: reading the dead letters failed", "error", err)
		default:
			now := live.Stats()
			changed := !maps.Equal(now.States, last) || shown == 0
			if changed || con.width > 0 { // a terminal shows ages, too
				if err := c.show(con, now); err != nil {
					return err
				}
			}
			if changed {
				shown, last = shown+1, now.States
			}
			if shown == c.Count && c.Count > 0 {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (c *watchCommand) show(con *console, s board.Stats) error {
	now := change{At: time.Now().UTC(), States: s.States, Letters: s.Letters, Topics: map[string]map[string]*tally{}}
	for _, t := range s.Topics {
		if now.Topics[t.Topic] == nil {
			now.Topics[t.Topic] = map[string]*tally{}
		}
		now.Topics[t.Topic][t.Reason] = &tally{
			Open: t.States[desk.Open], Replayed: t.States[deadletter.Replayed], Parked: t.States[deadletter.Parked],
			Discarded: t.States[deadletter.Discarded], Undecipherable: t.States[desk.Undecipherable], OldestOpen: t.OldestOpen,
		}
	}
	switch {
	case c.JSON:
		return con.answer(now)
	case con.width > 0:
		return now.draw(con.out)
	}
	_, err := fmt.Fprintf(con.out, "%s%s\n", now.At.Format(time.RFC3339), counts(s.States))
	return err
}

// home moves a terminal's cursor to where the last picture began, and clears what is below.
const home = "\x1b[H\x1b[J"

// draw redraws the table in place.
func (n change) draw(out io.Writer) error {
	var text strings.Builder
	text.WriteString(home)
	fmt.Fprintf(&text, "%s, Ctrl-C ends\n\n", n.At.Format(time.RFC3339))
	table(&text, n.Topics, n.At)
	_, err := fmt.Fprint(out, text.String())
	return err
}
