package world

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/revstream/revstream/deploy/local/kafka"
	"github.com/revstream/revstream/pipeline/resilience"
)

// persist tries an operation of the checker's own again for a while: the part
// that must carry it out may be away just now.
func persist(ctx context.Context, what string, op func() error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		err := op()
		if err == nil {
			return nil
		}
		if waitErr := resilience.Sleep(ctx, 200*time.Millisecond); waitErr != nil {
			return fmt.Errorf("%s: %w", what, errors.Join(waitErr, err))
		}
	}
}

// Offsets of the groups' topics, by topic and partition.
type Offsets map[string]map[int32]int64

// Progress returns what the groups have committed and where their topics end.
// What Misplace committed is left out: no member did.
func (w *World) Progress(ctx context.Context) (committed, ends Offsets, err error) {
	committed, ends = make(Offsets), make(Offsets)
	for _, group := range Groups {
		fetched, err := w.Admin.FetchOffsets(ctx, group.Name)
		if err == nil {
			err = fetched.Error()
		}
		if err != nil {
			return nil, nil, fmt.Errorf("reading the offsets of %s: %w", group.Name, err)
		}
		listed, err := w.Admin.ListEndOffsets(ctx, group.Topic)
		if err == nil {
			err = listed.Error()
		}
		if err != nil {
			return nil, nil, fmt.Errorf("reading the ends of %s: %w", group.Topic, err)
		}
		committed[group.Topic], ends[group.Topic] = make(map[int32]int64), make(map[int32]int64)
		listed.Each(func(o kadm.ListedOffset) {
			ends[group.Topic][o.Partition] = o.Offset
			if c, ok := fetched.Lookup(group.Topic, o.Partition); ok && c.At <= o.Offset {
				committed[group.Topic][o.Partition] = c.At
			}
		})
	}
	return committed, ends, nil
}

// Lag is how many offsets the groups have still to commit.
func (w *World) Lag(ctx context.Context) (int64, error) {
	committed, ends, err := w.Progress(ctx)
	var lag int64
	for topic, partitions := range ends {
		for partition, end := range partitions {
			lag += end - committed[topic][partition]
		}
	}
	return lag, err
}

// KillNode kills a node of Kafka, the active controller or another, and starts
// it again after a pause. It returns once every replica has caught up, so that
// the next kill takes no partition's last copies.
func (w *World) KillNode(ctx context.Context, activeController bool, pick int, pause time.Duration) error {
	var victim int
	err := persist(ctx, "choosing a node", func() (err error) {
		victim, err = kafka.Controller(ctx, w.client)
		return err
	})
	if err != nil {
		return err
	}
	if !activeController {
		victim = 1 + (victim+pick%(kafka.Nodes-1))%kafka.Nodes
	}
	if err := w.Kafka.Process(victim).Kill(); err != nil {
		return err
	}
	if err := resilience.Sleep(ctx, pause); err != nil {
		return err
	}
	if err := w.Kafka.StartNode(ctx, victim); err != nil {
		return err
	}
	return w.inSync(ctx)
}

// inSync waits until all replicas of all partitions are in sync.
func (w *World) inSync(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		topics, err := w.Admin.ListTopicsWithInternal(ctx)
		behind := 0
		topics.EachPartition(func(p kadm.PartitionDetail) {
			if len(p.ISR) < len(p.Replicas) {
				behind++
			}
		})
		if err == nil && behind == 0 {
			return nil
		}
		if waitErr := resilience.Sleep(ctx, 200*time.Millisecond); waitErr != nil {
			return fmt.Errorf("waiting for %d partitions to be in sync: %w", behind, errors.Join(waitErr, err))
		}
	}
}

// Configure changes a setting of a topic until heal is called.
func (w *World) Configure(ctx context.Context, topic, key, value string) (heal func(context.Context) error, err error) {
	alter := func(ctx context.Context, change kadm.AlterConfig) error {
		return persist(ctx, "changing "+key+" of "+topic, func() error {
			answer, err := w.Admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{change}, topic)
			if err != nil {
				return err
			}
			_, err = answer.On(topic, func(r *kadm.AlterConfigsResponse) error { return r.Err })
			return err
		})
	}
	var resource kadm.ResourceConfig
	err = persist(ctx, "reading the settings of "+topic, func() error {
		described, err := w.Admin.DescribeTopicConfigs(ctx, topic)
		if err != nil {
			return err
		}
		resource, err = described.On(topic, func(r *kadm.ResourceConfig) error { return r.Err })
		return err
	})
	if err != nil {
		return nil, err
	}
	back := kadm.AlterConfig{Op: kadm.DeleteConfig, Name: key}
	for _, c := range resource.Configs {
		if c.Key == key && c.Value != nil && c.Source == kmsg.ConfigSourceDynamicTopicConfig {
			back = kadm.AlterConfig{Op: kadm.SetConfig, Name: key, Value: c.Value}
		}
	}
	if err := alter(ctx, kadm.AlterConfig{Op: kadm.SetConfig, Name: key, Value: &value}); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return alter(ctx, back) }, nil
}

// Grow adds a partition to a topic.
func (w *World) Grow(ctx context.Context, topic string) error {
	return persist(ctx, "adding a partition to "+topic, func() error {
		answer, err := w.Admin.CreatePartitions(ctx, 1, topic)
		if err != nil {
			return err
		}
		return answer.Error()
	})
}

// beyondEnd is how far beyond a partition's end offsets are misplaced.
const beyondEnd = 1_000_000

// Misplace commits, for a group whose members are stopped meanwhile, offsets
// that nobody can have: far beyond the end of every partition.
func (w *World) Misplace(ctx context.Context, group Group) error {
	var members []*Part
	for _, part := range w.Consumers {
		if part.program() == group.Program {
			members = append(members, part)
			if err := part.Stop(ctx); err != nil {
				return err
			}
		}
	}
	commit := func() error {
		ends, err := w.Admin.ListEndOffsets(ctx, group.Topic)
		if err == nil {
			err = ends.Error()
		}
		if err != nil {
			return err
		}
		beyond := make(kadm.Offsets)
		ends.Each(func(o kadm.ListedOffset) {
			beyond.AddOffset(group.Topic, o.Partition, o.Offset+beyondEnd, -1)
		})
		return w.Admin.CommitAllOffsets(ctx, group.Name, beyond)
	}
	// A member that was killed before lives on in the group until its session ends.
	if err := persist(ctx, "committing offsets that are out of range", commit); err != nil {
		return err
	}
	for _, part := range members {
		if err := part.Start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Sum of all offsets.
func (o Offsets) Sum() int64 {
	var sum int64
	for _, partitions := range o {
		for _, offset := range partitions {
			sum += offset
		}
	}
	return sum
}
