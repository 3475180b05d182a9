// Package snapshot owns reading what a topic has at a moment: all of it, what has come since, or a range.
package snapshot

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/revstream/revstream/pipeline/resilience"
)

const (
	fetchBytes   = 1 << 17                // of one answer, compressed: dozens of times as much in memory, as records; a batch that is larger comes nevertheless
	fetchWait    = 500 * time.Millisecond // for which a broker waits for data
	leaderTries  = 20                     // to find a partition's leader
	leaderWait   = 250 * time.Millisecond // between them
	emptyAnswers = 2                      // in a row, after which there is nothing between here and the end
)

// ErrNoTopic is returned where a topic does not exist.
var ErrNoTopic = errors.New("topic does not exist: create it with `provision`")

// ErrShrunk is returned by ReadOn for a topic that ends before where it was read to: it was made anew, or has lost records. What
// was read of it may be there no more.
var ErrShrunk = errors.New("topic ends before where it was read to")

// Position is the next offset to read, by partition. One that is missing is read from its beginning.
type Position map[int32]int64

// Exists returns ErrNoTopic, with the topic's name, if the topic does not exist.
func Exists(ctx context.Context, client *kgo.Client, topic string) error {
	_, err := describe(ctx, client, topic)
	return err
}

// Read calls each for every committed record of a topic, partition by partition and each in order, and returns when all
// that was there at the time of the call has been read. An error of each ends it and is returned as it is.
//
// A consumer is no good for this: it does not say how far it has come where the newest offsets hold a transaction's
// marker or were compacted away, and would wait there for a record that does not come. Fetching by hand does, and needs
// of the client neither an option nor a change.
func Read(ctx context.Context, client *kgo.Client, topic string, each func(*kgo.Record) error) error {
	_, err := ReadOn(ctx, client, topic, nil, each)
	return err
}

// ReadOn is Read from a position on, and returns the one to go on from. After an error that is unknown.
func ReadOn(ctx context.Context, client *kgo.Client, topic string, from Position, each func(*kgo.Record) error) (Position, error) {
	detail, err := describe(ctx, client, topic)
	if err != nil {
		return nil, err
	}
	starts, ends, err := bounds(ctx, client, detail)
	if err != nil {
		return nil, err
	}
	position := make(Position, len(detail.Partitions))
	for _, p := range detail.Partitions.Sorted() {
		start, end := starts[p.Partition], ends[p.Partition]
		if end < from[p.Partition] {
			return nil, fmt.Errorf("reading topic %s, partition %d: %w: %d before %d", topic, p.Partition, ErrShrunk, end, from[p.Partition])
		}
		r := reader{client: client, topic: detail, partition: p.Partition, at: max(start, from[p.Partition]), end: end, each: each}
		if err := r.read(ctx); err != nil {
			return nil, err
		}
		position[p.Partition] = end
	}
	return position, nil
}

// Bounds returns, for each partition of a topic, the offset of the first record that it has and the one after the last
// that is committed.
func Bounds(ctx context.Context, client *kgo.Client, topic string) (starts, ends Position, err error) {
	detail, err := describe(ctx, client, topic)
	if err != nil {
		return nil, nil, err
	}
	return bounds(ctx, client, detail)
}

func bounds(ctx context.Context, client *kgo.Client, detail kadm.TopicDetail) (starts, ends Position, err error) {
	admin := kadm.NewClient(client)
	first, err := list(ctx, admin.ListStartOffsets, detail.Topic)
	if err != nil {
		return nil, nil, fmt.Errorf("finding the beginning of topic %s: %w", detail.Topic, err)
	}
	last, err := list(ctx, admin.ListCommittedOffsets, detail.Topic)
	if err != nil {
		return nil, nil, fmt.Errorf("finding the end of topic %s: %w", detail.Topic, err)
	}
	starts, ends = make(Position, len(detail.Partitions)), make(Position, len(detail.Partitions))
	for _, p := range detail.Partitions {
		start, _ := first.Lookup(detail.Topic, p.Partition)
		end, _ := last.Lookup(detail.Topic, p.Partition)
		starts[p.Partition], ends[p.Partition] = start.Offset, end.Offset
	}
	return starts, ends, nil
}

// ReadRange calls each for every committed record of a partition that the topic still has between two offsets, from
// the first one to the one before the second, in order.
func ReadRange(ctx context.Context, client *kgo.Client, topic string, partition int32, from, to int64, each func(*kgo.Record) error) error {
	detail, err := describe(ctx, client, topic)
	if err != nil {
		return err
	}
	starts, err := list(ctx, kadm.NewClient(client).ListStartOffsets, topic)
	if err != nil {
		return fmt.Errorf("finding the beginning of topic %s: %w", topic, err)
	}
	start, _ := starts.Lookup(topic, partition)
	r := reader{client: client, topic: detail, partition: partition, at: max(from, start.Offset), end: to, each: each}
	return r.read(ctx)
}

