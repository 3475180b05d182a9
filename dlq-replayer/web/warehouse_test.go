package web

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/dlq-replayer/payload"
	"github.com/revstream/revstream/pipeline/clickhousesink"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/schemas/wire"
)

// withWarehouse gives a page the real ClickHouse engine, at url.
func withWarehouse(t *testing.T, url string) func(*Config, *Deps) {
	t.Helper()
	conn, err := clickhousesink.Open(url)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return func(_ *Config, deps *Deps) { deps.Warehouse = conn }
}

// TestTheWarehousesRowIsShownBesideALetter: the newest version, masked as the value is.
func TestTheWarehousesRowIsShownBesideALetter(t *testing.T) {
	t.Parallel()
	url := pipelinetest.ClickHouse(t)
	pipelinetest.SQL(t, url, `CREATE TABLE people_current (person_id Int64, first_name Nullable(String), title Nullable(String), emails_sent Nullable(Int64),
		updated_at Nullable(DateTime64(6, 'UTC')), tags Array(String), custom_fields Map(String, String), event_id UUID, is_deleted UInt8, unheard_of String,
		version UInt128 MATERIALIZED toUInt128(event_id)) ENGINE = ReplacingMergeTree(version, is_deleted) ORDER BY person_id`)
	pipelinetest.SQL(t, url, "SYSTEM STOP MERGES people_current")
	pipelinetest.SQL(t, url, `INSERT INTO people_current VALUES
		(2, 'Old', 'Clerk', 1, '2026-01-01 00:00:00', [], {}, '00000000-0000-8000-8000-000000000001', 0, 'x')`)
	pipelinetest.SQL(t, url, `INSERT INTO people_current VALUES
		(2, 'Zebedee', 'Head', 9007199254740993, '2026-02-03 04:05:06.789', ['a'], {'k':'Zebedee'}, '00000000-0000-8000-8000-000000000002', 1, 'x'),
		(3, 'Other', NULL, NULL, NULL, [], {}, '00000000-0000-8000-8000-000000000003', 0, 'x')`)
	b := newBench(t, withWarehouse(t, url))
	b.write(b.person(2, wire.ReasonValidation), b.person(5, wire.ReasonValidation))
	looks, acts := b.signedIn(viewerToken), b.signedIn(operatorToken)
	path := func(key string) string {
		return "/api/letters/" + looks.letters("key=" + key).Letters[0].ID.String()
	}
	var shown struct {
		Warehouse struct {
			Table string
			Row   map[string]any
		}
		WarehouseError string `json:"warehouse_error"`
	}
	got := looks.get(path("salesloft:2"))
	require.NotContains(t, got.text, "Zebedee")
	require.Contains(t, got.text, `"emails_sent":9007199254740993`)
	got.into(t, &shown)
	require.Empty(t, shown.WarehouseError)
	require.Equal(t, "people_current", shown.Warehouse.Table)
	row := shown.Warehouse.Row
	require.Equal(t, []any{"[masked]", "Head", "2026-02-03T04:05:06.789Z", "[masked]", "[masked]", "00000000-0000-8000-8000-000000000002", 1.0},
		[]any{row["first_name"], row["title"], row["updated_at"], row["custom_fields"], row["unheard_of"], row["event_id"], row["is_deleted"]})

	revealed := acts.get(path("salesloft:2") + "?reveal=true&reason=x")
	require.Equal(t, 3, strings.Count(revealed.text, "Zebedee"), "the value's, the row's and the map's")
	require.Contains(t, looks.get(path("salesloft:5")).text, `"warehouse":{"table":"people_current","row":null}`)

	pipelinetest.SQL(t, url, "DROP TABLE people_current")
	got = looks.get(path("salesloft:2"))
	require.Equal(t, http.StatusOK, got.status)
	require.Contains(t, got.text, `"warehouse_error":"ClickHouse error 60`)
}

// TestWhatIsAway, ClickHouse or the registry, hides nothing else, and its address, which has a password, is not told.
func TestWhatIsAway(t *testing.T) {
	t.Parallel()
	away, err := wire.NewRegistry("http://reader:hunter2@127.0.0.1:1")
	require.NoError(t, err)
	b := newBench(t, withWarehouse(t, "http://reader:hunter2@127.0.0.1:1/revenue"), func(_ *Config, deps *Deps) { deps.Values = payload.NewReader(away) })
	b.people(1)
	br := b.signedIn(operatorToken)
	got := br.get("/api/letters/" + br.letters("").Letters[0].ID.String())
	require.Equal(t, http.StatusOK, got.status)
	require.Contains(t, got.text, "warehouse_error")
	require.NotContains(t, got.text, "hunter2")
	require.Contains(t, got.text, `"undecodable":"SCHEMA_REGISTRY_URL`)
}
