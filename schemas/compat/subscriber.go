package compat

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/twmb/avro"
	"go.yaml.in/yaml/v3"

	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/contract"
)

// Subscriber is a team that reads some fields of a topic, and wants to be asked before they change.
type Subscriber struct {
	Name    string   `yaml:"name"` // also the name of its file
	Owner   string   `yaml:"owner"`
	Contact string   `yaml:"contact"`
	Topic   string   `yaml:"topic"`
	Fields  []string `yaml:"fields"`
}

// Subscribers returns those that the *.yaml of a folder declare. A field that its topic does not have is an error, as a topic
// that the catalogue does not have; all errors are joined and name file and key, and who declared such a field is returned nevertheless.
func Subscribers(folder fs.FS) ([]Subscriber, error) {
	names, err := fs.Glob(folder, "*.yaml")
	if err != nil {
		return nil, fmt.Errorf("listing the subscribers: %w", err)
	}
	topics, err := schemas.Topics()
	if err != nil {
		return nil, err
	}
	var subscribers []Subscriber
	var errs []error
	for _, name := range names {
		raw, err := fs.ReadFile(folder, name)
		if err != nil {
			errs = append(errs, fmt.Errorf("reading subscriber %s: %w", name, err))
			continue
		}
		var s Subscriber
		dec := yaml.NewDecoder(bytes.NewReader(raw))
		dec.KnownFields(true)
		if err := dec.Decode(&s); err != nil {
			errs = append(errs, fmt.Errorf("subscribers/%s: %w", name, err))
			continue
		}
		if s.Name+".yaml" != name {
			errs = append(errs, fmt.Errorf("subscribers/%s: name: %q is not that of the file", name, s.Name))
		}
		if err := s.validate(topics); err != nil {
			errs = append(errs, fmt.Errorf("subscribers/%s: %w", name, err))
		}
		subscribers = append(subscribers, s)
	}
	return subscribers, errors.Join(errs...)
}

func (s Subscriber) validate(topics []schemas.Topic) error {
	if s.Owner == "" || s.Contact == "" || s.Topic == "" || len(s.Fields) == 0 {
		return errors.New("owner, contact, topic and fields are required")
	}
	fields, err := fieldsOf(s.Topic, topics)
	if err != nil {
		return fmt.Errorf("topic: %w", err)
	}
	var errs []error
	for _, name := range s.Fields {
		if !slices.Contains(fields, name) {
			errs = append(errs, fmt.Errorf("fields: %s has no field %s", s.Topic, name))
		}
	}
	return errors.Join(errs...)
}

// fieldsOf returns the names of a topic's fields.
func fieldsOf(topic string, topics []schemas.Topic) ([]string, error) {
	i := slices.IndexFunc(topics, func(t schemas.Topic) bool { return t.Name == topic })
	if i < 0 {
		return nil, fmt.Errorf("%s is not in the catalogue of topics", topic)
	}
	if topics[i].Schema == "" {
		return nil, fmt.Errorf("the values of %s have no schema", topic)
	}
	text, err := schemas.Avro(topics[i].Schema)
	if err != nil {
		return nil, err
	}
	schema, err := avro.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("parsing %s: %w", topics[i].Schema, err)
	}
	var names []string
	for _, f := range schema.Root().Fields {
		names = append(names, f.Name)
	}
	return names, nil
}

// OfContracts are the contracts that rest on one topic: each subscribes to the fields that its columns have the names of.
func OfContracts(contracts []contract.Contract) []Subscriber {
	var subscribers []Subscriber
	for _, c := range contracts {
		if c.Topic == "" {
			continue
		}
		s := Subscriber{Name: "contract " + c.Name, Owner: c.Owner, Contact: strings.Join(c.Consumers, ", "), Topic: c.Topic}
		for _, col := range c.Columns {
			s.Fields = append(s.Fields, col.Name) // one that is no field of the topic is not asked for
		}
		subscribers = append(subscribers, s)
	}
	return subscribers
}
