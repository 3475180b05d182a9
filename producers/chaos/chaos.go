// Package chaos owns the ways in which a server, what stands before it and the network fail: it lets an http.Handler fail so for
// a share of its requests. The simulators of the two sources put it before their routes.
package chaos

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Kind is a way to fail.
type Kind string

// The kinds. What a client sees of each is said at the share of that name in Config.
const (
	Unauthorized Kind = "unauthorized"
	RateLimited  Kind = "rateLimited"
	ServerError  Kind = "serverError"
	Reset        Kind = "reset"
	Stall        Kind = "stall"
	HalfBody     Kind = "halfBody"
	WrongType    Kind = "wrongType"
	HTML         Kind = "html"
)

// The forms of Retry-After on a 429. In mixed, the default, a third has none.
const (
	RetryAfterMixed   = "mixed"
	RetryAfterNone    = "none"
	RetryAfterSeconds = "seconds"
	RetryAfterDate    = "date"
)

// Config says which share of the requests fails in which way, each from 0 to 1 and at most 1 together. Which request fails
// follows from Seed and its number. The zero value fails none.
type Config struct {
	Unauthorized float64 // 401 although the credentials are good; never twice in a row for one method and path
	RateLimited  float64 // 429
	ServerError  float64 // 500, 502, 503 or 504, in the API's own form
	Reset        float64 // the connection is reset
	Stall        float64 // the head comes late by StallFor, or the body stops midway for as long
	HalfBody     float64 // the body ends too early, against its Content-Length or in chunks
	WrongType    float64 // 200 with the right body under a content type that is not JSON
	HTML         float64 // a page of HTML with status 200 or 502

	// AfterEffect is the share of the failing requests with an effect (all but GET and HEAD) that fail once they have had it: the
	// answer is lost. Those refused by 401 or 429 never have one. Note that a refresh token is an effect.
	AfterEffect float64
	Max         int           // so many requests fail at most; default all whose turn it is
	StallFor    time.Duration // or until the client goes; default 1 min
	RetryAfter  string        // form of that header; default RetryAfterMixed
	RetrySecs   int           // what it says, in seconds from now
	Seed        uint64
}

// UnmarshalJSON takes the fields by their names and StallFor such as "5s" too. What is not in the text stays as it was.
func (cfg *Config) UnmarshalJSON(text []byte) error {
	type plain Config
	shadow := struct {
		*plain
		StallFor json.RawMessage
	}{plain: (*plain)(cfg)}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&shadow); err != nil {
		return fmt.Errorf("chaos: %w", err)
	}
	var words string
	if shadow.StallFor == nil || json.Unmarshal(shadow.StallFor, (*int64)(&cfg.StallFor)) == nil {
		return nil
	}
	if err := json.Unmarshal(shadow.StallFor, &words); err != nil {
		return errors.New("chaos: StallFor: want a duration such as \"5s\", or nanoseconds")
	}
	d, err := time.ParseDuration(words)
	if err != nil {
		return fmt.Errorf("chaos: StallFor: %w", err)
	}
	cfg.StallFor = d
	return nil
}

type share struct {
	kind Kind
	of   float64
}

func (cfg Config) shares() []share {
	return []share{
		{Unauthorized, cfg.Unauthorized}, {RateLimited, cfg.RateLimited}, {ServerError, cfg.ServerError}, {Reset, cfg.Reset},
		{Stall, cfg.Stall}, {HalfBody, cfg.HalfBody}, {WrongType, cfg.WrongType}, {HTML, cfg.HTML},
	}
}

// Validate names everything that is wrong.
func (cfg Config) Validate() error {
	var problems []error
	total := 0.0
	for _, s := range append(cfg.shares(), share{"afterEffect", cfg.AfterEffect}) {
		if !(s.of >= 0 && s.of <= 1) { // NaN too
			problems = append(problems, fmt.Errorf("%s %v: want a share from 0 to 1", s.kind, s.of))
		}
		if s.kind != "afterEffect" {
			total += s.of
		}
	}
	if total > 1+1e-9 {
		problems = append(problems, fmt.Errorf("the shares are %v together: want at most 1", total))
	}
	if cfg.Max < 0 || cfg.StallFor < 0 || cfg.RetrySecs < 0 {
		problems = append(problems, errors.New("Max, StallFor, RetrySecs: want none below 0"))
	}
	forms := []string{"", RetryAfterMixed, RetryAfterNone, RetryAfterSeconds, RetryAfterDate}
	if !slices.Contains(forms, cfg.RetryAfter) {
		problems = append(problems, fmt.Errorf("RetryAfter %q: want one of %s", cfg.RetryAfter, strings.Join(forms[1:], ", ")))
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("chaos: %w", err)
	}
	return nil
}

