package clickhousesink

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/uuid"

	"github.com/revstream/revstream/pipeline/consume"
)

// maxQuerySize admits a statement with the IDs of the largest batch: 37 bytes
// an ID.
const maxQuerySize = 64 << 20

// maxRanges bounds the ranges of one look-up.
const maxRanges = 8

// lookups are the statements that ask an entity's ledger.
type lookups struct{ ledger, within, among string }

func newLookups(entity string) lookups {
	ledger := entity + "_ledger"
	return lookups{
		ledger: ledger,
		within: "SELECT event_id FROM " + ledger + " WHERE %s LIMIT %d",
		among:  "SELECT DISTINCT event_id FROM " + ledger + " WHERE event_id IN (SELECT id FROM format(TSV, 'id UUID', '%s'))",
	}
}

// known returns IDs that the ledger has, those of the items among them.
//
// IDs sort by the source's clock, and so does the ledger. The events of a batch
// mostly follow each other, but for some that come a second time or late. So the ledger is asked for
// what it has in the few ranges in which they lie: for new events that is nothing, and the answer
// takes no longer the larger the ledger is. Where it has more there than the batch could be,
// because the batch is scattered over years, it is asked for each ID.
func (s *Sink[E]) known(ctx context.Context, items []consume.Item) (map[uuid.UUID]struct{}, error) {
	if len(items) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	most := 2*len(items) + 1000
	known, n, err := s.ask(ctx, fmt.Sprintf(s.lookups.within, conditions(rangesOf(items)), most))
	if err == nil && n == most {
		known, _, err = s.ask(ctx, fmt.Sprintf(s.lookups.among, texts(items)))
	}
	if err != nil {
		return nil, fmt.Errorf("looking %d events up in %s: %w", len(items), s.lookups.ledger, &failure{err})
	}
	return known, nil
}

// span is from one ID to another, both included.
type span struct{ first, last uuid.UUID }

// rangesOf returns the ranges in which the items' IDs lie: what is left of the whole without its
// widest gaps.
func rangesOf(items []consume.Item) []span {
	ids := make([]uuid.UUID, len(items))
	for i, item := range items {
		ids[i] = item.ID
	}
	slices.SortFunc(ids, func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
	gap := func(i int) uint64 { // before ids[i]; the first half has the time
		return binary.BigEndian.Uint64(ids[i][:8]) - binary.BigEndian.Uint64(ids[i-1][:8])
	}
	var widest []int // where they end, the widest first
	for i := 1; i < len(ids); i++ {
		if len(widest) == maxRanges-1 && gap(i) <= gap(widest[len(widest)-1]) {
			continue
		}
		at, _ := slices.BinarySearchFunc(widest, gap(i), func(w int, g uint64) int { return cmp.Compare(g, gap(w)) })
		widest = slices.Insert(widest, at, i)
		widest = widest[:min(len(widest), maxRanges-1)]
	}
	slices.Sort(widest)
	ranges := make([]span, 0, maxRanges)
	from := 0
	for _, to := range append(widest, len(ids)) {
		ranges = append(ranges, span{ids[from], ids[to-1]})
		from = to
	}
	return ranges
}

// conditions say in SQL that an ID is in one of the ranges.
func conditions(ranges []span) string {
	texts := make([]string, len(ranges))
	for i, r := range ranges {
		texts[i] = fmt.Sprintf("toUInt128(event_id) BETWEEN toUInt128(toUUID('%s')) AND toUInt128(toUUID('%s'))", r.first, r.last)
	}
	return strings.Join(texts, " OR ")
}

// texts are the items' IDs as one text literal that the format function
// parses: as literals of an IN list 10,000 of them exceed the server's limits
// for a statement's size and tree, and as a URL parameter the limits of proxies.
func texts(items []consume.Item) string {
	var ids strings.Builder
	ids.Grow(38 * len(items))
	for _, item := range items {
		ids.WriteString(item.ID.String())
		ids.WriteString(`\n`)
	}
	return ids.String()
}

// ask returns the IDs of an answer, and how many rows it has.
func (s *Sink[E]) ask(ctx context.Context, query string) (ids map[uuid.UUID]struct{}, rows int, err error) {
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"max_query_size": maxQuerySize, "wait_end_of_query": 1}))
	answer, err := s.conn.QueryFormat(ctx, "RowBinary", query)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = answer.Close() }() // the end of the answer says what there is to say
	data, err := io.ReadAll(answer)
	if err != nil {
		return nil, 0, err
	}
	const size = len(uuid.UUID{})
	if len(data)%size != 0 {
		return nil, 0, io.ErrUnexpectedEOF
	}
	rows = len(data) / size
	ids = make(map[uuid.UUID]struct{}, rows)
	for ; len(data) > 0; data = data[size:] {
		var id uuid.UUID // each half comes as a little-endian number
		binary.BigEndian.PutUint64(id[:8], binary.LittleEndian.Uint64(data))
		binary.BigEndian.PutUint64(id[8:], binary.LittleEndian.Uint64(data[8:]))
		ids[id] = struct{}{}
	}
	return ids, rows, nil
}
