package load

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// share names the part of a plan that a worker publishes.
type share struct {
	Seed    uint64 `json:"seed"`
	Events  int    `json:"events"`
	Worker  int    `json:"worker"`
	Workers int    `json:"workers"`
}

// checkpoint is a file that says below which step everything of a share is acknowledged.
type checkpoint struct {
	path string
	of   share
}

type content struct {
	share
	Next int `json:"next"`
}

// read returns 0 where there is no file yet.
func (c checkpoint) read() (next int, err error) {
	raw, err := os.ReadFile(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading the checkpoint: %w", err)
	}
	var have content
	if err := json.Unmarshal(raw, &have); err != nil {
		return 0, fmt.Errorf("reading the checkpoint %s: %w", c.path, err)
	}
	if have.share != c.of {
		return 0, fmt.Errorf("the checkpoint %s is of another plan or worker; remove it, or name another file", c.path)
	}
	return have.Next, nil
}

// write replaces the file, so that a process that is killed leaves the old one or the new one. What a kill of the process
// leaves is enough: the machine stays up.
func (c checkpoint) write(next int) error {
	raw, err := json.Marshal(content{share: c.of, Next: next})
	if err != nil {
		return fmt.Errorf("encoding the checkpoint: %w", err)
	}
	if err := os.WriteFile(c.path+".new", raw, 0o644); err != nil {
		return fmt.Errorf("writing the checkpoint: %w", err)
	}
	if err := os.Rename(c.path+".new", c.path); err != nil {
		return fmt.Errorf("writing the checkpoint: %w", err)
	}
	return nil
}

// Published says how far a worker is: every step of its share below the number is acknowledged. A worker that has not
// written a checkpoint is at 0.
func (c Config) Published() (int, error) {
	return checkpoint{path: c.Checkpoint, of: share{Seed: c.Seed, Events: c.Events, Worker: c.Worker, Workers: c.Workers}}.read()
}
