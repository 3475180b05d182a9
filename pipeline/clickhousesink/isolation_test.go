package clickhousesink_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/pipeline/clickhousesink"
	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/pipelinetest"
)

// refusal is a database that takes no name that begins with "secret", and counts inserts.
func refusal(t *testing.T) (url string, sink *clickhousesink.Sink[*fact], inserts *atomic.Int64) {
	t.Helper()
	url = newDatabase(t)
	for _, name := range []string{"current", "history"} {
		pipelinetest.SQL(t, url, "ALTER TABLE fact_"+name+" ADD CONSTRAINT c CHECK name NOT LIKE 'secret%'")
	}
	inserts = new(atomic.Int64)
	sink = newSink(t, proxy(t, url, func(_ http.ResponseWriter, query string) bool {
		if strings.Contains(query, "INTO fact_current ") {
			inserts.Add(1)
		}
		return false
	}, nil), time.Minute)
	return url, sink, inserts
}

// TestBadRowsAreFoundInFewInserts: k among n cost O(k log n) tries, and all
// others land.
func TestBadRowsAreFoundInFewInserts(t *testing.T) {
	t.Parallel()
	const rows = 20_000 // of a batch, by default
	for name, bad := range map[string][]int{
		"one":          {13_579},
		"five":         {0, 4_999, 5_000, 12_345, rows - 1},
		"five in line": {9_998, 9_999, 10_000, 10_001, 10_002},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, sink, inserts := refusal(t)
			facts := first(rows)
			for _, i := range bad {
				facts[i].name = "secret-name"
			}
			refused, err := store(t, sink, facts...)
			require.NoError(t, err)
			require.Len(t, refused, len(bad))
			for i, r := range refused {
				require.Equal(t, consume.Place{Partition: 1, Offset: int64(bad[i])}, r.Place)
				require.Equal(t, clickhousesink.ReasonRejected, r.Reason)
				require.Equal(t, "ClickHouse cannot take the row: error 469 VIOLATED_CONSTRAINT", r.Message)
			}
			good := rows - len(bad)
			require.Equal(t, fmt.Sprintf("%d\t%d\t%d", good, good, good), counts(t, url), "dead-lettered events are not in the ledger")
			// Each level of the halving tries two parts for each bad row at most.
			depth := int(math.Ceil(math.Log2(rows)))
			require.LessOrEqual(t, int(inserts.Load()), 1+2*depth*len(bad))
		})
	}
}

// TestARefusingTableIsNotAskedForEachRow: with some of the bad rows the sink
// comes back, in the order of the batch, and goes on with the rest when it is told to.
func TestARefusingTableIsNotAskedForEachRow(t *testing.T) {
	t.Parallel()
	url, sink, inserts := refusal(t)
	facts := first(1_000)
	for i := range facts {
		if i >= 250 {
			facts[i].name = fmt.Sprint("secret-", i)
		}
	}
	batch := filled(t, sink, facts...)
	for part := range 7 {
		refused, err := batch.Store(t.Context())
		require.ErrorIs(t, err, consume.ErrUnfinished)
		require.Len(t, refused, 100)
		for i, r := range refused {
			require.EqualValues(t, 250+100*part+i, r.Offset)
		}
		require.Equal(t, "250\t250\t250", counts(t, url), "what comes before the refused is stored")
		if part == 0 {
			require.Less(t, inserts.Load(), int64(250))
		}
	}
	refused, err := batch.Store(t.Context())
	require.NoError(t, err)
	require.Len(t, refused, 50)
	require.Equal(t, "250\t250\t250", counts(t, url))
}

// lingering is a connection that rejects the first insert and goes on reading it.
type lingering struct {
	clickhousesink.Conn
	body net.Buffers
	sent []byte // the body as it was
}

func (c *lingering) InsertFormat(ctx context.Context, format, query string, data io.Reader) error {
	if strings.Contains(query, "INTO fact_current ") && c.body == nil {
		c.body = slices.Clone(*data.(*net.Buffers))
		c.sent = bytes.Join(c.body, nil)
		return &clickhouse.Exception{Code: 469}
	}
	return c.Conn.InsertFormat(ctx, format, query, data)
}

// TestWhatAFailedInsertStillReadsDoesNotChange: the client may be sending a
// request when its answer is there already.
func TestWhatAFailedInsertStillReadsDoesNotChange(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	conn, err := clickhousesink.Open(url)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	stuck := &lingering{Conn: conn}
	sink := sinkOn(t, stuck, time.Minute)
	for _, from := range []int{0, 20} {
		refused, err := store(t, sink, first(40)[from:from+20]...)
		require.NoError(t, err)
		require.Empty(t, refused)
	}
	require.NotEmpty(t, stuck.sent)
	require.Equal(t, stuck.sent, bytes.Join(stuck.body, nil))
	require.Equal(t, "40\t40\t40", pipelinetest.SQL(t, url, "SELECT uniqExact(event_id), (SELECT uniqExact(event_id) FROM fact_history), (SELECT count() FROM fact_ledger) FROM fact_current"))
}
