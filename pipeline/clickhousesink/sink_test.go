package clickhousesink_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/pipeline/clickhousesink"
	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/pipeline/table"
)

// fact is an event with a column of each kind that the entities have.
type fact struct {
	id     uuid.UUID
	name   string
	note   *string
	amount *table.Unscaled
	at     time.Time
	day    *time.Time
	tags   []string
	fields map[string]string
}

var columns = []table.Column[*fact]{
	table.Of("name", "String", func(f *fact) string { return f.name }),
	table.Of("note", "LowCardinality(Nullable(String))", func(f *fact) *string { return f.note }),
	table.Of("amount", "Nullable(Decimal(38, 18))", func(f *fact) *table.Unscaled { return f.amount }),
	table.Of("at", "DateTime64(6, 'UTC')", func(f *fact) time.Time { return f.at }),
	table.Of("day", "Nullable(Date32)", func(f *fact) *time.Time { return f.day }),
	table.Of("tags", "Array(String)", func(f *fact) []string { return f.tags }),
	table.Of("fields", "Map(String, String)", func(f *fact) map[string]string { return f.fields }),
	table.Of("event_id", "UUID", func(f *fact) uuid.UUID { return f.id }),
}

// newDatabase makes the entity's tables.
func newDatabase(t *testing.T) (url string) {
	t.Helper()
	url = pipelinetest.ClickHouse(t)
	content := "name String, note LowCardinality(Nullable(String)), amount Nullable(Decimal(38, 18)), at DateTime64(6, 'UTC'), day Nullable(Date32), tags Array(String), fields Map(String, String), event_id UUID"
	origin := "kafka_topic LowCardinality(String), kafka_partition Int32, kafka_offset Int64"
	pipelinetest.SQL(t, url, "CREATE TABLE fact_current ("+content+", version UInt128 MATERIALIZED toUInt128(event_id)) ENGINE = ReplacingMergeTree(version) ORDER BY name")
	pipelinetest.SQL(t, url, "CREATE TABLE fact_history ("+content+", "+origin+") ENGINE = ReplacingMergeTree ORDER BY (name, at, event_id)")
	pipelinetest.SQL(t, url, "CREATE TABLE fact_ledger (event_id UUID, "+origin+") ENGINE = ReplacingMergeTree ORDER BY toUInt128(event_id)")
	return url
}

func newSink(t *testing.T, url string, timeout time.Duration) *clickhousesink.Sink[*fact] {
	t.Helper()
	conn, err := clickhousesink.Open(url)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return sinkOn(t, conn, timeout)
}

func sinkOn(t *testing.T, conn clickhousesink.Conn, timeout time.Duration) *clickhousesink.Sink[*fact] {
	t.Helper()
	sink, err := clickhousesink.New(clickhousesink.Config{InsertTimeout: timeout}, prometheus.NewRegistry(), conn,
		clickhousesink.Tables[*fact]{Entity: "fact", Columns: columns, NewReader: func() clickhousesink.Reader[*fact] { return factOf }})
	require.NoError(t, err)
	return sink
}

// numbered makes the nth fact.
func numbered(n int) *fact {
	var id uuid.UUID
	binary.BigEndian.PutUint64(id[:8], uint64(n))
	return &fact{id: id, name: fmt.Sprint("name-", n), at: time.UnixMicro(int64(n))}
}

// carried are the facts of the tests' records.
var carried sync.Map // *kgo.Record → *fact

// records carry facts.
func records(facts ...*fact) []*kgo.Record {
	batch := make([]*kgo.Record, len(facts))
	for i, f := range facts {
		batch[i] = &kgo.Record{Topic: "facts", Partition: 1, Offset: int64(i), Value: []byte{}}
		carried.Store(batch[i], f)
	}
	return batch
}

func factOf(_ context.Context, rec *kgo.Record) (*fact, uuid.UUID, error) {
	f, _ := carried.Load(rec)
	return f.(*fact), f.(*fact).id, nil
}

// filled is a batch of facts, at the offsets from 0 on.
func filled(t *testing.T, sink *clickhousesink.Sink[*fact], facts ...*fact) consume.Batch {
	t.Helper()
	batch := sink.NewBatch()
	for _, rec := range records(facts...) {
		require.NoError(t, batch.Add(t.Context(), rec))
	}
	return batch
}

// store stores facts by a sink, in one try.
func store(t *testing.T, sink *clickhousesink.Sink[*fact], facts ...*fact) ([]consume.Refused, error) {
	t.Helper()
	return filled(t, sink, facts...).Store(t.Context())
}

