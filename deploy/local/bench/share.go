package bench

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	consumerforecast "github.com/revstream/revstream/consumers/forecast"
	consumerpeople "github.com/revstream/revstream/consumers/people"
	"github.com/revstream/revstream/deploy/local/bench/bare"
	"github.com/revstream/revstream/deploy/local/bench/meter"
	"github.com/revstream/revstream/deploy/local/bench/rig"
	"github.com/revstream/revstream/deploy/local/bench/workload"
	"github.com/revstream/revstream/pipeline/clickhousesink"
	"github.com/revstream/revstream/pipeline/table"
	"github.com/revstream/revstream/schemas/event"
)

// waysKept is how many ways of the bare insert are measured after the first round, which measures all.
const waysKept = 2

// share measures a consumer against the bare insert of the same rows.
type share struct {
	r      *run
	figure string
	topic  *loaded
	ways   []bare.Way
	// writer makes an inserter of an encoder; nil where the bare insert is not wanted.
	writer func(ctx context.Context, conn driver.Conn, encoder string) (bare.Inserter, error)

	rate float64 // of this round's consumer, for what is held to it
}

// forecasts measures the share for forecasts, which other measurements of the round are held to.
func (r *run) forecasts() measurement {
	r.plain = &share{r: r, figure: InsertShareForecast, ways: bare.Ways()}
	return measurement{
		figures: []string{InsertShareForecast, ConsumerRSS, DuplicatesGain, LedgerShare},
		setUp: func(ctx context.Context) error {
			return setUpShare(ctx, r.plain, "forecasts", workload.Forecasts, r.cfg.Events, workload.Forecast, consumerforecast.Columns)
		},
		measure: func(ctx context.Context) error {
			result, err := r.plain.measure(ctx)
			if err == nil {
				r.report.add(ConsumerRSS, "", float64(result.rss)/1e6)
			}
			return err
		},
	}
}

// people measures the share for people, whose rows are thrice as large.
func (r *run) people() measurement {
	s := &share{r: r, figure: InsertSharePeople, ways: bare.Ways()}
	return measurement{
		figures: []string{InsertSharePeople},
		setUp: func(ctx context.Context) error {
			return setUpShare(ctx, s, "people", workload.People, r.cfg.Events/3, workload.Person, consumerpeople.Columns)
		},
		measure: func(ctx context.Context) error {
			_, err := s.measure(ctx)
			return err
		},
	}
}

// setUpShare loads the topic and makes the rows.
func setUpShare[E event.Event](ctx context.Context, s *share, name string, entity workload.Entity, events int, make func(int, time.Time) (E, error), columns []table.Column[E]) (err error) {
	if s.topic, err = load(ctx, s.r, name, entity, events, timely(make)); err != nil {
		return err
	}
	s.r.report.add(s.figure, "wire_bytes_per_event", float64(s.topic.bytes)/float64(events))
	if !s.r.wanted(s.figure) {
		return nil
	}
	arrivals, err := s.topic.broker.Arrivals(ctx, entity.Topic, events)
	if err != nil {
		return err
	}
	ready, err := arrived(arrivals, timely(make))
	if err != nil {
		return err
	}
	origin := func(i int) bare.Origin {
		return bare.Origin{Topic: entity.Topic, Partition: arrivals[i].Partition, Offset: arrivals[i].Offset}
	}
	inColumns := bare.NewColumns(ready, origin)
	s.writer = func(ctx context.Context, conn driver.Conn, encoder string) (bare.Inserter, error) {
		if encoder == bare.Product {
			return bare.NewProduct(conn, entity.Name, columns, ready, origin), nil
		}
		return bare.NewDriver(ctx, conn, entity.Name, inColumns)
	}
	return nil
}

// arrived makes the events of a topic in the order in which a consumer gets them: partition by partition, a few thousand of
// each. What is inserted in the order of the keys takes ClickHouse half as long to sort and to merge.
func arrived[E event.Event](arrivals []rig.Arrival, make func(i int) (E, error)) ([]E, error) {
	places := map[string]int{}
	for i, a := range arrivals {
		places[a.Key] = i
	}
	ready := slices.Grow([]E(nil), len(arrivals))[:len(arrivals)]
	for i := range ready {
		e, err := make(i)
		if err != nil {
			return nil, err
		}
		place, ok := places[e.Key()]
		if !ok {
			return nil, fmt.Errorf("event %d is not in the topic", i)
		}
		ready[place] = e
	}
	return ready, nil
}

