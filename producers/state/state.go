// Package state owns where a producer stands, so that it can move between machines: JSON values on a compacted topic.
//
// Among them is what an API lets in with, such as a rotating OAuth refresh token: Sealed encrypts that. The topic nevertheless
// needs ACLs that let nobody but the producers write it, and values are never logged.
package state

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/snapshot"
	"github.com/revstream/revstream/schemas"
)

// Store holds the state of one producer. It is safe for concurrent use within a process; of several processes that are
// the same producer, each sees what the others had saved when it last called Open or Sync.
type Store struct {
	client *kgo.Client
	prefix string // of the keys

	saving sync.Mutex // held while a value is saved, so that memory and topic have one order
	mu     sync.Mutex
	values map[string]json.RawMessage // by name
}

// Open reads the state of a producer, such as "forecast-producer". The client stays the caller's to close.
func Open(ctx context.Context, client *kgo.Client, producer string) (*Store, error) {
	s := &Store{client: client, prefix: producer + "/", values: map[string]json.RawMessage{}}
	if err := s.Sync(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// Sync takes in what other processes have saved since. After an error the state is as it was.
func (s *Store) Sync(ctx context.Context) error {
	s.saving.Lock() // a value that is saved meanwhile is newer than what is read here
	defer s.saving.Unlock()
	values := map[string]json.RawMessage{}
	err := snapshot.Read(ctx, s.client, schemas.ProducerStateTopic, func(r *kgo.Record) error {
		if name, ok := strings.CutPrefix(string(r.Key), s.prefix); ok {
			put(values, name, r.Value)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading the producer's state: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values = values
	return nil
}

// Load decodes the value of a name into a pointer, and reports whether there is one.
func (s *Store) Load(name string, into any) (bool, error) {
	s.mu.Lock()
	raw, ok := s.values[name]
	s.mu.Unlock()
	if !ok {
		return false, nil
	}
	if json.Unmarshal(raw, into) != nil { // whose error may quote the value
		return false, fmt.Errorf("loading state %s%s: its JSON is not of the expected type", s.prefix, name)
	}
	return true, nil
}

// Save replaces the value of a name, and returns once the brokers have acknowledged it. A nil v deletes it. After an
// error the value may be the old one or the new one.
func (s *Store) Save(ctx context.Context, name string, v any) error {
	var raw []byte
	if v != nil {
		var err error
		if raw, err = json.Marshal(v); err != nil {
			return fmt.Errorf("saving state %s%s: %T has no JSON", s.prefix, name, v)
		}
	}
	s.saving.Lock()
	defer s.saving.Unlock()
	record := &kgo.Record{Topic: schemas.ProducerStateTopic, Key: []byte(s.prefix + name), Value: raw}
	// Not ProduceSync: that waits, whatever ctx says, while a broker that has gone away may have the record.
	answered := make(chan error, 1)
	s.client.Produce(ctx, record, func(_ *kgo.Record, err error) { answered <- err })
	var err error
	select {
	case err = <-answered:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("saving state %s%s: %w", s.prefix, name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	put(s.values, name, raw)
	return nil
}

// put takes a value over; an empty one deletes.
func put(values map[string]json.RawMessage, name string, raw []byte) {
	if len(raw) == 0 {
		delete(values, name)
		return
	}
	values[name] = raw
}
