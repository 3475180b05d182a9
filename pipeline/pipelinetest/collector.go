package pipelinetest

import (
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Span is one that a collector has received. IDs are in hex.
type Span struct {
	Service, Name     string
	Trace, ID, Parent string
	Links             []string // IDs of the spans
	Attributes        map[string]string
	Failed            bool
}

// Collector takes traces over OTLP/HTTP, as an OpenTelemetry collector does.
type Collector struct {
	URL string

	mu    sync.Mutex
	spans []Span
}

// NewCollector starts a collector on the loopback.
func NewCollector(t testing.TB) *Collector {
	t.Helper()
	c := &Collector{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := c.take(r); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	}))
	t.Cleanup(server.Close)
	c.URL = server.URL
	return c
}

func (c *Collector) take(r *http.Request) error {
	if r.URL.Path != "/v1/traces" {
		return fmt.Errorf("%s takes no traces", r.URL.Path)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	var exported collector.ExportTraceServiceRequest
	if err := proto.Unmarshal(body, &exported); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range exported.GetResourceSpans() {
		service := texts(resource.GetResource().GetAttributes())["service.name"]
		for _, scope := range resource.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				c.spans = append(c.spans, received(service, span))
			}
		}
	}
	return nil
}

func received(service string, s *trace.Span) Span {
	span := Span{
		Service: service, Name: s.GetName(), Trace: hex.EncodeToString(s.GetTraceId()), ID: hex.EncodeToString(s.GetSpanId()), Parent: hex.EncodeToString(s.GetParentSpanId()),
		Attributes: texts(s.GetAttributes()), Failed: s.GetStatus().GetCode() == trace.Status_STATUS_CODE_ERROR,
	}
	for _, link := range s.GetLinks() {
		span.Links = append(span.Links, hex.EncodeToString(link.GetSpanId()))
	}
	return span
}

func texts(attributes []*common.KeyValue) map[string]string {
	all := make(map[string]string, len(attributes))
	for _, a := range attributes {
		all[a.GetKey()] = text(a.GetValue())
	}
	return all
}

func text(value *common.AnyValue) string {
	switch v := value.GetValue().(type) {
	case *common.AnyValue_StringValue:
		return v.StringValue
	case *common.AnyValue_IntValue:
		return fmt.Sprint(v.IntValue)
	case *common.AnyValue_ArrayValue:
		var all []string
		for _, each := range v.ArrayValue.GetValues() {
			all = append(all, text(each))
		}
		return fmt.Sprint(all)
	default:
		return value.String()
	}
}

// Spans returns what has come so far.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.spans)
}

// Named returns the spans of a name.
func (c *Collector) Named(name string) []Span {
	return slices.DeleteFunc(c.Spans(), func(s Span) bool { return s.Name != name })
}

// Await waits for spans of a name until there are so many.
func (c *Collector) Await(t testing.TB, name string, least int) []Span {
	t.Helper()
	require.Eventually(t, func() bool { return len(c.Named(name)) >= least }, 15*time.Second, 10*time.Millisecond, "spans named %q", name)
	return c.Named(name)
}
