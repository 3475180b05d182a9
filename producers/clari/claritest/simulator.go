// Package claritest is a simulator of Clari's forecast export API: an http.Handler that behaves as the API is known to and has a
// switch for each thing about it that is uncertain.
//
// Its data follows from a seed and is generated while it is sent, so that its size costs no memory. Update and HideUser change
// it, also by HTTP under /_sim/. A job exports the data as it was when the job was asked for, however often it is downloaded.
package claritest

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/revstream/revstream/producers/chaos"
)

// Spelling is how the results spell the values whose keys are uncertain: all but forecastValue and quotaValue.
type Spelling string

// The spellings of crm_total's key: crmTotalValue, crmTotal and crm_total.
const (
	SpellingSuffixed Spelling = "suffixed"
	SpellingBare     Spelling = "bare"
	SpellingSnake    Spelling = "snake"
)

// Config is what to simulate. The zero value of a field is its default.
type Config struct {
	Seed   uint64
	APIKey string           // what requests must carry until SetAPIKeys; required
	Now    func() time.Time // the simulator's clock; default time.Now

	// Size of the data. An export has an entry per week (of the quarter if historical, else the latest), user and field.
	Forecasts   []string   // forecast IDs; default "forecast"
	Quarters    int        // the current one and those before it; default 5
	FiscalStart time.Month // first month of the fiscal year, which is named by the year it ends in; default January
	Weeks       int        // weeks per quarter, the latest of them; default all
	Users       int        // default 100
	Fields      int        // the last of several is the quota; default 4

	// Life of a job.
	ScheduledFor    time.Duration // default 20 ms
	StartedFor      time.Duration // default 30 ms
	ConcurrentLimit int           // jobs at a time; default 3
	MonthlyQuota    int           // jobs in any 30 days; default 1000
	RowsTruncated   bool          // what finished jobs say of themselves
	CellsTruncated  bool

	// Variants of the API's answers.
	BearerAuth         bool     // want "Authorization: Bearer" rather than "apikey"
	FlatJobs           bool     // a job's fields at top level rather than under "job"
	EntriesLast        bool     // the entries after the other lists rather than before
	ValueKeys          Spelling // default SpellingSuffixed
	UpdatedValues      bool     // entries that were updated have a value of kind forecast_updated as well
	RejectCRM          bool     // crm_total and crm_closed are refused as type_not_supported
	NoOptIn            []string // forecast IDs that are refused as no_optin
	UnknownForecast404 bool     // no_such_forecast_config with status 404 rather than 400
	SayExpired         bool     // a key that was good once is refused as expired, with a message that says so, rather than as invalid
	NoPermission       bool     // a good key may do nothing: 403
	V1                 bool     // the API is under /v1 as well, with GET /v1/forecast/types
	HTMLErrors         bool     // a refused key and an unknown route answer with a page of HTML rather than JSON
	MalformedEntries   int      // so many unreadable elements at the end of the entries
	UnknownRefs        int      // so many entries of users or fields that the document does not list
	EmptyResults       bool     // results have no entries
	MorePeriods        int      // results list so many quarters before the one that they are of, after it

	Chaos chaos.Config // which share of the requests fails in which way; default none
}

// Simulator is the API. It is safe for concurrent use.
type Simulator struct {
	cfg   Config
	mux   *http.ServeMux
	chaos *chaos.Handler

	mu       sync.Mutex      // guards all below
	keys     []string        // API keys that are good
	expired  map[string]bool // that were
	quota    Quota           // stands in for the real one while it lasts
	seq      uint64          // counts changes of the data: a job sees those up to its own
	entries  map[entryKey][]version
	hidden   map[int][]visibility
	jobs     []*job // in the order of their start
	faults   []Fault
	jobFate  []string // statuses in which the next jobs end
	requests map[string]int
	recent   []Request
}

// Request is a request that the simulator has seen.
type Request struct {
	Method        string `json:"method"`
	Path          string `json:"path"`
	Status        int    `json:"status"`
	CorrelationID string `json:"correlationId"`
}

// Fault is what the next request gets instead of an answer.
type Fault struct {
	Status     int    `json:"status"`     // such as 429 or 503
	RetryAfter string `json:"retryAfter"` // header of that name; empty sends none
}

const (
	keptRequests = 200
	prefix       = "/v4"
	prefixV1     = "/v1"
)

