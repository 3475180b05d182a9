package publish

import (
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/tracing"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/wire"
)

// outgoing is an event on its way: the record and all that belongs to it, which apart would be twenty allocations.
type outgoing struct {
	publisher *Publisher
	id        uuid.UUID
	answered  func(error)
	record    kgo.Record
	headers   [10]kgo.RecordHeader
}

// bytesOfMost is what the key, the value and the headers of nearly every event fit into.
const bytesOfMost = 768

var specVersion, contentType = []byte("1.0"), []byte(event.ContentType)

// write checks the event and makes a record of it, with the headers of event.Headers, and a traceparent unless that is nil.
func (o *outgoing) write(e event.Event, traceparent []byte) error {
	w := writer{buf: make([]byte, 0, bytesOfMost)}
	w.buf = e.AppendKey(w.buf)
	key := w.cut()
	if err := event.Check(e, key); err != nil {
		return err
	}
	var err error
	if w.buf, err = o.publisher.appendValue(w.buf, e); err != nil {
		return err
	}
	value, head := w.cut(), e.Head()
	w.buf = event.AppendID(w.buf, head.EventID)
	id := w.cut()
	w.buf = append(append(append(w.buf, "com.revstream."...), e.Entity()...), ".v1"...)
	kind := w.cut()
	w.buf = head.SourceVersion.UTC().AppendFormat(w.buf, time.RFC3339Nano)
	at := w.cut()
	w.buf = append(w.buf, head.CorrelationID...)
	o.headers = [...]kgo.RecordHeader{
		{Key: event.HeaderSpecVersion, Value: specVersion},
		{Key: event.HeaderID, Value: id},
		{Key: event.HeaderType, Value: kind},
		{Key: event.HeaderSource, Value: o.publisher.source},
		{Key: event.HeaderSubject, Value: key},
		{Key: event.HeaderTime, Value: at},
		{Key: event.HeaderContentType, Value: contentType},
		{Key: event.HeaderSchemaVersion, Value: o.publisher.version},
		{Key: event.HeaderCorrelationID, Value: w.cut()},
		{Key: tracing.Header, Value: traceparent},
	}
	headers := o.headers[:]
	if traceparent == nil {
		headers = headers[:len(headers)-1]
	}
	o.record = kgo.Record{Topic: o.publisher.topic, Key: key, Value: value, Headers: headers}
	if size, most := sizeOf(&o.record), o.publisher.maxBytes; size > most {
		return fmt.Errorf("%d bytes, of %d that a batch may have", size, most)
	}
	return nil
}

// selfWriter is an event that writes itself as the schema of a file says, faster than the schema does.
type selfWriter interface {
	AvroSchemaFile() string
	AppendAvro(dst []byte) []byte
}

func (p *Publisher) appendValue(dst []byte, e event.Event) ([]byte, error) {
	if w, ok := e.(selfWriter); ok && w.AvroSchemaFile() == p.schemaFile {
		return w.AppendAvro(wire.AppendHeader(dst, p.schemaID)), nil
	}
	return p.encoder.Append(dst, e)
}

// writer writes texts one after another into one piece of memory. Where that moves, what was cut before stays where it was.
type writer struct {
	buf  []byte
	from int
}

// cut returns what was written since the last cut.
func (w *writer) cut() []byte {
	part := w.buf[w.from:len(w.buf):len(w.buf)]
	w.from = len(w.buf)
	return part
}

// sizeOf is what a record needs in a batch of its own, uncompressed, or a little more.
func sizeOf(record *kgo.Record) int {
	const batch, varints = 80, 10 // what stands around records, and before each text
	size := batch + len(record.Key) + len(record.Value) + 2*varints
	for _, h := range record.Headers {
		size += len(h.Key) + len(h.Value) + 2*varints
	}
	return size
}

// done is called by the client once it is known what has become of the record.
func (o *outgoing) done(_ *kgo.Record, err error) {
	if err != nil {
		o.publisher.failed.Inc()
		o.answered(fmt.Errorf("publishing event %s to %s: %w", o.id, o.publisher.topic, err))
		return
	}
	o.publisher.published.Inc()
	o.answered(nil)
}
