package clickhousesink

import (
	"context"
	"fmt"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/uuid"

	"github.com/revstream/revstream/pipeline/consume"
)

// maxQuerySize admits a statement with the IDs of the largest batch: 37 bytes
// an ID.
const maxQuerySize = 64 << 20

// known returns which of the items' events the ledger has.
//
// The IDs go as one text literal that the format function parses: as literals
// of an IN list 10,000 of them exceed the server's limits for a statement's
// size and tree, and as a URL parameter the limits of proxies. IDs sort by the
// source's clock, and so does the ledger, so a look-up among recent events
// touches a few granules, however large the ledger is.
func (s *Sink[E]) known(ctx context.Context, items []consume.Item[E]) (map[uuid.UUID]struct{}, error) {
	if len(items) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	var ids strings.Builder
	ids.Grow(38 * len(items))
	for _, item := range items {
		ids.WriteString(s.tables.ID(item.Event).String())
		ids.WriteString(`\n`)
	}
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"max_query_size": maxQuerySize}))
	rows, err := s.conn.Query(ctx, fmt.Sprintf(s.lookup, ids.String()))
	if err != nil {
		return nil, fmt.Errorf("looking %d events up in %s_ledger: %w", len(items), s.tables.Entity, &failure{err})
	}
	defer func() { _ = rows.Close() }() // rows.Err says what there is to say
	known := make(map[uuid.UUID]struct{})
	for rows.Next() {
		var id uuid.UUID
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("reading %s_ledger: %w", s.tables.Entity, &failure{err})
		}
		known[id] = struct{}{}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading %s_ledger: %w", s.tables.Entity, &failure{err})
	}
	return known, nil
}
