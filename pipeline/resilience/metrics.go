package resilience

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/timeout"
	"github.com/prometheus/client_golang/prometheus"
)

// What a try ended as that has no HTTP status.
const (
	codeNetwork     = "network"
	codeTimeout     = "timeout"
	codeCircuitOpen = "circuit_open"
)

// expectedCodes are those that somebody watches: they are there from the start, so that the first one is an increase.
var expectedCodes = []string{"200", "401", "403", "429", "500", "502", "503", "504", codeNetwork, codeTimeout, codeCircuitOpen}

// Metrics tell of each try of a request to one source. The nil *Metrics tells nobody.
type Metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	open     prometheus.Gauge
}

// NewMetrics registers the metrics of a source, such as "clari".
func NewMetrics(reg prometheus.Registerer, source string) (*Metrics, error) {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "revstream_source_requests_total",
			Help: "Tries of requests to the source, by kind (read or write) and by what came of them: the HTTP status, network, timeout, or circuit_open of those that were not sent.",
		}, []string{"kind", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "revstream_source_request_seconds", Help: "From sending a try to the headers of its answer, or to what ended it without one.",
			Buckets: []float64{0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30},
		}, []string{"kind"}),
		open: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "revstream_source_circuit_open", Help: "1 while the source's circuit breaker refuses requests, or lets one through to see; else 0.",
		}),
	}
	for _, kind := range []string{"read", "write"} {
		m.seconds.WithLabelValues(kind)
		for _, code := range expectedCodes {
			m.requests.WithLabelValues(kind, code)
		}
	}
	own := prometheus.WrapRegistererWith(prometheus.Labels{"source": source}, reg)
	if err := errors.Join(own.Register(m.requests), own.Register(m.seconds), own.Register(m.open)); err != nil {
		return nil, fmt.Errorf("registering the metrics of %s: %w", source, err)
	}
	return m, nil
}

// kindOf says what a request does. A token is written, too: it is made anew.
func kindOf(req *http.Request) string {
	switch req.Method {
	case "", http.MethodGet, http.MethodHead:
		return "read"
	}
	return "write"
}

// tried counts a try, unless its caller gave it up: that tells nothing of the source.
func (m *Metrics) tried(req *http.Request, code string) {
	if m != nil && !givenUpByCaller(req.Context()) {
		m.requests.WithLabelValues(kindOf(req), code).Inc()
	}
}

func codeOf(err error) string {
	switch network, ok := errors.AsType[net.Error](err); {
	case errors.Is(err, timeout.ErrExceeded), ok && network.Timeout():
		return codeTimeout
	}
	return codeNetwork
}

// withMetrics counts every try once, when its body has ended: an answer of 200 that is cut off is one of the network.
func withMetrics(next http.RoundTripper, m *Metrics) http.RoundTripper {
	if m == nil {
		return next
	}
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		start := time.Now()
		resp, err := next.RoundTrip(req)
		if !givenUpByCaller(req.Context()) {
			m.seconds.WithLabelValues(kindOf(req)).Observe(time.Since(start).Seconds())
		}
		if err != nil {
			m.tried(req, codeOf(err))
			return nil, err
		}
		status := strconv.Itoa(resp.StatusCode)
		if resp.ContentLength == 0 {
			m.tried(req, status)
			return resp, nil
		}
		resp.Body = &observedBody{ReadCloser: resp.Body, done: func(err error) {
			if err != nil {
				status = codeOf(err)
			}
			m.tried(req, status)
		}}
		return resp, nil
	})
}

func (m *Metrics) circuit(state circuitbreaker.State) {
	switch {
	case m == nil:
	case state == circuitbreaker.ClosedState:
		m.open.Set(0)
	default:
		m.open.Set(1)
	}
}
