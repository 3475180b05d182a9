// Package salesloftest owns a Salesloft that runs on this machine: people and their changes over time, the token endpoint, the
// team's cost budget and signed webhooks, behind the API's own routes. What the vendor does not document is a switch of Config.
package salesloftest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/revstream/revstream/producers/chaos"
)

// Config is the simulator's world. The zero value of a switch is the documented or the more likely behaviour.
type Config struct {
	Seed   uint64 // the same seed gives the same people
	People int    // how many to generate; LoadRecorded replaces them
	// TieRun makes each run of that many neighbours in the order of updated_at share one timestamp, as after a bulk update.
	// Default: all timestamps differ.
	TieRun int
	Epoch  time.Time        // the newest generated updated_at; default 2025-01-01. Changes are stamped with Now, after it
	Now    func() time.Time // default time.Now: stamps, token expiry and the minutes of the budget

	APIKeys      []string // bearer tokens that never expire
	ClientID     string
	ClientSecret string
	RefreshToken string        // the first refresh token; it is revoked when used
	TokenTTL     time.Duration // default 2 h
	Scopes       []string      // of every credential; default people:read, people:write, people:delete

	Budget int // cost points a minute for the team; default 600

	WebhookRetryInterval time.Duration // default 15 s; a delivery is tried 1 + 3 times
	WebhookWorkers       int           // deliveries at a time; default 4. With 1 they arrive in order
	DuplicateEvery       int           // every n-th delivery comes twice; default never
	SwapEvery            int           // every n-th delivery comes after its successor; default never
	WebhookClient        *http.Client  // default: a client with a timeout of 10 s

	InvalidGrantStatus int  // 400 (default) or 401
	RetryAfter         bool // a 429 carries Retry-After
	MinuteFromFirst    bool // a minute of the budget begins with its first request, not with the clock's
	StrictPerPage      bool // per_page outside 1…100 is a 422 instead of being corrected
	ShuffleTies        bool // equal timestamps come in another order on every request
	WrapSubscriptions  bool // webhook subscriptions come under "data"
	TenantIDString     bool // tenant_id is a string
	WrapDeliveries     bool // webhook bodies come under "data"
	DeleteBodyIDOnly   bool // person_deleted carries the id alone
	IgnoreCreatedAt    bool // lists take no notice of a filter by created_at, as of any unknown one
	ReuseRevokes       bool // a refresh token that is used again revokes all that came of it, as the newest, and every access token
	SayExpired         bool // the 401 to an access token that has run out says so
	HideCallbackTokens bool // lists of webhook subscriptions come without callback_token

	Chaos chaos.Config // which share of the requests fails in which way, those for tokens too; default none
}

func (cfg *Config) setDefaults() {
	if cfg.Epoch.IsZero() {
		cfg.Epoch = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.TokenTTL == 0 {
		cfg.TokenTTL = 2 * time.Hour
	}
	if cfg.Scopes == nil {
		cfg.Scopes = []string{"people:read", "people:write", "people:delete"}
	}
	if cfg.Budget == 0 {
		cfg.Budget = 600
	}
	if cfg.WebhookRetryInterval == 0 {
		cfg.WebhookRetryInterval = 15 * time.Second
	}
	if cfg.WebhookWorkers == 0 {
		cfg.WebhookWorkers = 4
	}
	if cfg.WebhookClient == nil {
		cfg.WebhookClient = &http.Client{Timeout: 10 * time.Second}
	}
	if cfg.InvalidGrantStatus == 0 {
		cfg.InvalidGrantStatus = http.StatusBadRequest
	}
}

func (cfg *Config) validate() error {
	var problems []error
	notNegative := func(name string, n int) {
		if n < 0 {
			problems = append(problems, fmt.Errorf("%s: %d is negative", name, n))
		}
	}
	notNegative("people", cfg.People)
	notNegative("tie run", cfg.TieRun)
	notNegative("budget", cfg.Budget)
	notNegative("webhook workers", cfg.WebhookWorkers)
	notNegative("duplicate every", cfg.DuplicateEvery)
	notNegative("swap every", cfg.SwapEvery)
	if cfg.TokenTTL < 0 || cfg.WebhookRetryInterval < 0 {
		problems = append(problems, errors.New("token TTL, webhook retry interval: must not be negative"))
	}
	if len(cfg.APIKeys) == 0 && cfg.ClientID == "" {
		problems = append(problems, errors.New("no credentials: nobody could log in; set API keys or a client ID"))
	}
	if slices.Contains(cfg.APIKeys, "") {
		problems = append(problems, errors.New("API keys: one is empty"))
	}
	if (cfg.ClientID == "") != (cfg.ClientSecret == "") {
		problems = append(problems, errors.New("client ID and client secret: set both or neither"))
	}
	if cfg.RefreshToken != "" && cfg.ClientID == "" {
		problems = append(problems, errors.New("refresh token: needs a client ID"))
	}
	if s := cfg.InvalidGrantStatus; s != http.StatusBadRequest && s != http.StatusUnauthorized {
		problems = append(problems, fmt.Errorf("invalid grant status: want 400 or 401, not %d", s))
	}
	if err := cfg.Chaos.Validate(); err != nil {
		problems = append(problems, err)
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("salesloft simulator: %w", err)
	}
	return nil
}

// Simulator is an http.Handler; /v2/… is the API, /oauth/token the token endpoint, /_sim/… what a test or a tour drives it
// with. It is safe for concurrent use.
type Simulator struct {
	cfg     Config
	routes  *http.ServeMux
	chaos   *chaos.Handler
	people  *store
	tokens  *tokens
	budget  *budget
	courier *courier

	mu            sync.Mutex // guards what follows
	failures      int        // answers still to fail
	failureStatus int
	counts        requestCounts
}

type requestCounts struct {
	requests, unauthorized, rateLimited, failed int
	points                                      int
}

// New generates the people. It opens no port and starts nothing; the first webhook starts the courier, which Close stops.
func New(cfg Config) (*Simulator, error) {
	cfg.setDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &Simulator{
		cfg:     cfg,
		people:  newStore(cfg),
		tokens:  newTokens(cfg),
		budget:  &budget{perMinute: cfg.Budget, fromFirst: cfg.MinuteFromFirst},
		courier: newCourier(cfg),
	}
	s.routes = s.newRoutes()
	var err error
	s.chaos, err = chaos.New(cfg.Chaos, s.routes, misbehave)
	return s, err
}

// Close drops the webhooks that are not delivered yet and waits for those on their way to stop.
func (s *Simulator) Close() { s.courier.close() }

func (s *Simulator) newRoutes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /oauth/token", s.tokens.serve)
	api := func(pattern, scope string, handler http.HandlerFunc) {
		mux.HandleFunc(pattern, s.guard(scope, handler))
	}
	api("GET /v2/me", "", s.me)
	api("GET /v2/people", "people:read", s.listPeople)
	api("GET /v2/people/{id}", "people:read", s.getPerson)
	api("POST /v2/people", "people:write", s.createPerson)
	api("PUT /v2/people/{id}", "people:write", s.updatePerson)
	api("DELETE /v2/people/{id}", "people:delete", s.deletePerson)
	api("POST /v2/person_upserts", "people:write", s.upsertPerson)
	api("POST /v2/webhook_subscriptions", "", s.createSubscription)
	api("GET /v2/webhook_subscriptions", "", s.listSubscriptions)
	api("DELETE /v2/webhook_subscriptions/{id}", "", s.deleteSubscription)
	api("/v2/", "", func(w http.ResponseWriter, _ *http.Request) { writeError(w, http.StatusNotFound, "Not found") })
	s.controlRoutes(mux)
	return mux
}

