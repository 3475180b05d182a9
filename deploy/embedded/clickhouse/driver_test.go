package clickhouse_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/uuid"
	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"
)

const everyType = `
	text String, id UUID, version UInt128, at DateTime64(6, 'UTC'), amount Decimal(38, 18), kind LowCardinality(String),
	note Nullable(String), tags Map(String, String), list Array(String), operation Enum8('UPSERT' = 1, 'DELETE' = 2),
	day Date, longDay Date32, flag Bool, second DateTime('UTC'), small Int32, ratio Float64, money Nullable(Decimal(18, 2))`

type everyRow struct {
	text      string
	id        uuid.UUID
	version   *big.Int
	at        time.Time
	amount    decimal.Decimal
	kind      string
	note      *string
	tags      map[string]string
	list      []string
	operation string
	day       time.Time
	longDay   time.Time
	flag      bool
	second    time.Time
	small     int32
	ratio     float64
	money     *decimal.Decimal
}

func (r *everyRow) values() []any {
	return []any{r.text, r.id, r.version, r.at, r.amount, r.kind, r.note, r.tags, r.list, r.operation, r.day, r.longDay, r.flag,
		r.second, r.small, r.ratio, r.money}
}

func (r *everyRow) pointers() []any {
	return []any{&r.text, &r.id, &r.version, &r.at, &r.amount, &r.kind, &r.note, &r.tags, &r.list, &r.operation, &r.day, &r.longDay,
		&r.flag, &r.second, &r.small, &r.ratio, &r.money}
}

func everyRows() []everyRow {
	note, money := "nöte", decimal.RequireFromString("-12.34")
	largest := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 128), big.NewInt(1))
	return []everyRow{
		{
			text: "a\x00b\n\n\r\n\xff\xfe", id: uuid.MustParse("0190a1b2-c3d4-8e5f-8a7b-0a0a0a0a0a0a"), version: largest,
			at: time.Date(2026, 3, 4, 5, 6, 7, 890123000, time.UTC), amount: decimal.RequireFromString("12345678901234567890.123456789012345678"),
			kind: "forecast", note: &note, tags: map[string]string{"k\n\n": "v\x00", "": ""}, list: []string{"", "\n\n", "x"},
			operation: "DELETE", day: time.Date(2149, 6, 6, 0, 0, 0, 0, time.UTC), longDay: time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC),
			flag: true, second: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), small: -7, ratio: 0.1, money: &money,
		},
		{
			text: strings.Repeat("\n\n", 40), version: new(big.Int), at: time.Unix(0, 0).UTC(), tags: map[string]string{}, list: []string{},
			operation: "UPSERT", day: time.Unix(0, 0).UTC(), longDay: time.Date(2299, 12, 31, 0, 0, 0, 0, time.UTC), second: time.Unix(0, 0).UTC(),
		},
	}
}

// A round trip in each compression that the driver has over HTTP.
func TestEveryTypeRoundTrips(t *testing.T) {
	t.Parallel()
	for _, method := range []driver.CompressionMethod{
		driver.CompressionNone, driver.CompressionLZ4, driver.CompressionZSTD, driver.CompressionGZIP, driver.CompressionDeflate,
	} {
		t.Run(method.String(), func(t *testing.T) {
			t.Parallel()
			conn := database(t, "types_"+method.String(), func(o *driver.Options) {
				o.Compression = &driver.Compression{Method: method, Level: 1}
			})
			require.NoError(t, conn.Exec(t.Context(), "CREATE TABLE t ("+everyType+") ENGINE = MergeTree ORDER BY version"))
			batch, err := conn.PrepareBatch(t.Context(), "INSERT INTO t")
			require.NoError(t, err)
			want := everyRows()
			for i := range want {
				require.NoError(t, batch.Append(want[i].values()...))
			}
			require.NoError(t, batch.Send())
			rows, err := conn.Query(t.Context(), "SELECT * FROM t ORDER BY version DESC")
			require.NoError(t, err)
			defer rows.Close()
			for i := range want {
				var got everyRow
				require.True(t, rows.Next(), rows.Err())
				require.NoError(t, rows.Scan(got.pointers()...))
				require.Zero(t, want[i].amount.Cmp(got.amount), got.amount)
				got.amount = want[i].amount
				if want[i].money != nil {
					require.Zero(t, want[i].money.Cmp(*got.money), got.money)
					got.money = want[i].money
				}
				for _, moment := range []*time.Time{&got.at, &got.day, &got.longDay, &got.second} {
					*moment = moment.UTC() // the driver's locations are UTC by another name
				}
				require.Zero(t, want[i].version.Cmp(got.version))
				got.version = want[i].version
				require.Equal(t, want[i], got)
			}
			require.False(t, rows.Next())
			require.NoError(t, rows.Err())
		})
	}
}

