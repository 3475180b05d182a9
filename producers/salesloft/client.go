// Package salesloft owns the Salesloft API: listing people and what changed of them, renewing the access token, managing
// webhook subscriptions, and verifying and reading webhook deliveries.
package salesloft

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/revstream/revstream/pipeline/resilience"
)

const (
	// DefaultBaseURL is where the vendor's API is.
	DefaultBaseURL = "https://api.salesloft.com/v2"
	// DefaultTokenURL is where the vendor hands out tokens.
	DefaultTokenURL = "https://accounts.salesloft.com/oauth/token" //nolint:gosec // an address, not a credential

	// MaxPageSize is the most records that the API puts on a page.
	MaxPageSize = 100

	// maxAnswer bounds the memory that one answer can take: 100 records of 300 kB.
	maxAnswer = 32 << 20
)

// Config says where the API is and with what to authenticate. Secrets are functions, called for every use, so that a rotated
// secret counts at once; a nil function means "not configured". Set either APIKey, or ClientID and ClientSecret.
type Config struct {
	BaseURL  string // default DefaultBaseURL
	TokenURL string // default DefaultTokenURL; used with a client ID alone, and checked without one too

	APIKey func() string
	// RenewAPIKey is asked once for another key than the one that was refused, and RenewClientSecret likewise: the owner of a
	// secret may have rotated it before this process has noticed. They return the refused one if there is no other. Optional.
	RenewAPIKey, RenewClientSecret func(ctx context.Context, refused string) string

	ClientID     string
	ClientSecret func() string
	// RefreshToken is the token that the application was authorised with. The one in TokenStore, which came after it, goes
	// first. Without RefreshToken the client asks for its own token (grant client_credentials), whoever has authorised it.
	RefreshToken func() string
	TokenStore   TokenStore // required with RefreshToken; without it, it lets processes share one token

	Budget   BudgetConfig
	Backoff  resilience.Backoff // between garbled answers to one request
	PageSize int                // records a page in Changes, 1…100; default 100

	Now     func() time.Time                                 // default time.Now; decides when a token is due and when a minute is over
	Sleep   func(ctx context.Context, d time.Duration) error // default resilience.Sleep; waits for the budget
	Metrics prometheus.Registerer                            // default: none
}

// Client calls the API. It is safe for concurrent use.
type Client struct {
	base     string
	basePath string
	pageSize int
	http     *http.Client
	logger   *slog.Logger
	tokens   tokenSource
	budget   *budget
	backoff  resilience.Backoff
}

