package clickhousesink_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/revstream/revstream/pipeline/clickhousesink"
	"github.com/revstream/revstream/pipeline/consume"
	"github.com/revstream/revstream/pipeline/pipelinetest"
)

// parents are the span IDs that requests to ClickHouse name, and the database behind them.
func parents(t *testing.T, target string) (front string, seen func() []string) {
	t.Helper()
	u, err := url.Parse(target)
	require.NoError(t, err)
	var mu sync.Mutex
	var ids []string
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		if parts := strings.Split(r.In.Header.Get("traceparent"), "-"); len(parts) == 4 {
			mu.Lock()
			defer mu.Unlock()
			ids = append(ids, parts[2])
		}
		r.SetURL(&url.URL{Scheme: u.Scheme, Host: u.Host})
	}}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	proxy.Transport = transport
	server := httptest.NewServer(proxy)
	t.Cleanup(func() {
		server.Close()
		transport.CloseIdleConnections()
	})
	return server.URL + u.Path, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return ids
	}
}

// Each call of ClickHouse is a span below that of the batch, and ClickHouse is told which one.
func TestEachCallIsASpanThatClickHouseIsToldOf(t *testing.T) {
	t.Parallel()
	database := newDatabase(t)
	front, named := parents(t, database)
	conn, err := clickhousesink.Open(front)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	reg := prometheus.NewRegistry()
	sink, err := clickhousesink.New(clickhousesink.Config{InsertTimeout: time.Minute}, reg, conn, clickhousesink.Tables[*fact]{
		Entity: "fact", Columns: columns, NewReader: func() clickhousesink.Reader[*fact] { return factOf },
		Dates: func(f *fact) (happened, observed time.Time) { return f.at, f.at.Add(time.Second) },
	})
	require.NoError(t, err)
	spans := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	ctx, above := provider.Tracer("test").Start(t.Context(), "batch")

	batch := filled(t, sink, numbered(7), numbered(8), numbered(7))
	happened, observed := batch.(consume.Dated).Dates()
	require.Equal(t, []time.Time{time.UnixMicro(7), time.UnixMicro(7).Add(time.Second)}, []time.Time{happened, observed})
	_, err = batch.Store(ctx)
	require.NoError(t, err)
	_, err = filled(t, sink, numbered(8), numbered(9)).Store(ctx)
	require.NoError(t, err)
	pipelinetest.SQL(t, database, "DROP TABLE fact_history")
	_, err = filled(t, sink, numbered(10)).Store(ctx)
	require.Error(t, err)
	above.End()

	var got, ids []string
	for _, span := range spans.GetSpans() {
		set := attribute.NewSet(span.Attributes...)
		if span.Name == "batch" {
			duplicates, _ := set.Value("revstream.duplicates")
			require.EqualValues(t, 1, duplicates.AsInt64(), "of the last batch that was stored whole")
			continue
		}
		require.Equal(t, above.SpanContext().SpanID(), span.Parent.SpanID(), span.Name)
		rows, _ := set.Value("revstream.rows")
		got = append(got, span.Name+" "+rows.String()+map[bool]string{true: " failed"}[span.Status.Code == codes.Error])
		ids = append(ids, span.SpanContext.SpanID().String())
	}
	require.ElementsMatch(t, []string{
		"look up fact_ledger 2", "insert fact_current 2", "insert fact_history 2", "insert fact_ledger 2",
		"look up fact_ledger 2", "insert fact_current 1", "insert fact_history 1", "insert fact_ledger 1",
		"look up fact_ledger 1", "insert fact_current 1", "insert fact_history 1 failed",
	}, got)
	require.Subset(t, named(), ids)
}
