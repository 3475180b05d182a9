package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/revstream/revstream/deploy/embedded/internal/datadir"
)

// errJournal is returned by Open when the journal on disk is damaged or does not lead to the answers that were given.
var errJournal = errors.New("the journal is not usable: restore the data folder, or remove it and register the schemas again")

// change is one line of the journal: a request that changed something, and what it was answered.
type change struct {
	Method string `json:"method"`
	URI    string `json:"uri"`
	Body   []byte `json:"body,omitempty"`
	Status int    `json:"status"`
	Answer []byte `json:"answer,omitempty"`
}

// journal is the file of changes, one JSON object a line, only ever appended to.
type journal struct {
	file *os.File
	lock *os.File
}

// openJournal reads the changes and makes the file ready for more.
func openJournal(dir string) (*journal, []change, error) {
	lock, err := datadir.Lock(dir)
	if err != nil {
		return nil, nil, err
	}
	changes, file, err := readJournal(dir)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("opening the registry's journal: %w", err), lock.Close())
	}
	return &journal{file: file, lock: lock}, changes, nil
}

func readJournal(dir string) ([]change, *os.File, error) {
	path := filepath.Join(dir, "journal.jsonl")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644)
	if err != nil {
		return nil, nil, err
	}
	changes, err := recoverChanges(file, path)
	if err == nil {
		err = syncFolder(dir)
	}
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return changes, file, nil
}

// recoverChanges reads the journal, and cuts off what a crash left of a line that was being written: no one was told of it.
func recoverChanges(file *os.File, path string) ([]change, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	whole := bytes.LastIndexByte(data, '\n') + 1
	if whole < len(data) {
		if err := file.Truncate(int64(whole)); err != nil {
			return nil, err
		}
	}
	var changes []change
	for number, line := range bytes.Split(bytes.TrimSuffix(data[:whole], []byte("\n")), []byte("\n")) {
		if len(line) == 0 {
			continue
		}
		var made change
		if err := json.Unmarshal(line, &made); err != nil {
			return nil, fmt.Errorf("%s line %d: %w: %w", path, number+1, err, errJournal)
		}
		changes = append(changes, made)
	}
	return changes, nil
}

// append returns when the change is on disk.
func (j *journal) append(made change) error {
	line, err := json.Marshal(made)
	if err == nil {
		_, err = j.file.Write(append(line, '\n'))
	}
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		return fmt.Errorf("writing the registry's journal: %w", err)
	}
	return nil
}

func (j *journal) close() error {
	return errors.Join(j.file.Close(), j.lock.Close())
}

// syncFolder makes a file's name in it durable.
func syncFolder(dir string) error {
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