// New checks cfg and fills in its defaults.
func New(cfg Config) (*Simulator, error) {
	cfg = withDefaults(cfg)
	var errs []error
	if cfg.APIKey == "" {
		errs = append(errs, errors.New("API key: none given"))
	}
	for _, n := range []struct {
		name  string
		value int
	}{
		{"quarters", cfg.Quarters}, {"users", cfg.Users}, {"fields", cfg.Fields},
		{"concurrent limit", cfg.ConcurrentLimit}, {"monthly quota", cfg.MonthlyQuota},
	} {
		if n.value < 1 {
			errs = append(errs, fmt.Errorf("%s %d: want at least 1", n.name, n.value))
		}
	}
	if cfg.Weeks < 0 || cfg.MalformedEntries < 0 || cfg.UnknownRefs < 0 || cfg.MorePeriods < 0 || cfg.ScheduledFor < 0 || cfg.StartedFor < 0 {
		errs = append(errs, errors.New("weeks, malformed entries, unknown references, more periods and durations: want none below 0"))
	}
	if cfg.FiscalStart < time.January || cfg.FiscalStart > time.December {
		errs = append(errs, fmt.Errorf("fiscal start %d: want a month, 1 to 12", cfg.FiscalStart))
	}
	if !slices.Contains([]Spelling{SpellingSuffixed, SpellingBare, SpellingSnake}, cfg.ValueKeys) {
		errs = append(errs, fmt.Errorf("value keys %q: want %q, %q or %q", cfg.ValueKeys, SpellingSuffixed, SpellingBare, SpellingSnake))
	}
	if err := cfg.Chaos.Validate(); err != nil {
		errs = append(errs, err)
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("configuring the Clari simulator: %w", errors.Join(errs...))
	}
	s := &Simulator{
		cfg: cfg, keys: []string{cfg.APIKey}, expired: map[string]bool{}, entries: map[entryKey][]version{}, hidden: map[int][]visibility{}, requests: map[string]int{},
	}
	s.mux = s.routes()
	var err error
	s.chaos, err = chaos.New(cfg.Chaos, http.HandlerFunc(s.serveAPI), s.misbehave)
	return s, err
}

func withDefaults(cfg Config) Config {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if len(cfg.Forecasts) == 0 {
		cfg.Forecasts = []string{"forecast"}
	}
	cfg.Quarters = cmp.Or(cfg.Quarters, 5)
	cfg.FiscalStart = cmp.Or(cfg.FiscalStart, time.January)
	cfg.Users = cmp.Or(cfg.Users, 100)
	cfg.Fields = cmp.Or(cfg.Fields, 4)
	cfg.ScheduledFor = cmp.Or(cfg.ScheduledFor, 20*time.Millisecond)
	cfg.StartedFor = cmp.Or(cfg.StartedFor, 30*time.Millisecond)
	cfg.ConcurrentLimit = cmp.Or(cfg.ConcurrentLimit, 3)
	cfg.MonthlyQuota = cmp.Or(cfg.MonthlyQuota, 1000)
	cfg.ValueKeys = cmp.Or(cfg.ValueKeys, SpellingSuffixed)
	return cfg
}

func (s *Simulator) routes() *http.ServeMux {
	mux := http.NewServeMux()
	api := func(method, path string, handle http.HandlerFunc) {
		mux.Handle(method+" "+prefix+path, s.guarded(handle))
		if s.cfg.V1 {
			mux.Handle(method+" "+prefixV1+path, s.guarded(handle))
		}
	}
	api(http.MethodPost, "/export/forecast/{forecastId}", s.startExport)
	api(http.MethodGet, "/export/jobs", s.listJobs)
	api(http.MethodGet, "/export/jobs/{jobId}", s.getJob)
	api(http.MethodPatch, "/export/jobs/{jobId}", s.cancelJob)
	api(http.MethodGet, "/export/jobs/{jobId}/results", s.results)
	api(http.MethodGet, "/admin/limits", s.limits)
	if s.cfg.V1 {
		mux.Handle("GET "+prefixV1+"/forecast/types", s.guarded(s.forecastTypes))
	}
	mux.Handle("/", s.guarded(s.noRoute))
	s.controlRoutes(mux)
	return mux
}