func first(n int) []*fact {
	facts := make([]*fact, n)
	for i := range facts {
		facts[i] = numbered(i)
	}
	return facts
}

// proxy stands before an engine. before may answer in its stead; after may
// drop the answer of what is carried out.
func proxy(t *testing.T, target string, before func(http.ResponseWriter, string) bool, after func(string) bool) string {
	t.Helper()
	at := strings.LastIndex(target, "/")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		query := r.URL.Query().Get("query")
		if err != nil || before != nil && before(w, query) {
			return
		}
		req, err := http.NewRequestWithContext(r.Context(), r.Method, target[:at]+r.URL.RequestURI(), bytes.NewReader(body))
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		req.Header = r.Header.Clone()
		resp, err := client.Do(req)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err != nil || after != nil && after(query) {
			panic(http.ErrAbortHandler)
		}
		maps.Copy(w.Header(), resp.Header)
		w.WriteHeader(resp.StatusCode)
		_, _ = w.Write(answer) // the client may be gone
	}))
	t.Cleanup(server.Close)
	return server.URL + target[at:]
}

func counts(t *testing.T, url string) string {
	t.Helper()
	return pipelinetest.SQL(t, url, "SELECT (SELECT count() FROM fact_current), (SELECT count() FROM fact_history), (SELECT count() FROM fact_ledger)")
}

// TestStoringAgainIsHarmless: the ledger drops what it knows, and duplicates
// within a batch; where only the answer of an insert got lost, merging does.
func TestStoringAgainIsHarmless(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	sink := newSink(t, url, time.Minute)
	for range 2 {
		refused, err := store(t, sink, append(first(10), numbered(3), numbered(4))...)
		require.NoError(t, err)
		require.Empty(t, refused)
		require.Equal(t, "10\t10\t10", counts(t, url))
	}
}

// TestALostAnswerIsRepaired, whichever insert's it is.
func TestALostAnswerIsRepaired(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"fact_current", "fact_history", "fact_ledger"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := newDatabase(t)
			var dropped atomic.Bool
			sink := newSink(t, proxy(t, url, nil, func(query string) bool {
				return strings.Contains(query, "INTO "+name+" ") && !dropped.Swap(true)
			}), time.Minute)
			_, err := store(t, sink, first(10)...)
			require.Error(t, err)
			_, err = store(t, sink, first(10)...)
			require.NoError(t, err)
			for _, each := range []string{"fact_current", "fact_history", "fact_ledger"} {
				require.Equal(t, "10\t10", pipelinetest.SQL(t, url, "SELECT count(), uniqExact(event_id) FROM "+each+" FINAL"))
			}
		})
	}
}

// TestTheLedgerIsAskedForTheLargestBatch in one look-up.
func TestTheLedgerIsAskedForTheLargestBatch(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	sink := newSink(t, url, time.Minute)
	all := first(50_000)
	_, err := store(t, sink, all[:20_000]...)
	require.NoError(t, err)
	_, err = store(t, sink, all...)
	require.NoError(t, err)
	require.Equal(t, "50000\t50000\t50000", counts(t, url))
}

// TestWhatTheEngineAnswersIsAnOutage: errors that look permanent, or are
// memory or time, are waited for. Their texts name the code and no value.
func TestWhatTheEngineAnswersIsAnOutage(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		statement string // before
		setting   string // of the URL
		timeout   time.Duration
		want      string
	}{
		"no table":      {statement: "DROP TABLE fact_history", want: "ClickHouse error 60 UNKNOWN_TABLE"},
		"no column":     {statement: "ALTER TABLE fact_history DROP COLUMN note", want: "ClickHouse error 16 NO_SUCH_COLUMN_IN_TABLE"},
		"read-only":     {setting: "readonly=1", want: "ClickHouse error 164 READONLY"},
		"memory":        {setting: "max_memory_usage=1&max_untracked_memory=1", want: "ClickHouse error 241 MEMORY_LIMIT_EXCEEDED"},
		"time":          {timeout: time.Nanosecond, want: context.DeadlineExceeded.Error()},
		"a wrong table": {statement: "EXCHANGE TABLES fact_history AND fact_ledger", want: "ClickHouse error "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := newDatabase(t)
			if c.statement != "" {
				pipelinetest.SQL(t, url, c.statement)
			}
			if c.timeout == 0 {
				c.timeout = time.Minute
			}
			secret := numbered(1)
			secret.name = "secret-name"
			refused, err := store(t, newSink(t, url+"?"+c.setting, c.timeout), secret)
			require.ErrorContains(t, err, c.want)
			require.Empty(t, refused)
			require.NotContains(t, err.Error(), "secret")
		})
	}
}

