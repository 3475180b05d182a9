package consume

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestKeptRecordsAreTheRecords, headers included, also in memory that was used
// before, after what they were made of has changed.
func TestKeptRecordsAreTheRecords(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	text := func(most int) []byte {
		b := make([]byte, random.IntN(most+1))
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return b
	}
	var m memory
	for round := range 3 {
		m.reset()
		var kept, want []*kgo.Record
		for i := range 3*blockRecords + 7 {
			rec := &kgo.Record{Topic: "t", Partition: 3, Offset: int64(i), LeaderEpoch: 7, Timestamp: time.UnixMilli(int64(i)), Key: text(40), Value: text(900)}
			switch i % 5 {
			case 0:
				rec.Key = nil
			case 1:
				rec.Headers = []kgo.RecordHeader{}
			case 2:
				rec.Headers = []kgo.RecordHeader{{Key: "null"}, {Key: "", Value: []byte{}}, {Key: "k", Value: text(300)}}
			default:
				for j := range 12 {
					rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: fmt.Sprint("header-", j), Value: text(40)})
				}
			}
			if i == 1000+round {
				rec.Value = bytes.Repeat([]byte{'x'}, 2*blockBytes)
			}
			want = append(want, clone(rec))
			kept = append(kept, m.keep(rec))
			for _, b := range [][]byte{rec.Key, rec.Value} {
				clear(b)
			}
			for _, h := range rec.Headers {
				clear(h.Value)
			}
		}
		for i, rec := range kept {
			require.Empty(t, rec.Headers)
			restore(rec)
			if len(want[i].Headers) == 0 {
				rec.Headers = want[i].Headers // none is nil or empty: there is no difference
			}
			require.Equal(t, want[i], rec)
		}
		require.Less(t, len(m.bytes), 12, "blocks are used again")
	}
}

func clone(rec *kgo.Record) *kgo.Record {
	c := *rec
	c.Key, c.Value, c.Headers = bytes.Clone(rec.Key), bytes.Clone(rec.Value), nil
	for _, h := range rec.Headers {
		c.Headers = append(c.Headers, kgo.RecordHeader{Key: h.Key, Value: bytes.Clone(h.Value)})
	}
	return &c
}

//nolint:paralleltest // allocations are the whole process's
func TestKeepingARecordAllocatesNothing(t *testing.T) {
	rec := &kgo.Record{Key: make([]byte, 70), Value: make([]byte, 400), Headers: make([]kgo.RecordHeader, 10)}
	var m memory
	batch := func() {
		m.reset()
		for range 5000 {
			m.keep(rec)
		}
	}
	batch()
	require.Zero(t, testing.AllocsPerRun(10, batch))
}
