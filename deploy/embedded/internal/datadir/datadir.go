// Package datadir gives one process at a time a data folder: two brokers, registries or engines on one folder destroy it.
package datadir

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Lock creates the folder when it is missing and locks it until the returned file is closed. The kernel drops the lock
// with the process, however that ends.
func Lock(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("creating the data folder: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("locking the data folder: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("locking the data folder %s: another process uses it; stop that, or choose another with --data-dir: %w", dir, err)
	}
	return lock, nil
}