// TestErrorTextsHoldNoValuesAndNoCredentials, whatever answers in ClickHouse's place.
func TestErrorTextsHoldNoValuesAndNoCredentials(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer func(http.ResponseWriter)
		want   string
	}{
		"an exception": {func(w http.ResponseWriter) {
			w.Header().Set("X-ClickHouse-Exception-Code", "999")
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprint(w, "Code: 999. DB::Exception: Cannot do 'secret-name' (KEEPER_EXCEPTION)")
		}, "ClickHouse error 999 KEEPER_EXCEPTION"},
		"a proxy": {func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusBadGateway)
			fmt.Fprint(w, "secret-name")
		}, "HTTP status 502, not from ClickHouse"},
		"a cut": {func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, "EOF"},
		"an exception after success": {func(w http.ResponseWriter) {
			fmt.Fprint(w, "\r\n__exception__\r\nCode: 999. DB::Exception: Cannot do 'secret-name' (KEEPER_EXCEPTION)\r\n")
		}, "ClickHouse error 999"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := proxy(t, newDatabase(t), func(w http.ResponseWriter, query string) bool {
				if strings.Contains(query, "INTO fact_history ") {
					c.answer(w)
					return true
				}
				return false
			}, nil)
			_, err := store(t, newSink(t, strings.Replace(url, "http://", "http://secret-user:secret-password@", 1), time.Minute), first(1)...)
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, "fact_history")
			require.NotContains(t, err.Error(), "secret")
		})
	}
	_, err := store(t, newSink(t, "http://secret-user:secret-password@127.0.0.1:1/db", time.Minute), first(1)...)
	require.ErrorContains(t, err, "refused")
	require.NotContains(t, err.Error(), "secret")
	for _, url := range []string{"", "secret-user", "http://secret-user:secret-password@", "http://secret-user:secret-password@h:8123", "ftp://secret-user:secret-password@h/db", "http://h/db?dial_timeout=secret"} {
		_, err := clickhousesink.Open(url)
		require.ErrorContains(t, err, "CLICKHOUSE_URL", url)
		require.NotContains(t, err.Error(), "secret")
	}
}

// unscaled is the two's complement of a number.
func unscaled(digits string) table.Unscaled {
	n, _ := new(big.Int).SetString(digits, 10)
	if n.Sign() < 0 {
		n.Add(n, new(big.Int).Lsh(big.NewInt(1), 128))
	}
	var u table.Unscaled
	n.FillBytes(u[:])
	return u
}

// TestValuesArriveAsTheyAre.
func TestValuesArriveAsTheyAre(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	most, least, smallest := unscaled("99999999999999999999999999999999999999"), unscaled("-99999999999999999999999999999999999999"), unscaled("1")
	empty, nul := "", "a\x00b\tc\n\\'"
	firstDay, lastDay := time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2261, 12, 31, 0, 0, 0, 0, time.UTC)
	facts := first(4)
	facts[0].amount, facts[0].note, facts[0].day, facts[0].at = &most, &empty, &firstDay, firstDay
	facts[1].amount, facts[1].note, facts[1].day, facts[1].at = &least, &nul, &lastDay, time.Date(2261, 12, 31, 23, 59, 59, 999_999_000, time.UTC)
	facts[2].amount, facts[2].name, facts[2].tags = &smallest, "Zoë 東京 🚀", []string{"", "a,b", "\x00"}
	facts[2].fields, facts[2].at = map[string]string{"": "empty key", "k\n": "'"}, time.UnixMicro(math.MaxInt32*1_000_001)
	_, err := store(t, newSink(t, url, time.Minute), facts...)
	require.NoError(t, err)

	conn, err := clickhousesink.Open(url)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	rows, err := conn.Query(t.Context(), "SELECT name, note, amount, at, day, tags, fields FROM fact_history ORDER BY kafka_offset")
	require.NoError(t, err)
	for _, want := range facts {
		require.True(t, rows.Next())
		var got fact
		var amount *decimal.Decimal
		require.NoError(t, rows.Scan(&got.name, &got.note, &amount, &got.at, &got.day, &got.tags, &got.fields))
		require.Equal(t, want.name, got.name)
		require.Equal(t, want.note, got.note, "null is not empty")
		require.Equal(t, want.amount == nil, amount == nil)
		if want.amount != nil {
			require.Equal(t, *want.amount, unscaled(amount.Shift(18).String()))
		}
		require.True(t, want.at.Equal(got.at), "%s is not %s", want.at, got.at)
		require.Equal(t, want.day, got.day)
		require.ElementsMatch(t, want.tags, got.tags)
		require.Len(t, got.fields, len(want.fields))
		for k, v := range want.fields {
			require.Equal(t, v, got.fields[k])
		}
	}
	require.NoError(t, rows.Close())
	// As the engine itself prints the ends, not only as the driver reads them back.
	require.Equal(t, "1900-01-01 00:00:00.000000\t1900-01-01\t99999999999999999999.999999999999999999\n2261-12-31 23:59:59.999999\t2261-12-31\t-99999999999999999999.999999999999999999",
		pipelinetest.SQL(t, url, "SELECT at, day, amount FROM fact_history WHERE kafka_offset < 2 ORDER BY kafka_offset"))
}

