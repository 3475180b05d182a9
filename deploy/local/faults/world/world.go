// Package world owns the system under test: every part of it as a process of its own, and a proxy between each two.
package world

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/revstream/revstream/deploy/local/faults/network"
	"github.com/revstream/revstream/deploy/local/kafka"
	"github.com/revstream/revstream/deploy/local/ports"
	"github.com/revstream/revstream/deploy/local/registry"
)

// Kinds of client of Kafka. Each has listeners of its own, so that its way can
// fail alone. The checker's has no proxy: what it reads must be what there is.
const (
	checker   = "CHECKER"
	producers = "PRODUCERS"
	consumers = "CONSUMERS"
	replayers = "REPLAYERS"
)

// database of the warehouse.
const database = "revenue"

// Group is a consumer group, the topic that it reads, and the program of its members.
type Group struct{ Name, Topic, Program string }

// Groups are those that are held to account. The names are what users see: they
// are written out here, not taken from the code under test.
var Groups = []Group{
	{"revstream-forecast", "revenue.forecast.v1", "forecast-consumer"},
	{"revstream-people", "revenue.people.v1", "people-consumer"},
}

// Session is the consumers' session timeout: Kafka's least.
const Session = 6 * time.Second

// Config says what to run.
type Config struct {
	Dir      string // data and logs; must be new
	BinDir   string // the programs
	KafkaLib string // jars
	// RegistryLib is the folder of Apicurio Registry, to run it in place of the embedded registry; else empty.
	RegistryLib string
	ChdbLib     string // the embedded ClickHouse's library; empty: its program finds it

	Members  int    // consumers of each group
	Protocol string // of the groups: classic or consumer
}

// World is the system under test.
type World struct {
	cfg Config

	Network   *network.Network
	Warehouse *network.Warehouse
	Kafka     *kafka.Cluster
	Admin     *kadm.Client // of the checker

	Registry, ClickHouse *Part
	Consumers, Producers []*Part

	client     *kgo.Client
	registry   string // address, as the checker reaches it
	clickhouse string
	env        map[string][]string // by kind of client
	keepers    errgroup.Group
	letGo      context.CancelFunc // ends the keepers
}

// New starts everything but consumers and producers. Close ends all of it, also after an error.
func New(ctx context.Context, cfg Config) (*World, error) {
	w := &World{cfg: cfg, Network: network.New(), env: make(map[string][]string), letGo: func() {}}
	for _, start := range []func(context.Context) error{w.startKafka, w.startRegistry, w.startClickHouse, w.prepare} {
		if err := start(ctx); err != nil {
			return w, err
		}
	}
	return w, nil
}

func (w *World) startKafka(ctx context.Context) (err error) {
	w.Kafka, err = kafka.New(ctx, kafka.Config{
		Dir: filepath.Join(w.cfg.Dir, "kafka"), Lib: w.cfg.KafkaLib,
		Clients: []string{checker, producers, consumers, replayers},
		Via: func(_ int, listener, addr string) (string, error) {
			if listener == checker {
				return addr, nil
			}
			return w.Network.Place(ctx, strings.ToLower(listener)+"-kafka", addr)
		},
	})
	if err != nil {
		return err
	}
	if err := w.Kafka.Start(ctx); err != nil {
		return err
	}
	if w.client, err = kgo.NewClient(kgo.SeedBrokers(w.Brokers()...), kgo.MetadataMinAge(100*time.Millisecond)); err != nil {
		return fmt.Errorf("connecting the checker to Kafka: %w", err)
	}
	w.Admin = kadm.NewClient(w.client)
	return nil
}

// Brokers are the addresses of Kafka for the checker.
func (w *World) Brokers() []string { return w.Kafka.Addrs(checker) }

// RegistryURL and ClickHouseURL are where the checker finds them.
func (w *World) RegistryURL() string { return w.registryURL(w.registry) }

// ClickHouseURL names the database as its path.
func (w *World) ClickHouseURL() string { return "http://" + w.clickhouse + "/" + database }

func (w *World) startRegistry(ctx context.Context) (err error) {
	if w.registry, err = ports.Free(ctx); err != nil {
		return err
	}
	dir := filepath.Join(w.cfg.Dir, "registry")
	w.Registry = w.part("registry", []string{"embedded", "registry", "--addr=" + w.registry, "--data-dir=" + dir})
	if w.cfg.RegistryLib != "" {
		spec, err := registry.Spec(registry.Config{Addr: w.registry, Dir: dir, Lib: w.cfg.RegistryLib})
		if err != nil {
			return err
		}
		w.Registry.args, w.Registry.env = spec.Args, func() []string { return spec.Env }
	}
	w.Registry.up = answers(w.registryURL(w.registry) + "/subjects")
	return w.Registry.Start(ctx)
}

// registryURL is that of the registry's API at its own address or at a proxy's.
func (w *World) registryURL(addr string) string {
	if w.cfg.RegistryLib != "" {
		return registry.URL(addr)
	}
	return "http://" + addr
}

