package migrations

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// Layout says how the tables lie: on one server, or on the shards of a cluster, where each name that is read and inserted into
// stands for tables on all shards.
type Layout struct {
	Cluster string // empty on one server
}

// layoutQuery has a row where there are tables. It wants the database, as SQL.
const layoutQuery = "SELECT engine, engine_full FROM system.tables WHERE database = %s AND name = 'forecast_current'"

var (
	clusterName = regexp.MustCompile(`^[A-Za-z0-9_.{}-]+$`)
	distributed = regexp.MustCompile(`^Distributed\('([A-Za-z0-9_.{}-]+)',`)
)

// Find asks the database how its tables lie. A database without tables is that of one server.
func Find(ctx context.Context, conn clickhouse.Conn) (Layout, error) {
	var found []struct {
		Engine string `ch:"engine"`
		Full   string `ch:"engine_full"`
	}
	if err := conn.Select(ctx, &found, fmt.Sprintf(layoutQuery, "currentDatabase()")); err != nil {
		return Layout{}, fmt.Errorf("asking how the tables lie: %w", err)
	}
	if len(found) == 0 {
		return Layout{}, nil
	}
	return layoutOf(found[0].Engine, found[0].Full)
}

func layoutOf(engine, full string) (Layout, error) {
	if engine != "Distributed" {
		return Layout{}, nil
	}
	match := distributed.FindStringSubmatch(full)
	if match == nil {
		return Layout{}, errors.New("table forecast_current is a Distributed table of an unknown form")
	}
	return Layout{Cluster: match[1]}, nil
}

// Storage is what ALTER, DELETE and OPTIMIZE act on for a table: its name, and on a cluster that of the tables on all shards, with ON CLUSTER.
func (l Layout) Storage(table string) string {
	if l.Cluster == "" {
		return table
	}
	return table + localSuffix + l.onCluster()
}

// onCluster is the clause that makes a statement run on every server.
func (l Layout) onCluster() string {
	if l.Cluster == "" {
		return ""
	}
	return " ON CLUSTER `" + l.Cluster + "`"
}
