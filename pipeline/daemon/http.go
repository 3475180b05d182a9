package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// serve listens on HTTP_ADDR, if there is one, until the process has stopped everything else.
func (rt *Runtime) serve(ctx context.Context) error {
	if rt.cfg.HTTPAddr == "" {
		return nil
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", rt.cfg.HTTPAddr)
	if err != nil {
		return listenError(rt.cfg.HTTPAddr, err)
	}
	rt.httpAddr = listener.Addr().String()
	rt.routes()
	server := &http.Server{
		Handler:           rt.mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       time.Minute,
		ErrorLog:          slog.NewLogLogger(rt.Logger.Handler(), slog.LevelDebug), // of peers that misbehave
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			rt.fail("http server", err)
		}
	}()
	rt.Defer("http server", func(deadline context.Context) error {
		err := server.Shutdown(deadline)
		if err != nil {
			err = errors.Join(err, server.Close())
		}
		<-done
		return err
	})
	return nil
}

func (rt *Runtime) routes() {
	rt.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "ok\n") // the prober has gone away
	})
	rt.mux.Handle("GET /readyz", rt.health)
	rt.mux.Handle("GET /health", rt.health)
	rt.mux.Handle("GET /metrics", promhttp.HandlerFor(rt.Registry, promhttp.HandlerOpts{Registry: rt.Registry}))
	if rt.cfg.Pprof {
		rt.mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		rt.mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		rt.mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		rt.mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
}

func listenError(addr string, err error) error {
	if _, port, splitErr := net.SplitHostPort(addr); splitErr == nil && errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("HTTP_ADDR %s: port %s is in use: stop what listens on it, or choose another with HTTP_ADDR or --http-addr", addr, port)
	}
	return fmt.Errorf("HTTP_ADDR (--http-addr): %w", err)
}
