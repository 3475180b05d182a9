// Package kafka owns an Apache Kafka cluster on this machine: its nodes' settings, and how they are started, killed and stopped.
package kafka

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/revstream/revstream/deploy/local/ports"
	"github.com/revstream/revstream/deploy/local/process"
)

// Listener names. Nodes have one listener for each kind of client, so that what
// lies between a node and one kind of client can fail by itself.
const (
	// Client is the listener of a cluster whose Config names none.
	Client      = "CLIENT"
	replication = "REPLICATION"
	controller  = "CONTROLLER"
)

// Nodes of a cluster: the fewest of which one can be away.
const Nodes = 3

// Config says where a cluster is.
type Config struct {
	Dir string // settings, data and logs of the nodes
	Lib string // the jars of Kafka; `make kafka` fetches them
	// Clients are the listeners for clients; nil for Client alone.
	Clients []string
	// Via returns the address at which others find a listener of a node, such as
	// that of a proxy before it. Nil: they find it where it listens.
	Via func(node int, listener, addr string) (string, error)
	// First is where node 1 listens for clients of the first listener; empty for a free port.
	First string
	// Heap is the limit of a node's heap in Java's notation; empty for 512m.
	Heap string
}

// Cluster is a KRaft cluster: every node is a broker and a controller. Two of
// the three replicas must have a record before it is acknowledged.
type Cluster struct {
	cfg   Config
	id    string
	nodes []*node
}

type node struct {
	id         int
	dir        string
	listen     map[string]string // listener → address it listens on
	advertised map[string]string // listener → address it is found at
	process    *process.Process
}

// New makes a cluster, or takes up the data of an earlier one in the folder. It starts nothing.
func New(ctx context.Context, cfg Config) (*Cluster, error) {
	if jars, err := filepath.Glob(filepath.Join(cfg.Lib, "kafka_*.jar")); err != nil || len(jars) == 0 {
		return nil, fmt.Errorf("%s has no jars of Apache Kafka; `make kafka` fetches them", cfg.Lib)
	}
	if cfg.Heap == "" {
		cfg.Heap = "512m"
	}
	if cfg.Clients == nil {
		cfg.Clients = []string{Client}
	}
	c := &Cluster{cfg: cfg}
	for id := 1; id <= Nodes; id++ {
		n := &node{id: id, dir: filepath.Join(cfg.Dir, fmt.Sprintf("node%d", id)), listen: map[string]string{}, advertised: map[string]string{}}
		if err := os.MkdirAll(n.dir, 0o755); err != nil {
			return nil, fmt.Errorf("making the folder of a Kafka node: %w", err)
		}
		for _, listener := range append([]string{controller, replication}, cfg.Clients...) {
			if err := c.place(ctx, n, listener); err != nil {
				return nil, err
			}
		}
		c.nodes = append(c.nodes, n)
	}
	return c, c.identify()
}

// place gives a listener its addresses.
func (c *Cluster) place(ctx context.Context, n *node, listener string) (err error) {
	addr := c.cfg.First
	if n.id != 1 || listener != c.cfg.Clients[0] || addr == "" {
		if addr, err = ports.Free(ctx); err != nil {
			return err
		}
	}
	n.listen[listener], n.advertised[listener] = addr, addr
	if c.cfg.Via != nil {
		if n.advertised[listener], err = c.cfg.Via(n.id, listener, addr); err != nil {
			return fmt.Errorf("placing something before listener %s of Kafka node %d: %w", listener, n.id, err)
		}
	}
	return nil
}

// newID makes the ID of a cluster: a UUID in the form that Kafka writes. One that begins
// with a dash would be an option to Kafka's own tools.
func newID() string {
	for {
		id := uuid.New()
		if text := encoding.EncodeToString(id[:]); text[0] != '-' {
			return text
		}
	}
}

// identify reads the ID that the cluster has had from its first start, or gives it one.
func (c *Cluster) identify() error {
	path := filepath.Join(c.cfg.Dir, "cluster.id")
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		raw = []byte(newID())
		err = os.WriteFile(path, raw, 0o644)
	}
	if err != nil {
		return fmt.Errorf("finding the ID of the Kafka cluster: %w", err)
	}
	c.id = string(raw)
	return nil
}

// Addrs are the addresses of a listener for clients, one for each node.
func (c *Cluster) Addrs(listener string) []string {
	addrs := make([]string, len(c.nodes))
	for i, n := range c.nodes {
		addrs[i] = n.advertised[listener]
	}
	return addrs
}

// Start starts every node and waits until each serves clients.
func (c *Cluster) Start(ctx context.Context) error {
	var group errgroup.Group
	for _, n := range c.nodes {
		group.Go(func() error { return c.launch(ctx, n) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, n := range c.nodes {
		if err := c.await(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// StartNode starts a node, 1 to Nodes, and waits until it serves clients.
func (c *Cluster) StartNode(ctx context.Context, id int) error {
	n := c.nodes[id-1]
	if err := c.launch(ctx, n); err != nil {
		return err
	}
	return c.await(ctx, n)
}

// Process is the process of a node, 1 to Nodes.
func (c *Cluster) Process(id int) *process.Process { return c.nodes[id-1].process }

// Stop stops the nodes side by side: a controller that is left alone would wait for the others.
func (c *Cluster) Stop(ctx context.Context) error {
	var group errgroup.Group
	for _, n := range c.nodes {
		if n.process != nil {
			group.Go(func() error { return n.process.Stop(ctx) })
		}
	}
	return group.Wait()
}

// Ended is closed when one of the nodes has ended, whose error Err then tells.
func (c *Cluster) Ended() <-chan *process.Process {
	ended := make(chan *process.Process, len(c.nodes))
	for _, n := range c.nodes {
		go func() {
			<-n.process.Exited()
			ended <- n.process
		}()
	}
	return ended
}

// startPatience bounds the start of a node on a busy machine.
const startPatience = 2 * time.Minute