// list asks for offsets, again while a partition's leader is being elected or has not
// begun to lead: right after a topic was created, or a broker went away.
func list(ctx context.Context, ask func(context.Context, ...string) (kadm.ListedOffsets, error), topic string) (kadm.ListedOffsets, error) {
	for tries := 1; ; tries++ {
		offsets, err := ask(ctx, topic)
		if err == nil {
			err = offsets.Error()
		}
		if err == nil || tries == leaderTries || !kerr.IsRetriable(err) {
			return offsets, err
		}
		if err := resilience.Sleep(ctx, leaderWait); err != nil {
			return nil, err
		}
	}
}

func describe(ctx context.Context, client *kgo.Client, topic string) (kadm.TopicDetail, error) {
	details, err := kadm.NewClient(client).ListTopics(ctx, topic)
	if err != nil {
		return kadm.TopicDetail{}, fmt.Errorf("looking for topic %s: %w", topic, err)
	}
	switch detail := details[topic]; {
	case errors.Is(detail.Err, kerr.UnknownTopicOrPartition), detail.Err == nil && len(detail.Partitions) == 0:
		return detail, fmt.Errorf("%s: %w", topic, ErrNoTopic)
	case detail.Err != nil:
		return detail, fmt.Errorf("looking for topic %s: %w", topic, detail.Err)
	default:
		return detail, nil
	}
}

// reader reads one partition.
type reader struct {
	client    *kgo.Client
	topic     kadm.TopicDetail
	partition int32
	at, end   int64 // the next offset to read, and the one to stop before
	each      func(*kgo.Record) error
}

func (r *reader) read(ctx context.Context) error {
	for failures, empty := 0, 0; r.at < r.end && empty < emptyAnswers; {
		before := r.at
		throttled, err := r.fetch(ctx)
		var stop *callerError
		switch {
		case errors.As(err, &stop):
			return stop.err
		case err == nil && r.at > before:
			failures, empty = 0, 0
		case err == nil && throttled: // an answer that quotas have emptied says nothing
		case err == nil:
			empty++
		case ctx.Err() != nil:
			return ctx.Err()
		default:
			if failures++; failures == leaderTries || !kerr.IsRetriable(err) {
				return fmt.Errorf("reading topic %s, partition %d: %w", r.topic.Topic, r.partition, err)
			}
			if err := r.findLeader(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// callerError is an error of each.
type callerError struct{ err error }

func (e *callerError) Error() string { return e.err.Error() }

// fetch reads on from r.at.
func (r *reader) fetch(ctx context.Context) (throttled bool, err error) {
	part := kmsg.NewFetchRequestTopicPartition()
	part.Partition, part.FetchOffset, part.PartitionMaxBytes = r.partition, r.at, fetchBytes
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic, topic.TopicID = r.topic.Topic, r.topic.ID
	topic.Partitions = append(topic.Partitions, part)
	req := kmsg.NewPtrFetchRequest()
	// The partition's limit alone bounds the answer: at the request's, kfake leaves out which transactions were aborted, so
	// that their records pass for committed ones.
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = int32(fetchWait.Milliseconds()), 1, math.MaxInt32
	req.IsolationLevel = 1 // what was committed
	req.Topics = append(req.Topics, topic)

	leader := r.topic.Partitions[r.partition].Leader
	answer, err := r.client.Broker(int(leader)).RetriableRequest(ctx, req)
	if err != nil {
		return false, err
	}
	resp := answer.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return false, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return resp.ThrottleMillis > 0, nil
	}
	before, answered := r.at, &resp.Topics[0].Partitions[0]
	fetched, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		Offset: r.at, IsolationLevel: kgo.ReadCommitted(), Topic: r.topic.Topic, Partition: r.partition,
	}, answered, kgo.DefaultDecompressor(), nil)
	for _, record := range fetched.Records {
		if record.Offset >= r.end {
			break
		}
		if err := r.each(record); err != nil {
			return false, &callerError{err}
		}
	}
	r.at = max(r.at, next)
	if fetched.Err == nil && r.at < r.end && r.at == before && answered.LastStableOffset < r.end {
		// A leader that was elected a moment ago has what was committed, but does not show it yet: no hole.
		return false, kerr.NotLeaderForPartition
	}
	return resp.ThrottleMillis > 0, fetched.Err
}

// findLeader looks, after a moment, for where the partition has moved to.
func (r *reader) findLeader(ctx context.Context) error {
	if err := resilience.Sleep(ctx, leaderWait); err != nil {
		return err
	}
	detail, err := describe(ctx, r.client, r.topic.Topic)
	if err != nil {
		return err
	}
	r.topic = detail
	return nil
}