// ServeHTTP takes every route of the API with and without ".json".
func (s *Simulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if path, found := strings.CutSuffix(r.URL.Path, ".json"); found && strings.HasPrefix(path, "/v2/") {
		r = r.Clone(r.Context())
		r.URL.Path = path
	}
	if strings.HasPrefix(r.URL.Path, "/_sim/") {
		s.routes.ServeHTTP(w, r)
		return
	}
	s.chaos.ServeHTTP(w, r)
}

// misbehave is what chaos refuses a request with.
func misbehave(w http.ResponseWriter, _ *http.Request, status int) {
	if status == http.StatusUnauthorized {
		writeError(w, status, invalidToken)
		return
	}
	writeError(w, status, http.StatusText(status))
}

// guard does what every route of the API does first: injected failure, authentication, budget, scope.
func (s *Simulator) guard(scope string, handler http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if status := s.nextFailure(); status != 0 {
			writeError(w, status, http.StatusText(status))
			return
		}
		bearer, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !found || bearer == "" {
			s.count(func(c *requestCounts) { c.unauthorized++ })
			writeError(w, http.StatusUnauthorized,
				"No Bearer Token attached to request, please see documentation at developers.salesloft.com")
			return
		}
		if message := s.tokens.unwelcome(bearer); message != "" {
			s.count(func(c *requestCounts) { c.unauthorized++ })
			writeError(w, http.StatusUnauthorized, message)
			return
		}
		if !s.charge(w, r) {
			return
		}
		if scope != "" && !slices.Contains(s.cfg.Scopes, scope) {
			writeError(w, http.StatusForbidden, "The token lacks the scope "+scope)
			return
		}
		handler(w, r)
	}
}

func (s *Simulator) nextFailure() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.requests++
	if s.failures == 0 {
		return 0
	}
	s.failures--
	s.counts.failed++
	return s.failureStatus
}

func (s *Simulator) count(add func(*requestCounts)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	add(&s.counts)
}

// FailNext answers the next n requests to the API with a status, such as 503.
func (s *Simulator) FailNext(n, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures, s.failureStatus = n, status
}

// Chaos changes which share of the requests fails in which way. To fail the very next ones, see FailNext.
func (s *Simulator) Chaos(cfg chaos.Config) error { return s.chaos.Set(cfg) }

// ExpireTokens lets every issued access token run out; refresh tokens stay good.
func (s *Simulator) ExpireTokens() { s.tokens.expireAll() }

// RevokeRefreshToken makes every refresh token an invalid_grant until the next AuthoriseAgain.
func (s *Simulator) RevokeRefreshToken() { s.tokens.setRefresh("") }

// AuthoriseAgain is an operator authorising the application anew: refreshToken is the one good refresh token from now on.
func (s *Simulator) AuthoriseAgain(refreshToken string) { s.tokens.setRefresh(refreshToken) }

func (s *Simulator) me(w http.ResponseWriter, _ *http.Request) {
	writeData(w, map[string]any{
		"id": 7001, "guid": "0b8f6a3e-5c1d-4f0e-9a77-2d6d8b1c4e55", "name": "Integration User", "first_name": "Integration",
		"last_name": "User", "email": "integration@example.com", "active": true, "time_zone": "America/New_York",
		"team": map[string]any{"id": 501, "_href": "https://api.salesloft.com/v2/team"},
	})
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(value) // the caller has hung up
}

func writeData(w http.ResponseWriter, value any) {
	writeJSON(w, http.StatusOK, map[string]any{"data": value})
}

func writeError(w http.ResponseWriter, status int, message string) {
	writeJSON(w, status, map[string]string{"error": message})
}

func writeInvalid(w http.ResponseWriter, field, problem string) {
	writeJSON(w, http.StatusUnprocessableEntity, map[string]any{"errors": map[string][]string{field: {problem}}})
}
