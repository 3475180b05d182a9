// Package web owns the dead-letter desk's page: its sign-in, its HTTP API, and the runs that are started there.
package web

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/dlq-replayer/board"
	"github.com/revstream/revstream/dlq-replayer/desk"
	"github.com/revstream/revstream/dlq-replayer/payload"
	"github.com/revstream/revstream/pipeline/deadletter"
)

// stopGrace is how long requests in flight may take once the page stops. Runs finish the transaction in hand.
const stopGrace = 5 * time.Second

// Desk is what the page needs of a *desk.Desk.
type Desk interface {
	board.Decisions
	Check(order desk.Order) error
	Plan(ctx context.Context, order desk.Order, progress func(desk.Report)) (desk.Report, error)
	Run(ctx context.Context, order desk.Order, progress func(desk.Report)) (desk.Report, error)
	Resume(ctx context.Context, runID string, order desk.Order, progress func(desk.Report)) (desk.Report, error)
	History(ctx context.Context, id desk.ID) ([]deadletter.Decision, error)
	Reveal(ctx context.Context, ids []desk.ID, order desk.Order) error
	Stopped(ctx context.Context) ([]desk.Stopped, error)
}

// Deps are what a server works with; all stay the caller's to close.
type Deps struct {
	Desk    Desk
	Kafka   *kgo.Client // to read letters with
	Values  *payload.Reader
	Compile func(where string, reveal bool) (desk.Match, error) // of a selection's Where
	Secrets *Secrets                                            // of Config.Open
	// Warehouse is ClickHouse; nil if there is none.
	Warehouse  Warehouse
	Registerer prometheus.Registerer
	Version    string // of the program
}

// Server serves the page.
type Server struct {
	cfg       Config
	logger    *slog.Logger
	desk      Desk
	board     *board.Board
	values    *payload.Reader
	compile   func(where string, reveal bool) (desk.Match, error)
	secrets   *Secrets
	warehouse *warehouse // nil if there is none
	version   string
	sessions  *sessions
	attempts  *attempts
	formKey   [sha256.Size]byte // that signs the sign-in form
	provider  *provider         // nil without OIDC
	runs      *runs
	stopped   *stopped
	plans     chan struct{} // an element for each that is being made
	streams   chan struct{} // likewise of events
	handler   http.Handler
	now       func() time.Time
	stopping  chan struct{} // closed when the page stops: its streams end
	stop      sync.Once
}

// New checks the configuration. It does no I/O.
func New(cfg Config, logger *slog.Logger, deps Deps) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, logger: logger, desk: deps.Desk, values: deps.Values, compile: deps.Compile, secrets: deps.Secrets,
		version: deps.Version, now: time.Now, stopping: make(chan struct{}),
		board:    board.New(board.Config{Compile: deps.Compile}, logger, deps.Kafka, deps.Desk),
		attempts: newAttempts(), formKey: sha256.Sum256([]byte(secretText())),
		runs: newRuns(), stopped: &stopped{desk: deps.Desk},
		plans: make(chan struct{}, maxPlans), streams: make(chan struct{}, maxStreams),
	}
	clock := func() time.Time { return s.now() }
	s.sessions = &sessions{idle: cfg.SessionIdle, max: cfg.SessionMax, now: clock, valid: s.holds, all: map[[sha256.Size]byte]*session{}}
	if cfg.OIDCIssuer != "" {
		s.provider = newProvider(cfg, deps.Secrets.OIDCClientSecret, clock)
	}
	if deps.Warehouse != nil {
		var err error
		if s.warehouse, err = newWarehouse(deps.Warehouse); err != nil {
			return nil, err
		}
	}
	if err := deps.Registerer.Register(&gauges{s.board, s.stopped}); err != nil {
		return nil, fmt.Errorf("registering the page's metrics: %w", err)
	}
	var err error
	s.handler, err = s.routes()
	return s, err
}

// Handler is the page. Without Serve, nothing keeps what it shows up to date.
func (s *Server) Handler() http.Handler { return s.handler }

// Check is a check of the process's readiness.
func (s *Server) Check(context.Context) (map[string]any, error) {
	err := s.board.Health()
	return map[string]any{"letters": s.board.Stats().Letters, "runs": s.runs.working()}, err
}

// Run listens on DESK_ADDR, and serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	listener, err := s.Listen(ctx)
	if err != nil {
		return err
	}
	return s.Serve(ctx, listener)
}

// Listen opens the page's port.
func (s *Server) Listen(ctx context.Context) (net.Listener, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.cfg.Addr)
	_, port, splitErr := net.SplitHostPort(s.cfg.Addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE) && splitErr == nil:
		return nil, fmt.Errorf("DESK_ADDR %s: port %s is in use: stop what listens on it, or choose another with DESK_ADDR or --addr", s.cfg.Addr, port)
	case err != nil:
		return nil, fmt.Errorf("DESK_ADDR (--addr): %w", err)
	}
	return listener, nil
}

// Serve serves until ctx ends. Then runs finish the transaction in hand and are interrupted, to be resumed, and requests
// in flight end. It closes the listener.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      requestTimeout + 10*time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug),
	}
	reading, stopReading := context.WithCancel(context.WithoutCancel(ctx))
	var parts sync.WaitGroup
	parts.Go(func() { _ = s.board.Run(reading) }) // it ends with its context alone
	defer parts.Wait()
	defer stopReading()

	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		s.Close()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
		defer cancel()
		err := server.Shutdown(grace)
		if err != nil {
			err = errors.Join(err, server.Close())
		}
		stopped <- err
	})
	defer stop()
	if err := s.serve(server, listener); !errors.Is(err, http.ErrServerClosed) {
		s.Close()
		return fmt.Errorf("serving the desk: %w", err)
	}
	if err := <-stopped; err != nil {
		return fmt.Errorf("finishing the requests in flight: %w", err)
	}
	return nil
}

func (s *Server) serve(server *http.Server, listener net.Listener) error {
	if s.cfg.TLSCert != "" {
		return server.ServeTLS(listener, s.cfg.TLSCert, s.cfg.TLSKey)
	}
	return server.Serve(listener)
}

// Close interrupts the runs and waits for them; streams of events end. Serve does it by itself.
func (s *Server) Close() {
	s.stop.Do(func() { close(s.stopping) })
	s.runs.close()
}
