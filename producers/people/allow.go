package people

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// allows tells whether a delivery comes from where deliveries may come from.
func (cfg ReceiverConfig) allows(req *http.Request) bool {
	if len(cfg.AllowedCIDRs) == 0 {
		return true
	}
	sender, ok := cfg.sender(req)
	return ok && within(cfg.AllowedCIDRs, sender)
}

// sender is the address that a request comes from. Each proxy on the way has appended to X-Forwarded-For whom it was called
// by, so that from the end on the entries can be believed as long as they are the trusted proxies' own: the first that is
// not is the sender, and what stands before it is the sender's claim.
func (cfg ReceiverConfig) sender(req *http.Request) (netip.Addr, bool) {
	peer, err := netip.ParseAddrPort(req.RemoteAddr)
	if err != nil {
		return netip.Addr{}, false
	}
	sender := peer.Addr()
	forwarded := strings.Split(strings.Join(req.Header.Values("X-Forwarded-For"), ","), ",")
	for _, entry := range slices.Backward(forwarded) {
		if !within(cfg.TrustedProxies, sender) {
			break
		}
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		if sender, err = netip.ParseAddr(entry); err != nil {
			return netip.Addr{}, false
		}
	}
	return sender, true
}

// within knows an IPv4 address in an IPv6 one's clothes.
func within(networks []netip.Prefix, addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(networks, func(network netip.Prefix) bool { return network.Contains(addr) })
}
