// Package clickhouse serves the ClickHouse HTTP interface in front of the ClickHouse engine as a library (chDB's libchdb),
// so that a machine without a ClickHouse server has the real engine, its real tables on disk and its real errors.
//
// It is for development and tests: there are no users, no sessions over several requests, no replication and no native
// protocol. Everything else that a statement can do is the engine's own.
package clickhouse
