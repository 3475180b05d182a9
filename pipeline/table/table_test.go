package table_test

import (
	"fmt"
	"io"
	"math"
	"math/big"
	"testing"
	"time"

	chproto "github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
	"github.com/ClickHouse/clickhouse-go/v2/lib/proto"
	"github.com/google/uuid"
	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/pipeline/table"
)

// decoded reads a block as the database driver reads one from a server: each
// row's values.
func decoded(t *testing.T, native io.Reader) (names []string, rows [][]any) {
	t.Helper()
	block := new(proto.Block)
	block.ServerContext = &column.ServerContext{Timezone: time.UTC}
	require.NoError(t, block.Decode(chproto.NewReader(native), 0))
	for i := range block.Rows() {
		row := make([]any, len(block.Columns))
		for j, c := range block.Columns {
			row[j] = c.Row(i, false)
		}
		rows = append(rows, row)
	}
	return block.ColumnsNames(), rows
}

// identity makes a column of values that are the events.
func identity[V any](typ string) []table.Column[V] {
	return []table.Column[V]{table.Of("v", typ, func(v V) V { return v })}
}

// read puts values into a column and reads them back.
func read[V any](t *testing.T, typ string, values ...V) []any {
	t.Helper()
	b := table.NewBlock(identity[V](typ))
	var got []any
	for range 2 { // the second time in the memory of the first
		b.Reset()
		for _, v := range values {
			b.Append(v)
		}
		got = only(t, b)
	}
	picked(t, typ, b, got)
	return got
}

// only returns the values of a block's one column.
func only[V any](t *testing.T, b *table.Block[V]) (values []any) {
	t.Helper()
	_, rows := decoded(t, table.Native(b))
	for _, row := range rows {
		values = append(values, row[0])
	}
	return values
}

// picked checks that some of a block's rows come over into another, none, all or every so many,
// behind those of before.
func picked[V any](t *testing.T, typ string, from *table.Block[V], values []any) {
	t.Helper()
	to := table.NewBlock(identity[V](typ))
	for range 2 {
		to.Reset()
		var want []any
		for _, every := range []int{len(values) + 1, 1, 2, 3} {
			keep := make([]bool, len(values))
			for i := range keep {
				if keep[i] = (i+1)%every == 0; keep[i] {
					want = append(want, values[i])
				}
			}
			to.AppendFrom(from, keep)
		}
		require.Equal(t, want, only(t, to), typ)
		require.Equal(t, len(want), to.Rows())
	}
	require.Equal(t, values, only(t, from), "what is picked from is as it was")
}

// TestValuesComeBack from every type that there is.
func TestValuesComeBack(t *testing.T) {
	t.Parallel()
	text, nothing := "x\x00é", ""
	at := time.Date(1901, 2, 3, 4, 5, 6, 789_000, time.UTC)
	day, early := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC), time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)
	id := uuid.MustParse("01234567-89ab-8def-8123-456789abcdef")
	require.Equal(t, []any{text, "", text}, read(t, "String", text, "", text))
	require.Equal(t, []any{&text, (*string)(nil), &nothing}, pointers[string](read(t, "Nullable(String)", &text, nil, &nothing)))
	require.Equal(t, []any{"", text, text, ""}, read(t, "LowCardinality(String)", "", text, text, ""))
	require.Equal(t, []any{&nothing, (*string)(nil), &text, &nothing}, pointers[string](read(t, "LowCardinality(Nullable(String))", &nothing, nil, &text, &nothing)))
	require.Equal(t, []any{true, false}, read(t, "Bool", true, false))
	require.Equal(t, []any{uint8(0), uint8(255)}, read(t, "UInt8", uint8(0), uint8(255)))
	require.Equal(t, []any{int32(-1), int32(1 << 30)}, read(t, "Int32", int32(-1), int32(1<<30)))
	require.Equal(t, []any{int64(-1), int64(1 << 62)}, read(t, "Int64", int64(-1), int64(1<<62)))
	require.Equal(t, []any{new(int64(7)), (*int64)(nil)}, pointers[int64](read(t, "Nullable(Int64)", new(int64(7)), nil)))
	require.Equal(t, []any{at, day}, read(t, "DateTime64(6, 'UTC')", at, day))
	require.Equal(t, []any{early, day}, read(t, "Date32", early, day))
	require.Equal(t, []any{id, uuid.Nil}, read(t, "UUID", id, uuid.Nil))
	require.Equal(t, []any{[]string{"a", ""}, []string{}, []string{"b"}}, read(t, "Array(String)", []string{"a", ""}, nil, []string{"b"}))
	require.Equal(t, []any{-0.5, math.MaxFloat64}, read(t, "Float64", -0.5, math.MaxFloat64))
	require.Equal(t, []any{new(0.1), (*float64)(nil)}, pointers[float64](read(t, "Nullable(Float64)", new(0.1), nil)))
	require.Equal(t, []any{[]int64{1, -2}, []int64{}}, read(t, "Array(Int64)", []int64{1, -2}, nil))
	require.Equal(t, []any{map[string]string{"k": "v", "": ""}, map[string]string{}}, read(t, "Map(String, String)", map[string]string{"k": "v", "": ""}, nil))
	for _, typ := range []string{"Decimal(38, 18)", "Decimal(76, 18)"} {
		got := read(t, typ, unscaled(-1), unscaled(1<<62))
		require.Equal(t, "-0.000000000000000001", got[0].(decimal.Decimal).String())
		require.Equal(t, "4.611686018427387904", got[1].(decimal.Decimal).String())
	}
}

