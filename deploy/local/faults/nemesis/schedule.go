// Package nemesis owns what goes wrong in a fault run: which faults there are, when each comes, and how it is brought about and healed.
package nemesis

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/revstream/revstream/deploy/local/faults/network"
)

// Kind of a fault. The report counts by it.
type Kind string

// The kinds. Those that begin with "kill" end a process with SIGKILL.
const (
	KillConsumer   Kind = "kill consumer"
	KillProducer   Kind = "kill producer"
	KillReplayer   Kind = "kill replayer"
	KillClickHouse Kind = "kill clickhouse"
	KillRegistry   Kind = "kill registry"
	KillBroker     Kind = "kill broker"
	KillController Kind = "kill controller"

	Zombie           Kind = "zombie consumer"      // stopped for longer than its session, then woken with its batch in hand
	Churn            Kind = "member joins, leaves" // every 2 s
	Network          Kind = "network"              // a link is in trouble
	Refusal          Kind = "clickhouse refuses"   // inserts
	LettersRefused   Kind = "dlq refuses"          // not enough replicas may be in sync
	LettersTooLarge  Kind = "dlq takes no letter"  // each is too large
	OffsetsMisplaced Kind = "offsets out of range" // of a whole group
	PartitionsAdded  Kind = "partitions added"
	ClocksApart      Kind = "clocks apart" // of the producers, all the time
)

// Fault is one thing that goes wrong.
type Fault struct {
	At   time.Duration // after the start of the run
	Kind Kind
	For  time.Duration // until it is healed; of a kill: until the part is started again
	Pick int           // which of those that it can hit
	What string        // of Network and Refusal: the link and the trouble, the refusal
}

// Budget bounds a schedule.
type Budget struct {
	Duration time.Duration
	Kills    int
	Links    []string // of the network
}

// shares of the kills, nodes of Kafka apart.
var shares = []struct {
	kind  Kind
	share int
}{{KillConsumer, 62}, {KillProducer, 14}, {KillReplayer, 10}, {KillClickHouse, 7}, {KillRegistry, 7}}

// recovery is the time that a run needs at its end for the last fault to be healed within it.
const recovery = 2 * time.Second

// Schedule lists the faults of a run in the order in which they come. The same
// seed and budget give the same schedule.
func Schedule(seed uint64, b Budget) []Fault {
	s := scheduler{rng: rand.New(rand.NewPCG(seed, 0xfa17)), b: b} //nolint:gosec // to be repeated, not to be secret
	nodes := max(2, int(b.Duration/(25*time.Second)))
	s.kills(max(0, b.Kills-nodes))
	for i := range nodes {
		kind := KillBroker
		if i%2 == 1 {
			kind = KillController
		}
		s.add(kind, i, nodes, seconds(1), seconds(4), "")
	}
	s.spread(Zombie, 30*time.Second, 2, seconds(8), seconds(11), nil)
	s.spread(Churn, time.Minute, 1, seconds(16), seconds(22), nil)
	var troubles, refusals []string
	for _, trouble := range network.Troubles {
		for _, link := range b.Links {
			troubles = append(troubles, link+" "+string(trouble))
		}
	}
	for _, refusal := range network.Refusals {
		refusals = append(refusals, string(refusal))
	}
	s.spread(Network, 8*time.Second, 4, seconds(1), seconds(6), troubles)
	s.spread(Refusal, 9*time.Second, len(refusals), seconds(1), seconds(5), refusals)
	s.spread(LettersRefused, time.Minute, 1, seconds(4), seconds(10), nil)
	s.spread(LettersTooLarge, time.Minute, 1, seconds(4), seconds(10), nil)
	s.spread(OffsetsMisplaced, 4*time.Minute, 1, 0, 0, nil)
	s.spread(PartitionsAdded, 4*time.Minute, 1, 0, 0, nil)
	slices.SortStableFunc(s.faults, func(a, b Fault) int { return cmp.Compare(a.At, b.At) })
	return s.faults
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }

type scheduler struct {
	rng    *rand.Rand
	b      Budget
	faults []Fault
}

// add puts the i-th of n faults of a kind into its n-th part of the run.
func (s *scheduler) add(kind Kind, i, n int, shortest, longest time.Duration, what string) {
	length := shortest + time.Duration(s.rng.Float64()*float64(longest-shortest))
	end := s.b.Duration - length - recovery
	at := time.Duration((float64(i) + s.rng.Float64()) / float64(n) * float64(end))
	s.faults = append(s.faults, Fault{At: max(at, 0), Kind: kind, For: length, Pick: s.rng.IntN(1 << 20), What: what})
}

// spread adds a fault of a kind for each stretch of the run, at least so many.
// If there are several whats, they come in random order, each before any comes again.
func (s *scheduler) spread(kind Kind, stretch time.Duration, least int, shortest, longest time.Duration, whats []string) {
	n := max(least, int(s.b.Duration/stretch))
	var order []int
	for i := range n {
		what := ""
		if len(whats) > 0 {
			if len(order) == 0 {
				order = s.rng.Perm(len(whats))
			}
			what, order = whats[order[0]], order[1:]
		}
		s.add(kind, i, n, shortest, longest, what)
	}
}

// kills shares the kills out.
func (s *scheduler) kills(n int) {
	total := 0
	for _, share := range shares {
		total += share.share
	}
	for i := range n {
		pick := s.rng.IntN(total)
		for _, share := range shares {
			if pick -= share.share; pick < 0 {
				s.add(share.kind, i, n, 0, 2500*time.Millisecond, "")
				break
			}
		}
	}
}
