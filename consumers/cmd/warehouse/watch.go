package main

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/alecthomas/kong"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/consumers/samples"
	"github.com/revstream/revstream/consumers/watch"
	"github.com/revstream/revstream/pipeline/clickhousesink"
	"github.com/revstream/revstream/pipeline/kafkaclient"
)

const (
	watchHTTPAddr = "127.0.0.1:8107"
	checkTimeout  = 2 * time.Second // of a readiness check
)

type watchCommand struct {
	Kafka kafkaclient.Config    `embed:""`
	Sink  clickhousesink.Config `embed:""`

	Lag     time.Duration `name:"lag-every" env:"WATCH_LAG" default:"1m" help:"From one sample of the consumers' lag to the next. Here as below, 0 is never." group:"Watch"`
	Letters time.Duration `name:"letters-every" env:"WATCH_LETTERS" default:"1m" help:"From one copy of what is new on the dead-letter topics to the next." group:"Watch"`
	Metrics time.Duration `name:"metrics-every" env:"WATCH_METRICS" default:"1m" help:"From one look at the results, which become metrics, to the next." group:"Watch"`
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
	conn, err := w.open(ctx)
	if err != nil {
		return err
	}
	client, err := kafkaclient.New(c.Kafka, w.logger, w.rt.Registry)
	if err != nil {
		return err
	}
	w.rt.Defer("kafka client", func(context.Context) error { client.Close(); return nil })
	tasks, observers, err := c.plan(w, conn, client)
	if err != nil {
		return err
	}
	watching, err := watch.New(w.logger, w.rt.Registry, tasks, observers, c.Metrics)
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

// plan is what there is to do.
func (c *watchCommand) plan(w *warehouse, conn clickhouse.Conn, client *kgo.Client) ([]watch.Task, []watch.Observe, error) {
	sampler, err := samples.New(c.Sink, w.logger, client, conn)
	if err != nil {
		return nil, nil, err
	}
	stored, err := samples.NewMetrics(w.rt.Registry)
	if err != nil {
		return nil, nil, err
	}
	tasks := []watch.Task{
		{Name: "lag", Every: c.Lag, Run: sampler.Lag},
		{Name: "letters", Every: c.Letters, Run: sampler.Letters},
	}
	observers := []watch.Observe{
		func(ctx context.Context) error { return stored.Observe(ctx, conn) },
	}
	return tasks, observers, nil
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
