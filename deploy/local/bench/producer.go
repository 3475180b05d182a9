package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/revstream/revstream/deploy/local/bench/meter"
	"github.com/revstream/revstream/deploy/local/bench/rig"
	"github.com/revstream/revstream/deploy/local/bench/workload"
	"github.com/revstream/revstream/deploy/local/process"
)

// The Clari document: an entry for each user and field, three values an entry, none for the last field, which holds quotas.
const (
	clariUsers  = 12_000
	clariFields = 10
	clariKinds  = "forecast,crm_total,crm_closed"
	clariEvents = clariUsers * (clariFields - 1) * 3
	clariKey    = "bench-clari-key" // opens the simulator alone
)

// exportPatience bounds an export.
const exportPatience = 5 * time.Minute

// producer measures forecast-producer on a Clari document of which everything is new, from the first acknowledged event to the
// last. The simulator makes the document while it is read, and has its share of the processors.
func (r *run) producer() measurement {
	return measurement{
		figures: []string{ProducerRate},
		setUp:   func(context.Context) error { return nil },
		measure: func(ctx context.Context) error {
			broker, err := r.rig.Broker(ctx, "broker-producer-"+strconv.Itoa(r.round+1))
			if err != nil {
				return err
			}
			if err := r.rig.Quiet(ctx); err != nil {
				return err
			}
			return errors.Join(r.export(ctx, broker, document{users: clariUsers, fields: clariFields, kinds: clariKinds, events: clariEvents, figure: ProducerRate}),
				broker.Stop(ctx), os.RemoveAll(broker.Dir))
		},
	}
}

// document is an export of which everything is new.
type document struct {
	users      int
	fields     int
	historical bool   // every week of the quarter so far, rather than the latest
	kinds      string // of value
	events     int    // that it makes
	figure     string // whose quantities are reported
}

// simulate starts a Clari that has the document, and returns the address of its API.
func (r *run) simulate(ctx context.Context, users, fields int) (*process.Process, string, error) {
	return r.rig.Simulator(ctx, "clari", []string{"CLARI_API_KEY=" + clariKey}, "--no-drift",
		"--users="+strconv.Itoa(users), "--set=Fields="+strconv.Itoa(fields))
}

// export runs the producer through one export, and counts what it has published.
func (r *run) export(ctx context.Context, broker *rig.Broker, doc document) error {
	ctx, cancel := context.WithTimeoutCause(ctx, exportPatience, fmt.Errorf("forecast-producer was not through the document after %s %s", exportPatience, r.logs()))
	defer cancel()
	sim, addr, err := r.simulate(ctx, doc.users, doc.fields)
	if err != nil {
		return err
	}
	// The API's address is the program's argument; its own address for metrics is another.
	p, metricsAddr, err := r.rig.Start(ctx, "forecast-producer", slices.Concat(broker.Env(), []string{
		"CLARI_BASE_URL=http://" + addr + "/v4", "CLARI_API_KEY=" + clariKey, "CLARI_FORECAST_IDS=forecast", "CLARI_TYPES=" + doc.kinds,
		"CLARI_QUARTERS=1", "CLARI_HISTORICAL=" + strconv.FormatBool(doc.historical), "CLARI_POLL_INTERVAL=100ms", "CLARI_INTERVAL=1h",
	}), "forecast-producer")
	if err != nil {
		return err
	}
	begun := time.Now()
	if err := r.watchExport(ctx, p, metricsAddr, doc, map[string]*process.Process{"producer": p, "broker": broker.Process, "simulator": sim}); err != nil {
		return err
	}
	r.report.add(doc.figure, "start_to_last_s", time.Since(begun).Seconds())
	r.report.add(doc.figure, "rss_mb", float64(process.PeakMemory(p.PID()))/1e6)
	ends, err := broker.Ends(ctx, workload.Forecasts.Topic)
	if err == nil && ends.Sum() != int64(doc.events) {
		err = fmt.Errorf("the figures are worth nothing: the producer published %d events of %d %s", ends.Sum(), doc.events, r.logs())
	}
	return errors.Join(err, r.rig.Stop(ctx, p), r.rig.Stop(ctx, sim))
}

// watchExport measures from the first acknowledged event that is seen to the last.
func (r *run) watchExport(ctx context.Context, p *process.Process, addr string, doc document, shares map[string]*process.Process) error {
	type look struct {
		at     time.Time
		events float64
		cpu    map[string]time.Duration
	}
	var first, last look
	err := rig.Poll(ctx, p, sampleEvery/2, func(ctx context.Context) (bool, error) {
		metrics, err := r.scraper.Scrape(ctx, addr)
		if err != nil {
			return false, nil //nolint:nilerr // it does not listen yet; whether it has ended, Poll looks
		}
		events := metrics.Sum("revstream_publish_events_total", `topic="`+workload.Forecasts.Topic+`"`)
		if events == last.events {
			return false, nil
		}
		last = look{time.Now(), events, make(map[string]time.Duration)}
		for name, share := range shares {
			if last.cpu[name], err = meter.CPU(share.PID()); err != nil {
				return false, err
			}
		}
		if first.events == 0 {
			first = last
		}
		return events >= float64(doc.events), nil
	})
	if err != nil {
		return err
	}
	events, took := last.events-first.events, last.at.Sub(first.at)
	if events == 0 {
		return errors.New("forecast-producer had all events acknowledged between two looks")
	}
	rate := events / took.Seconds()
	r.report.add(doc.figure, "", rate)
	for name := range shares {
		r.report.add(doc.figure, name+"_us_per_event", float64((last.cpu[name]-first.cpu[name]).Microseconds())/events)
	}
	r.say("%s: %.0f", doc.figure, rate)
	return nil
}
