package rig

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/deploy/local/bench/workload"
	"github.com/revstream/revstream/deploy/local/ports"
	"github.com/revstream/revstream/deploy/local/process"
)

// Broker is a Kafka broker with topics of its own. Each workload has one, so that a consumer can be led over it again without
// meeting another's records.
type Broker struct {
	Process *process.Process
	Addr    string
	Dir     string // of its log

	rig    *Rig
	client *kgo.Client
	admin  *kadm.Client
}

// Broker starts a broker with all topics and schemas.
func (r *Rig) Broker(ctx context.Context, name string) (*Broker, error) {
	addr, err := ports.Free(ctx)
	if err != nil {
		return nil, err
	}
	b := &Broker{Addr: addr, Dir: filepath.Join(r.cfg.Dir, name), rig: r}
	if b.Process, err = r.launch(name, nil, "embedded", "broker", "--addr="+addr, "--data-dir="+b.Dir); err != nil {
		return nil, err
	}
	if b.client, err = kgo.NewClient(kgo.SeedBrokers(addr), kgo.ClientID("bench-admin")); err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", name, err)
	}
	b.admin = kadm.NewClient(b.client)
	r.brokers = append(r.brokers, b)
	if err := r.await(ctx, b.Process, b.client.Ping); err != nil {
		return nil, err
	}
	return b, r.run(ctx, b.Env(), "provision")
}

// Env leads a program to the broker.
func (b *Broker) Env() []string { return []string{"KAFKA_BROKERS=" + b.Addr} }

// Target leads a publisher to the broker.
func (b *Broker) Target() workload.Target {
	return workload.Target{Broker: b.Addr, RegistryURL: b.rig.RegistryURL()}
}

// Stop ends the broker.
func (b *Broker) Stop(ctx context.Context) error {
	b.client.Close()
	return b.rig.Stop(ctx, b.Process)
}

// Offsets of a topic, by partition.
type Offsets map[int32]int64

// Sum of the offsets: of the ends, how many records the topic has.
func (o Offsets) Sum() int64 {
	sum := int64(0)
	for _, offset := range o {
		sum += offset
	}
	return sum
}

// Ends are one past the last record of each partition.
func (b *Broker) Ends(ctx context.Context, topic string) (Offsets, error) {
	listed, err := b.admin.ListEndOffsets(ctx, topic)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("reading the ends of %s: %w", topic, err)
	}
	ends := make(Offsets)
	listed.Each(func(o kadm.ListedOffset) { ends[o.Partition] = o.Offset })
	return ends, nil
}

// Committed are a group's offsets on a topic.
func (b *Broker) Committed(ctx context.Context, group, topic string) (Offsets, error) {
	fetched, err := b.admin.FetchOffsetsForTopics(ctx, group, topic)
	if err == nil {
		err = fetched.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("reading the offsets of %s: %w", group, err)
	}
	committed := make(Offsets)
	fetched.Each(func(o kadm.OffsetResponse) { committed[o.Partition] = o.At })
	return committed, nil
}

// Resize makes a topic anew, with so many partitions. What is in it is gone.
func (b *Broker) Resize(ctx context.Context, topic string, partitions int32) error {
	deleted, err := b.admin.DeleteTopics(ctx, topic)
	if err == nil {
		err = deleted.Error()
	}
	if err == nil {
		_, err = b.admin.CreateTopic(ctx, partitions, 1, nil, topic)
	}
	if err != nil {
		return fmt.Errorf("making %s anew with %d partitions: %w", topic, partitions, err)
	}
	return nil
}

// Dismiss takes static members, which have stopped, out of their group.
func (b *Broker) Dismiss(ctx context.Context, group string, instances ...string) error {
	left, err := b.admin.LeaveGroup(ctx, kadm.LeaveGroup(group).InstanceIDs(instances...))
	if err == nil {
		err = left.Error()
	}
	if err != nil {
		return fmt.Errorf("dismissing the members of %s: %w", group, err)
	}
	return nil
}

// Rewind makes the next member of a group that has none begin at the topic's first record.
func (b *Broker) Rewind(ctx context.Context, group string) error {
	return Poll(ctx, b.Process, 20*time.Millisecond, func(ctx context.Context) (bool, error) {
		deleted, err := b.admin.DeleteGroups(ctx, group)
		if err == nil {
			err = deleted.Error()
		}
		switch {
		case err == nil, errors.Is(err, kerr.GroupIDNotFound):
			return true, nil
		case errors.Is(err, kerr.NonEmptyGroup): // the last member is still leaving
			return false, nil
		}
		return false, fmt.Errorf("deleting group %s: %w", group, err)
	})
}

// Arrival is a record of a topic, in the order in which a client gets them that polls all partitions.
type Arrival struct {
	Key       string
	Partition int32
	Offset    int64
}

// Arrivals reads the keys of a topic's first n records, by answers of as many bytes as consumers ask for.
func (b *Broker) Arrivals(ctx context.Context, topic string, n int) ([]Arrival, error) {
	const answer = 1 << 19
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr), kgo.ClientID("bench-order"), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxBytes(answer), kgo.FetchMaxPartitionBytes(answer/4), kgo.DisableFetchSessions())
	if err != nil {
		return nil, fmt.Errorf("connecting to read the order of %s: %w", topic, err)
	}
	defer client.Close()
	arrivals := make([]Arrival, 0, n)
	for len(arrivals) < n {
		fetches := client.PollFetches(ctx)
		if err := errors.Join(fetches.Err0(), ctx.Err()); err != nil {
			return nil, fmt.Errorf("reading the order of %s: %w", topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) { arrivals = append(arrivals, Arrival{string(r.Key), r.Partition, r.Offset}) })
	}
	return arrivals, nil
}
