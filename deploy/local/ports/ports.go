// Package ports owns which ports of this machine are given to the parts that are started on it.
package ports

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync/atomic"
)

// Ports that are given lie below those that systems use for outgoing
// connections, which would take one between the moment it is found free and the
// moment its part listens.
const (
	first = 10_000
	count = 22_000
)

// last is the place in that range of the port that was tried last: nobody in
// one process is given the same one. It starts anywhere.
var last atomic.Uint32

func init() { last.Store(rand.Uint32N(count)) } //nolint:gosec // any number will do

// Free returns a loopback address on a port that is free now.
func Free(ctx context.Context) (string, error) {
	var failed error
	for range count {
		addr := fmt.Sprintf("127.0.0.1:%d", first+last.Add(1)%count)
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
		if err == nil {
			err = l.Close()
		}
		if err == nil {
			return addr, nil
		}
		failed = err
	}
	return "", fmt.Errorf("finding a free port: %w", failed)
}
