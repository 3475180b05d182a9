// Package migrations owns the tables and views of the warehouse: ClickHouse DDL, applied in order, each once.
package migrations

import (
	"context"
	"crypto/rand"
	"database/sql"
	"embed"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	_ "github.com/ClickHouse/clickhouse-go/v2" // the database/sql driver "clickhouse"
	"github.com/pressly/goose/v3"
)

//go:embed *.sql
var files embed.FS

// Applied is a migration that was run, up or down.
type Applied struct {
	Version int64
	File    string
}

// State is what is known of a migration.
type State struct {
	Applied
	At time.Time // when it was applied; zero if it was not
}

// Target is where the migrations are applied.
type Target struct {
	URL string // of ClickHouse with the database
	// Cluster is the cluster on which a new database is made; empty for one server, or for whatever a database already lies on.
	Cluster string
}

var databaseName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Up creates the database that a ClickHouse URL names, if it does not exist,
// and applies what is missing. It is safe to run again, and from several processes at once.
func Up(ctx context.Context, rawURL string) ([]Applied, error) {
	return Target{URL: rawURL}.Up(ctx)
}

// Down takes back what was applied after a version; 0 takes everything back, and all data with it.
func Down(ctx context.Context, rawURL string, to int64) ([]Applied, error) {
	return Target{URL: rawURL}.Down(ctx, to)
}

// Up is the function of that name.
func (t Target) Up(ctx context.Context) ([]Applied, error) {
	m, err := t.open(ctx, true)
	if err != nil {
		return nil, err
	}
	defer m.db.Close()
	results, err := m.provider.Up(ctx)
	applied := all(results)
	if err != nil {
		return applied, fmt.Errorf("migrating database %s: %w", m.database, err)
	}
	return applied, ensureMaskingKey(ctx, m.db)
}

// Down is the function of that name.
func (t Target) Down(ctx context.Context, to int64) ([]Applied, error) {
	m, err := t.open(ctx, false)
	if err != nil {
		return nil, err
	}
	defer m.db.Close()
	results, err := m.provider.DownTo(ctx, to)
	if err != nil {
		return all(results), fmt.Errorf("taking migrations of database %s back: %w", m.database, err)
	}
	return all(results), nil
}

// Status lists all migrations in order.
func (t Target) Status(ctx context.Context) ([]State, error) {
	m, err := t.open(ctx, false)
	if err != nil {
		return nil, err
	}
	defer m.db.Close()
	found, err := m.provider.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading which migrations database %s has: %w", m.database, err)
	}
	states := make([]State, len(found))
	for i, s := range found {
		states[i] = State{Applied{s.Source.Version, s.Source.Path}, s.AppliedAt}
	}
	return states, nil
}

func all(results []*goose.MigrationResult) []Applied {
	applied := make([]Applied, len(results))
	for i, r := range results {
		applied[i] = Applied{Version: r.Source.Version, File: r.Source.Path}
	}
	return applied
}

// migrator is a database with the migrations in the form that it needs.
type migrator struct {
	database string
	db       *sql.DB
	provider *goose.Provider
}

func (t Target) open(ctx context.Context, create bool) (*migrator, error) {
	u, err := url.Parse(strings.TrimSpace(t.URL))
	if err != nil || u.Host == "" {
		return nil, errors.New("CLICKHOUSE_URL is not a URL such as http://user:password@host:8123/revenue")
	}
	m := &migrator{database: strings.Trim(u.Path, "/")}
	if !databaseName.MatchString(m.database) {
		return nil, errors.New("CLICKHOUSE_URL names no database; add it as the path, such as /revenue")
	}
	if t.Cluster != "" && !clusterName.MatchString(t.Cluster) {
		return nil, fmt.Errorf("--cluster %q is not a cluster's name: letters, digits, - _ . and a macro in braces", t.Cluster)
	}
	layout, err := t.prepare(ctx, *u, m.database, create)
	if err != nil {
		return nil, err
	}
	if m.db, err = open(*u); err != nil {
		return nil, err
	}
	if m.provider, err = provider(m.db, m.database, layout); err != nil {
		return nil, errors.Join(err, m.db.Close())
	}
	return m, nil
}

// prepare finds how the tables of a database lie, and makes the database where that is asked for. It connects to the server's default
// database, as a connection to one that does not exist is refused.
func (t Target) prepare(ctx context.Context, u url.URL, database string, create bool) (Layout, error) {
	u.Path = "/default"
	db, err := open(u)
	if err != nil {
		return Layout{}, err
	}
	defer db.Close()
	layout, err := t.layout(ctx, db, database)
	if err != nil || !create {
		return layout, err
	}
	if _, err := db.ExecContext(ctx, "CREATE DATABASE IF NOT EXISTS "+database+layout.onCluster()+" ENGINE = Atomic"); err != nil {
		return Layout{}, fmt.Errorf("creating database %s: %w", database, err)
	}
	return layout, nil
}

// layout is the one that the database has, or that a new one is given.
func (t Target) layout(ctx context.Context, db *sql.DB, database string) (Layout, error) {
	var engine, full string
	err := db.QueryRowContext(ctx, fmt.Sprintf(layoutQuery, "'"+database+"'")).Scan(&engine, &full)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Layout{t.Cluster}, nil
	case err != nil:
		return Layout{}, fmt.Errorf("asking how the tables of database %s lie: %w", database, err)
	}
	has, err := layoutOf(engine, full)
	switch {
	case err != nil || t.Cluster == "" || t.Cluster == has.Cluster:
		return has, err
	case has.Cluster == "":
		return Layout{}, fmt.Errorf("the database was made for one server, so --cluster %s cannot be used; make a new database and fill it from the topics", t.Cluster)
	default:
		return Layout{}, fmt.Errorf("the database lies on cluster %s, not on %s", has.Cluster, t.Cluster)
	}
}

func provider(db *sql.DB, database string, layout Layout) (*goose.Provider, error) {
	p, err := goose.NewProvider(goose.DialectClickHouse, db, files)
	if layout.Cluster != "" {
		p, err = clusterProvider(db, database, layout)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the migrations: %w", err)
	}
	return p, nil
}

// ensureMaskingKey makes the key of the masked views' hashes where there is none. It is made here, as no random number
// of the database is meant for secrets. Of two that replicas make at once, the views take the older.
func ensureMaskingKey(ctx context.Context, db *sql.DB) error {
	var half [16]byte
	_, _ = rand.Read(half[:]) // never fails
	_, err := db.ExecContext(ctx, "INSERT INTO masking_key (half_1, half_2, created_at) SELECT toUInt64(?), toUInt64(?), now64(6) WHERE (SELECT count() FROM masking_key) = 0",
		binary.BigEndian.Uint64(half[:8]), binary.BigEndian.Uint64(half[8:]))
	if err != nil {
		return fmt.Errorf("making the key of the masked views: %w", err)
	}
	return nil
}

func open(u url.URL) (*sql.DB, error) {
	db, err := sql.Open("clickhouse", u.String())
	if err != nil {
		return nil, errors.New("CLICKHOUSE_URL has an unsupported scheme or option")
	}
	return db, nil
}
