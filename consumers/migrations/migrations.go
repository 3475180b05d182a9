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

	_ "github.com/ClickHouse/clickhouse-go/v2" // the database/sql driver "clickhouse"
	"github.com/pressly/goose/v3"
)

//go:embed *.sql
var files embed.FS

// Applied is a migration that Up has run.
type Applied struct {
	Version int64
	File    string
}

var databaseName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Up creates the database that a ClickHouse URL names, if it does not exist,
// and applies what is missing. It is safe to run again.
func Up(ctx context.Context, rawURL string) ([]Applied, error) {
	u, err := url.Parse(strings.TrimSpace(rawURL))
	if err != nil || u.Host == "" {
		return nil, errors.New("CLICKHOUSE_URL is not a URL such as http://user:password@host:8123/revenue")
	}
	database := strings.Trim(u.Path, "/")
	if !databaseName.MatchString(database) {
		return nil, errors.New("CLICKHOUSE_URL names no database; add it as the path, such as /revenue")
	}
	if err := createDatabase(ctx, *u, database); err != nil {
		return nil, err
	}
	db, err := open(*u)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	provider, err := goose.NewProvider(goose.DialectClickHouse, db, files)
	if err != nil {
		return nil, fmt.Errorf("reading the migrations: %w", err)
	}
	results, err := provider.Up(ctx)
	applied := make([]Applied, len(results))
	for i, r := range results {
		applied[i] = Applied{Version: r.Source.Version, File: r.Source.Path}
	}
	if err != nil {
		return applied, fmt.Errorf("migrating database %s: %w", database, err)
	}
	return applied, ensureMaskingKey(ctx, db)
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

// createDatabase connects to the server's default database, as a connection to
// one that does not exist is refused.
func createDatabase(ctx context.Context, u url.URL, database string) error {
	u.Path = "/default"
	db, err := open(u)
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, "CREATE DATABASE IF NOT EXISTS "+database+" ENGINE = Atomic"); err != nil {
		return fmt.Errorf("creating database %s: %w", database, err)
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
