package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/revstream/revstream/deploy/local/bench/meter"
	"github.com/revstream/revstream/deploy/local/bench/rig"
	"github.com/revstream/revstream/deploy/local/bench/workload"
	"github.com/revstream/revstream/deploy/local/process"
	"github.com/revstream/revstream/schemas/event"
)

const (
	// sampleEvery is the pause between two looks at a consumer's counter. A look costs the consumer about 1 ms.
	sampleEvery = 40 * time.Millisecond
	// consumePatience bounds the work of a consumer on one topic.
	consumePatience = 15 * time.Minute
)

// loaded is a topic that is full, on a broker of its own.
type loaded struct {
	entity  workload.Entity
	broker  *rig.Broker
	records int64
	bytes   int64 // of the broker's log
}

// timely makes events in the order of their versions.
func timely[E event.Event](make func(int, time.Time) (E, error)) func(int) (E, error) {
	return func(i int) (E, error) { return make(i, workload.Version(i)) }
}

// load publishes events to a broker of their own.
func load[E event.Event](ctx context.Context, r *run, name string, entity workload.Entity, events int, make func(i int) (E, error)) (*loaded, error) {
	return loadInto(ctx, r, name, 0, entity, events, make)
}

// loadInto is load into so many partitions; 0 leaves them as they are.
func loadInto[E event.Event](ctx context.Context, r *run, name string, partitions int32, entity workload.Entity, events int, make func(i int) (E, error)) (*loaded, error) {
	r.say("loading %d records: %s", events, name)
	broker, err := r.rig.Broker(ctx, "broker-"+name)
	if err != nil {
		return nil, err
	}
	if partitions > 0 {
		if err := broker.Resize(ctx, entity.Topic, partitions); err != nil {
			return nil, err
		}
	}
	l := &loaded{entity: entity, broker: broker}
	before, err := folderSize(broker.Dir)
	if err != nil {
		return nil, err
	}
	if err := workload.Publish(ctx, broker.Target(), entity, r.logger, workload.Events(0, events, make)); err != nil {
		return nil, err
	}
	after, err := folderSize(broker.Dir)
	if err != nil {
		return nil, err
	}
	ends, err := broker.Ends(ctx, entity.Topic)
	if err != nil {
		return nil, err
	}
	if l.records, l.bytes = ends.Sum(), after-before; l.records != int64(events) {
		return nil, fmt.Errorf("the topic of %s has %d records of %d", name, l.records, events)
	}
	return l, nil
}

// folderSize is how much a folder holds, in bytes.
func folderSize(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("measuring %s: %w", dir, err)
	}
	return total, nil
}

// rows that the tables of an entity have to have when a consumer is through: current counts keys, ledger those of the topic.
type rows struct{ current, history, ledger int64 }

// consumed is what a consumer did with a full topic, between two looks in its midst.
type consumed struct {
	rate    float64 // records a second
	seconds float64
	start   float64 // seconds from the start of the process to the first settled batch
	cpu     parts   // µs of processor time a record
	rss     int64   // peak, bytes
	mallocs float64 // allocations a record, of the whole process from its start
	rows    float64 // an insert, on average
	inserts float64 // for 1,000,000 records
	parts   int64   // active at the end, of all three tables
}

// parts of the system that share the processors.
type parts struct{ consumer, broker, engine float64 }

// sample is a look at a consumer at work.
type sample struct {
	at       time.Time
	records  float64
	consumer time.Duration
	broker   time.Duration
	engine   time.Duration
}

// consumption is a consumer that works off a topic.
type consumption struct {
	topic *loaded
	env   []string // on top of the defaults
	want  rows
	// beside, if not nil, runs while the consumer works, which was started at a time and serves its metrics at an address.
	beside func(ctx context.Context, p *process.Process, begun time.Time, addr string) error
}

// consume starts a consumer on a full topic and measures it until it is through. It looks whether the rows are right.
func (r *run) consume(ctx context.Context, c consumption) (result consumed, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, consumePatience, fmt.Errorf("%s was not through the topic after %s %s", c.topic.entity.Consumer, consumePatience, r.logs()))
	defer cancel()
	entity := c.topic.entity
	if err := c.topic.broker.Rewind(ctx, entity.Group); err != nil {
		return result, err
	}
	begun := time.Now()
	p, addr, err := r.rig.Start(ctx, entity.Consumer, append(c.topic.broker.Env(), c.env...), entity.Consumer)
	if err != nil {
		return result, err
	}
	var first, last sample
	group, both := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		first, last, err = r.watch(both, p, addr, c.topic)
		return err
	})
	if c.beside != nil {
		group.Go(func() error { return c.beside(both, p, begun, addr) })
	}
	if err := group.Wait(); err != nil {
		return result, err
	}
	metrics, err := r.scraper.Scrape(ctx, addr)
	if err != nil {
		return result, err
	}
	result = summary(first, last)
	result.start, result.rss = first.at.Sub(begun).Seconds(), process.PeakMemory(p.PID())
	inserts := metrics.Sum("revstream_clickhousesink_insert_seconds_count", `entity="`+entity.Name+`"`)
	result.mallocs = metrics.Sum("go_memstats_mallocs_total") / float64(c.topic.records)
	result.inserts = inserts / float64(c.topic.records) * 1e6
	result.rows = float64(c.want.current) / (inserts / 3)
	if err := r.rig.Stop(ctx, p); err != nil {
		return result, err
	}
	if result.parts, err = r.rig.Number(ctx, "SELECT count() FROM system.parts WHERE active AND database = currentDatabase() AND table LIKE '"+entity.Name+"\\_%'"); err != nil {
		return result, err
	}
	return result, r.check(ctx, entity, c.want)
}

