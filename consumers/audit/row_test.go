package audit

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/table"
)

// FuzzRow: whatever lies on the topic of decisions is a row that the table can hold, or the tombstone of a run.
func FuzzRow(f *testing.F) {
	f.Add("revenue.people.v1.dlq/0/17", []byte(`{"decision":"replayed","at":"9999-12-31T23:59:59Z"}`), int64(0))
	f.Add("revenue.people.v1.dlq/0/17/revealed", []byte(`{"decision":"revealed","at":"0001-01-01T00:00:00Z"}`), int64(1)<<62)
	f.Add("run", []byte(`{"run_id":"run","status":"running","started_at":"-1","updated_at":"2026-01-02T03:04:05.999999999Z"}`), int64(-1)<<62)
	f.Add("run", []byte(`{"run_id":"run","status":"done","done":9223372036854775807,"order":{"a":[1]}}`), int64(5))
	f.Fuzz(func(t *testing.T, key string, value []byte, timestamp int64) {
		r, ok := newRow(&kgo.Record{Key: []byte(key), Value: value, Timestamp: time.UnixMilli(timestamp)})
		if !ok {
			require.Empty(t, value)
			return
		}
		require.NotEmpty(t, r.what)
		for _, at := range []time.Time{r.at, r.updated} {
			require.WithinRange(t, at, firstMoment, lastMoment)
		}
		rows := table.NewBlock(Columns)
		rows.Append(r)
		require.Equal(t, 1, rows.Rows())
	})
}
