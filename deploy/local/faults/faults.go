// Package faults owns a fault run: a known history is published while everything that can die does, and what the clients of others read at the end is held against it.
package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/revstream/revstream/deploy/local/faults/nemesis"
	"github.com/revstream/revstream/deploy/local/faults/plan"
	"github.com/revstream/revstream/deploy/local/faults/verify"
	"github.com/revstream/revstream/deploy/local/faults/world"
	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/wire"
)

// Config says what to run.
type Config struct {
	Seed     uint64        `name:"seed" help:"Seed of the history and of the faults; 0 for a random one, which the report has."`
	Events   int           `name:"events" default:"1000000" help:"Records to publish."`
	Kills    int           `name:"kills" default:"230" help:"Processes to kill."`
	Duration time.Duration `name:"duration" default:"8m" help:"Time in which faults come."`
	Members  int           `name:"members" default:"3" help:"Consumers of each group."`
	Protocol string        `name:"group-protocol" enum:"classic,consumer" default:"classic" help:"Rebalance protocol of the groups: classic, or consumer for that of KIP-848."`

	Dir      string `name:"dir" default:"build/faults" type:"path" help:"Folder of the run's data and logs; emptied first."`
	BinDir   string `kong:"-"` // programs
	KafkaLib string `name:"kafka-lib" env:"KAFKA_LIB" default:"build/kafka/lib" type:"path" help:"Folder of Kafka's jars; make kafka fetches them."`
	Apicurio bool   `name:"apicurio" help:"Run Apicurio Registry in place of the embedded registry."`
	Registry string `name:"registry-lib" env:"REGISTRY_LIB" default:"build/registry/lib" type:"path" help:"Folder of Apicurio Registry; make kafka fetches it."`
	ChdbLib  string `name:"chdb-lib" env:"CHDB_LIB" placeholder:"FILE" help:"Library of the embedded ClickHouse, where it is not found by itself."`
	Mutant   string `kong:"-"` // that the consumers of BinDir are
}

// shortest is the least time in which a zombie can sleep for longer than its session and wake up.
const shortest = 30 * time.Second

func (c Config) validate() error {
	var errs []error
	need := func(ok bool, what string) {
		if !ok {
			errs = append(errs, errors.New(what))
		}
	}
	need(c.Events >= 1000, "--events must be at least 1000")
	need(c.Kills >= 0, "--kills must not be negative")
	need(c.Duration >= shortest, "--duration must be at least "+shortest.String()+"")
	need(c.Members >= 2, "--members must be at least 2")
	return errors.Join(errs...)
}

// empty removes what an earlier run has left in its folder, and nothing else.
func (c Config) empty() error {
	entries, err := os.ReadDir(c.Dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil && len(entries) > 0 && !slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == "kafka" }) {
		err = errors.New("it is not empty, and not of an earlier run; choose another with --dir")
	}
	if err == nil {
		err = os.RemoveAll(c.Dir)
	}
	if err != nil {
		return fmt.Errorf("emptying the folder of the run, %s: %w", c.Dir, err)
	}
	return nil
}

// producers share the history; the clock of each is wrong by another time.
var producers = []time.Duration{-37 * time.Minute, 52 * time.Minute}

const (
	// loadShare is the part of the run in which the history is published, so that a producer that was held up is
	// through before the last fault.
	loadShare = 0.92
	// sampleEvery is the pause between two looks at the committed offsets.
	sampleEvery = 5 * time.Second
	// replayEvery is the pause between two replays.
	replayEvery = 10 * time.Second
	// drainPatience bounds the wait for the end of all work: far over what the report accepts.
	drainPatience = 4 * time.Minute
)

// run is a run under way.
type run struct {
	cfg     Config
	logger  *slog.Logger
	world   *world.World
	nemesis *nemesis.Nemesis
	plan    plan.Plan
	model   *plan.Model
	sampler *verify.Sampler
	report  Report

	complaints map[string]int
}

// Run carries a fault run out. An error says that it could not be; whether it
// found anything is in the report.
func Run(ctx context.Context, cfg Config, logger *slog.Logger, out io.Writer) (Report, error) {
	start := time.Now()
	r := &run{cfg: cfg, logger: logger, complaints: make(map[string]int), report: Report{Seed: cfg.Seed, Protocol: cfg.Protocol, Mutant: cfg.Mutant, Events: cfg.Events}}
	if err := errors.Join(cfg.validate(), cfg.empty()); err != nil {
		return r.report, err
	}
	fmt.Fprintf(out, "seed %d: %d events, %d kills in %s, group protocol %s\n", cfg.Seed, cfg.Events, cfg.Kills, cfg.Duration, cfg.Protocol)
	parts := world.Config{Dir: cfg.Dir, BinDir: cfg.BinDir, KafkaLib: cfg.KafkaLib, ChdbLib: cfg.ChdbLib, Members: cfg.Members, Protocol: cfg.Protocol}
	if cfg.Apicurio {
		parts.RegistryLib = cfg.Registry
	}
	var err error
	r.world, err = world.New(ctx, parts)
	if err == nil {
		err = r.all(ctx, out)
	}
	err = errors.Join(err, r.world.Close(context.WithoutCancel(ctx)))
	r.report.Duration = time.Since(start).Seconds()
	return r.report, err
}

