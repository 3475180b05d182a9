package audit

import (
	"context"
	"math"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/consumers/service"
	"github.com/revstream/revstream/pipeline/clickhousesink"
	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/daemon"
	"github.com/revstream/revstream/pipeline/deadletter"
	"github.com/revstream/revstream/pipeline/table"
	"github.com/revstream/revstream/schemas"
)

// Of makes the stream of the topic of decisions. Nothing on it is poison: what cannot be read is a row that says so.
func Of(group string) service.Stream {
	return service.Stream{Topic: schemas.DLQDecisionsTopic, Group: group, NoLetters: true, Loop: func(p service.Parts) (service.Loop, error) {
		p.Consume.Topic, p.Consume.Group = schemas.DLQDecisionsTopic, group
		p.Consume.MaxValueBytes = math.MaxInt // the topic's own limit holds
		return consume.New(p.Consume, p.Logger, p.Metrics, &sink{p.Sink, p.Conn}, deadletter.NewWriter(p.Letters, group, daemon.Version()))
	}}
}

// sink is a consume.Sink.
type sink struct {
	cfg  clickhousesink.Config
	conn clickhousesink.Conn
}

// NewBatch implements consume.Sink.
func (s *sink) NewBatch() consume.Batch { return &batch{sink: s, rows: table.NewBlock(Columns)} }

// batch is a consume.Batch. Storing it again adds nothing: a row's key in the table is what the row says.
type batch struct {
	sink *sink
	rows *table.Block[*row]
}

// Add implements consume.Batch.
func (b *batch) Add(_ context.Context, rec *kgo.Record) error {
	if r, ok := newRow(rec); ok {
		b.rows.Append(r)
	}
	return nil
}

// Store implements consume.Batch. It refuses nothing: a column takes whatever a row has, so what ClickHouse says against
// the rows is an operator's to mend.
func (b *batch) Store(ctx context.Context) ([]consume.Refused, error) {
	if b.rows.Rows() == 0 {
		return nil, nil
	}
	return nil, clickhousesink.Insert(ctx, b.sink.cfg, b.sink.conn, Table, Columns, b.rows)
}
