package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/revstream/revstream/deploy/local/bench/meter"
	"github.com/revstream/revstream/deploy/local/bench/rig"
	"github.com/revstream/revstream/deploy/local/bench/workload"
	"github.com/revstream/revstream/deploy/local/process"
	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/schemas/event"
)

const (
	freshRate = 5000 // events a second
	warmUp    = 2000 // events before the first that counts: the consumer has its partitions then
	lookEvery = 20 * time.Millisecond
	// freshFrom is the number of the first event: keys of their own.
	freshFrom = 20_000_000
)

// freshness measures how long events take from publish to visible while they come evenly.
func (r *run) freshness() measurement {
	return measurement{
		figures: []string{FreshnessP50, FreshnessP99},
		setUp:   func(context.Context) error { return nil },
		measure: func(ctx context.Context) (err error) {
			if err := r.clear(ctx, workload.Forecasts, "current", "history", "ledger"); err != nil {
				return err
			}
			broker, err := r.rig.Broker(ctx, "broker-fresh-"+strconv.Itoa(r.round+1))
			if err != nil {
				return err
			}
			p, addr, err := r.rig.Start(ctx, "forecast-consumer", broker.Env(), "forecast-consumer")
			if err != nil {
				return err
			}
			seconds, err := r.latencies(ctx, broker, p)
			if err != nil {
				return err
			}
			if err := r.addFreshness(ctx, addr, seconds); err != nil {
				return err
			}
			if err := r.rig.Stop(ctx, p); err != nil {
				return err
			}
			n := int64(warmUp + len(seconds))
			if err := r.check(ctx, workload.Forecasts, rows{n, n, n}); err != nil {
				return err
			}
			return errors.Join(broker.Stop(ctx), os.RemoveAll(broker.Dir))
		},
	}
}

func (r *run) addFreshness(ctx context.Context, addr string, seconds []float64) error {
	metrics, err := r.scraper.Scrape(ctx, addr)
	if err != nil {
		return err
	}
	p50, p99 := meter.Quantile(seconds, 0.5), meter.Quantile(seconds, 0.99)
	r.report.add(FreshnessP50, "", p50)
	r.report.add(FreshnessP99, "", p99)
	r.report.add(FreshnessP50, "max_s", slices.Max(seconds))
	r.report.add(FreshnessP50, "min_s", slices.Min(seconds))
	inserts := metrics.Sum("revstream_clickhousesink_insert_seconds_count", `entity="forecast"`)
	r.report.add(FreshnessP50, "inserts_per_1m_events", inserts/float64(warmUp+len(seconds))*1e6)
	r.say("freshness of %d events: p50 %.3f s, p99 %.3f s, max %.3f s", len(seconds), p50, p99, slices.Max(seconds))
	return nil
}

// latencies publishes events evenly and returns how long each took, in seconds.
func (r *run) latencies(ctx context.Context, broker *rig.Broker, p *process.Process) ([]float64, error) {
	publish := func(ctx context.Context, from, to int, opts ...kgo.Opt) error {
		return workload.Publish(ctx, broker.Target(), workload.Forecasts, r.logger, evenly(ctx, from, to, timely(workload.Forecast)), opts...)
	}
	if err := publish(ctx, freshFrom, freshFrom+warmUp); err != nil {
		return nil, err
	}
	visible := func(n int64) func(context.Context) (bool, error) {
		return func(ctx context.Context) (bool, error) {
			rows, err := r.ledgerRows(ctx)
			return rows >= n, err
		}
	}
	if err := rig.Poll(ctx, p, lookEvery, visible(warmUp)); err != nil {
		return nil, err
	}
	n := int(r.size.fresh.Seconds() * freshRate)
	published, seen := new(publications), new(views)
	group, both := errgroup.WithContext(ctx)
	group.Go(func() error {
		return publish(both, freshFrom+warmUp, freshFrom+warmUp+n, kgo.WithHooks(published))
	})
	group.Go(func() error {
		return rig.Poll(both, p, lookEvery, func(ctx context.Context) (bool, error) {
			total, err := seen.look(ctx, r.rig)
			return total >= int64(warmUp+n), err
		})
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return seen.latencies(published)
}

// evenly makes events at the rate, none before it is due.
func evenly[E event.Event](ctx context.Context, from, to int, make func(int) (E, error)) func(func(event.Event, error) bool) {
	return func(yield func(event.Event, error) bool) {
		begun := time.Now()
		for e, err := range workload.Events(from, to, make) {
			if err == nil {
				err = resilience.Sleep(ctx, time.Until(begun))
			}
			begun = begun.Add(time.Second / freshRate)
			if !yield(e, err) {
				return
			}
		}
	}
}

// place is where a record is in the topic.
type place struct {
	partition int32
	offset    int64
}

// publications are the times at which records were published, by their place, which a client learns with the answer.
type publications struct {
	mu    sync.Mutex
	times map[place]time.Time
}

// OnProduceRecordUnbuffered implements kgo.HookProduceRecordUnbuffered. A record's time is when it was given to the client,
// rounded down to a millisecond.
func (p *publications) OnProduceRecordUnbuffered(rec *kgo.Record, err error) {
	if err != nil {
		return // Publish returns it
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.times == nil {
		p.times = make(map[place]time.Time)
	}
	p.times[place{rec.Partition, rec.Offset}] = rec.Timestamp
}

// view is what a look at the ledger has shown: of each partition, one past the last offset below which all are there.
type view struct {
	at   time.Time // when the answer came
	ends map[int32]int64
}

// views are the looks that have shown something new.
type views struct {
	rows int64
	all  []view
}

// look asks the ledger how far it is. The question that costs something is asked only where a cheap one says that there is more.
func (v *views) look(ctx context.Context, warehouse *rig.Rig) (total int64, err error) {
	total, err = warehouse.Number(ctx, "SELECT count() FROM forecast_ledger") // from the parts' sizes
	if err != nil || total == v.rows {
		return total, err
	}
	v.rows = total
	answer, err := warehouse.SQL(ctx, "SELECT kafka_partition, least(max(kafka_offset) + 1, count()) FROM forecast_ledger GROUP BY kafka_partition")
	if err != nil {
		return total, err
	}
	next := view{at: time.Now(), ends: make(map[int32]int64)}
	for line := range strings.Lines(answer) {
		var partition int32
		var end int64
		if _, err := fmt.Sscan(line, &partition, &end); err != nil {
			return total, fmt.Errorf("reading the ledger's ends: %w", err)
		}
		next.ends[partition] = end
	}
	v.all = append(v.all, next)
	return total, nil
}

// latencies of the published events: from each one's publishing to the first look that shows it, in seconds.
func (v *views) latencies(published *publications) ([]float64, error) {
	all := make([]float64, 0, len(published.times))
	for at, time := range published.times {
		latency := math.NaN()
		for _, look := range v.all {
			if look.ends[at.partition] > at.offset {
				latency = look.at.Sub(time).Seconds()
				break
			}
		}
		if math.IsNaN(latency) {
			return nil, fmt.Errorf("no look has shown partition %d offset %d", at.partition, at.offset)
		}
		all = append(all, latency)
	}
	return all, nil
}
