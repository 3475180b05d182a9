// Package registry is a schema registry that keeps what it is told: srfake's Confluent REST API, with its changes on disk and
// with Avro compatibility really checked, when asked and on registration.
package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"
)

// Config says where the registry keeps its state.
type Config struct {
	// DataDir holds the journal; it is created when missing. One process at a time has it. Empty keeps everything in memory.
	DataDir string
}

// Registry is the registry as an http.Handler: subjects, versions, IDs, lookups, compatibility levels and checks, deletes.
// It has no contexts, and no schemas but Avro.
//
// Its state is a function of the journal: each change is applied, written and synced before it is answered, and replayed by
// Open. So an ID that anyone has seen names the same schema for ever.
type Registry struct {
	cfg    Config
	logger *slog.Logger
	state  http.Handler // srfake
	routes *http.ServeMux

	// mu orders changes: each is checked, applied and journaled before the next is looked at. Reads go past it.
	mu sync.Mutex
	// journal is nil before Open and when everything is in memory.
	journal *journal
	// broken is why the journal could not be written. The memory is then ahead of the disk, so nothing is accepted any more.
	broken error
}

// maxRequest bounds a request's body, in bytes.
const maxRequest = 1 << 20

// New checks the configuration. With a DataDir the registry is ready after Open, else at once.
func New(cfg Config, logger *slog.Logger) (*Registry, error) {
	if logger == nil {
		return nil, errors.New("embedded registry: the logger is missing")
	}
	r := &Registry{cfg: cfg, logger: logger, state: srfake.NewRegistry().Handler(), routes: http.NewServeMux()}
	r.routes.HandleFunc("POST /subjects/{subject}/versions", r.register)
	r.routes.HandleFunc("POST /compatibility/subjects/{subject}/versions", r.checkCompatibility)
	r.routes.HandleFunc("POST /compatibility/subjects/{subject}/versions/{version}", r.checkCompatibility)
	// A look-up is a POST that changes nothing.
	r.routes.Handle("POST /subjects/{subject}", r.state)
	r.routes.HandleFunc("PUT /", r.change)
	r.routes.HandleFunc("DELETE /", r.change)
	r.routes.Handle("GET /", r.state)
	return r, nil
}

// Open replays the journal.
func (r *Registry) Open() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cfg.DataDir == "" || r.journal != nil {
		return nil
	}
	journal, changes, err := openJournal(r.cfg.DataDir)
	if err != nil {
		return err
	}
	for i, made := range changes {
		if answer := r.call(made.Method, made.URI, made.Body); answer.status != made.Status || !bytes.Equal(answer.body, made.Answer) {
			return errors.Join(fmt.Errorf("replaying the registry's journal: change %d (%s %s) gave %d %s, it was %d %s: %w",
				i+1, made.Method, made.URI, answer.status, answer.body, made.Status, made.Answer, errJournal), journal.close())
		}
	}
	r.journal = journal
	return nil
}

// Close lets go of the journal. It is idempotent.
func (r *Registry) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.journal == nil {
		return nil
	}
	err := r.journal.close()
	r.journal, r.broken = nil, errors.New("the registry is closed")
	return err
}

// ServeHTTP serves the Confluent REST API.
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if strings.HasPrefix(req.URL.Path, "/contexts/") {
		// srfake knows them, and would take a schema by that way unchecked.
		writeError(w, http.StatusNotFound, http.StatusNotFound, "the embedded registry has no contexts")
		return
	}
	req.Body = http.MaxBytesReader(w, req.Body, maxRequest)
	r.routes.ServeHTTP(w, req)
}

// register checks a schema against its subject before srfake, which takes everything, gets it.
func (r *Registry) register(w http.ResponseWriter, req *http.Request) {
	subject := req.PathValue("subject")
	body, schema, ok := readSchema(w, req)
	if !ok {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	// What is registered already is neither checked nor journaled again.
	if found := r.call(http.MethodPost, subjectPath(subject), body); found.status == http.StatusOK && r.broken == nil {
		r.call(req.Method, req.URL.RequestURI(), body).write(w)
		return
	}
	problems, err := r.incompatibilities(subject, "", schema)
	switch {
	case err != nil:
		writeFailure(w, err)
	case len(problems) > 0:
		writeError(w, http.StatusConflict, http.StatusConflict,
			fmt.Sprintf("Schema being registered is incompatible with subject %q: %s", subject, strings.Join(problems, "; ")))
	default:
		r.apply(w, req, body)
	}
}

// change passes on what changes anything but schemas: levels, modes, deletes.
func (r *Registry) change(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		writeError(w, http.StatusUnprocessableEntity, sr.ErrInvalidSchema.Code, "reading the request: "+err.Error())
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.apply(w, req, body)
}

// apply makes a change durable and answers it. The caller holds mu.
func (r *Registry) apply(w http.ResponseWriter, req *http.Request, body []byte) {
	if r.broken == nil && r.cfg.DataDir != "" && r.journal == nil {
		r.broken = errors.New("the registry is not open")
	}
	if r.broken != nil {
		writeError(w, http.StatusInternalServerError, sr.ErrStoreError.Code, "the registry takes no changes: "+r.broken.Error())
		return
	}
	answer := r.call(req.Method, req.URL.RequestURI(), body)
	if answer.status/100 == 2 && r.journal != nil {
		made := change{Method: req.Method, URI: req.URL.RequestURI(), Body: body, Status: answer.status, Answer: answer.body}
		if err := r.journal.append(made); err != nil {
			r.broken = err
			r.logger.Error("writing the registry's journal", "error", err)
			writeError(w, http.StatusInternalServerError, sr.ErrStoreError.Code, err.Error())
			return
		}
	}
	answer.write(w)
}

// answer is what srfake said to one request.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// call asks srfake.
func (r *Registry) call(method, uri string, body []byte) answer {
	recorder := httptest.NewRecorder()
	request := httptest.NewRequest(method, uri, bytes.NewReader(body)) //nolint:noctx // called in place, there is nobody to hang up
	r.state.ServeHTTP(recorder, request)
	return answer{status: recorder.Code, header: recorder.Header(), body: recorder.Body.Bytes()}
}

func (a answer) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", a.header.Get("Content-Type"))
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body)
}

// failure is an answer with Confluent's error body.
type failure struct {
	status, code int
	message      string
}

func (f *failure) Error() string { return f.message }

func writeFailure(w http.ResponseWriter, err error) {
	var known *failure
	if !errors.As(err, &known) {
		known = &failure{http.StatusInternalServerError, sr.ErrStoreError.Code, err.Error()}
	}
	writeError(w, known.status, known.code, known.message)
}

func writeError(w http.ResponseWriter, status, code int, message string) {
	writeJSON(w, status, map[string]any{"error_code": code, "message": message})
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/vnd.schemaregistry.v1+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value)
}

func subjectPath(subject string) string { return "/subjects/" + url.PathEscape(subject) }