// ServeHTTP serves the API under /v4 (and /v1) and the simulator's own routes under /_sim.
func (s *Simulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/_sim/") {
		s.mux.ServeHTTP(w, r)
		return
	}
	s.chaos.ServeHTTP(w, r)
}

// serveAPI answers what chaos lets through, and keeps account of it.
func (s *Simulator) serveAPI(w http.ResponseWriter, r *http.Request) {
	id := r.Header.Get("X-Correlation-Id")
	if id != "" {
		w.Header().Set("X-Correlation-Id", id)
	}
	_, pattern := s.mux.Handler(r)
	seen := &statusWriter{ResponseWriter: w, status: http.StatusOK}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.requests[pattern]++
		if len(s.recent) == keptRequests {
			s.recent = slices.Delete(s.recent, 0, 1)
		}
		s.recent = append(s.recent, Request{r.Method, r.URL.Path, seen.status, id})
	}()
	s.mux.ServeHTTP(seen, r)
}

// misbehave is what chaos refuses a request with.
func (s *Simulator) misbehave(w http.ResponseWriter, _ *http.Request, status int) {
	switch status {
	case http.StatusUnauthorized:
		writeJSON(w, status, map[string]string{"message": "Invalid authentication credentials"})
	case http.StatusTooManyRequests:
		writeJSON(w, status, map[string]string{"error": "API rate limit exceeded"})
	default:
		s.refuse(w, status, "internal_server_error", "The request could not be served.")
	}
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// guarded applies faults and authentication.
func (s *Simulator) guarded(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if fault, ok := s.takeFault(); ok {
			if fault.RetryAfter != "" {
				w.Header().Set("Retry-After", fault.RetryAfter)
			}
			s.misbehave(w, r, fault.Status)
			return
		}
		if message := s.unwelcome(r); message != "" {
			s.gateway(w, http.StatusUnauthorized, map[string]string{"message": message})
			return
		}
		if s.cfg.NoPermission {
			s.refuse(w, http.StatusForbidden, "SWW", "You do not have permission to use this API.")
			return
		}
		next(w, r)
	}
}

// unwelcome says what is wrong with a request's key, nothing if it is good.
func (s *Simulator) unwelcome(r *http.Request) string {
	key := r.Header.Get("apikey")
	if s.cfg.BearerAuth {
		key, _ = strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case slices.Contains(s.keys, key):
		return ""
	case s.cfg.SayExpired && s.expired[key]:
		return "API key has expired"
	}
	return "Invalid authentication credentials"
}

// SetAPIKeys makes these keys the good ones, and no other: two while a key rotates, then the new one.
func (s *Simulator) SetAPIKeys(keys ...string) error {
	if len(keys) == 0 || slices.Contains(keys, "") {
		return errors.New("setting API keys: want at least one, and none empty")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range s.keys {
		s.expired[key] = true
	}
	s.keys = slices.Clone(keys)
	return nil
}

// forecastTypes lists what can be exported. Its form is a guess: no specification has the route.
func (s *Simulator) forecastTypes(w http.ResponseWriter, _ *http.Request) {
	types := []map[string]string{}
	for _, id := range s.cfg.Forecasts {
		types = append(types, map[string]string{"forecastId": id, "name": id})
	}
	writeJSON(w, http.StatusOK, types)
}

func (s *Simulator) takeFault() (Fault, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.faults) == 0 {
		return Fault{}, false
	}
	fault := s.faults[0]
	s.faults = s.faults[1:]
	return fault, true
}

func (s *Simulator) noRoute(w http.ResponseWriter, _ *http.Request) {
	s.gateway(w, http.StatusNotFound, map[string]string{
		"message": "no Route matched with those values", "request_id": strings.ReplaceAll(uuid.NewString(), "-", ""),
	})
}

// gateway answers as what stands before Clari's own service.
func (s *Simulator) gateway(w http.ResponseWriter, status int, body map[string]string) {
	if !s.cfg.HTMLErrors {
		writeJSON(w, status, body)
		return
	}
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<html><body><h1>%d</h1></body></html>", status) // the client may be gone
}

// refuse answers with Clari's error envelope.
func (s *Simulator) refuse(w http.ResponseWriter, status int, code, message string) {
	writeJSON(w, status, map[string]any{
		"code": code, "namespace": "exports", "errorId": uuid.NewString(), "message": message, "orgId": orgID, "source": "Export",
	})
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client may be gone
}