func TestColumnarBatch(t *testing.T) {
	t.Parallel()
	const rows = 50_000
	conn := database(t, "columnar", func(o *driver.Options) { o.Compression = &driver.Compression{Method: driver.CompressionLZ4} })
	require.NoError(t, conn.Exec(t.Context(), "CREATE TABLE t (n UInt64, s String) ENGINE = MergeTree ORDER BY n"))
	numbers, texts := make([]uint64, rows), make([]string, rows)
	for i := range numbers {
		numbers[i], texts[i] = uint64(i), fmt.Sprintf("row %d\n\n", i)
	}
	batch, err := conn.PrepareBatch(t.Context(), "INSERT INTO t (n, s)")
	require.NoError(t, err)
	require.NoError(t, batch.Column(0).Append(numbers))
	require.NoError(t, batch.Column(1).Append(texts))
	require.NoError(t, batch.Send())
	var count, sum, right uint64
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT count(), sum(n), countIf(s = concat('row ', toString(n), '\\n\\n')) FROM t").
		Scan(&count, &sum, &right))
	require.EqualValues(t, rows, count)
	require.EqualValues(t, rows*(rows-1)/2, sum)
	require.EqualValues(t, rows, right)
	// Back again in several blocks.
	all, err := conn.Query(t.Context(), "SELECT s FROM t ORDER BY n SETTINGS max_block_size = 1000")
	require.NoError(t, err)
	defer all.Close()
	for i := range texts {
		var text string
		require.True(t, all.Next(), all.Err())
		require.NoError(t, all.Scan(&text))
		require.Equal(t, texts[i], text)
	}
	require.False(t, all.Next())
}

func TestNamedParameters(t *testing.T) {
	t.Parallel()
	conn := database(t, "parameters", nil)
	require.NoError(t, conn.Exec(t.Context(), "CREATE TABLE t (n UInt32, s String) ENGINE = MergeTree ORDER BY n"))
	require.NoError(t, conn.Exec(t.Context(), "INSERT INTO t VALUES ({n:UInt32}, {s:String})",
		driver.Named("n", "7"), driver.Named("s", "it's;\n\n{x}")))
	require.NoError(t, conn.Exec(t.Context(), "CREATE VIEW v AS SELECT s FROM t WHERE n = {n:UInt32}"))
	var text string
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT s FROM v(n = {n:UInt32})", driver.Named("n", "7")).Scan(&text))
	require.Equal(t, "it's;\n\n{x}", text)
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT s FROM t WHERE s = ?", text).Scan(&text))
}

// database/sql is what migration tools use: arguments, statements prepared or not, transactions that are none.
func TestDatabaseSQL(t *testing.T) {
	t.Parallel()
	database(t, "standard", nil)
	db, err := sql.Open("clickhouse", "http://user:pass@"+shared.addr+"/standard?max_threads=1")
	require.NoError(t, err)
	defer db.Close()
	ctx := t.Context()
	_, err = db.ExecContext(ctx, "CREATE TABLE versions (id Int64, applied Bool, at DateTime DEFAULT now()) ENGINE = MergeTree ORDER BY at;\n")
	require.NoError(t, err)
	tx, err := db.BeginTx(ctx, nil)
	require.NoError(t, err)
	_, err = tx.ExecContext(ctx, "INSERT INTO versions (id, applied) VALUES ($1, $2)", 1, true)
	require.NoError(t, err)
	require.NoError(t, tx.Commit())
	_, err = db.ExecContext(ctx, "ALTER TABLE versions DELETE WHERE id = $1 SETTINGS mutations_sync = 2", 2)
	require.NoError(t, err)
	var version int64
	var applied bool
	require.NoError(t, db.QueryRowContext(ctx, "SELECT id, applied FROM versions ORDER BY id DESC").Scan(&version, &applied))
	require.EqualValues(t, 1, version)
	require.True(t, applied)
	require.ErrorIs(t, db.QueryRowContext(ctx, "SELECT id FROM versions WHERE id = 7").Scan(&version), sql.ErrNoRows)
}