// all is the run between the world's beginning and its end.
func (r *run) all(ctx context.Context, out io.Writer) error {
	if err := r.learn(ctx); err != nil {
		return err
	}
	r.sampler = verify.NewSampler(r.world.Brokers(), r.world.ClickHouseURL(), r.model)
	if err := r.world.Start(ctx, r.commands(time.Now())...); err != nil {
		return err
	}
	if err := r.trouble(ctx, out); err != nil {
		return err
	}
	if err := r.repair(ctx); err != nil {
		return err
	}
	return r.judge(ctx)
}

// learn makes the plan and its model, which need to know what the registry calls the schemas.
func (r *run) learn(ctx context.Context) error {
	registry, err := wire.NewRegistry(r.world.RegistryURL())
	if err != nil {
		return err
	}
	highest := 0
	ids := make(map[string]*plan.SchemaIDs)
	topics, err := schemas.Topics()
	if err != nil {
		return err
	}
	for _, topic := range topics {
		if topic.Schema == "" {
			continue
		}
		registered, err := registry.Lookup(ctx, topic.Name, schemas.MustAvro(topic.Schema))
		if err != nil {
			return err
		}
		ids[topic.Name] = &plan.SchemaIDs{Registered: registered.ID}
		highest = max(highest, registered.ID)
	}
	for i, topic := range plan.Topics() { // in the order in which repair registers them
		ids[topic].Evolved = highest + 1 + i
	}
	r.plan = plan.Plan{Seed: r.cfg.Seed, Events: r.cfg.Events, Forecast: *ids[schemas.ForecastTopic], People: *ids[schemas.PeopleTopic]}
	if err := r.plan.Validate(); err != nil {
		return err
	}
	r.model = r.plan.Model()
	return nil
}

// commands are those of the producers.
func (r *run) commands(start time.Time) [][]string {
	rate := float64(r.cfg.Events) / (r.cfg.Duration.Seconds() * loadShare)
	commands := make([][]string, len(producers))
	for i, offset := range producers {
		commands[i] = []string{
			"faults", "load", fmt.Sprintf("--seed=%d", r.plan.Seed), "--events=" + strconv.Itoa(r.plan.Events),
			"--forecast-evolved-id=" + strconv.Itoa(r.plan.Forecast.Evolved), "--people-evolved-id=" + strconv.Itoa(r.plan.People.Evolved),
			"--worker=" + strconv.Itoa(i), "--workers=" + strconv.Itoa(len(producers)),
			"--checkpoint=" + filepath.Join(r.cfg.Dir, fmt.Sprintf("checkpoint-%d", i)),
			fmt.Sprintf("--rate=%.1f", rate), "--start=" + start.UTC().Format(time.RFC3339Nano),
			"--clock-offset=" + offset.String(),
		}
	}
	return commands
}

// trouble is the time of the faults, and of the work that they leave behind.
func (r *run) trouble(ctx context.Context, out io.Writer) error {
	faults := nemesis.Schedule(r.cfg.Seed, nemesis.Budget{Duration: r.cfg.Duration, Kills: r.cfg.Kills, Links: r.world.Network.Links()})
	journal, err := os.Create(filepath.Join(r.cfg.Dir, "logs", "nemesis.log"))
	if err != nil {
		return fmt.Errorf("opening the journal of the faults: %w", err)
	}
	defer journal.Close()
	r.nemesis = nemesis.New(r.world, slog.New(slog.NewTextHandler(journal, nil)), r.patch)
	for range producers {
		r.nemesis.Count(nemesis.ClocksApart)
	}
	watched, stop := context.WithCancel(ctx)
	var watchers errgroup.Group
	watchers.Go(func() error { return r.every(watched, sampleEvery, r.sample) })
	watchers.Go(func() error { return r.every(watched, replayEvery, r.patch) })
	watchers.Go(func() error {
		return r.every(watched, 15*time.Second, func(ctx context.Context) error { return r.tell(ctx, out) })
	})
	err = r.nemesis.Run(ctx, faults)
	last := time.Now()
	r.report.Faults, r.report.Kills, r.report.Refused = byName(r.nemesis.Counts()), r.nemesis.Kills(), r.world.Warehouse.Refused()
	if err == nil {
		fmt.Fprintln(out, "the last fault is healed; waiting until everything is stored")
		err = r.drain(ctx)
		r.report.Drained = time.Since(last).Seconds()
	}
	stop()
	return errors.Join(err, watchers.Wait())
}

