// Package connect owns the way from settings to a Clari client: a key that rotates, a record of the exchanges, and the watch over
// the source.
package connect

import (
	"context"
	"net/http"
	"time"

	"github.com/failsafe-go/failsafe-go/ratelimiter"

	"github.com/revstream/revstream/pipeline/daemon"
	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/pipeline/secret"
	"github.com/revstream/revstream/producers/clari"
	"github.com/revstream/revstream/producers/recording"
)

// Config says where Clari is and with what to be let in. Embed it in a binary's settings.
type Config struct {
	BaseURL    string     `name:"clari-base-url" env:"CLARI_BASE_URL" default:"https://api.clari.com/v4" help:"Clari's API with its version." group:"Clari"`
	APIKey     secret.Ref `name:"clari-api-key" env:"CLARI_API_KEY" required:"" placeholder:"SECRET" help:"Clari API key." group:"Clari"`
	AuthScheme string     `name:"clari-auth-scheme" env:"CLARI_AUTH_SCHEME" enum:"apikey,bearer" default:"apikey" help:"How requests carry the key: as apikey or as bearer." group:"Clari"`
}

// Connection is a client with what belongs to it.
type Connection struct {
	Client  *clari.Client
	Monitor *resilience.Monitor
}

// Options are what one binary's connection differs by from another's.
type Options struct {
	RecordDir         string // where the exchanges are recorded; nowhere if empty
	RequestsPerMinute int    // at most; 0 for no limit
}

// Open opens the key, which it follows until the process stops.
func Open(ctx context.Context, cfg Config, opts Options, rt *daemon.Runtime) (*Connection, error) {
	key, err := secret.Open(ctx, "CLARI_API_KEY", cfg.APIKey)
	if err != nil {
		return nil, err
	}
	rt.Defer("CLARI_API_KEY", func(context.Context) error { return key.Close() })
	if err := secret.Register(rt.Registry, "CLARI_API_KEY", key); err != nil {
		return nil, err
	}
	c := &Connection{}
	c.Monitor = resilience.NewMonitor(resilience.MonitorConfig{}, func(ctx context.Context) error {
		_, err := c.Client.Limits(ctx)
		return err
	})
	next := c.Monitor.Transport(nil)
	if opts.RecordDir != "" {
		recorder, err := recording.New(opts.RecordDir, next)
		if err != nil {
			return nil, err
		}
		rt.Defer("recording", func(context.Context) error { return recorder.Close() })
		next = recorder
	}
	metrics, err := resilience.NewMetrics(rt.Registry, "clari")
	if err != nil {
		return nil, err
	}
	patient := resilience.NewTransport(resilience.TransportConfig{Metrics: metrics}, rt.Logger, next)
	if opts.RequestsPerMinute > 0 { // before a try begins, whose time is bounded
		patient = &limited{patient, ratelimiter.NewSmooth[any](uint(opts.RequestsPerMinute), time.Minute)}
	}
	c.Client, err = clari.New(clari.Config{
		BaseURL: cfg.BaseURL, AuthScheme: cfg.AuthScheme, APIKey: key.Get, RenewKey: key.Renew, CorrelationID: resilience.CorrelationID,
	}, rt.Logger, &http.Client{Transport: patient})
	return c, err
}

// limited is a transport that makes requests wait for their turn.
type limited struct {
	next  http.RoundTripper
	turns ratelimiter.RateLimiter[any]
}

// RoundTrip implements http.RoundTripper.
func (l *limited) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := l.turns.AcquirePermit(req.Context()); err != nil {
		return nil, err
	}
	return l.next.RoundTrip(req)
}
