package recording

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"gopkg.in/dnaeon/go-vcr.v4/pkg/cassette"
)

// Replay answers as a source did in a record: what was asked with the same method, path and query, in the same order. When all
// such answers are given, the last one of a GET is given again. A request for a span of time that the record has not gets the
// next answer to one that differs in nothing but times, as a replay is later than the record. It is safe for concurrent use.
type Replay struct {
	mu     sync.Mutex             // guards the answers' given
	exact  map[string][]*recorded // by method, path and query
	spans  map[string][]*recorded // by the same without times
	amount int
}

type recorded struct {
	cassette.Response
	given bool
}

// Load reads the record in dir: all files of all runs.
func Load(dir string) (*Replay, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return nil, fmt.Errorf("reading a recording: %w", err)
	}
	slices.Sort(files)
	r := &Replay{exact: map[string][]*recorded{}, spans: map[string][]*recorded{}}
	for _, file := range files {
		c, err := cassette.Load(strings.TrimSuffix(file, ".yaml"))
		if err != nil {
			return nil, fmt.Errorf("reading a recording: %s: %w", filepath.Base(file), err)
		}
		for _, i := range c.Interactions {
			u, err := url.Parse(i.Request.URL)
			if err != nil {
				return nil, fmt.Errorf("reading a recording: %s: exchange %d: %w", filepath.Base(file), i.ID, err)
			}
			if i.Response.Code < 100 || i.Response.Code > 999 {
				return nil, fmt.Errorf("reading a recording: %s: exchange %d: status %d", filepath.Base(file), i.ID, i.Response.Code)
			}
			answer := &recorded{Response: i.Response}
			exact, span := questions(i.Request.Method, u)
			r.exact[exact] = append(r.exact[exact], answer)
			r.spans[span] = append(r.spans[span], answer)
			r.amount++
		}
	}
	if r.amount == 0 {
		return nil, fmt.Errorf("reading a recording: no exchanges in %s", dir)
	}
	return r, nil
}

// questions are what tells requests apart. Of a parameter whose values a record does not keep only the name counts.
func questions(method string, u *url.URL) (exact, span string) {
	query := u.Query()
	for name := range query {
		if !isPlain(name) {
			query[name] = []string{""}
		}
	}
	exact = method + " " + u.Path + "?" + query.Encode()
	for name := range query {
		if strings.HasPrefix(name, "updated_at[") || strings.HasPrefix(name, "created_at[") {
			query[name] = []string{""}
		}
	}
	return exact, method + " " + u.Path + "?" + query.Encode()
}

func (r *Replay) next(req *http.Request) *recorded {
	r.mu.Lock()
	defer r.mu.Unlock()
	exact, span := questions(req.Method, req.URL)
	for _, answers := range [][]*recorded{r.exact[exact], r.spans[span]} {
		if len(answers) == 0 {
			continue
		}
		if i := slices.IndexFunc(answers, func(a *recorded) bool { return !a.given }); i >= 0 {
			answers[i].given = true
			return answers[i]
		}
		if req.Method == http.MethodGet {
			return answers[len(answers)-1]
		}
	}
	return nil
}

// maxFiller stands in for a body that is not in the record.
const maxFiller = 64 << 10

// ServeHTTP answers from the record. What it has no answer to is a 404 that says so.
func (r *Replay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	_, _ = io.Copy(io.Discard, http.MaxBytesReader(w, req.Body, maxRequestBytes)) // what was sent makes no difference
	a := r.next(req)
	if a == nil {
		refuse(w, http.StatusNotFound, fmt.Sprintf("the recording has no answer, or none left, to %s %s", req.Method, req.URL.RequestURI()))
		return
	}
	body := a.Body
	if missing := a.Headers.Get(headerLeftOut); missing != "" {
		if strings.Contains(a.Headers.Get("Content-Type"), "json") {
			refuse(w, http.StatusNotImplemented, "the answer was too long for the recording: "+missing+" bytes")
			return
		}
		n, _ := strconv.Atoi(missing)
		body = strings.Repeat(".", min(max(n, 0), maxFiller))
	}
	for name, values := range a.Headers {
		if !slices.Contains([]string{"Content-Length", "Transfer-Encoding", "Date"}, http.CanonicalHeaderKey(name)) {
			w.Header()[name] = values
		}
	}
	w.WriteHeader(a.Code)
	_, _ = io.WriteString(w, body) // the client may be gone
	if a.Headers.Get(headerCut) != "" {
		_ = http.NewResponseController(w).Flush() // likewise
		panic(http.ErrAbortHandler)               // the server's way to close without the last chunk
	}
}

func refuse(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": message}) // the client may be gone
}