// TestARepairedCopyInOneBatchWithTheRejectedOne: an event keeps its ID when it
// is repaired, and its good copy was dropped as a duplicate of the bad one.
func TestARepairedCopyInOneBatchWithTheRejectedOne(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		copies  string // of one event: b is bad, g is good
		refused []int64
		stored  string
	}{
		"a good one after a bad one":  {"bg", []int64{0}, "1"},
		"the second of the good ones": {"bgg", []int64{0}, "1"},
		"a third":                     {"bbgbg", []int64{0, 1}, "1"},
		"none":                        {"bbb", []int64{0, 1, 2}, "0"},
		"a bad one after a good one":  {"gb", nil, "1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, sink, _ := refusal(t)
			var facts []*fact
			for _, kind := range c.copies {
				copied := numbered(1)
				if kind == 'b' {
					copied.name = "secret-name"
				}
				facts = append(facts, copied)
			}
			facts = append(facts, numbered(2), numbered(3), numbered(2))
			refused, err := store(t, sink, facts...)
			require.NoError(t, err)
			require.Equal(t, c.refused, offsets(refused))
			for _, table := range []string{"current", "history", "ledger"} {
				require.Equal(t, c.stored+"\t2", pipelinetest.SQL(t, url, "SELECT countIf(event_id = '"+numbered(1).id.String()+"'), countIf(event_id != '"+numbered(1).id.String()+"') FROM fact_"+table))
			}
		})
	}
}

func offsets(refused []consume.Refused) (offsets []int64) {
	for _, r := range refused {
		offsets = append(offsets, r.Offset)
	}
	return offsets
}

// TestWhatTheLedgerHasIsLeftOut, batch by batch, in memory that is used again: all other rows go in as
// they are, with their own places.
func TestWhatTheLedgerHasIsLeftOut(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	sink := newSink(t, url, time.Minute)
	note := "a note"
	made := func(n int) *fact {
		f := numbered(n)
		if f.tags = []string{fmt.Sprint("tag-", n)}; n%3 == 0 {
			f.note, f.tags, f.fields = &note, []string{"", f.name, "x"}, map[string]string{f.name: "v"}
		}
		return f
	}
	for batch := range 6 { // each has the last half of the one before, and the first in between
		var facts []*fact
		for n := range 1000 {
			facts = append(facts, made(500*batch+n))
		}
		facts = append(facts, made(0))
		refused, err := store(t, sink, facts...)
		require.NoError(t, err)
		require.Empty(t, refused)
	}
	require.Equal(t, "3500\t3500\t3500", counts(t, url))
	require.Equal(t, "3500", pipelinetest.SQL(t, url, `SELECT count() FROM fact_history WHERE name = concat('name-', toString(toUnixTimestamp64Micro(at)))
		AND kafka_offset = toUnixTimestamp64Micro(at) - 500 * greatest(intDiv(toUnixTimestamp64Micro(at), 500) - 1, 0)
		AND if(toUnixTimestamp64Micro(at) % 3 = 0, note = 'a note' AND tags = ['', name, 'x'] AND fields = map(name, 'v'), note IS NULL AND tags = [concat('tag-', toString(toUnixTimestamp64Micro(at)))] AND empty(fields))`))
	require.Equal(t, "3500", pipelinetest.SQL(t, url, "SELECT count() FROM fact_ledger JOIN fact_history USING (event_id, kafka_topic, kafka_partition, kafka_offset)"))
}
