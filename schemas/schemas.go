// Package schemas owns the catalogue of topics and the Avro schemas of their values.
//
// The .avsc files and topics.yaml are the source of truth: everything that
// creates a topic, registers a schema or subscribes reads them from here.
package schemas

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

//go:embed avro/*.avsc topics.yaml
var files embed.FS

// Names of the topics.
const (
	ForecastTopic      = "revenue.forecast.v1"
	PeopleTopic        = "revenue.people.v1"
	ExportRunsTopic    = "revenue.export-runs.v1"
	AlertsTopic        = "revenue.alerts.v1"
	ProducerStateTopic = "revenue.producer-state.v1"
	DLQDecisionsTopic  = "revenue.dlq-decisions.v1"
)

// DLQTopic names the dead-letter topic of a topic.
func DLQTopic(topic string) string { return topic + ".dlq" }

// Subject names the schema-registry subject of a topic's values.
func Subject(topic string) string { return topic + "-value" }

// Topic is an entry of the catalogue.
type Topic struct {
	Name       string `yaml:"name"`
	Doc        string `yaml:"doc"`        // what a record means
	Key        string `yaml:"key"`        // how the key is made
	Schema     string `yaml:"schema"`     // file under avro/; empty where values are not Avro
	Table      string `yaml:"table"`      // prefix of ClickHouse's tables, such as people of people_current; empty where there are none
	Partitions int32  `yaml:"partitions"` // at creation
	Owner      string `yaml:"owner"`      // team that answers for it
	// Compacted topics keep the newest record of each key for ever, and every
	// record for at least Retention. Others drop records after Retention.
	Compacted bool          `yaml:"compacted"`
	Retention time.Duration `yaml:"retention"`
	// MaxMessageBytes bounds a record batch.
	MaxMessageBytes int `yaml:"max_message_bytes"`
	// KeyColumns are the columns of Table whose values, with | between them and KeyPrefix before them, are the key.
	KeyColumns []string `yaml:"key_columns"`
	KeyPrefix  string   `yaml:"key_prefix"`
}

// KeyValues takes a key apart into the values of KeyColumns. It returns false for a key that is not one of the topic's, and
// where there is no Table.
func (t Topic) KeyValues(key string) ([]string, bool) {
	rest, ok := strings.CutPrefix(key, t.KeyPrefix)
	values := strings.Split(rest, "|")
	return values, ok && t.Table != "" && len(values) == len(t.KeyColumns)
}

// Configs are the topic's broker-side settings, by Kafka's names.
func (t Topic) Configs() map[string]*string {
	ms := strconv.FormatInt(t.Retention.Milliseconds(), 10)
	max := strconv.Itoa(t.MaxMessageBytes)
	policy, lag := "delete", "retention.ms"
	if t.Compacted {
		policy, lag = "compact", "min.compaction.lag.ms"
	}
	return map[string]*string{"cleanup.policy": &policy, lag: &ms, "max.message.bytes": &max}
}

// Topics returns the catalogue in its own order.
func Topics() ([]Topic, error) {
	raw, err := files.ReadFile("topics.yaml")
	if err != nil {
		return nil, fmt.Errorf("reading the topic catalogue: %w", err)
	}
	return parseTopics(raw)
}

func parseTopics(raw []byte) ([]Topic, error) {
	var doc struct {
		Topics []Topic `yaml:"topics"`
	}
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	dec.KnownFields(true)
	if err := dec.Decode(&doc); err != nil {
		return nil, fmt.Errorf("parsing the topic catalogue: %w", err)
	}
	var errs []error
	for _, t := range doc.Topics {
		if t.Name == "" || t.Doc == "" || t.Key == "" || t.Owner == "" || t.Partitions < 1 || t.Retention <= 0 || t.MaxMessageBytes <= 0 {
			errs = append(errs, fmt.Errorf("topic %q: name, doc, key, owner, partitions, retention and max_message_bytes are required", t.Name))
		}
		if t.Table != "" && (t.Schema == "" || len(t.KeyColumns) == 0) {
			errs = append(errs, fmt.Errorf("topic %q: a table needs a schema and key_columns", t.Name))
		}
		if t.Schema != "" {
			if _, err := Avro(t.Schema); err != nil {
				errs = append(errs, fmt.Errorf("topic %q: %w", t.Name, err))
			}
		}
	}
	return doc.Topics, errors.Join(errs...)
}

// Avro returns the text of a schema file, such as "forecast.v1.avsc".
func Avro(file string) (string, error) {
	raw, err := files.ReadFile("avro/" + file)
	if err != nil {
		return "", fmt.Errorf("reading schema %s: %w", file, err)
	}
	return string(raw), nil
}

// MustAvro is Avro for the package variables of the entity packages, whose
// files are embedded: it panics where the file is missing from the build.
func MustAvro(file string) string {
	text, err := Avro(file)
	if err != nil {
		panic(err)
	}
	return text
}
