package deadletter

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/kafkaclient"
	"github.com/revstream/revstream/pipeline/resilience"
)

// Headers of the original that a letter repeats under a dlq- name.
const (
	originEventID     = "ce_id"
	originCorrelation = "correlation-id"
)

// Writer writes dead letters. It is a consume.DeadLetters.
type Writer struct {
	client         *kgo.Client
	group, version string
}

// NewWriter makes a writer for a consumer group and a version of its program.
// The client must wait for all in-sync replicas, and be made with Options.
func NewWriter(client *kgo.Client, group, version string) *Writer {
	return &Writer{client: client, group: group, version: version}
}

const (
	// maxRecordBytes is the largest dead letter, before compression. The topic's
	// limit holds for what is left after it: a record that came in under the
	// limit of its own topic may be many times larger here.
	maxRecordBytes = 64 << 20
	// groupBytes bounds the letters that go out together, as a client that may
	// send one such record would also batch as much of small ones, which the
	// topic then refuses.
	groupBytes = 1 << 20
)

// Options are what the client of a Writer must be made with.
func Options() []kgo.Opt {
	return []kgo.Opt{kgo.ProducerBatchMaxBytes(maxRecordBytes)}
}

// Write returns once every letter is acknowledged by all in-sync replicas, or
// what was not. A letter written twice, because an answer got lost, is
// harmless: replaying both gives one event.
func (w *Writer) Write(ctx context.Context, poison []consume.Poison) (left []consume.Poison, err error) {
	topic := ""
	records := make([]*kgo.Record, len(poison))
	origins := make(map[*kgo.Record]consume.Poison, len(poison))
	for i, p := range poison {
		records[i] = w.Record(p)
		origins[records[i]] = p
		topic = records[i].Topic
	}
	for len(records) > 0 {
		n := group(records)
		results, ctxErr := w.produce(ctx, records[:n])
		if ctxErr != nil {
			for _, rec := range records {
				left = append(left, origins[rec])
			}
			return left, fmt.Errorf("writing dead letters: %w", ctxErr)
		}
		for _, result := range results {
			if result.Err != nil {
				left, err = append(left, origins[result.Record]), result.Err
			}
		}
		records = records[n:]
	}
	switch {
	case err == nil:
		return nil, nil
	case kafkaclient.ClassOf(err) == resilience.Operator:
		// Skipping the letter would lose it, so the consumer waits, degraded,
		// until an operator has mended the topic.
		return left, fmt.Errorf("writing dead letters to %s (provision creates the topic; its max.message.bytes must hold the letter, and the user may write to it): %w", topic, err)
	default:
		return left, fmt.Errorf("writing dead letters: %w", err)
	}
}

// group says how many of the records go out together: at least one.
func group(records []*kgo.Record) int {
	bytes := 0
	for i, rec := range records {
		bytes += len(rec.Key) + len(rec.Value)
		if bytes > groupBytes && i > 0 {
			return i
		}
	}
	return len(records)
}

// produce waits for the brokers' answers. The client holds on to records whose
// fate it does not know, even when ctx ends, until the broker answers or the
// client is closed: that ends the goroutine, and a consumer that stops does not
// wait for it.
func (w *Writer) produce(ctx context.Context, records []*kgo.Record) (kgo.ProduceResults, error) {
	produced := make(chan kgo.ProduceResults, 1)
	go func() { produced <- w.client.ProduceSync(ctx, records...) }()
	select {
	case results := <-produced:
		return results, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Returning implements consume.DeadLetters by the header that a replay sets.
func (w *Writer) Returning(rec *kgo.Record) bool {
	return slices.ContainsFunc(rec.Headers, func(h kgo.RecordHeader) bool { return h.Key == headerReplays })
}

// Record makes the record of a dead letter, for who sends it by a client of its own. Of the original's headers all are
// kept but the dlq-* ones of an earlier replay, which the new ones replace.
func (w *Writer) Record(p consume.Poison) *kgo.Record {
	rec := p.Record
	var kept []kgo.RecordHeader
	earlier := make(map[string]string)
	seen := make(map[string]string)
	for _, h := range rec.Headers {
		if len(h.Key) > len(prefix) && h.Key[:len(prefix)] == prefix {
			earlier[h.Key] = string(h.Value)
			continue
		}
		seen[h.Key] = string(h.Value)
		kept = append(kept, h)
	}
	// Anybody may have set these headers: what is not ours to read counts as absent.
	replays, err := strconv.ParseUint(earlier[headerReplays], 10, 30)
	if err != nil {
		replays = 0
	}
	first, err := time.Parse(time.RFC3339Nano, earlier[headerFirstFailure])
	if err != nil {
		first = p.Failed
	}
	return Letter{
		Topic: rec.Topic, OriginalPartition: rec.Partition, OriginalOffset: rec.Offset, Timestamp: rec.Timestamp,
		Key: rec.Key, Value: rec.Value, Headers: kept,
		Reason: p.Reason, Message: p.Message, Stage: string(p.Stage), Group: w.group, Version: w.version,
		Attempts: int(replays) + 1, FirstFailure: first, LastFailure: p.Failed,
		EventID: seen[originEventID], CorrelationID: seen[originCorrelation],
		Replays: int(replays), ReplayID: earlier[HeaderReplayID],
	}.Record()
}
