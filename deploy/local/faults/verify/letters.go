package verify

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/revstream/revstream/deploy/local/faults/plan"
	"github.com/revstream/revstream/schemas"
)

// Headers of a dead letter and of a replayed record, as docs/operations.md has them.
const (
	headerTopic     = "dlq-topic"
	headerPartition = "dlq-partition"
	headerOffset    = "dlq-offset"
	headerReplays   = "dlq-replays"
)

// place of a record on its topic.
type origin struct {
	partition int32
	offset    int64
}

// poison is a record on an entity's topic that can only become a letter.
type poison struct {
	print    plan.Fingerprint
	kind     plan.PoisonKind
	replayed bool
	letters  int
}

// Letters holds the dead-letter topics against the topics behind them: each record there that is poison has a letter with
// its bytes, and no other has one. A record that a killed producer has published again is poison of its own, and so is
// one that was replayed without being repaired.
//
// Repaired says that all that can be repaired was, and replayed: then no letter may be open but those of corrupt records.
func Letters(ctx context.Context, brokers []string, model *plan.Model, repaired bool) (Mail, error) {
	var found Mail
	decided := make(map[string]bool)
	if repaired {
		err := Scan(ctx, brokers, schemas.DLQDecisionsTopic, func(r Record) error {
			decided[string(r.Key)] = len(r.Value) > 0
			return nil
		})
		if err != nil {
			return found, err
		}
	}
	for _, name := range plan.Topics() {
		p := &post{topic: model.Topics[name], found: &found, repaired: repaired, decided: decided,
			poison: make(map[origin]*poison), starts: make(map[int32]int64)}
		if err := Scan(ctx, brokers, name, p.record); err != nil {
			return found, err
		}
		if err := Scan(ctx, brokers, schemas.DLQTopic(name), p.letter); err != nil {
			return found, err
		}
		p.close()
	}
	return found, nil
}

// post is the check of one topic's letters.
type post struct {
	topic    *plan.Topic
	found    *Mail
	repaired bool
	decided  map[string]bool // letters by the keys of the decisions on them

	poison map[origin]*poison
	starts map[int32]int64 // first offset that a partition still has
}

// record notes one of the entity's records.
func (p *post) record(r Record) error {
	if _, ok := p.starts[r.Partition]; !ok {
		p.starts[r.Partition] = r.Offset
	}
	print := plan.Print(r.Key, r.Value)
	if letters := p.topic.Poison[print]; letters.Steps > 0 {
		p.poison[origin{r.Partition, r.Offset}] = &poison{print: print, kind: letters.Kind, replayed: r.Header(headerReplays) != ""}
	}
	return nil
}

// letter looks at one record of the dead-letter topic.
func (p *post) letter(r Record) error {
	dlq := schemas.DLQTopic(p.topic.Name)
	where := fmt.Sprintf("%s/%d/%d", dlq, r.Partition, r.Offset)
	print := plan.Print(r.Key, r.Value)
	if kind := p.topic.Poison[print].Kind; p.repaired && kind != plan.Sound && kind != plan.Corrupt && !p.decided[where] {
		p.found.Open.add("%s: %s, key %q", where, kind, r.Key)
	}
	from, ok := originOf(r, p.topic.Name)
	if !ok {
		p.found.Altered.add("%s, key %q: its headers do not say where its original is", where, r.Key)
		return nil
	}
	of := p.poison[from]
	switch {
	case of != nil && of.print != print:
		p.found.Altered.add("%s, key %q: not the bytes of partition %d offset %d", where, r.Key, from.partition, from.offset)
	case of != nil:
		of.letters++
	case p.topic.Poison[print].Steps > 0 && p.gone(from):
		p.found.Letters++ // with the bytes of poison of the plan; there is nothing else left to compare it with
	default:
		p.found.Foreign.add("%s, key %q: partition %d offset %d is no poison", where, r.Key, from.partition, from.offset)
	}
	return nil
}

// gone says that the topic has dropped a record since.
func (p *post) gone(from origin) bool {
	start, some := p.starts[from.partition]
	return some && from.offset < start
}

func originOf(r Record, topic string) (from origin, ok bool) {
	partition, err := strconv.ParseInt(r.Header(headerPartition), 10, 32)
	offset, err2 := strconv.ParseInt(r.Header(headerOffset), 10, 64)
	return origin{int32(partition), offset}, err == nil && err2 == nil && r.Header(headerTopic) == topic
}

// close counts, once everything is read.
func (p *post) close() {
	published := make(map[plan.Fingerprint]int)
	for _, from := range slices.SortedFunc(maps.Keys(p.poison), order) {
		record := p.poison[from]
		if !record.replayed {
			published[record.print]++
		}
		p.found.Poison++
		switch {
		case record.letters > 0:
			p.found.Letters++
			p.found.Copies += record.letters - 1
		case p.repaired && record.replayed && record.kind == plan.UnknownSchema:
			// Replayed after its schema was registered: the warehouse has it.
		default:
			p.found.Missing.add("%s partition %d offset %d: %s", p.topic.Name, from.partition, from.offset, record.kind)
		}
	}
	for print, letters := range p.topic.Poison {
		if short := letters.Steps - published[print]; short > 0 && !p.trimmed() {
			p.found.Unpublished.add("%s: %d records, %s", p.topic.Name, short, letters.Kind)
		}
	}
}

// trimmed says that the topic no longer has all that was published.
func (p *post) trimmed() bool {
	for _, start := range p.starts {
		if start > 0 {
			return true
		}
	}
	return false
}

func order(a, b origin) int {
	if a.partition != b.partition {
		return int(a.partition) - int(b.partition)
	}
	return int(a.offset - b.offset)
}
