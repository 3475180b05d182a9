package reconcile

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/uuid"

	"github.com/revstream/revstream/pipeline/clickhousesink"
)

// lookedUp are the event IDs of one look-up, correlationIDs the correlation IDs of one.
const (
	lookedUp       = 5000
	correlationIDs = 1000
)

// storedAt returns the events that the history has from a range of offsets, the last one included.
func (c *check) storedAt(ctx context.Context, partition int32, first, last int64) (map[int64]uuid.UUID, error) {
	at := map[int64]uuid.UUID{}
	query := fmt.Sprintf("SELECT kafka_offset, event_id FROM %s_history WHERE kafka_topic = '%s' AND kafka_partition = %d AND kafka_offset BETWEEN %d AND %d",
		c.topic.Table, c.topic.Name, partition, first, last)
	err := c.stream(ctx, query, func(r *rowReader) {
		offset := int64(r.uint64())
		at[offset] = r.uuid()
	})
	return at, err
}

// storedBy returns the correlation IDs under which the history has those of the events that it has.
func (c *check) storedBy(ctx context.Context, items []item) (map[uuid.UUID]string, error) {
	by := map[uuid.UUID]string{}
	for chunk := range slices.Chunk(items, lookedUp) {
		var ids strings.Builder
		for _, i := range chunk {
			ids.WriteString(i.id.String())
			ids.WriteString(`\n`)
		}
		query := fmt.Sprintf("SELECT event_id, correlation_id FROM %s_history WHERE event_id IN (SELECT id FROM format(TSV, 'id UUID', '%s'))", c.topic.Table, &ids)
		err := c.stream(ctx, query, func(r *rowReader) {
			id := r.uuid()
			by[id] = r.text()
		})
		if err != nil {
			return nil, err
		}
	}
	return by, nil
}

// current calls each with the hash of the key and the event of every row of the current table, older versions of a key included.
func (c *check) current(ctx context.Context, each func(hash uint64, id uuid.UUID)) error {
	columns := make([]string, len(c.topic.KeyColumns))
	for i, column := range c.topic.KeyColumns {
		columns[i] = "toString(" + column + ")"
	}
	query := fmt.Sprintf("SELECT xxHash64(concat('%s', %s)), event_id FROM %s_current", c.topic.KeyPrefix, strings.Join(columns, ", '|', "), c.topic.Table)
	return c.stream(ctx, query, func(r *rowReader) { each(r.uint64(), r.uuid()) })
}

// countCompacted counts the events that are in the history and no more on the topic, for the runs of which some are not on it.
func (c *check) countCompacted(ctx context.Context) error {
	published, all := make([]int64, c.groups.n), []string{}
	for i, r := range c.runs {
		published[c.groups.byRun[i]] += r.published
	}
	for i, r := range c.runs {
		if g := c.groups.byRun[i]; published[g] > c.counts[g].onTopic {
			all = append(all, r.correlation)
		}
	}
	slices.Sort(all)
	scope, period := "''", "''"
	if c.scoped {
		scope, period = c.topic.KeyColumns[0], c.topic.KeyColumns[1]
	}
	for chunk := range slices.Chunk(slices.Compact(all), correlationIDs) {
		rows, err := c.conn.Query(ctx, "SELECT correlation_id AS c, toString("+scope+") AS s, toString("+period+") AS p, uniqExact(event_id) FROM "+c.topic.Table+"_history "+
			"WHERE correlation_id IN (?) GROUP BY c, s, p", chunk)
		if err != nil {
			return fmt.Errorf("looking for what the topic has no more: %w", clickhousesink.Safe(err))
		}
		for rows.Next() {
			var o origin
			var n uint64
			if err := rows.Scan(&o.correlation, &o.scope, &o.period, &n); err != nil {
				return errors.Join(clickhousesink.Safe(err), rows.Close())
			}
			for _, g := range c.groups.indices(o) {
				c.counts[g].compacted += int64(n)
			}
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return fmt.Errorf("looking for what the topic has no more: %w", clickhousesink.Safe(err))
		}
	}
	for g := range c.counts {
		c.counts[g].compacted = max(0, c.counts[g].compacted-c.counts[g].own)
	}
	return nil
}

// stream calls each for every row of an answer, which may be larger than memory.
func (c *check) stream(ctx context.Context, query string, each func(*rowReader)) error {
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"max_query_size": maxQuerySize}))
	answer, err := c.conn.QueryFormat(ctx, "RowBinary", query)
	if err != nil {
		return fmt.Errorf("reading %s: %w", c.topic.Table, clickhousesink.Safe(err))
	}
	defer func() { _ = answer.Close() }() // the end of the answer says what there is to say
	r := &rowReader{from: bufio.NewReaderSize(answer, 256<<10)}
	for r.more() {
		each(r)
	}
	if r.err != nil {
		return fmt.Errorf("reading %s: %w", c.topic.Table, clickhousesink.Safe(r.err))
	}
	return nil
}

// maxQuerySize admits a statement with as many event IDs as are looked up at a time.
const maxQuerySize = 1 << 20

// rowReader reads ClickHouse's RowBinary format.
type rowReader struct {
	from *bufio.Reader
	err  error
}

// more tells whether there is another row.
func (r *rowReader) more() bool {
	if r.err != nil {
		return false
	}
	_, err := r.from.Peek(1)
	if !errors.Is(err, io.EOF) {
		r.err = err
	}
	return err == nil
}

func (r *rowReader) take(dst []byte) {
	if _, err := io.ReadFull(r.from, dst); err != nil && r.err == nil {
		r.err = err
	}
}

func (r *rowReader) uint64() uint64 {
	var raw [8]byte
	r.take(raw[:])
	return binary.LittleEndian.Uint64(raw[:])
}

// uuid comes as two little-endian numbers.
func (r *rowReader) uuid() (id uuid.UUID) {
	binary.BigEndian.PutUint64(id[:8], r.uint64())
	binary.BigEndian.PutUint64(id[8:], r.uint64())
	return id
}

func (r *rowReader) text() string {
	n, err := binary.ReadUvarint(r.from)
	if err != nil || n > maxQuerySize {
		r.err = errors.Join(r.err, err, errors.New("a text has no length"))
		return ""
	}
	text := make([]byte, n)
	r.take(text)
	return string(text)
}
