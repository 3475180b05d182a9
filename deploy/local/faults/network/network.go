// Package network owns what lies between the parts of a fault run: a proxy on each way, which can be cut, slowed and silenced.
package network

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"github.com/revstream/revstream/deploy/local/ports"
)

// Trouble is what can happen to a link.
type Trouble string

// The troubles.
const (
	Cut      Trouble = "cut"       // connections are refused, and those that stand are closed
	Reset    Trouble = "reset"     // connections are reset as soon as something is sent
	Slow     Trouble = "slow"      // a third of a second there and back, and 100 KB/s
	HalfOpen Trouble = "half-open" // connections stand, and nothing passes
)

// Troubles are all of them.
var Troubles = []Trouble{Cut, Reset, Slow, HalfOpen}

// toxics of each trouble but Cut, as toxiproxy names them.
var toxics = map[Trouble][]toxic{
	Reset:    {{"reset_peer", map[string]int{"timeout": 0}}},
	Slow:     {{"latency", map[string]int{"latency": 150, "jitter": 50}}, {"bandwidth", map[string]int{"rate": 100}}},
	HalfOpen: {{"timeout", map[string]int{"timeout": 0}}},
}

type toxic struct {
	Type       string         `json:"type"`
	Attributes map[string]int `json:"attributes"`
}

// Network is a set of links. A link is all ways from one kind of part to
// another, such as "consumers-kafka", and has a proxy for each of the latter.
type Network struct {
	server *toxiproxy.ApiServer

	mu    sync.Mutex
	links map[string][]*way
}

// way is the proxy before one address.
type way struct {
	name, listen, upstream string
	proxy                  *toxiproxy.Proxy
}

// renew puts a sound proxy in the place of what there is, whose connections it
// closes. Toxics are not taken off a running proxy: toxiproxy waits for ever for
// one that is in the middle of a write.
func (w *way) renew(server *toxiproxy.ApiServer) error {
	if w.proxy != nil {
		w.proxy.Stop()
	}
	w.proxy = toxiproxy.NewProxy(server, w.name, w.listen, w.upstream)
	if err := w.proxy.Start(); err != nil {
		return fmt.Errorf("starting the proxy of %s: %w", w.name, err)
	}
	return nil
}

// New makes a network without links.
func New() *Network {
	zerolog.SetGlobalLevel(zerolog.Disabled) // some toxics log by themselves; nothing else here logs through zerolog
	return &Network{
		server: toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()),
		links:  make(map[string][]*way),
	}
}

// Place puts a proxy of a link before an address, and returns where it listens.
func (n *Network) Place(ctx context.Context, link, upstream string) (string, error) {
	addr, err := ports.Free(ctx)
	if err != nil {
		return "", err
	}
	w := &way{name: link + " " + upstream, listen: addr, upstream: upstream}
	if err := w.renew(n.server); err != nil {
		return "", err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.links[link] = append(n.links[link], w)
	return addr, nil
}

// Links are the names of the links, in order.
func (n *Network) Links() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Sorted(maps.Keys(n.links))
}

// Close ends all proxies.
func (n *Network) Close() {
	for _, link := range n.Links() {
		for _, w := range n.of(link) {
			w.proxy.Stop()
		}
	}
}

func (n *Network) of(link string) []*way {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.links[link]
}

// Break makes trouble on a link until heal is called, which closes its connections.
func (n *Network) Break(link string, trouble Trouble) (heal func() error, err error) {
	ways := n.of(link)
	if len(ways) == 0 {
		return nil, fmt.Errorf("there is no link %q", link)
	}
	for _, w := range ways {
		if trouble == Cut {
			w.proxy.Stop()
		}
		for _, t := range toxics[trouble] {
			for _, direction := range []string{"upstream", "downstream"} {
				if err := add(w.proxy, t, direction); err != nil {
					return nil, fmt.Errorf("making %s %s: %w", link, trouble, err)
				}
			}
		}
	}
	return func() error {
		var errs []error
		for _, w := range ways {
			errs = append(errs, w.renew(n.server))
		}
		return errors.Join(errs...)
	}, nil
}

func add(proxy *toxiproxy.Proxy, t toxic, direction string) error {
	raw, err := json.Marshal(struct {
		toxic
		Stream string `json:"stream"`
	}{t, direction})
	if err == nil {
		_, err = proxy.Toxics.AddToxicJson(bytes.NewReader(raw))
	}
	return err
}