func TestExceptionCodes(t *testing.T) {
	t.Parallel()
	conn := database(t, "exceptions", func(o *driver.Options) { o.Compression = &driver.Compression{Method: driver.CompressionLZ4} })
	require.NoError(t, conn.Exec(t.Context(), "CREATE TABLE t (n UInt8) ENGINE = MergeTree ORDER BY n"))
	for name, test := range map[string]struct {
		sql  string
		code int32
	}{
		"unknown table":    {"SELECT * FROM nope", 60},
		"unknown database": {"SELECT * FROM nope.nope", 81},
		"unknown column":   {"SELECT nope FROM t", 47},
		"syntax":           {"SELECT FROM WHERE", 62},
		"multi-statement":  {"SELECT 1; SELECT 2", 62},
		"after values":     {"INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)", 62},
		"division":         {"SELECT intDiv(1, 0)", 153},
		"after a block":    {"SELECT throwIf(number = 500000) FROM numbers(1000000)", 395},
		"memory":           {"SELECT groupArray(number) FROM numbers(10000000) SETTINGS max_memory_usage = 1000000", 241},
		"timeout":          {"SELECT sleepEachRow(1) FROM numbers(3) SETTINGS max_execution_time = 0.1, max_block_size = 1", 159},
		"table exists":     {"CREATE TABLE t (n UInt8) ENGINE = Memory", 57},
		"bad value":        {"INSERT INTO t VALUES ('x')", 6},
		"insert nowhere":   {"INSERT INTO nope VALUES (1)", 60},
		"unknown setting":  {"SELECT 1 SETTINGS nope = 1", 115},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var failure *driver.Exception
			err := conn.Exec(t.Context(), test.sql)
			require.ErrorAs(t, err, &failure)
			require.Equal(t, test.code, failure.Code, failure.Message)
			_, err = conn.Query(t.Context(), test.sql)
			require.ErrorAs(t, err, &failure)
			require.Equal(t, test.code, failure.Code, failure.Message)
		})
	}
}

func TestBatchOfATypeThatDoesNotFit(t *testing.T) {
	t.Parallel()
	conn := database(t, "misfit", nil)
	require.NoError(t, conn.Exec(t.Context(), "CREATE TABLE t (n UInt8, CONSTRAINT small CHECK n < 10) ENGINE = MergeTree ORDER BY n"))
	batch, err := conn.PrepareBatch(t.Context(), "INSERT INTO t")
	require.NoError(t, err)
	require.NoError(t, batch.Append(uint8(1)))
	require.NoError(t, batch.Append(uint8(11)))
	var failure *driver.Exception
	require.ErrorAs(t, batch.Send(), &failure)
	require.EqualValues(t, 469, failure.Code)
	var count uint64
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT count() FROM t").Scan(&count))
	require.Zero(t, count)
}

// Requests of different databases and settings at once: none sees another's, and a failed one leaves nothing behind.
func TestRequestsAreIsolated(t *testing.T) {
	t.Parallel()
	const databases, rounds = 6, 25
	var group sync.WaitGroup
	errs := make(chan error, databases)
	for n := range databases {
		name := fmt.Sprintf("isolated_%d", n)
		conn := database(t, name, func(o *driver.Options) { o.MaxOpenConns = 2 })
		require.NoError(t, conn.Exec(t.Context(), "CREATE TABLE t ENGINE = MergeTree ORDER BY s AS SELECT currentDatabase() AS s"))
		group.Go(func() { errs <- useDatabase(t.Context(), conn, name, n, rounds) })
	}
	group.Wait()
	for range databases {
		require.NoError(t, <-errs)
	}
}

func useDatabase(ctx context.Context, conn driver.Conn, name string, n, rounds int) error {
	for range rounds {
		var in, found string
		var threads, block uint64
		threadsOnly := driver.Context(ctx, driver.WithSettings(driver.Settings{"max_threads": n + 1}))
		if err := conn.QueryRow(threadsOnly, "SELECT currentDatabase(), s, toUInt64(getSetting('max_threads')), toUInt64(getSetting('max_block_size')) FROM t").
			Scan(&in, &found, &threads, &block); err != nil {
			return err
		}
		if in != name || found != name || threads != uint64(n+1) || block != 65409 {
			return fmt.Errorf("%s: database %s, row %s, max_threads %d, max_block_size %d", name, in, found, threads, block)
		}
		// Each of these would stay behind in a session that is used again: settings, a database, half a result.
		_ = conn.Exec(ctx, "SET max_block_size = 17")
		_ = conn.Exec(ctx, "USE default")
		_, _ = conn.Query(ctx, "SELECT throwIf(number = 100000) FROM numbers(200000)")
	}
	return nil
}