// every does something again and again until ctx ends. What fails is done again:
// the faults hit it too.
func (r *run) every(ctx context.Context, pause time.Duration, do func(context.Context) error) error {
	for {
		if resilience.Sleep(ctx, pause) != nil {
			return nil
		}
		if err := do(ctx); err != nil && ctx.Err() == nil {
			r.logger.DebugContext(ctx, "will be done again", "error", err)
		}
	}
}

// sample looks at the offsets that are committed now, and then at whether all
// before them is stored or dead-lettered.
func (r *run) sample(ctx context.Context) error {
	committed, _, err := r.world.Progress(ctx)
	if err != nil {
		return err
	}
	ahead, err := r.sampler.Settled(ctx, verify.Committed(committed))
	if err != nil {
		return err
	}
	r.report.Samples++
	for _, violation := range ahead {
		r.report.Ahead++
		r.complain("committed ahead of storage", fmt.Sprint(violation))
	}
	return nil
}

// maxExamples of each complaint are in the report.
const maxExamples = 10

func (r *run) complain(what string, examples ...string) {
	for _, example := range examples {
		if r.complaints[what]++; r.complaints[what] <= maxExamples {
			r.report.Examples = append(r.report.Examples, what+": "+example)
		}
	}
}

// found takes a finding into the report, and returns its count.
func (r *run) found(what string, f verify.Finding) int {
	r.complain(what, f.Examples...)
	return f.Count
}

// patch replays what one patch mends, as an operator would.
func (r *run) patch(ctx context.Context) error {
	for _, topic := range plan.Topics() {
		_, err := r.world.Replay(ctx, plan.Patch(topic), order("repair", topic, wire.ReasonValidation, "--patch=-")...)
		if err != nil {
			return err
		}
	}
	return nil
}

// order is a command of the replayer. It does not wait until whom the nemesis has killed is given up for dead.
func order(command, topic, class string, more ...string) []string {
	return append([]string{command, "--topic=" + topic, "--class=" + class, "--reason=fault run", "--yes", "--take-over", "--stop-at-failed-share=1"}, more...)
}

// tell says how far the run is.
func (r *run) tell(ctx context.Context, out io.Writer) error {
	committed, ends, err := r.world.Progress(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%8d records published, %8d settled, %3d kills\n", ends.Sum(), committed.Sum(), r.nemesis.Kills())
	return nil
}

// drain waits until everything is published, stored and committed.
func (r *run) drain(ctx context.Context) error {
	deadline := time.Now().Add(drainPatience)
	for {
		lag, err := r.world.Lag(ctx)
		done := err == nil && lag == 0
		for _, part := range r.world.Producers {
			done = done && part.Done()
		}
		if done {
			return nil
		}
		if time.Now().After(deadline) {
			return nil // the report shows how long it took, and what is missing
		}
		if err := resilience.Sleep(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}

// repair does what operators do after such a day: the next schema is registered,
// and what can be mended is replayed.
func (r *run) repair(ctx context.Context) error {
	registry, err := wire.NewRegistry(r.world.RegistryURL())
	if err != nil {
		return err
	}
	for _, topic := range plan.Topics() {
		if _, err := registry.Register(ctx, topic, plan.EvolvedSchema(topic)); err != nil {
			return err
		}
	}
	for _, topic := range plan.Topics() {
		_, err := r.world.Replayer(ctx, plan.Patch(topic), order("repair", topic, wire.ReasonValidation, "--patch=-")...)
		if err == nil {
			_, err = r.world.Replayer(ctx, "", order("replay", topic, wire.ReasonUnknownSchema)...)
		}
		if err != nil {
			return err
		}
	}
	return r.drain(ctx)
}

// judge reads what there is with clients that are not ours.
func (r *run) judge(ctx context.Context) error {
	if err := r.sample(ctx); err != nil {
		return err
	}
	rows, err := verify.Warehouse(ctx, r.world.ClickHouseURL(), r.model, true)
	if err != nil {
		return err
	}
	r.report.Lost = r.found("lost", rows.Lost)
	r.report.Doubled = r.found("doubled", rows.Doubled)
	r.report.Stale = r.found("stale", rows.Stale)
	r.report.Foreign = r.found("foreign", rows.Foreign)
	mail, err := verify.Letters(ctx, r.world.Brokers(), r.model, true)
	if err != nil {
		return err
	}
	r.report.Letters, r.report.LettersWrong = mail.Letters, mail.Wrong()
	r.found("no dead letter", mail.Missing)
	r.found("dead letter altered", mail.Altered)
	r.found("dead letter of no poison", mail.Foreign)
	r.found("poison not published", mail.Unpublished)
	r.found("dead letter open after its repair", mail.Open)
	_, ends, err := r.world.Progress(ctx)
	if err != nil {
		return err
	}
	r.report.Records = ends.Sum()
	for _, part := range r.world.Parts() {
		for _, crash := range part.Crashes() {
			r.report.Crashes++
			r.complain("ended by itself", crash.Error())
		}
	}
	for _, part := range r.world.Consumers {
		r.report.MaxRSS = max(r.report.MaxRSS, float64(part.Peak())/(1<<20))
	}
	return nil
}
