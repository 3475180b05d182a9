// Package state owns where a producer stands, so that it can move between machines: JSON values on a compacted topic.
//
// Among them is what an API lets in with, such as a rotating OAuth refresh token. The topic therefore needs ACLs that let
// nobody but the producers read it, and values are never logged.
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
// the same producer, each sees what the others had saved when it was opened.
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
	err := snapshot.Read(ctx, client, schemas.ProducerStateTopic, func(r *kgo.Record) error {
		if name, ok := strings.CutPrefix(string(r.Key), s.prefix); ok {
			s.put(name, r.Value)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the producer's state: %w", err)
	}
	return s, nil
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
	s.put(name, raw)
	return nil
}

// put takes a value over; an empty one deletes.
func (s *Store) put(name string, raw []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(raw) == 0 {
		delete(s.values, name)
		return
	}
	s.values[name] = raw
}
