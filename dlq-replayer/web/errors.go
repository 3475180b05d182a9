package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"github.com/revstream/revstream/dlq-replayer/board"
	"github.com/revstream/revstream/dlq-replayer/desk"
	"github.com/revstream/revstream/pipeline/snapshot"
)

// maxBody bounds what a request may bring: no patch is larger.
const maxBody = 1 << 20

// apiError is an error with the status of its answer. Its text is for the browser.
type apiError struct {
	status int
	err    error
}

func (e *apiError) Error() string { return e.err.Error() }

func (e *apiError) Unwrap() error { return e.err }

func refuse(status int, format string, args ...any) error {
	return &apiError{status, fmt.Errorf(format, args...)}
}

// statusOf says how an error is answered. What nobody here has caused is an outage of what is behind.
func statusOf(err error) int {
	var known *apiError
	var busy *desk.BusyError
	switch {
	case errors.As(err, &known):
		return known.status
	case errors.Is(err, desk.ErrUnknownLetter), errors.Is(err, desk.ErrUnknownRun), errors.Is(err, snapshot.ErrNoTopic):
		return http.StatusNotFound
	case errors.As(err, &busy), errors.Is(err, desk.ErrOvertaken):
		return http.StatusConflict
	case errors.Is(err, board.ErrCursor), errors.Is(err, desk.ErrNoWhy):
		return http.StatusBadRequest
	case errors.Is(err, board.ErrBusy):
		return http.StatusTooManyRequests
	default:
		return http.StatusBadGateway
	}
}

// fail answers with an error.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		return // nobody is there to read it
	}
	status, text := statusOf(err), err.Error()
	if errors.Is(err, context.DeadlineExceeded) {
		text = "it took too long: " + text
	}
	if status >= http.StatusInternalServerError {
		s.logger.WarnContext(r.Context(), "a request failed", "path", r.Pattern, "error", err)
	}
	s.answer(w, status, map[string]string{"error": text})
}

// answer writes JSON.
func (s *Server) answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(body) // the browser has gone away
}

// decode reads a request's JSON, all of whose fields must be known.
func decode(w http.ResponseWriter, r *http.Request, into any) error {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return refuse(http.StatusBadRequest, "the request's Content-Type must be application/json")
	}
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	dec.DisallowUnknownFields()
	err := dec.Decode(into)
	if err == nil {
		if _, err = dec.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		err = errors.New("it is more than one value")
	}
	if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return refuse(http.StatusBadRequest, "the request has more than %d bytes", large.Limit)
	}
	return refuse(http.StatusBadRequest, "the request is not the JSON that is expected: %w", err)
}