// Handler fails a share of the requests and passes the others on. It is safe for concurrent use.
type Handler struct {
	next   http.Handler
	refuse func(w http.ResponseWriter, r *http.Request, status int)

	mu      sync.Mutex // guards what follows
	cfg     Config
	number  uint64          // of the next request
	done    map[Kind]int    // what has failed so far
	failed  int             // since Set, against Max
	refused map[string]bool // method and path that were refused by 401 last
}

// New wraps next. refuse answers with an error in the API's own form: for 401, 429 and 5xx.
func New(cfg Config, next http.Handler, refuse func(w http.ResponseWriter, r *http.Request, status int)) (*Handler, error) {
	h := &Handler{next: next, refuse: refuse, done: map[Kind]int{}}
	return h, h.Set(cfg)
}

// Set changes what fails from the next request on, which is number 0 of the new seed. The counts of Done go on.
func (h *Handler) Set(cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	if cfg.StallFor == 0 {
		cfg.StallFor = time.Minute
	}
	if cfg.RetryAfter == "" {
		cfg.RetryAfter = RetryAfterMixed
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cfg, h.number, h.failed, h.refused = cfg, 0, 0, map[string]bool{}
	return nil
}

// Done counts the requests that were made to fail, by kind.
func (h *Handler) Done() map[Kind]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.done)
}

// fault is how one request fails. variant chooses among the forms of a kind.
type fault struct {
	Kind
	cfg     Config
	after   bool // the request has its effect first
	variant uint64
}

// ServeHTTP answers, passes on or fails.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f, ok := h.roll(r)
	if !ok {
		h.next.ServeHTTP(w, r)
		return
	}
	// The server notices a client that goes away only once the request is read.
	body, err := io.ReadAll(io.LimitReader(r.Body, 8<<20))
	if err != nil {
		return // the client is gone
	}
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(body))
	if f.after && (f.Kind == ServerError || f.Kind == Reset || f.Kind == HTML) {
		h.next.ServeHTTP(&unheard{header: http.Header{}}, r)
	}
	h.fail(w, r, f)
}

// roll decides about a request.
func (h *Handler) roll(r *http.Request) (fault, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.number
	h.number++
	if h.cfg.Max > 0 && h.failed >= h.cfg.Max {
		return fault{}, false
	}
	f := fault{cfg: h.cfg, variant: mix(h.cfg.Seed, n, 2)}
	effect := r.Method != http.MethodGet && r.Method != http.MethodHead
	f.after = effect && unit(mix(h.cfg.Seed, n, 3)) < h.cfg.AfterEffect
	at := unit(mix(h.cfg.Seed, n, 1))
	for _, s := range h.cfg.shares() {
		if at < s.of {
			f.Kind = s.kind
			break
		}
		at -= s.of
	}
	route := r.Method + " " + r.URL.Path
	again := h.refused[route]
	delete(h.refused, route)
	switch {
	case f.Kind == "":
		return f, false
	case f.Kind == Unauthorized && (again || !authenticated(r)):
		return f, false
	case f.Kind == Unauthorized:
		h.refused[route] = true
	case f.Kind == HalfBody && effect && !f.after:
		return f, false // half of an answer that there would have to be an effect for
	}
	h.failed++
	h.done[f.Kind]++
	return f, true
}

// authenticated tells a request that carries credentials in a header from one for a token, to which a 401 says something else.
func authenticated(r *http.Request) bool {
	return r.Header.Get("Authorization") != "" || r.Header.Get("apikey") != ""
}

// mix hashes numbers into one (splitmix64 of each in turn).
func mix(h uint64, values ...uint64) uint64 {
	for _, v := range values {
		h += v + 0x9e3779b97f4a7c15
		h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
		h = (h ^ h>>27) * 0x94d049bb133111eb
		h ^= h >> 31
	}
	return h
}

// unit is a number from 0 to below 1.
func unit(h uint64) float64 { return float64(h>>11) / (1 << 53) }
