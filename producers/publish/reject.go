package publish

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/tracing"
	"github.com/revstream/revstream/schemas/event"
)

// Rejection is a record of the source that can never become an event.
type Rejection struct {
	Key           string // that its event would have; "" if not even that could be read
	Raw           []byte // the record as received
	Reason        string // class, such as "malformed"
	Err           error  // names fields, never values
	CorrelationID string
}

// Reject puts a record onto the topic's dead-letter topic, in the background. What becomes of it is told by Flush, as with
// Publish. One that is too large for any topic goes without its bytes: its letter says so.
func (p *Publisher) Reject(ctx context.Context, r Rejection) error {
	traceparent := p.begin(ctx)
	p.sendLetter(ctx, r, traceparent, p.answered)
	return nil
}

// RejectFunc is Reject for those who need to know of each record by itself; answered is called as PublishFunc calls it.
func (p *Publisher) RejectFunc(ctx context.Context, r Rejection, answered func(error)) {
	p.sendLetter(ctx, r, tracing.Traceparent(ctx), answered)
}

func (p *Publisher) sendLetter(ctx context.Context, r Rejection, traceparent []byte, answered func(error)) {
	p.client.Produce(ctx, p.letter(r, traceparent), func(record *kgo.Record, err error) {
		if err != nil {
			p.failed.Inc()
			answered(fmt.Errorf("publishing a dead letter to %s (provision creates the topic): %w", record.Topic, err))
			return
		}
		p.rejected.Inc()
		answered(nil)
	})
}

func (p *Publisher) letter(r Rejection, traceparent []byte) *kgo.Record {
	now := time.Now()
	poison := consume.Poison{
		Record: &kgo.Record{
			Topic: p.topic, Partition: -1, Offset: -1, Timestamp: now, Value: r.Raw,
			Headers: []kgo.RecordHeader{
				{Key: event.HeaderSource, Value: p.source},
				{Key: event.HeaderContentType, Value: []byte("application/json")},
				{Key: event.HeaderCorrelationID, Value: []byte(r.CorrelationID)},
			},
		},
		Stage: deadletter.StageProduce, Reason: r.Reason, Failed: now,
		Message: strings.ReplaceAll(r.Err.Error(), "\n", "; "),
	}
	if traceparent != nil {
		poison.Record.Headers = append(poison.Record.Headers, kgo.RecordHeader{Key: tracing.Header, Value: traceparent})
	}
	if r.Key != "" {
		poison.Record.Key = []byte(r.Key)
	}
	record := p.letters.Record(poison)
	if sizeOf(record) <= p.maxBytes {
		return record
	}
	poison.Record.Value = nil
	poison.Message = fmt.Sprintf("%s; its %d bytes are too large for a topic and were left out", poison.Message, len(r.Raw))
	return p.letters.Record(poison)
}
