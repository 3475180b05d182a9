// Package ports owns which ports of this machine are given to the parts that are started on it.
package ports

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
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

// Free returns a loopback address on a port that is free now, and that no other
// process of this user is given as long as this one lives: two test programs
// that look for ports at one time would else find the same ones, or find busy
// what the other only tries.
func Free(ctx context.Context) (string, error) {
	file, err := claims()
	if err != nil {
		return "", fmt.Errorf("finding a free port: %w", err)
	}
	var failed error
	for range count {
		port := int64(first + last.Add(1)%count)
		if failed = claim(file, port); failed != nil {
			continue
		}
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		if failed = Try(ctx, addr); failed == nil {
			return addr, nil
		}
	}
	return "", fmt.Errorf("finding a free port: %w", failed)
}

// Try says whether somebody can listen on an address now. A process that is
// forked meanwhile would keep the port busy until it has become another
// program, also for who listens in earnest a moment later: none is.
func Try(ctx context.Context, addr string) error {
	if runtime.GOOS == "linux" { // elsewhere package net takes the lock, which must not be taken twice
		syscall.ForkLock.RLock()
		defer syscall.ForkLock.RUnlock()
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	return l.Close()
}

// claims opens the file whose n-th byte stands for port n. It is locked, never
// written, and stays open, as closing it would give up what was claimed.
var claims = sync.OnceValues(func() (*os.File, error) {
	path := filepath.Join(os.TempDir(), fmt.Sprintf("revstream-ports-%d.lock", os.Getuid()))
	return os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
})

// claim locks a port's byte. The kernel unlocks it when the process ends.
func claim(file *os.File, port int64) error {
	lock := syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart, Start: port, Len: 1}
	err := syscall.FcntlFlock(file.Fd(), syscall.F_SETLK, &lock)
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) {
		return fmt.Errorf("port %d is another process's", port)
	}
	return err
}
