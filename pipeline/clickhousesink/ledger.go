package clickhousesink

import (
	"bufio"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/uuid"
)

// maxQuerySize admits a statement with the IDs of the largest batch: 37 bytes
// an ID.
const maxQuerySize = 64 << 20

const (
	// maxRanges bounds the ranges of one look-up.
	maxRanges = 8
	// maxAnswer bounds what the ledger may have in them, for each event of the batch. To be told of an event that the batch does not
	// have costs some twentieth of what it costs to ask for one.
	maxAnswer = 16
)

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

// known returns those of the events that the ledger has.
//
// IDs sort by the source's clock, and so does the ledger. The events of a batch
// mostly follow each other, but for some that come a second time or late. So the ledger is asked for
// what it has in the few ranges in which they lie: for new events that is nothing, or what other partitions
// have brought in of the same time, and the answer takes no longer the larger the ledger is. Where it has more
// there than the batch could be, because the batch is scattered over years, it is asked for each ID.
func (s *Sink[E]) known(ctx context.Context, events map[uuid.UUID]struct{}) (map[uuid.UUID]struct{}, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	most := maxAnswer*len(events) + 1000
	known, n, err := s.ask(ctx, fmt.Sprintf(s.lookups.within, conditions(rangesOf(events)), most), events)
	if err == nil && n == most {
		known, _, err = s.ask(ctx, fmt.Sprintf(s.lookups.among, texts(events)), events)
	}
	if err != nil {
		return nil, fmt.Errorf("looking %d events up in %s: %w", len(events), s.lookups.ledger, &failure{err})
	}
	return known, nil
}

// span is from one first half of an ID to another, both included. The first half has the time.
type span struct{ first, last uint64 }

// rangesOf returns the ranges in which the events' IDs lie: what is left of the whole without its
// widest gaps.
func rangesOf(events map[uuid.UUID]struct{}) []span {
	halves := make([]uint64, 0, len(events))
	for id := range events {
		halves = append(halves, binary.BigEndian.Uint64(id[:8]))
	}
	slices.Sort(halves)
	gap := func(i int) uint64 { return halves[i] - halves[i-1] }
	var widest []int // where they end, the widest first
	for i := 1; i < len(halves); i++ {
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
	for _, to := range append(widest, len(halves)) {
		ranges = append(ranges, span{halves[from], halves[to-1]})
		from = to
	}
	return ranges
}

// conditions say in SQL that an ID is in one of the ranges.
func conditions(ranges []span) string {
	texts := make([]string, len(ranges))
	for i, r := range ranges {
		var first, last uuid.UUID
		binary.BigEndian.PutUint64(first[:8], r.first)
		binary.BigEndian.PutUint64(last[:8], r.last)
		binary.BigEndian.PutUint64(last[8:], math.MaxUint64)
		texts[i] = fmt.Sprintf("toUInt128(event_id) BETWEEN toUInt128(toUUID('%s')) AND toUInt128(toUUID('%s'))", first, last)
	}
	return strings.Join(texts, " OR ")
}

// texts are the events' IDs as one text literal that the format function
// parses: as literals of an IN list 10,000 of them exceed the server's limits
// for a statement's size and tree, and as a URL parameter the limits of proxies.
func texts(events map[uuid.UUID]struct{}) string {
	var ids strings.Builder
	ids.Grow(38 * len(events))
	for id := range events {
		ids.WriteString(id.String())
		ids.WriteString(`\n`)
	}
	return ids.String()
}

// ask returns those of the events that an answer has, and how many rows it has.
func (s *Sink[E]) ask(ctx context.Context, query string, events map[uuid.UUID]struct{}) (ids map[uuid.UUID]struct{}, rows int, err error) {
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"max_query_size": maxQuerySize, "wait_end_of_query": 1}))
	answer, err := s.conn.QueryFormat(ctx, "RowBinary", query)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = answer.Close() }() // the end of the answer says what there is to say
	ids = make(map[uuid.UUID]struct{})
	data, raw := bufio.NewReaderSize(answer, 64<<10), make([]byte, len(uuid.UUID{}))
	for ; ; rows++ {
		if _, err := io.ReadFull(data, raw); err == io.EOF {
			return ids, rows, nil
		} else if err != nil {
			return nil, 0, err
		}
		var id uuid.UUID // each half comes as a little-endian number
		binary.BigEndian.PutUint64(id[:8], binary.LittleEndian.Uint64(raw[:8]))
		binary.BigEndian.PutUint64(id[8:], binary.LittleEndian.Uint64(raw[8:]))
		if has(events, id) {
			ids[id] = struct{}{}
		}
	}
}
