package migrations

import (
	"context"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// Layout says how the tables lie: on one server, or on the shards of a cluster, where each name that is read and inserted into
// stands for tables on all shards.
type Layout struct {
	Cluster string // empty on one server
}

// Find asks the database how its tables lie.
func Find(context.Context, clickhouse.Conn) (Layout, error) {
	return Layout{}, nil
}

// Storage is what ALTER, DELETE and OPTIMIZE act on for a table: its name, and on a cluster that of the tables on all shards, with ON CLUSTER.
func (l Layout) Storage(table string) string {
	if l.Cluster == "" {
		return table
	}
	return table + "_local ON CLUSTER `" + l.Cluster + "`"
}