// pointers turn what the driver returns of a nullable column, a pointer or nil, into pointers alone.
func pointers[V any](values []any) []any {
	for i, v := range values {
		if v == nil {
			values[i] = (*V)(nil)
		} else if value, plain := v.(V); plain {
			values[i] = &value
		}
	}
	return values
}

func unscaled(n int64) table.Unscaled {
	v := big.NewInt(n)
	if n < 0 {
		v.Add(v, new(big.Int).Lsh(big.NewInt(1), 128))
	}
	var u table.Unscaled
	v.FillBytes(u[:])
	return u
}

// TestADictionaryGrows past what one byte numbers, and two, and keeps what it had.
func TestADictionaryGrows(t *testing.T) {
	t.Parallel()
	for _, distinct := range []int{1, 254, 255, 256, 257, 65_535, 65_536, 70_000} {
		values, nullables := make([]string, 0, distinct+2), make([]*string, 0, distinct+2)
		var want, wantNullable []any
		for i := range distinct + 2 {
			v := fmt.Sprint("value ", i%distinct)
			values, want = append(values, v), append(want, v)
			nullables, wantNullable = append(nullables, &v), append(wantNullable, &v)
		}
		nullables[0], wantNullable[0] = nil, (*string)(nil)
		require.Equal(t, want, read(t, "LowCardinality(String)", values...), distinct)
		require.Equal(t, wantNullable, pointers[string](read(t, "LowCardinality(Nullable(String))", nullables...)), distinct)
	}
}

// TestWhatIsAppendedIsCopied: the caller's memory changes with the next event.
func TestWhatIsAppendedIsCopied(t *testing.T) {
	t.Parallel()
	type event struct{ text []byte }
	value := func(e *event) string { return unsafeText(e.text) }
	b := table.NewBlock([]table.Column[*event]{table.Of("a", "String", value), table.Of("b", "LowCardinality(String)", value)})
	e := &event{text: []byte("one")}
	b.Append(e)
	copy(e.text, "two")
	b.Append(e)
	copy(e.text, "one")
	b.Append(e)
	copy(e.text, "***")
	_, rows := decoded(t, table.Native(b))
	require.Equal(t, [][]any{{"one", "one"}, {"two", "two"}, {"one", "one"}}, rows)
}

// TestPartsStandSideBySide.
func TestPartsStandSideBySide(t *testing.T) {
	t.Parallel()
	a, b := table.NewBlock(identity[string]("String")), table.NewBlock([]table.Column[int64]{
		table.Of("n", "Int64", func(n int64) int64 { return n }), table.Of("twice", "Int64", func(n int64) int64 { return 2 * n }),
	})
	for i := range int64(3) {
		a.Append(fmt.Sprint(i))
		b.Append(i)
	}
	names, rows := decoded(t, table.Native(a, b))
	require.Equal(t, []string{"v", "n", "twice"}, names)
	require.Equal(t, [][]any{{"0", int64(0), int64(0)}, {"1", int64(1), int64(2)}, {"2", int64(2), int64(4)}}, rows)
}

// TestATypeThatNothingFillsIsRefused when the column is made, not when rows go in.
func TestATypeThatNothingFillsIsRefused(t *testing.T) {
	t.Parallel()
	require.PanicsWithValue(t, "table: column c: a string does not fill a Int64", func() {
		table.Of("c", "Int64", func(string) string { return "" })
	})
	for _, typ := range []string{"Nullable(Int64)", "Int32", "Decimal(76, 18)"} {
		require.Panics(t, func() { table.Of("c", typ, func(n int64) int64 { return n }) }, typ)
	}
	require.Panics(t, func() { table.Of("c", "Decimal(9, 2)", func(u table.Unscaled) table.Unscaled { return u }) })
}

//nolint:paralleltest // allocations are the whole process's
func TestRowsAreAppendedWithoutAllocating(t *testing.T) {
	text := "text"
	b := table.NewBlock([]table.Column[*string]{
		table.Of("a", "Nullable(String)", func(s *string) *string { return s }),
		table.Of("b", "LowCardinality(String)", func(s *string) string { return *s }),
		table.Of("c", "Nullable(DateTime64(6, 'UTC'))", func(*string) *time.Time { return nil }),
	})
	for range 1000 {
		b.Append(&text)
	}
	allocs := testing.AllocsPerRun(100, func() {
		b.Reset()
		for range 100 {
			b.Append(&text)
		}
	})
	require.Equal(t, 1, int(allocs), "for the one text of the dictionary")
}
