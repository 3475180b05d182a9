package report

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"
)

const (
	pageAge     = 30 * time.Second // of a page that is shown again
	makeTimeout = 25 * time.Second // of a new one
)

// Handler serves the page, made anew at most every 30 seconds, however many look at it.
type Handler struct {
	reporter *Reporter
	logger   *slog.Logger

	mu   sync.Mutex // held while the page is made
	page []byte
	at   time.Time
}

// NewHandler makes the handler of a reporter's page.
func NewHandler(reporter *Reporter, logger *slog.Logger) *Handler {
	return &Handler{reporter: reporter, logger: logger}
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Security-Policy", Policy+"; frame-ancestors 'none'")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cache-Control", "no-store")
	page, err := h.current(r.Context())
	if err != nil {
		h.logger.WarnContext(r.Context(), "making the report", "error", err)
		header.Set("Retry-After", "30")
		http.Error(w, "The report cannot be made, as ClickHouse does not answer. The log of this process says more.", http.StatusServiceUnavailable)
		return
	}
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Length", strconv.Itoa(len(page)))
	_, _ = w.Write(page) // the reader has gone away
}

func (h *Handler) current(ctx context.Context) ([]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.page != nil && h.reporter.now().Sub(h.at) < pageAge {
		return h.page, nil
	}
	// Whoever goes away has asked for those who wait behind them, too.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), makeTimeout)
	defer cancel()
	rep, err := h.reporter.Run(ctx)
	if err != nil {
		return nil, err
	}
	page, err := rep.Page()
	if err != nil {
		return nil, err
	}
	h.page, h.at = page, h.reporter.now()
	return page, nil
}