// New checks the configuration. It does no I/O and calls none of the secret functions. Retries, timeouts and the circuit
// breaker are the http client's. The client itself repeats what the transport cannot judge: a request that was refused for its
// token, with another one; a request for which the team's budget did not suffice, in the next minute; and a GET whose
// answer of 2xx is garbled.
func New(cfg Config, logger *slog.Logger, client *http.Client) (*Client, error) {
	if cfg.BaseURL == "" {
		cfg.BaseURL = DefaultBaseURL
	}
	if cfg.TokenURL == "" {
		cfg.TokenURL = DefaultTokenURL
	}
	if cfg.PageSize == 0 {
		cfg.PageSize = MaxPageSize
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Sleep == nil {
		cfg.Sleep = resilience.Sleep
	}
	cfg.Budget.setDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	m, err := newMetrics(cfg.Metrics)
	if err != nil {
		return nil, err
	}
	base, err := url.Parse(strings.TrimRight(cfg.BaseURL, "/"))
	if err != nil {
		return nil, errors.New("salesloft: SALESLOFT_BASE_URL: is no URL")
	}
	c := &Client{
		base: base.String(), basePath: base.Path, pageSize: cfg.PageSize, http: client, logger: logger,
		budget: newBudget(cfg.Budget, cfg.Now, cfg.Sleep, m), backoff: cfg.Backoff,
	}
	if cfg.APIKey != nil {
		c.tokens = keySource{key: cfg.APIKey, newer: cfg.RenewAPIKey}
		return c, nil
	}
	tokens := newOAuth(cfg, logger, client)
	c.tokens = tokens
	if cfg.Metrics != nil {
		if err := cfg.Metrics.Register(tokenAge{tokens}); err != nil {
			return nil, fmt.Errorf("registering the age of the access token: %w", err)
		}
	}
	return c, nil
}

// Close waits for a renewal of the access token that is under way, so that what it issues is stored: close the store after
// the client. Calls that need a new token fail from then on. It may be called more than once.
func (c *Client) Close(ctx context.Context) error { return c.tokens.close(ctx) }

// Scopes are those that the token endpoint named with the present access token. Empty when there is none yet, when the endpoint
// named none, and for an API key.
func (c *Client) Scopes() []string {
	return strings.Fields(strings.ReplaceAll(c.tokens.scope(), ",", " "))
}

func (cfg Config) validate() error {
	var problems []error
	problems = append(problems, checkURL("SALESLOFT_BASE_URL (or --salesloft-base-url)", cfg.BaseURL),
		checkURL("SALESLOFT_TOKEN_URL (or --salesloft-token-url)", cfg.TokenURL))
	hasClient := cfg.ClientID != "" || cfg.ClientSecret != nil || cfg.RefreshToken != nil
	switch {
	case cfg.APIKey != nil && hasClient:
		problems = append(problems, errors.New("both an API key and a client ID are set; keep one"))
	case cfg.APIKey == nil && !hasClient:
		problems = append(problems, errors.New("no credentials: set an API key, or a client ID and its secret"))
	case cfg.APIKey == nil:
		if cfg.ClientID == "" {
			problems = append(problems, errors.New("client ID: missing"))
		}
		if cfg.ClientSecret == nil {
			problems = append(problems, errors.New("client secret: missing"))
		}
		if cfg.RefreshToken != nil && cfg.TokenStore == nil {
			problems = append(problems, errors.New("refresh token: needs a token store, because it is revoked when it is used"))
		}
	}
	if cfg.PageSize < 1 || cfg.PageSize > MaxPageSize {
		problems = append(problems, fmt.Errorf("page size: %d is not within 1 and %d", cfg.PageSize, MaxPageSize))
	}
	problems = append(problems, cfg.Budget.Validate())
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("salesloft: %w", err)
	}
	return nil
}

func checkURL(name, text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return fmt.Errorf("%s: want http(s)://host/path", name) // the text stays out: it may hold a password
	}
	return nil
}

// RateLimit is what an answer's headers say of the budget that all integrations of the team share: 600 points a minute.
type RateLimit struct {
	Cost      int // points that the request took; -1 when the answer did not say
	Remaining int // points left in this minute; -1 when the answer did not say
}

// noLimit is of a request without an answer.
var noLimit = RateLimit{Cost: -1, Remaining: -1}

func rateLimit(header http.Header) RateLimit {
	points := func(name string) int {
		n, err := strconv.Atoi(header.Get(name))
		if err != nil {
			return -1
		}
		return n
	}
	return RateLimit{Cost: points("X-Ratelimit-Endpoint-Cost"), Remaining: points("X-Ratelimit-Remaining-Minute")}
}

// Me is whom the credentials belong to.
type Me struct {
	ID        int64
	GUID      string
	Active    bool
	TimeZone  string
	TeamID    int64
	RateLimit RateLimit
}

// Me asks for the owner of the credentials (GET /me): the cheapest check of connectivity, token and budget. It does not wait for
// the budget, so that it tells of the source while others wait: ErrRateLimited says that it is there and has nothing left.
func (c *Client) Me(ctx context.Context) (Me, error) {
	var answer meAnswer
	read := into(&answer, func(a meAnswer) bool { return a.Data != nil })
	limit, err := c.do(ctx, exchange{method: http.MethodGet, path: "/me", points: 1, atOnce: true}, nil, read)
	if err != nil {
		return Me{}, fmt.Errorf("asking who the credentials belong to: %w", err)
	}
	d := answer.Data
	return Me{ID: d.ID, GUID: d.GUID, Active: d.Active, TimeZone: d.TimeZone, TeamID: d.Team.ID, RateLimit: limit}, nil
}

type meAnswer struct {
	Data *struct {
		ID       int64  `json:"id"`
		GUID     string `json:"guid"`
		Active   bool   `json:"active"`
		TimeZone string `json:"time_zone"`
		Team     struct {
			ID int64 `json:"id"`
		} `json:"team"`
	} `json:"data"`
}