// watch looks at a consumer until it has settled the whole topic, and returns two looks between which it worked as it would in
// the midst of a longer topic: each batch that it stored in between, it also filled the next one beside.
func (r *run) watch(ctx context.Context, p *process.Process, addr string, topic *loaded) (first, last sample, err error) {
	var samples []sample // one each time that batches were settled
	settled := 0.0
	err = rig.Poll(ctx, p, sampleEvery, func(ctx context.Context) (bool, error) {
		metrics, err := r.scraper.Scrape(ctx, addr)
		if err != nil {
			return false, nil //nolint:nilerr // it does not listen yet; whether it has ended, Poll looks
		}
		records := metrics.Sum("revstream_consume_records_total", `topic="`+topic.entity.Topic+`"`)
		if records == settled {
			return false, nil
		}
		settled = records
		s, err := r.sample(p, topic, records)
		samples = append(samples, s)
		return records >= float64(topic.records), err
	})
	if err != nil {
		return first, last, err
	}
	if first, last = steady(samples, float64(topic.records)); first == last {
		err = fmt.Errorf("%s settled all %d records in %d batches: there is no time to take between two; use more --events", p.Name(), topic.records, len(samples))
	}
	return first, last, err
}

// steady picks the first sample, and the last one at which there was more left to read than was in the largest batch: after
// that one, batches were stored with less or nothing to do beside.
func steady(samples []sample, all float64) (first, last sample) {
	first, last = samples[0], samples[0]
	largest := first.records
	for i := 1; i < len(samples); i++ {
		largest = max(largest, samples[i].records-samples[i-1].records)
	}
	for _, s := range samples {
		if all-s.records >= largest {
			last = s
		}
	}
	return first, last
}

func (r *run) sample(p *process.Process, topic *loaded, records float64) (s sample, err error) {
	s.at, s.records = time.Now(), records
	for _, part := range []struct {
		of  *process.Process
		cpu *time.Duration
	}{{p, &s.consumer}, {topic.broker.Process, &s.broker}, {r.rig.Engine, &s.engine}} {
		if *part.cpu, err = meter.CPU(part.of.PID()); err != nil {
			return s, err
		}
	}
	return s, nil
}

func summary(first, last sample) consumed {
	records, took := last.records-first.records, last.at.Sub(first.at)
	each := func(from, to time.Duration) float64 { return float64((to - from).Microseconds()) / records }
	return consumed{
		rate: records / took.Seconds(), seconds: took.Seconds(),
		cpu: parts{each(first.consumer, last.consumer), each(first.broker, last.broker), each(first.engine, last.engine)},
	}
}

// check counts what is in the tables: a benchmark that loses rows, or doubles them, measures nothing.
func (r *run) check(ctx context.Context, entity workload.Entity, want rows) error {
	var got rows
	for _, count := range []struct {
		into      *int64
		statement string
	}{
		{&got.current, "SELECT count() FROM " + entity.Name + "_current FINAL"},
		{&got.history, "SELECT uniqExact(event_id) FROM " + entity.Name + "_history"},
		{&got.ledger, "SELECT uniqExact(event_id) FROM " + entity.Name + "_ledger WHERE kafka_topic = '" + entity.Topic + "'"},
	} {
		n, err := r.rig.Number(ctx, count.statement)
		if err != nil {
			return err
		}
		*count.into = n
	}
	if got != want {
		return fmt.Errorf("the figures are worth nothing: %s has %d rows in current, %d in history and %d in the ledger of %d, %d and %d %s",
			entity.Name, got.current, got.history, got.ledger, want.current, want.history, want.ledger, r.logs())
	}
	return nil
}

// clear empties the tables of an entity and waits until nothing is left to do from before.
func (r *run) clear(ctx context.Context, entity workload.Entity, tables ...string) error {
	for _, table := range tables {
		if _, err := r.rig.SQL(ctx, "TRUNCATE TABLE "+entity.Name+"_"+table); err != nil {
			return err
		}
	}
	return r.rig.Quiet(ctx)
}

// addConsumed takes note of a consumer's figures under a name.
func (r *run) addConsumed(figure, name string, c consumed) {
	for quantity, value := range map[string]float64{
		"events_per_s": c.rate, "seconds": c.seconds, "consumer_us_per_event": c.cpu.consumer, "broker_us_per_event": c.cpu.broker,
		"engine_us_per_event": c.cpu.engine, "rss_mb": float64(c.rss) / 1e6, "rows_per_insert": c.rows, "inserts_per_1m_events": c.inserts,
		"mallocs_per_event": c.mallocs, "start_s": c.start, "parts": float64(c.parts),
	} {
		r.report.add(figure, name+"_"+quantity, value)
	}
}
