package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"github.com/revstream/revstream/deploy/embedded/internal/datadir"
)

// Config says where the engine and its data are.
type Config struct {
	// Library is the path of libchdb. FindLibrary finds the one that npm installed.
	Library string
	// DataDir holds databases and tables; it is created when missing. One process at a time has it.
	DataDir string
	// MaxSessions is how many statements run at once; further requests wait. Default 32.
	MaxSessions int
}

// Server is the HTTP front as an http.Handler. A process has one engine, so one open Server at a time.
//
// It holds one session from Open to Close, because the engine shuts down with its last session; every request has a
// session of its own.
type Server struct {
	cfg    Config
	logger *slog.Logger
	slots  chan struct{} // one element per running statement

	// mu is held for reading by every statement, for writing by Open and Close.
	mu     sync.RWMutex
	anchor *session // nil when not open
	dir    string   // absolute: every session must name the folder as the first one did
	lock   *os.File
}

var (
	errClosed   = newException(codeCannotSchedule, "CANNOT_SCHEDULE_TASK", "The embedded ClickHouse is not open")
	errReadonly = newException(codeReadonly, "READONLY",
		"Cannot execute query in readonly mode. For queries over HTTP, method GET implies readonly. You should use method POST for modifying queries")
)

// New checks the configuration. Open starts the engine.
func New(cfg Config, logger *slog.Logger) (*Server, error) {
	if cfg.MaxSessions == 0 {
		cfg.MaxSessions = 32
	}
	var invalid []error
	if cfg.Library == "" {
		invalid = append(invalid, errors.New("Library: the path of libchdb is missing"))
	}
	if cfg.DataDir == "" {
		invalid = append(invalid, errors.New("DataDir: the data folder is missing"))
	}
	if cfg.MaxSessions < 0 {
		invalid = append(invalid, fmt.Errorf("MaxSessions: %d is not positive", cfg.MaxSessions))
	}
	if len(invalid) > 0 {
		return nil, fmt.Errorf("embedded clickhouse configuration: %w", errors.Join(invalid...))
	}
	return &Server{cfg: cfg, logger: logger, slots: make(chan struct{}, cfg.MaxSessions)}, nil
}

// Open locks the data folder and boots the engine on it.
func (s *Server) Open() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.anchor != nil {
		return nil
	}
	dir, err := filepath.Abs(s.cfg.DataDir)
	if err != nil {
		return fmt.Errorf("finding the data folder: %w", err)
	}
	lock, err := datadir.Lock(dir)
	if err != nil {
		return err
	}
	lib, err := loadLibrary(s.cfg.Library)
	if err != nil {
		return errors.Join(err, lock.Close())
	}
	anchor, err := openSession(lib, dir)
	if err != nil {
		return errors.Join(err, lock.Close())
	}
	s.anchor, s.dir, s.lock = anchor, dir, lock
	return nil
}

// Close waits for the running statements, then shuts the engine down. It is idempotent.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.anchor == nil {
		return nil
	}
	s.anchor.close()
	s.anchor = nil
	return s.lock.Close()
}

// ServeHTTP answers /ping, and statements on /.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/ping", r.URL.Path == "/replicas_status", r.URL.Path == "/" && isBare(r):
		s.servePing(w)
	case r.URL.Path != "/":
		http.Error(w, "There is no handle "+r.URL.Path, http.StatusNotFound)
	default:
		s.serveStatement(w, r)
	}
}

// isBare says whether a request is the one that a browser makes.
func isBare(r *http.Request) bool {
	return r.Method == http.MethodGet && !r.URL.Query().Has("query")
}

func (s *Server) servePing(w http.ResponseWriter) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.anchor == nil {
		writeException(w, errClosed)
		return
	}
	_, _ = io.WriteString(w, "Ok.\n")
}

func (s *Server) serveStatement(w http.ResponseWriter, r *http.Request) {
	req, err := readRequest(r)
	if err == nil {
		w.Header().Set("X-ClickHouse-Query-Id", req.queryID)
		err = s.execute(r.Context(), w, req)
	}
	var failure *exception
	switch {
	case err == nil:
	case errors.As(err, &failure):
		writeException(w, failure)
	case errors.Is(err, errReadingBody):
		writeException(w, newException(codeCannotReadAll, "CANNOT_READ_ALL_DATA", "%s", err))
	case r.Context().Err() != nil:
		// The client is gone; there is no one to answer.
	default:
		// The answer may have begun: breaking the connection is the one sign left that it is not whole.
		s.logger.Error("answering a statement", "query_id", req.queryID, "error", err)
		panic(http.ErrAbortHandler)
	}
}

// execute runs a request's statement in a session of its own and writes the answer.
func (s *Server) execute(ctx context.Context, w http.ResponseWriter, req *request) error {
	parsed, data, err := req.readStatement()
	if err != nil {
		return err
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.anchor == nil {
		return errClosed
	}
	session, err := openSession(s.anchor.lib, s.dir)
	if err != nil {
		return err
	}
	defer session.close()
	res, err := session.execute(req, parsed, data)
	if err != nil {
		return err
	}
	defer res.close()
	format := parsed.format
	if format == "" || data != nil {
		format = req.defaultFormat
	}
	return writeResult(w, req, format, res)
}

// execute brings a fresh session into the state that the request asks for, and runs its statement.
func (s *session) execute(req *request, parsed statement, data io.Reader) (*result, error) {
	for _, sql := range []string{req.useStatement(), req.setStatement()} {
		if sql == "" {
			continue
		}
		res, err := s.run(sql, "Null", parameters{})
		if err != nil {
			return nil, err
		}
		res.close()
	}
	if data != nil {
		if req.readonly {
			return nil, errReadonly
		}
		return s.insert(parsed.sql[:parsed.head], parsed.format, req.parameters, data)
	}
	found := s.analyze(parsed.sql)
	switch {
	case (&lexer{text: parsed.sql}).next().kind == tokenEnd:
		return nil, newException(codeSyntaxError, "SYNTAX_ERROR", "Syntax error: Empty query")
	case found.statements > 1:
		// The engine would run them all; a server refuses.
		return nil, newException(codeSyntaxError, "SYNTAX_ERROR", "Syntax error (Multi-statements are not allowed)")
	case req.readonly && found.class != classReadOnly && found.class != classUnparsed:
		return nil, errReadonly
	}
	return s.run(parsed.sql, req.defaultFormat, req.parameters)
}
