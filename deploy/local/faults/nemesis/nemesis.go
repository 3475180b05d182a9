package nemesis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/revstream/revstream/deploy/local/faults/network"
	"github.com/revstream/revstream/deploy/local/faults/world"
	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/schemas"
)

// Nemesis brings a schedule about.
type Nemesis struct {
	world  *world.World
	logger *slog.Logger
	replay func(ctx context.Context) error // runs the replayer as an operator would
	start  time.Time

	nodes  sync.Mutex // one node of Kafka is away at a time
	engine sync.Mutex // one refusal at a time
	links  map[string]*sync.Mutex
	topics sync.Mutex // one setting of a topic is changed at a time
	moved  sync.Mutex // nobody joins a group whose offsets are misplaced

	mu     sync.Mutex
	counts map[Kind]int
	kills  int
}

// New makes a nemesis of a world. replay is a run of the replayer that may be killed.
func New(w *world.World, logger *slog.Logger, replay func(context.Context) error) *Nemesis {
	n := &Nemesis{world: w, logger: logger, replay: replay, links: make(map[string]*sync.Mutex), counts: make(map[Kind]int)}
	for _, link := range w.Network.Links() {
		n.links[link] = &sync.Mutex{}
	}
	return n
}

// Counts are the faults that came about, by kind; of those that have one, with what they were.
func (n *Nemesis) Counts() map[Kind]int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.counts
}

// Kills are the processes that were killed.
func (n *Nemesis) Kills() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.kills
}

// Count takes note of a fault that came about.
func (n *Nemesis) Count(kind Kind) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.counts[kind]++
	if strings.HasPrefix(string(kind), "kill ") {
		n.kills++
	}
}

// Run brings the faults about and returns when the last of them is healed. Its
// error says that a fault could not be brought about or healed, which is no
// fault of the system's, or that ctx ended.
func (n *Nemesis) Run(ctx context.Context, faults []Fault) error {
	n.start = time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for _, fault := range faults {
		group.Go(func() error {
			err := resilience.Sleep(ctx, fault.At)
			if err == nil {
				err = n.strike(ctx, fault)
			}
			if err != nil {
				return fmt.Errorf("%s %s at %s: %w", fault.Kind, fault.What, fault.At.Round(time.Millisecond), err)
			}
			return nil
		})
	}
	return group.Wait() // the first error, which ended the others
}

// strike brings one fault about, and heals it.
func (n *Nemesis) strike(ctx context.Context, f Fault) error {
	w := n.world
	switch f.Kind {
	case KillConsumer:
		return n.kill(ctx, f, w.Consumers[f.Pick%len(w.Consumers)])
	case KillProducer:
		return n.kill(ctx, f, w.Producers[f.Pick%len(w.Producers)])
	case KillClickHouse:
		return n.kill(ctx, f, w.ClickHouse)
	case KillRegistry:
		return n.kill(ctx, f, w.Registry)
	case KillReplayer:
		return n.killReplayer(ctx, f)
	case KillBroker, KillController:
		n.nodes.Lock()
		defer n.nodes.Unlock()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n.note(ctx, f)
		return w.KillNode(ctx, f.Kind == KillController, f.Pick, f.For)
	case Zombie:
		hit, err := w.Consumers[f.Pick%len(w.Consumers)].Pause(ctx, f.For)
		if hit {
			n.note(ctx, f)
		}
		return err
	case Churn:
		return n.churn(ctx, f)
	case Network:
		return n.trouble(ctx, f)
	case Refusal:
		n.engine.Lock()
		defer n.engine.Unlock()
		n.note(ctx, f)
		heal := w.Warehouse.Refuse(network.Refusal(f.What))
		defer heal()
		return resilience.Sleep(ctx, f.For)
	case LettersRefused:
		return n.configure(ctx, f, "min.insync.replicas", "4")
	case LettersTooLarge:
		return n.configure(ctx, f, "max.message.bytes", "1")
	case OffsetsMisplaced:
		n.moved.Lock()
		defer n.moved.Unlock()
		n.note(ctx, f)
		group := world.Groups[f.Pick%len(world.Groups)]
		return w.Misplace(ctx, group)
	case PartitionsAdded:
		n.note(ctx, f)
		return w.Grow(ctx, world.Groups[f.Pick%len(world.Groups)].Topic)
	default:
		return fmt.Errorf("unknown kind")
	}
}

// note counts a fault and tells of it.
func (n *Nemesis) note(ctx context.Context, f Fault) {
	kind := f.Kind
	if f.What != "" {
		kind = Kind(string(f.Kind) + ": " + f.What)
	}
	n.Count(kind)
	n.logger.InfoContext(ctx, "fault", "kind", kind, "at", time.Since(n.start).Round(time.Millisecond), "for", f.For.Round(time.Millisecond))
}

func (n *Nemesis) kill(ctx context.Context, f Fault, part *world.Part) error {
	hit, err := part.Kill(ctx, f.For)
	if hit {
		n.note(ctx, f)
	}
	return err
}

// killReplayer starts a replay and kills it while it works.
func (n *Nemesis) killReplayer(ctx context.Context, f Fault) error {
	short, cancel := context.WithTimeout(ctx, 30*time.Millisecond+f.For/5)
	defer cancel()
	_ = n.replay(short) // how it ended is not of interest: the next one goes on with what is left
	if short.Err() != nil && ctx.Err() == nil {
		n.note(ctx, f)
	}
	return nil
}

// churn has a member join and leave in turn, every 2 s.
func (n *Nemesis) churn(ctx context.Context, f Fault) error {
	n.moved.Lock()
	defer n.moved.Unlock()
	group := world.Groups[f.Pick%len(world.Groups)]
	member := n.world.Member(group.Program, group.Program+"-guest", false)
	for end := time.Now().Add(f.For); time.Now().Before(end); {
		n.note(ctx, f)
		if err := member.Start(ctx); err != nil {
			return err
		}
		err := resilience.Sleep(ctx, 2*time.Second)
		if err := member.Stop(context.WithoutCancel(ctx)); err != nil {
			return err
		}
		if err != nil {
			return err
		}
		if err := resilience.Sleep(ctx, 2*time.Second); err != nil {
			return err
		}
	}
	return nil
}

func (n *Nemesis) trouble(ctx context.Context, f Fault) error {
	link, trouble, _ := strings.Cut(f.What, " ")
	n.links[link].Lock()
	defer n.links[link].Unlock()
	n.note(ctx, f)
	heal, err := n.world.Network.Break(link, network.Trouble(trouble))
	if err != nil {
		return err
	}
	err = resilience.Sleep(ctx, f.For)
	return errors.Join(err, heal())
}

// configure has the dead-letter topic of a group refuse for a while.
func (n *Nemesis) configure(ctx context.Context, f Fault, key, value string) error {
	n.topics.Lock()
	defer n.topics.Unlock()
	topic := schemas.DLQTopic(world.Groups[f.Pick%len(world.Groups)].Topic)
	heal, err := n.world.Configure(ctx, topic, key, value)
	if err != nil {
		return err
	}
	n.note(ctx, f)
	err = resilience.Sleep(ctx, f.For)
	return errors.Join(err, heal(context.WithoutCancel(ctx)))
}
