package consume

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/tracing"
)

// Dated is a Batch whose events say when they came about.
type Dated interface {
	// Dates are those of the first event that was added: when it happened by the source's clock, and when its producer saw
	// it. They are zero if there is none, or it does not say.
	Dates() (happened, observed time.Time)
}

// The stages of a record's way whose time is measured, of each batch once.
const (
	stageObserve    = "observe"
	stagePublish    = "publish"
	stageWait       = "wait"
	stageDecode     = "decode"
	stageStore      = "store"
	stageDeadLetter = "dead_letter"
	stageCommit     = "commit"
)

var stages = []string{stageObserve, stagePublish, stageWait, stageDecode, stageStore, stageDeadLetter, stageCommit}

// sample is the record of a batch's first event: it stands for the batch's way up to here.
type sample struct {
	published time.Time // by its Kafka timestamp
	polled    time.Time
}

// sample takes the first event's record.
func (b *batch) takeSample(rec *kgo.Record) {
	if b.first.polled.IsZero() {
		b.first = sample{published: rec.Timestamp, polled: time.Now()}
	}
}

// arrived measures how a batch has come here. It goes before the batch is stored, and its memory another's.
func (m *metrics) arrived(b *batch) {
	m.stage(stageDecode, b.decoding)
	if b.first.polled.IsZero() {
		return
	}
	m.stage(stageWait, b.first.polled.Sub(b.first.published))
	dated, ok := b.events.(Dated)
	if !ok {
		return
	}
	happened, observed := dated.Dates()
	if happened.IsZero() || observed.IsZero() {
		return
	}
	m.stage(stageObserve, observed.Sub(happened))
	m.stage(stagePublish, b.first.published.Sub(observed))
}

// stage measures one. Clocks of several machines differ: less than nothing is nothing.
func (m *metrics) stage(name string, took time.Duration) {
	m.stageSeconds.WithLabelValues(name).Observe(max(took, 0).Seconds())
}

// traced does one stage of settling a batch, as a span of its own, and measures it if it succeeds.
func (l *Loop) traced(ctx context.Context, stage, name string, do func(context.Context) error) error {
	start := time.Now()
	ctx, span := tracing.Start(ctx, name)
	err := do(ctx)
	tracing.End(span, err)
	if err == nil {
		l.metrics.stage(stage, time.Since(start))
	}
	return err
}
