package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/alecthomas/kong"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/consumers/anomaly"
	"github.com/revstream/revstream/consumers/contracts"
	"github.com/revstream/revstream/consumers/erasure"
	"github.com/revstream/revstream/consumers/quality"
	"github.com/revstream/revstream/consumers/reconcile"
	"github.com/revstream/revstream/consumers/samples"
	"github.com/revstream/revstream/consumers/watch"
	"github.com/revstream/revstream/pipeline/clickhousesink"
	"github.com/revstream/revstream/pipeline/kafkaclient"
)

const (
	watchHTTPAddr = "127.0.0.1:8107"
	checkTimeout  = 2 * time.Second // of a readiness check

	// After these a check that has found something is made again.
	contractsAgain      = 5 * time.Minute
	reconciliationAgain = time.Hour

	reconciliationListed = 100     // missing keys that a reconciliation lists of an entity, as by default by hand
	qualitySample        = 100_000 // people that an analysis looks at, likewise
)

type watchCommand struct {
	Kafka         kafkaclient.Config    `embed:""`
	Sink          clickhousesink.Config `embed:""`
	AnomalyLimits anomalySettings       `embed:""`

	Lag            time.Duration `name:"lag-every" env:"WATCH_LAG" default:"1m" help:"From one sample of the consumers' lag to the next. Here as below, 0 is never." group:"Watch"`
	Letters        time.Duration `name:"letters-every" env:"WATCH_LETTERS" default:"1m" help:"From one copy of what is new on the dead-letter topics to the next." group:"Watch"`
	Anomalies      time.Duration `name:"anomalies-every" env:"WATCH_ANOMALIES" default:"1m" help:"From one search for forecast amounts that moved too far to the next." group:"Watch"`
	Contracts      time.Duration `name:"contracts-every" env:"WATCH_CONTRACTS" default:"1h" help:"From one check of the contracts to the next." group:"Watch"`
	Reconciliation time.Duration `name:"reconciliation-every" env:"WATCH_RECONCILIATION" default:"24h" help:"From one reconciliation to the next." group:"Watch"`
	Quality        time.Duration `name:"quality-every" env:"WATCH_QUALITY" default:"24h" help:"From one analysis of people's data to the next." group:"Watch"`
	Erasures       time.Duration `name:"erasures-every" env:"WATCH_ERASURES" default:"24h" help:"From one look whether something has come of people who were erased to the next." group:"Watch"`
	Metrics        time.Duration `name:"metrics-every" env:"WATCH_METRICS" default:"1m" help:"From one look at the results, which become metrics, to the next." group:"Watch"`
}

// AfterApply gives HTTP_ADDR the default that it has for this command alone: it is the one that stays.
func (c *watchCommand) AfterApply(ctx *kong.Context) error {
	s, err := settingsOf(ctx)
	if err == nil && s.HTTPAddr == "" {
		s.HTTPAddr = watchHTTPAddr
	}
	return err
}

// settingsOf are the settings that a command is parsed into, for a hook of one that changes those of the process.
func settingsOf(ctx *kong.Context) (*settings, error) {
	s, ok := reflect.TypeAssert[*settings](ctx.Model.Target.Addr())
	if !ok {
		return nil, fmt.Errorf("the command line is a %s", ctx.Model.Target.Type())
	}
	return s, nil
}

// run starts the watch, which goes on until the process is told to stop.
func (c *watchCommand) run(ctx context.Context, w *warehouse) error {
	if c.Anomalies > 0 && c.AnomalyLimits.SchemaRegistryURL == "" {
		return errors.New("SCHEMA_REGISTRY_URL is required (or SCHEMA_REGISTRY_URL_FILE or --schema-registry-url) unless WATCH_ANOMALIES is 0: reviews are told of on a topic")
	}
	conn, err := w.conn(ctx)
	if err != nil {
		return err
	}
	client, err := kafkaclient.New(c.Kafka, w.logger, w.rt.Registry)
	if err != nil {
		return err
	}
	w.rt.Defer("kafka client", func(context.Context) error { client.Close(); return nil })
	tasks, err := c.plan(w, conn, client)
	if err != nil {
		return err
	}
	observing, err := observers(w.rt.Registry, conn)
	if err != nil {
		return err
	}
	watching, err := watch.New(w.logger, w.rt.Registry, tasks, observing, c.Metrics)
	if err != nil {
		return err
	}
	for name, check := range watching.Checks() {
		w.rt.Check(name, check)
	}
	w.rt.Check("kafka", kafkaclient.Check(client, checkTimeout))
	w.rt.Check("clickhouse", ping(conn))
	w.rt.Go("watch", watching.Run)
	return nil
}