func TestReplacingMergeTreeBehindAView(t *testing.T) {
	t.Parallel()
	conn := database(t, "replacing", nil)
	for _, statement := range []string{
		`CREATE TABLE current (k String, v String, version UInt128, is_deleted UInt8)
			ENGINE = ReplacingMergeTree(version, is_deleted) ORDER BY k`,
		`CREATE VIEW people AS SELECT k, v FROM current FINAL`,
		`INSERT INTO current VALUES ('a', 'old', 1, 0), ('b', 'kept', 5, 0), ('c', 'gone', 1, 0)`,
		`INSERT INTO current VALUES ('a', 'new', 2, 0), ('b', 'late', 4, 0), ('c', '', 2, 1)`,
	} {
		require.NoError(t, conn.Exec(t.Context(), statement))
	}
	var keys, values []string
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT groupArray(k), groupArray(v) FROM (SELECT * FROM people ORDER BY k)").Scan(&keys, &values))
	require.Equal(t, []string{"a", "b"}, keys)
	require.Equal(t, []string{"new", "kept"}, values)
}

// The ledger's look-up: 20,000 IDs in the statement, past the default limit of a statement's size.
func TestLookUpOfManyIDs(t *testing.T) {
	t.Parallel()
	const known, asked = 1000, 20_000
	conn := database(t, "lookup", nil)
	require.NoError(t, conn.Exec(t.Context(), "CREATE TABLE ledger (event_id UUID) ENGINE = ReplacingMergeTree ORDER BY toUInt128(event_id)"))
	batch, err := conn.PrepareBatch(t.Context(), "INSERT INTO ledger")
	require.NoError(t, err)
	var ids strings.Builder
	for i := range asked {
		id := uuid.NewSHA1(uuid.NameSpaceOID, fmt.Append(nil, i))
		if i < known {
			require.NoError(t, batch.Append(id))
		}
		fmt.Fprintf(&ids, "%s\\n", id)
	}
	require.NoError(t, batch.Send())
	query := "SELECT count() FROM ledger WHERE event_id IN (SELECT event_id FROM format(TSV, 'event_id UUID', '" + ids.String() + "'))"
	var found uint64
	var failure *driver.Exception
	require.ErrorAs(t, conn.QueryRow(t.Context(), query).Scan(&found), &failure)
	require.EqualValues(t, 62, failure.Code, "the default limit holds")
	raised := driver.Context(t.Context(), driver.WithSettings(driver.Settings{"max_query_size": 4 << 20}))
	require.NoError(t, conn.QueryRow(raised, query).Scan(&found))
	require.EqualValues(t, known, found)
}

func TestNoRows(t *testing.T) {
	t.Parallel()
	conn := open(t, shared, func(o *driver.Options) { o.Compression = &driver.Compression{Method: driver.CompressionLZ4} })
	rows, err := conn.Query(t.Context(), "SELECT number FROM numbers(10) WHERE number > 10")
	require.NoError(t, err)
	defer rows.Close()
	require.False(t, rows.Next())
	require.NoError(t, rows.Err())
}

func TestKilledProcessKeepsWhatItAcknowledged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var acknowledged uint64
	for range 3 {
		p := start(t, dir)
		conn := open(t, p, nil)
		require.NoError(t, conn.Exec(t.Context(), "CREATE TABLE IF NOT EXISTS default.t (n UInt64, s String) ENGINE = MergeTree ORDER BY n"))
		for range 10 {
			batch, err := conn.PrepareBatch(t.Context(), "INSERT INTO default.t")
			require.NoError(t, err)
			for range 100 {
				require.NoError(t, batch.Append(acknowledged, string(bytes.Repeat([]byte{'\n'}, 10))))
				acknowledged++
			}
			require.NoError(t, batch.Send())
		}
		require.ErrorContains(t, p.stop(kill), "signal: killed")
	}
	p := start(t, dir)
	var count, distinct uint64
	require.NoError(t, open(t, p, nil).QueryRow(t.Context(), "SELECT count(), uniqExact(n) FROM default.t").Scan(&count, &distinct))
	require.Equal(t, acknowledged, count)
	require.Equal(t, acknowledged, distinct)
	require.NoError(t, p.stop(terminate))
	// And once more after an ordered end.
	p = start(t, dir)
	require.NoError(t, open(t, p, nil).QueryRow(t.Context(), "SELECT count() FROM default.t").Scan(&count))
	require.Equal(t, acknowledged, count)
	require.NoError(t, p.stop(terminate))
}
