package consume

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	blockRecords = 1024
	blockBytes   = 1 << 20
)

// memory holds the records of a batch, in blocks that the next batch uses again.
//
// A record as the client makes it has a slice and texts of its own for its headers, and it keeps
// alive the broker's whole answer. Here it is its struct and one run of bytes, with the headers as bytes
// behind the value, until restore: nobody looks at them but for poison. So more records fit into the same
// memory, and the garbage collector has little to look at.
type memory struct {
	records [][]kgo.Record // blocks, of which those before the last one in use are full
	bytes   [][]byte
	used    struct{ records, bytes int } // blocks
}

// keep copies a record that has a value, without its headers; restore brings them back.
func (m *memory) keep(rec *kgo.Record) *kgo.Record {
	size := len(rec.Key) + len(rec.Value) + binary.MaxVarintLen32
	for _, h := range rec.Headers {
		size += len(h.Key) + len(h.Value) + 2*binary.MaxVarintLen32
	}
	run := append(append(m.room(size), rec.Key...), rec.Value...)
	run = binary.AppendUvarint(run, uint64(len(rec.Headers)))
	for _, h := range rec.Headers {
		run = append(binary.AppendUvarint(run, uint64(len(h.Key))), h.Key...)
		length := uint64(0) // of a value that is nil; others have one more
		if h.Value != nil {
			length = uint64(len(h.Value)) + 1
		}
		run = append(binary.AppendUvarint(run, length), h.Value...)
	}
	kept := m.record()
	*kept = *rec
	kept.Context, kept.Headers = nil, nil
	if rec.Key != nil {
		kept.Key = run[:len(rec.Key):len(rec.Key)]
	}
	kept.Value = run[len(rec.Key) : len(rec.Key)+len(rec.Value) : len(run)] // with the headers within its capacity
	m.bytes[m.used.bytes-1] = m.bytes[m.used.bytes-1][:len(m.bytes[m.used.bytes-1])+len(run)]
	return kept
}

// room returns the free end of a block that has room for size bytes.
func (m *memory) room(size int) []byte {
	for {
		if m.used.bytes > 0 {
			if block := m.bytes[m.used.bytes-1]; len(block)+size <= cap(block) {
				return block[len(block):]
			}
		}
		if m.used.bytes == len(m.bytes) || size > blockBytes {
			m.bytes = slices.Insert(m.bytes, m.used.bytes, make([]byte, 0, max(size, blockBytes)))
		}
		m.used.bytes++
	}
}

func (m *memory) record() *kgo.Record {
	if m.used.records == 0 || len(m.records[m.used.records-1]) == blockRecords {
		if m.used.records == len(m.records) {
			m.records = append(m.records, make([]kgo.Record, 0, blockRecords))
		}
		m.used.records++
	}
	block := &m.records[m.used.records-1]
	*block = (*block)[:len(*block)+1]
	return &(*block)[len(*block)-1]
}

// restore gives a kept record its headers, and bytes of its own: of poison nothing shall
// change, whoever still has it when the batch's memory is used again.
func restore(kept *kgo.Record) {
	if kept.Headers != nil {
		return // it was before
	}
	run := bytes.Clone(kept.Value[:cap(kept.Value)])
	kept.Key, kept.Value, run = bytes.Clone(kept.Key), run[:len(kept.Value):len(kept.Value)], run[len(kept.Value):]
	next := func() int {
		n, size := binary.Uvarint(run)
		run = run[size:]
		return int(n)
	}
	take := func(n int) []byte {
		taken := run[:n:n]
		run = run[n:]
		return taken
	}
	kept.Headers = make([]kgo.RecordHeader, next())
	for i := range kept.Headers {
		kept.Headers[i].Key = string(take(next()))
		if length := next(); length > 0 {
			kept.Headers[i].Value = take(length - 1)
		}
	}
}

// reset forgets all records. Blocks that a single large record needed are given back.
func (m *memory) reset() {
	for i := range m.records {
		clear(m.records[i])
		m.records[i] = m.records[i][:0]
	}
	m.bytes = slices.DeleteFunc(m.bytes, func(block []byte) bool { return cap(block) > blockBytes })
	for i := range m.bytes {
		m.bytes[i] = m.bytes[i][:0]
	}
	m.used.records, m.used.bytes = 0, 0
}
