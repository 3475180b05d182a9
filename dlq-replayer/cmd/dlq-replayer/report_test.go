package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/dlq-replayer/desk"
	"github.com/revstream/revstream/pipeline/deadletter"
)

func TestHowARunThatEndedEarlyIsTold(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	c := &console{out: &out}
	report := desk.Report{RunID: "run-1", Done: 3, Judged: 3, Returned: 2, Failed: desk.Setback{Letters: 1, Why: map[string]*desk.Cause{"too large": {Letters: 1, First: id(7)}}}}

	report.Status, report.Note = deadletter.Stopped, "2 of 3 came back"
	err := c.ended(desk.Replay, report, errors.New("x"), false)
	require.EqualError(t, err, "stopped: 2 of 3 came back; once the cause is mended, dlq-replayer resume run-1 --reason=TEXT goes on")
	require.Equal(t, "failed 1, such as revenue.people.v1/0/7: too large\n3 of them were consumed by now, of which 2 came back\n"+
		"replayed=3 parked=0 skipped=0 failed=1 run=run-1\n", out.String())

	report.Status = deadletter.Interrupted
	err = c.ended(desk.Replay, report, fmt.Errorf("run run-1: %w", desk.ErrOvertaken), false)
	require.ErrorIs(t, err, desk.ErrOvertaken)
	require.ErrorContains(t, err, "what was done stays, and dlq-replayer resume run-1 --reason=TEXT goes on")
	err = c.ended(desk.Replay, desk.Report{}, &desk.BusyError{}, false)
	require.ErrorAs(t, err, new(*desk.BusyError))

	report.Status = deadletter.Done
	require.ErrorContains(t, c.ended(desk.Replay, report, nil, true), "1 of 4 selected letters")
}

func TestProgress(t *testing.T) {
	t.Parallel()
	var out, log bytes.Buffer
	c := &console{err: &out, logger: slog.New(slog.NewTextHandler(&log, nil))}
	report := desk.Report{RunID: "run-1", Done: 5, Parked: 2, Skipped: desk.Setback{Letters: 3}}

	p := newProgress(c, desk.Replay, 10)
	p.show(report)
	require.Empty(t, log.String(), "a line in ten seconds is enough")
	p.told = time.Now().Add(-logEvery)
	p.show(report)
	p.show(report)
	p.end()
	require.Regexp(t, `^[^\n]*msg=progress action=replay run_id=run-1 done=5 parked=2 skipped=3[^\n]*\n$`, log.String())
	require.Empty(t, out.String())

	c.terminal = true
	log.Reset()
	p = newProgress(c, desk.Replay, 10)
	p.show(report)
	p.end()
	require.Contains(t, out.String(), "replay (parked 2, skipped 3, failed 0, came back 0)")
	require.Contains(t, out.String(), "100%")
	require.Empty(t, log.String())
}

// TestTheRunToResume is the only one that can be, if none is named.
func TestTheRunToResume(t *testing.T) {
	t.Parallel()
	run := func(id, action, status string) deadletter.Run {
		return deadletter.Run{ID: id, Action: action, Status: status, By: "ops"}
	}
	runs := []deadletter.Run{
		run("1", deadletter.Replayed, deadletter.Done), run("2", deadletter.Exported, deadletter.Interrupted), run("3", deadletter.Imported, deadletter.Interrupted),
		run("4", deadletter.Parked, deadletter.Stopped), run("5", deadletter.Replayed, deadletter.Interrupted),
	}
	picked, err := new(resumeCommand).pick(runs)
	require.NoError(t, err)
	require.Equal(t, "5", picked.ID)
	picked, err = (&resumeCommand{ID: "4"}).pick(runs)
	require.NoError(t, err)
	require.Equal(t, "4", picked.ID)
	_, err = new(resumeCommand).pick(append(runs, run("6", deadletter.Discarded, deadletter.Running)))
	require.ErrorContains(t, err, "2 runs were interrupted, give the ID of one:\n5 replay by ops at ")
	require.ErrorContains(t, err, "\n6 discard by ops at ")
	_, err = new(resumeCommand).pick(runs[:4])
	require.ErrorContains(t, err, "no run was interrupted")
}
