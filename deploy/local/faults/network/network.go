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
	links map[string][]*toxiproxy.Proxy
}

// New makes a network without links.
func New() *Network {
	zerolog.SetGlobalLevel(zerolog.Disabled) // some toxics log by themselves; nothing else here logs through zerolog
	return &Network{
		server: toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()),
		links:  make(map[string][]*toxiproxy.Proxy),
	}
}

// Place puts a proxy of a link before an address, and returns where it listens.
func (n *Network) Place(ctx context.Context, link, upstream string) (string, error) {
	addr, err := ports.Free(ctx)
	if err != nil {
		return "", err
	}
	proxy := toxiproxy.NewProxy(n.server, link+" "+upstream, addr, upstream)
	if err := proxy.Start(); err != nil {
		return "", fmt.Errorf("starting a proxy of %s: %w", link, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.links[link] = append(n.links[link], proxy)
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
		for _, proxy := range n.of(link) {
			proxy.Stop()
		}
	}
}

func (n *Network) of(link string) []*toxiproxy.Proxy {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.links[link]
}

// Break makes trouble on a link until heal is called. Healing a silenced
// connection closes it: what was sent meanwhile is lost, so it could not go on.
func (n *Network) Break(link string, trouble Trouble) (heal func(context.Context) error, err error) {
	proxies := n.of(link)
	if len(proxies) == 0 {
		return nil, fmt.Errorf("there is no link %q", link)
	}
	if trouble == Cut {
		for _, proxy := range proxies {
			proxy.Stop()
		}
		return func(context.Context) error {
			var errs []error
			for _, proxy := range proxies {
				errs = append(errs, proxy.Start())
			}
			return errors.Join(errs...)
		}, nil
	}
	for _, proxy := range proxies {
		for _, t := range toxics[trouble] {
			for _, direction := range []string{"upstream", "downstream"} {
				if err := add(proxy, t, direction); err != nil {
					return nil, fmt.Errorf("making %s %s: %w", link, trouble, err)
				}
			}
		}
	}
	return func(ctx context.Context) error {
		for _, proxy := range proxies {
			proxy.Toxics.ResetToxics(ctx)
		}
		return nil
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
