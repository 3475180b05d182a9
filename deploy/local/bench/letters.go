package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/deploy/local/bench/rig"
	"github.com/revstream/revstream/deploy/local/bench/workload"
	"github.com/revstream/revstream/deploy/local/process"
	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/kafkaclient"
	"github.com/revstream/revstream/pipeline/snapshot"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/event"
	peopleschema "github.com/revstream/revstream/schemas/people"
)

const (
	letters = 1_000_000
	decided = letters / 4 // of them, when they are listed
	rare    = 100         // one of so many is of the reason that is looked for

	rareReason = "validation"
)

// letters measures dlq-replayer on 1,000,000 dead letters of people. Once a run: nothing is compared with it.
func (r *run) letters() measurement {
	return measurement{
		figures: []string{ReplayRate, ReplayRSS, ListFirst},
		long:    true,
		setUp:   func(context.Context) error { return nil },
		measure: func(ctx context.Context) error {
			if r.round > 0 {
				return nil
			}
			broker, err := r.rig.Broker(ctx, "broker-letters")
			if err != nil {
				return err
			}
			if err := r.rig.Quiet(ctx); err != nil {
				return err
			}
			return errors.Join(r.desk(ctx, broker), broker.Stop(ctx), os.RemoveAll(broker.Dir))
		},
	}
}

func (r *run) desk(ctx context.Context, broker *rig.Broker) error {
	client, err := kafkaclient.New(kafkaclient.Config{Brokers: []string{broker.Addr}, ClientID: "bench-letters"}, r.logger, nil)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := r.deadLetter(ctx, broker, client); err != nil {
		return err
	}
	if _, err := r.act(ctx, broker, "park", fmt.Sprintf("--limit=%d", decided)); err != nil {
		return err
	}
	if err := r.firstRow(ctx, broker); err != nil {
		return err
	}
	if _, err := r.act(ctx, broker, "unpark"); err != nil {
		return err
	}
	begun := time.Now()
	peak, err := r.act(ctx, broker, "replay")
	if err != nil {
		return err
	}
	rate := letters / time.Since(begun).Seconds()
	r.report.add(ReplayRate, "", rate)
	rss := float64(peak) / 1e6
	r.report.add(ReplayRSS, "", rss)
	r.say("%s: %.0f, %s: %.0f", ReplayRate, rate, ReplayRSS, rss)
	return replayedOnce(ctx, client)
}

// deadLetter publishes people and makes a dead letter of each.
func (r *run) deadLetter(ctx context.Context, broker *rig.Broker, client *kgo.Client) error {
	events := workload.Events(0, letters, func(i int) (*peopleschema.Person, error) { return workload.Person(i, workload.Version(i)) })
	if err := workload.Publish(ctx, broker.Target(), workload.People, r.logger, events); err != nil {
		return err
	}
	writer := deadletter.NewWriter(client, "revstream-people", "bench")
	var failed atomic.Pointer[error]
	n, begun := 0, time.Now()
	err := snapshot.Read(ctx, client, schemas.PeopleTopic, func(rec *kgo.Record) error {
		reason := "sink_rejected"
		if n++; n%rare == 0 {
			reason = rareReason
		}
		letter := writer.Record(consume.Poison{Record: rec, Stage: consume.StageSink, Reason: reason, Message: "column updated_at: refused", Failed: begun})
		client.Produce(ctx, letter, func(_ *kgo.Record, err error) {
			if err != nil {
				failed.Store(&err)
			}
		})
		return nil
	})
	if err = errors.Join(err, client.Flush(ctx)); err == nil && failed.Load() != nil {
		err = *failed.Load()
	}
	if err != nil {
		return fmt.Errorf("writing dead letters: %w", err)
	}
	r.report.add(ReplayRate, "plainly_produced_per_s", letters/time.Since(begun).Seconds())
	r.say("%d dead letters are there", letters)
	return nil
}

// act has the replayer do something to all letters, or as many as its last arguments say, checks that it did, and returns
// its peak of memory in bytes.
func (r *run) act(ctx context.Context, broker *rig.Broker, action string, args ...string) (peak int64, err error) {
	cmd := r.rig.Command(ctx, broker.Env(), "dlq-replayer", append([]string{action, "--topic=" + schemas.PeopleTopic, "--yes", "--reason=bench", "--json"}, args...)...)
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	if err := cmd.Start(); err != nil {
		return 0, rig.Ended("dlq-replayer", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	// What the system says of a process that has ended includes this one, which it was forked from.
	ticker := time.NewTicker(sampleEvery)
	defer ticker.Stop()
	for running := true; running; {
		select {
		case <-ticker.C:
			peak = max(peak, process.PeakMemory(cmd.Process.Pid))
		case err = <-ended:
			running = false
		}
	}
	if err != nil {
		return 0, fmt.Errorf("%w: %s", rig.Ended("dlq-replayer "+action, err), bytes.TrimSpace(log.Bytes()))
	}
	var report struct {
		Done            int
		Skipped, Failed []json.RawMessage
	}
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		return 0, fmt.Errorf("reading what dlq-replayer %s says: %w", action, err)
	}
	if report.Done != letters && report.Done != decided || len(report.Skipped)+len(report.Failed) > 0 {
		return 0, fmt.Errorf("the figures are worth nothing: dlq-replayer %s says %s", action, out.Bytes())
	}
	return peak, nil
}

// firstRow measures from the start of the program to the first letter that it lists, and lets it end.
func (r *run) firstRow(ctx context.Context, broker *rig.Broker) error {
	cmd := r.rig.Command(ctx, broker.Env(), "dlq-replayer", "list", "--json", "--class="+rareReason)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return rig.Ended("dlq-replayer list", err)
	}
	rows := bufio.NewReader(out)
	_, err = rows.ReadBytes('\n')
	first := time.Since(begun).Seconds()
	n := 1
	for err == nil {
		if _, err = rows.ReadBytes('\n'); err == nil {
			n++
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if err := errors.Join(err, rig.Ended("dlq-replayer list", cmd.Wait())); err != nil {
		return err
	}
	if n < (letters-decided)/rare-1 || n > letters/rare {
		return fmt.Errorf("the figures are worth nothing: %d letters were listed", n)
	}
	r.report.add(ListFirst, "", first)
	r.report.add(ListFirst, "all_s", time.Since(begun).Seconds())
	r.say("%s: %.2f", ListFirst, first)
	return nil
}

// replayedOnce reads the topic: beside each event that was published lies the same one, replayed.
func replayedOnce(ctx context.Context, client *kgo.Client) error {
	type place struct {
		partition int32
		offset    int64
	}
	published, twice, example := 0, 0, ""
	replayed := make(map[string]place, letters)
	err := snapshot.Read(ctx, client, schemas.PeopleTopic, func(rec *kgo.Record) error {
		id, again := "", false
		for _, h := range rec.Headers {
			switch h.Key {
			case event.HeaderID:
				id = string(h.Value)
			case "dlq-replay-id":
				again = true
			}
		}
		if !again {
			published++
			return nil
		}
		at := place{rec.Partition, rec.Offset}
		if first, ok := replayed[id]; ok {
			twice++
			example = fmt.Sprintf(", such as %s at %v and at %v", id, first, at)
		}
		replayed[id] = at
		return nil
	})
	if err == nil && (published != letters || len(replayed) != letters || twice > 0) {
		err = fmt.Errorf("the figures are worth nothing: of %d letters %d were replayed, %d times more than once%s", letters, len(replayed), twice, example)
	}
	return err
}
