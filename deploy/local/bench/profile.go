package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/google/pprof/profile"

	"github.com/revstream/revstream/deploy/local/bench/flame"
	"github.com/revstream/revstream/deploy/local/bench/rig"
	"github.com/revstream/revstream/deploy/local/bench/workload"
	"github.com/revstream/revstream/deploy/local/process"
)

// ProfileConfig says what to profile.
type ProfileConfig struct {
	Events  int `name:"events" default:"1000000" help:"Forecast events in the topic."`
	Seconds int `name:"seconds" default:"4" help:"Length of the CPU profile. The consumer must be busy for longer: more needs more --events."`

	Out     string `name:"out" default:"build/profile" type:"path" help:"Folder for the profiles."`
	Dir     string `name:"dir" default:"build/bench" type:"path" help:"Folder of the run's data and logs; emptied first."`
	BinDir  string `kong:"-"` // programs
	ChdbLib string `name:"chdb-lib" env:"CHDB_LIB" placeholder:"FILE" help:"Library of the embedded ClickHouse, where it is not found by itself."`
}

// drawings are the flame graphs of a profile run: of which profile's samples, under what title.
var drawings = []struct{ profile, samples, svg, title string }{
	{"consumer-cpu.pprof", "cpu", "consumer-cpu.svg", "forecast-consumer at full speed: processor time"},
	{"consumer-allocs.pprof", "alloc_space", "consumer-allocs.svg", "forecast-consumer at full speed: bytes allocated"},
}

// Profile takes profiles of a consumer at full speed and draws them.
func Profile(ctx context.Context, cfg ProfileConfig, logger *slog.Logger, out io.Writer) (err error) {
	if cfg.Seconds <= 0 {
		return errors.New("--seconds must be positive")
	}
	r, err := open(ctx, Config{Rounds: 1, Events: cfg.Events, Dir: cfg.Dir, BinDir: cfg.BinDir, ChdbLib: cfg.ChdbLib}, logger, out)
	if r != nil {
		defer func() { err = errors.Join(err, r.close()) }()
	}
	if err != nil {
		return err
	}
	topic, err := load(ctx, r, "forecasts", workload.Forecasts, cfg.Events, timely(workload.Forecast))
	if err != nil {
		return err
	}
	n := topic.records
	taken := make(map[string][]byte)
	result, err := r.consume(ctx, consumption{topic: topic, env: []string{"PPROF=true"}, want: rows{n, n, n},
		beside: func(ctx context.Context, p *process.Process, _ time.Time, addr string) error {
			return r.takeProfiles(ctx, p, addr, cfg.Seconds, n, taken)
		}})
	if err != nil {
		return err
	}
	r.say("%.0f events/s while profiled, µs an event: consumer %.2f, broker %.2f, engine %.2f", result.rate, result.cpu.consumer, result.cpu.broker, result.cpu.engine)
	return draw(taken, cfg.Out, fmt.Sprintf("%.0f events/s, revstream %s", result.rate, r.report.Machine.Commit), out)
}

// takeProfiles waits until the consumer is at work, and takes the CPU profile; that of allocations is of its whole life.
func (r *run) takeProfiles(ctx context.Context, p *process.Process, addr string, seconds int, records int64, taken map[string][]byte) error {
	done := func(least float64) func(context.Context) (bool, error) {
		return func(ctx context.Context) (bool, error) {
			metrics, err := r.scraper.Scrape(ctx, addr)
			return err == nil && metrics.Sum("revstream_consume_records_total", `topic="`+workload.Forecasts.Topic+`"`) >= least, nil
		}
	}
	if err := rig.Poll(ctx, p, sampleEvery, done(1)); err != nil {
		return err
	}
	var err error
	if taken["consumer-cpu.pprof"], err = fetch(ctx, "http://"+addr+"/debug/pprof/profile?seconds="+strconv.Itoa(seconds)); err != nil {
		return err
	}
	if through, _ := done(float64(records))(ctx); through {
		return errors.New("the consumer was through before the profile's end: take more --events or fewer --seconds")
	}
	taken["consumer-allocs.pprof"], err = fetch(ctx, "http://"+addr+"/debug/pprof/allocs")
	return err
}

func fetch(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("taking a profile: %w", err)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return nil, fmt.Errorf("taking a profile: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %s", resp.StatusCode, bytes.TrimSpace(body))
	}
	if err != nil {
		return nil, fmt.Errorf("taking a profile: %w", err)
	}
	return body, nil
}

// draw writes the profiles and their flame graphs.
func draw(taken map[string][]byte, dir, title string, out io.Writer) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making the folder of the profiles: %w", err)
	}
	for _, d := range drawings {
		p, err := profile.ParseData(taken[d.profile])
		if err != nil {
			return fmt.Errorf("reading %s: %w", d.profile, err)
		}
		var svg bytes.Buffer
		if err := flame.Render(&svg, p, d.samples, d.title+", "+title); err != nil {
			return err
		}
		for name, content := range map[string][]byte{d.profile: taken[d.profile], d.svg: svg.Bytes()} {
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, content, 0o644); err != nil {
				return fmt.Errorf("writing a profile: %w", err)
			}
			fmt.Fprintln(out, path)
		}
	}
	return nil
}
