package anomaly_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/consumers/anomaly"
	"github.com/revstream/revstream/consumers/migrations"
	"github.com/revstream/revstream/pipeline/clickhousesink"
	"github.com/revstream/revstream/pipeline/pipelinetest"
	"github.com/revstream/revstream/schemas"
	"github.com/revstream/revstream/schemas/alert"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/wire"
)

// world is the warehouse and what is around a detector, all of it real. Rows are written as consumers write them, but with a
// time of arrival that the test chooses.
type world struct {
	t         *testing.T
	url       string
	conn      clickhouse.Conn
	cluster   *pipelinetest.Cluster
	registry  *wire.Registry
	publisher *anomaly.Publisher
	now       time.Time // of the source's clock: the first version's
	clock     int64     // microseconds after now, of the next version that names none
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, url: pipelinetest.ClickHouse(t), cluster: pipelinetest.Kafka(t, 1, schemas.AlertsTopic), now: time.Now().UTC().Add(-time.Hour).Truncate(time.Second)}
	_, err := migrations.Up(t.Context(), w.url)
	require.NoError(t, err)
	w.conn, err = clickhousesink.Open(w.url)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.conn.Close()) })
	w.registry, err = wire.NewRegistry(pipelinetest.Registry(t))
	require.NoError(t, err)
	_, err = w.registry.Register(t.Context(), schemas.AlertsTopic, schemas.MustAvro(alert.SchemaFile))
	require.NoError(t, err)
	w.publisher, err = anomaly.OpenPublisher(t.Context(), pipelinetest.Client(t, w.cluster), w.registry)
	require.NoError(t, err)
	return w
}

func defaults() anomaly.Config {
	return anomaly.Config{
		Percent: decimal.NewFromInt(20), Floor: decimal.NewFromInt(1000), MaxAge: 7 * 24 * time.Hour, Storm: 25, Overlap: 10 * time.Minute,
	}
}

func (w *world) detector(cfg anomaly.Config) *anomaly.Detector {
	w.t.Helper()
	d, err := anomaly.New(cfg, pipelinetest.Logger(w.t), anomaly.Deps{Conn: w.conn, Alerts: w.publisher})
	require.NoError(w.t, err)
	return d
}

// run looks, and returns what was opened as "scope subject before>after".
func (w *world) run(cfg anomaly.Config) []string {
	w.t.Helper()
	report, err := w.detector(cfg).Run(w.t.Context())
	require.NoError(w.t, err)
	return told(report.Opened)
}

func told(reviews []anomaly.Review) []string {
	texts := []string{}
	for _, r := range reviews {
		text := func(d *decimal.Decimal) string {
			if d == nil {
				return "-"
			}
			return d.String()
		}
		of := r.UserID
		if r.Scope == anomaly.ScopeHierarchy {
			of = r.HierarchyID
		}
		texts = append(texts, fmt.Sprintf("%s %s %s %s>%s", r.Scope, of, r.Kind, text(r.Before), text(r.After)))
	}
	return texts
}

// version is a version of a forecast value. The zero value of a field is what its comment says.
type version struct {
	user, amount  string // amount "": null
	kind, frame   string // forecast, TF:1
	currency      string // USD; "-": null
	place, above  string // in the hierarchy; null
	correlationID string // live
	at            int64  // microseconds after world.now; after the version before
	arrived       string // SQL; now
	deleted       bool
}

// put inserts versions in one insert of each table: they arrive at the same time, unless they say otherwise.
func (w *world) put(versions ...version) {
	w.t.Helper()
	rows := make([]string, len(versions))
	arrival := "'" + pipelinetest.SQL(w.t, w.url, "SELECT now64(3, 'UTC')") + "'" // as an expression it would be each row's own
	for i, v := range versions {
		w.clock++
		if v.at == 0 {
			v.at = w.clock
		}
		kind, frame := or(v.kind, "forecast"), or(v.frame, "TF:1")
		at, op := w.now.Add(time.Duration(v.at)*time.Microsecond), event.Upsert
		if v.deleted {
			op = event.Delete
		}
		id, err := event.NewID("forecast", strings.Join([]string{"net", "2026_Q4", frame, v.user, "commit", kind}, "|"), at, op)
		require.NoError(w.t, err)
		null := func(s string) string {
			if s == "" || s == "-" {
				return "NULL"
			}
			return "'" + s + "'"
		}
		rows[i] = fmt.Sprintf("('net', '2026_Q4', '%s', '%s', 'commit', '%s', %s, %s, %s, %s, 'job', '%s', '%s', '%s', %t, '%s', %s)",
			frame, v.user, kind, null(v.amount), null(or(v.currency, "USD")), null(v.place), null(v.above), id,
			at.Format("2006-01-02 15:04:05.000000"), at.Format("2006-01-02 15:04:05.000000"), v.deleted, or(v.correlationID, "live"), or(v.arrived, arrival))
	}
	for _, table := range []string{"forecast_current", "forecast_history"} {
		pipelinetest.SQL(w.t, w.url, "INSERT INTO "+table+` (forecast_id, time_period_id, time_frame_id, user_id, field_id, kind, value, currency_code,
hierarchy_id, parent_hierarchy_id, job_id, event_id, source_version, observed_at, is_deleted, correlation_id, ingested_at) VALUES `+strings.Join(rows, ", "))
	}
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func (w *world) backfill(correlationID string) {
	w.t.Helper()
	pipelinetest.SQL(w.t, w.url, "INSERT INTO export_runs_current (run_id, scope, correlation_id, event_id) VALUES ('backfill:"+correlationID+"', 'backfill', '"+correlationID+"', generateUUIDv4())")
}

// alerts reads the topic, each alert as it came.
func (w *world) alerts() []*alert.Alert {
	w.t.Helper()
	decoder := wire.NewDecoder(alert.Schema, w.registry)
	var all []*alert.Alert
	for _, record := range pipelinetest.ReadAll(w.t, w.cluster, schemas.AlertsTopic) {
		var a alert.Alert
		require.NoError(w.t, decoder.Decode(w.t.Context(), record.Value, &a))
		require.NoError(w.t, event.Check(&a, record.Key))
		all = append(all, &a)
	}
	return all
}

func (w *world) list(all bool) []anomaly.Review {
	w.t.Helper()
	reviews, err := anomaly.List(w.t.Context(), w.conn, all)
	require.NoError(w.t, err)
	return reviews
}