// measure lets the consumer and the bare inserts have a go; which of them is first changes with the round.
func (s *share) measure(ctx context.Context) (result consumed, err error) {
	limit := 0.0
	consume := func() error {
		result, err = s.consume(ctx)
		return err
	}
	insert := func() error {
		limit, err = s.limit(ctx)
		return err
	}
	order := []func() error{insert, consume}
	if s.r.round%2 == 1 {
		slices.Reverse(order)
	}
	if s.writer == nil {
		order = []func() error{consume}
	}
	for _, step := range order {
		if err := step(); err != nil {
			return result, err
		}
	}
	if limit > 0 {
		s.r.report.add(s.figure, "", result.rate/limit)
		s.r.report.add(s.figure, "bare_events_per_s", limit)
		s.r.say("%s: %.0f of %.0f events/s are %.1f %%", s.figure, result.rate, limit, 100*result.rate/limit)
	}
	return result, nil
}

// consume measures the consumer on empty tables.
func (s *share) consume(ctx context.Context) (consumed, error) {
	if err := s.r.clear(ctx, s.topic.entity, bare.Tables...); err != nil {
		return consumed{}, err
	}
	n := s.topic.records
	result, err := s.r.consume(ctx, consumption{topic: s.topic, want: rows{n, n, n}})
	if err != nil {
		return result, err
	}
	s.rate = result.rate
	s.r.addConsumed(s.figure, "consume", result)
	disk, err := s.r.rig.Number(ctx, "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = currentDatabase() AND table LIKE '"+s.topic.entity.Name+"\\_%'")
	s.r.report.add(s.figure, "disk_bytes_per_event", float64(disk)/float64(n))
	return result, err
}

// limit is how many rows a second the fastest of the ways brings in. The slowest of them are not tried again.
func (s *share) limit(ctx context.Context) (float64, error) {
	// What the heap of this process, which holds all rows, costs in garbage collection is no part of an insert.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	rates := make(map[bare.Way]float64)
	for _, way := range s.ways {
		runtime.GC()
		rate, err := s.bare(ctx, way)
		if err != nil {
			return 0, err
		}
		rates[way] = rate
	}
	slices.SortFunc(s.ways, func(a, b bare.Way) int { return int(rates[b] - rates[a]) })
	best := rates[s.ways[0]]
	s.ways = s.ways[:min(waysKept, len(s.ways))]
	return best, nil
}

// bare is how many rows a second a way brings in.
func (s *share) bare(ctx context.Context, way bare.Way) (rate float64, err error) {
	entity, n := s.topic.entity, s.topic.records
	if err := s.r.clear(ctx, entity, bare.Tables...); err != nil {
		return 0, err
	}
	conn, err := clickhousesink.Open(s.r.rig.ClickHouseURL())
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }() // everything is answered by then
	writers := make([]bare.Inserter, way.Writers)
	for i := range writers {
		if writers[i], err = s.writer(ctx, conn, way.Encoder); err != nil {
			return 0, err
		}
	}
	before, err := s.cpu()
	if err != nil {
		return 0, err
	}
	took, err := bare.Run(ctx, int(n), way.Batch, writers)
	if err != nil {
		return 0, err
	}
	after, err := s.cpu()
	if err != nil {
		return 0, err
	}
	rate = float64(n) / took.Seconds()
	name := fmt.Sprintf("bare_%s", way)
	s.r.report.add(s.figure, name+"_events_per_s", rate)
	s.r.report.add(s.figure, name+"_client_us_per_event", float64((after[0]-before[0]).Microseconds())/float64(n))
	s.r.report.add(s.figure, name+"_engine_us_per_event", float64((after[1]-before[1]).Microseconds())/float64(n))
	return rate, s.r.check(ctx, entity, rows{n, n, n})
}

// cpu of this process, which inserts, and of the engine.
func (s *share) cpu() (times [2]time.Duration, err error) {
	for i, pid := range []int{os.Getpid(), s.r.rig.Engine.PID()} {
		if times[i], err = meter.CPU(pid); err != nil {
			return times, err
		}
	}
	return times, nil
}