func (w *World) startClickHouse(ctx context.Context) (err error) {
	if w.clickhouse, err = ports.Free(ctx); err != nil {
		return err
	}
	args := []string{"embedded", "clickhouse", "--addr=" + w.clickhouse, "--data-dir=" + filepath.Join(w.cfg.Dir, "clickhouse")}
	if w.cfg.ChdbLib != "" {
		args = append(args, "--chdb-lib="+w.cfg.ChdbLib)
	}
	w.ClickHouse = w.part("clickhouse", args)
	w.ClickHouse.up = answers("http://" + w.clickhouse + "/ping")
	return w.ClickHouse.Start(ctx)
}

// prepare makes topics, schemas and tables, and the ways of each kind of client.
func (w *World) prepare(ctx context.Context) error {
	var front string
	var err error
	if w.Warehouse, front, err = network.NewWarehouse(ctx, w.clickhouse); err != nil {
		return err
	}
	w.env[checker] = w.settings(w.Brokers(), w.registry, w.clickhouse)
	for _, kind := range []string{producers, consumers, replayers} {
		name := strings.ToLower(kind)
		registryAddr, err := w.Network.Place(ctx, name+"-registry", w.registry)
		if err != nil {
			return err
		}
		clickhouse := ""
		if kind == consumers {
			if clickhouse, err = w.Network.Place(ctx, name+"-clickhouse", front); err != nil {
				return err
			}
		}
		w.env[kind] = w.settings(w.Kafka.Addrs(kind), registryAddr, clickhouse)
	}
	if _, err := w.run(ctx, checker, "", "provision"); err != nil {
		return err
	}
	_, err = w.run(ctx, checker, "", "warehouse", "migrate")
	return err
}

// settings are the environment of a kind of client.
func (w *World) settings(brokers []string, registryAddr, clickhouse string) []string {
	env := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "HTTP_ADDR=",
		"KAFKA_BROKERS=" + strings.Join(brokers, ","), "SCHEMA_REGISTRY_URL=" + w.registryURL(registryAddr),
	}
	if clickhouse != "" {
		env = append(env, "CLICKHOUSE_URL=http://"+clickhouse+"/"+database)
	}
	return env
}

// Start starts the consumers, and a producer for each of these command lines.
// From then on every part that ends is started again.
//
// In each group every other member is static: it comes back under its name; the
// others come as new ones.
func (w *World) Start(ctx context.Context, commands ...[]string) error {
	for _, group := range Groups {
		for i := range w.cfg.Members {
			w.Consumers = append(w.Consumers, w.Member(group.Program, fmt.Sprintf("%s-%d", group.Program, i+1), i%2 == 0))
		}
	}
	for i, command := range commands {
		part := w.part(fmt.Sprintf("producer-%d", i+1), command)
		part.env, part.finite = func() []string { return w.env[producers] }, true
		w.Producers = append(w.Producers, part)
	}
	for _, part := range slices.Concat(w.Consumers, w.Producers) {
		if err := part.Start(ctx); err != nil {
			return err
		}
	}
	keeping, letGo := context.WithCancel(ctx)
	w.letGo = letGo
	for _, part := range w.Parts() {
		w.keepers.Go(func() error { return part.keep(keeping) })
	}
	return nil
}

// Member makes a consumer that does not run yet.
func (w *World) Member(program, name string, static bool) *Part {
	env := append(slices.Clone(w.env[consumers]),
		"GROUP_PROTOCOL="+w.cfg.Protocol, "SESSION_TIMEOUT="+Session.String(), "RETRY_MAX=1s", "STOP_TIMEOUT=5s", "INSERT_TIMEOUT=10s",
		"BATCH_ROWS=2000", "BATCH_AGE=300ms")
	if static {
		env = append(env, "GROUP_INSTANCE_ID="+name)
	}
	part := w.part(name, []string{program})
	part.env = func() []string { return env }
	return part
}

func (w *World) part(name string, args []string) *Part {
	args = append([]string{filepath.Join(w.cfg.BinDir, args[0])}, args[1:]...)
	return &Part{Name: name, args: args, env: func() []string { return w.env[checker] }, log: filepath.Join(w.cfg.Dir, "logs")}
}

// Parts are those that are kept alive.
func (w *World) Parts() []*Part {
	return slices.Concat(w.Consumers, w.Producers, []*Part{w.Registry, w.ClickHouse})
}

// Close ends everything.
func (w *World) Close(ctx context.Context) error {
	w.letGo()
	err := w.keepers.Wait()
	var group errgroup.Group
	for _, part := range slices.Concat(w.Consumers, w.Producers) {
		group.Go(func() error { return part.Stop(ctx) })
	}
	errs := []error{err, group.Wait()}
	for _, part := range []*Part{w.ClickHouse, w.Registry} {
		if part != nil {
			errs = append(errs, part.Stop(ctx))
		}
	}
	if w.client != nil {
		w.client.Close()
	}
	for id := 1; id <= kafka.Nodes; id++ {
		if w.Kafka != nil && w.Kafka.Process(id) != nil {
			errs = append(errs, w.Kafka.Process(id).Kill()) // nodes that stop wait for each other, and their data is of no use
		}
	}
	w.Network.Close()
	if w.Warehouse != nil {
		errs = append(errs, w.Warehouse.Close())
	}
	return errors.Join(errs...)
}

var plain = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// answers says that a GET is answered with 200.
func answers(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return fmt.Errorf("asking %s: %w", url, err)
		}
		resp, err := plain.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answers with status %d", url, resp.StatusCode)
		}
		return nil
	}
}