// plan is what there is to do. What needs the brokers or the registry to begin with does so when it first runs: while they are
// away the others go on.
func (c *watchCommand) plan(w *warehouse, conn clickhouse.Conn, client *kgo.Client) ([]watch.Task, error) {
	sampler, err := samples.New(c.Sink, w.logger, client, conn)
	if err != nil {
		return nil, err
	}
	promised, err := contracts.Promised()
	if err != nil {
		return nil, err
	}
	checker, err := contracts.New(contracts.Config{Contracts: promised}, w.logger, conn)
	if err != nil {
		return nil, err
	}
	reconciler, err := reconcile.New(reconcile.Config{Since: max(48*time.Hour, 2*c.Reconciliation), Listed: reconciliationListed}, w.logger, client, conn)
	if err != nil {
		return nil, err
	}
	analyzer, err := quality.New(quality.Config{Sample: qualitySample}, w.logger, conn)
	if err != nil {
		return nil, err
	}
	eraser, err := erasure.New(w.logger, conn, client)
	if err != nil {
		return nil, err
	}
	last := func(query string) func(context.Context) (time.Time, error) {
		return func(ctx context.Context) (time.Time, error) { return newest(ctx, conn, query) }
	}
	return []watch.Task{
		{Name: "lag", Every: c.Lag, Run: sampler.Lag},
		{Name: "letters", Every: c.Letters, Run: sampler.Letters},
		{Name: "anomalies", Every: c.Anomalies, Run: c.detect(w, conn, client)},
		{Name: "contracts", Every: c.Contracts, Again: contractsAgain, Long: true, Last: last("contract_checks"),
			Run: looking(checker.Run, func(r contracts.Report) bool { return len(r.Broken()) > 0 })},
		{Name: "reconciliation", Every: c.Reconciliation, Again: reconciliationAgain, Long: true, Last: last("reconciliations WHERE complete"),
			Run: looking(reconciler.Run, func(r reconcile.Report) bool { return r.Gap() > 0 })},
		{Name: "quality", Every: c.Quality, Long: true, Last: last("data_quality_analyses"), Run: silently(analyzer.Run)},
		{Name: "erasures", Every: c.Erasures, Long: true, Run: silently(eraser.Run)},
	}, nil
}

// detect opens the way of the alerts with the first run that can, and looks for anomalies.
func (c *watchCommand) detect(w *warehouse, conn clickhouse.Conn, client *kgo.Client) func(context.Context) error {
	var detector *anomaly.Detector // of the one goroutine that runs the task
	return func(ctx context.Context) error {
		if detector == nil {
			opened, err := c.AnomalyLimits.detector(ctx, w, conn, client)
			if err != nil {
				return err
			}
			detector = opened
		}
		_, err := detector.Run(ctx)
		return err
	}
}

// looking is silently for what is looked at again sooner where it has found something: the alert ends soon after what it was for.
func looking[R any](run func(context.Context) (R, error), found func(R) bool) func(context.Context) error {
	return func(ctx context.Context) error {
		report, err := run(ctx)
		if err == nil && found(report) {
			return watch.ErrFound
		}
		return err
	}
}

// silently runs what writes its findings down: they are no failure of the run.
func silently[R any](run func(context.Context) (R, error)) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := run(ctx)
		return err
	}
}

// newest is when a table of results has its last one of.
func newest(ctx context.Context, conn clickhouse.Conn, table string) (time.Time, error) {
	var at *time.Time
	if err := conn.QueryRow(ctx, "SELECT maxOrNull(checked_at) FROM "+table).Scan(&at); err != nil {
		return time.Time{}, fmt.Errorf("reading the newest of %s: %w", table, err)
	}
	if at == nil {
		return time.Time{}, nil
	}
	return *at, nil
}

// observers turn what the tables of results have into metrics, whoever has put it there.
func observers(reg prometheus.Registerer, conn clickhouse.Conn) ([]watch.Observe, error) {
	stored, err1 := samples.NewMetrics(reg)
	contract, err2 := contracts.NewMetrics(reg)
	reconciled, err3 := reconcile.NewMetrics(reg)
	analyzed, err4 := quality.NewMetrics(reg)
	detected, err5 := anomaly.NewMetrics(reg)
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return nil, err
	}
	var all []watch.Observe
	for _, observe := range []func(context.Context, clickhouse.Conn) error{
		stored.Observe, contract.Observe, reconciled.Observe, analyzed.Observe, detected.Observe,
	} {
		all = append(all, func(ctx context.Context) error { return observe(ctx, conn) })
	}
	return all, nil
}

// ping is a readiness check of ClickHouse.
func ping(conn clickhouse.Conn) func(context.Context) (map[string]any, error) {
	return func(ctx context.Context) (map[string]any, error) {
		ctx, cancel := context.WithTimeout(ctx, checkTimeout)
		defer cancel()
		start := time.Now()
		if err := conn.Ping(ctx); err != nil {
			return map[string]any{"connected": false}, err
		}
		return map[string]any{"connected": true, "latency_ms": time.Since(start).Milliseconds()}, nil
	}
}
