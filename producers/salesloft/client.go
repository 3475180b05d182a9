// Package salesloft owns the Salesloft API: listing people and what changed of them, renewing the access token, managing
// webhook subscriptions, and verifying and reading webhook deliveries.
package salesloft

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
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

	ClientID     string
	ClientSecret func() string
	// RefreshToken is the token that the application was authorised with. The one in TokenStore, which came after it, goes
	// first. Without RefreshToken the client asks for its own token (grant client_credentials), whatever is stored.
	RefreshToken func() string
	TokenStore   TokenStore // required with RefreshToken

	PageSize int              // records a page in Changes, 1…100; default 100
	Now      func() time.Time // default time.Now; decides when an access token is due for renewal
}

// TokenStore keeps the refresh token between runs: the API revokes each one when it is used, so that the configured token is
// good once. Save must be durable when it returns.
type TokenStore interface {
	// Load returns the refresh token that was saved last, "" if none was.
	Load(ctx context.Context) (string, error)
	Save(ctx context.Context, refreshToken string) error
}

// Client calls the API. It is safe for concurrent use.
type Client struct {
	base     string
	basePath string
	pageSize int
	http     *http.Client
	logger   *slog.Logger
	tokens   tokenSource
}

// New checks the configuration. It does no I/O and calls none of the secret functions. Retries, timeouts and the circuit
// breaker are the http client's: the client itself repeats a request once, after a 401, with a new token.
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
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	base, err := url.Parse(strings.TrimRight(cfg.BaseURL, "/"))
	if err != nil {
		return nil, errors.New("salesloft: SALESLOFT_BASE_URL: is no URL")
	}
	c := &Client{base: base.String(), basePath: base.Path, pageSize: cfg.PageSize, http: client, logger: logger}
	if cfg.APIKey != nil {
		c.tokens = keySource{key: cfg.APIKey}
	} else {
		c.tokens = newOAuth(cfg, logger, client)
	}
	return c, nil
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

// call sends one request, renews the token once if it is refused, and decodes an answer of 2xx into into (nil: ignored).
func (c *Client) call(ctx context.Context, method, path string, query url.Values, body, into any) (RateLimit, error) {
	var payload []byte
	if body != nil {
		var err error
		if payload, err = json.Marshal(body); err != nil {
			return RateLimit{}, fmt.Errorf("encoding the request: %w", err)
		}
	}
	token, err := c.tokens.token(ctx)
	if err != nil {
		return RateLimit{}, fmt.Errorf("getting an access token: %w", err)
	}
	limit, err := c.send(ctx, method, path, query, payload, token, into)
	if !errors.Is(err, ErrUnauthorized) {
		return limit, err
	}
	renewed, renewErr := c.tokens.renew(ctx, token)
	if renewErr != nil {
		return limit, fmt.Errorf("renewing the refused access token: %w", renewErr)
	}
	if renewed == token {
		return limit, err
	}
	return c.send(ctx, method, path, query, payload, renewed, into)
}

func (c *Client) send(ctx context.Context, method, path string, query url.Values, payload []byte, token string, into any) (RateLimit, error) {
	target := c.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	var body io.Reader
	if payload != nil {
		body = bytes.NewReader(payload)
	}
	request, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return RateLimit{}, fmt.Errorf("%s %s: %w", method, path, withoutURL(err))
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Accept", "application/json")
	if payload != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := c.http.Do(request)
	if err != nil {
		return RateLimit{}, fmt.Errorf("%s %s: %w", method, path, withoutURL(err))
	}
	defer drain(response.Body)
	limit := rateLimit(response.Header)
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return limit, responseError(method, c.basePath+path, response, token)
	}
	if into == nil {
		return limit, nil
	}
	if err := decodeAnswer(response.Body, into); err != nil {
		return limit, fmt.Errorf("%s %s: %w", method, path, err)
	}
	return limit, nil
}

// drain reads what is left of a body, so that the connection can be used again, unless that is much.
func drain(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, 64<<10)
	_ = body.Close()
}

func decodeAnswer(body io.Reader, into any) error {
	raw, err := io.ReadAll(io.LimitReader(body, maxAnswer+1))
	if err != nil {
		return fmt.Errorf("%w: reading it: %w", ErrMalformed, err)
	}
	if len(raw) > maxAnswer {
		return fmt.Errorf("%w: it is longer than %d bytes", ErrMalformed, maxAnswer)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		// The decoder's own text quotes values.
		return fmt.Errorf("%w: it is not the expected JSON", ErrMalformed)
	}
	return nil
}

// withoutURL drops the address that net/http puts into its errors: its query can hold e-mail addresses.
func withoutURL(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}

func responseError(method, path string, response *http.Response, token string) error {
	failure := &APIError{Method: method, Path: path, Status: response.StatusCode, RetryAfter: retryAfter(response.Header)}
	var envelope struct {
		Error  json.RawMessage     `json:"error"`
		Errors map[string][]string `json:"errors"`
	}
	raw, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if err == nil && json.Unmarshal(raw, &envelope) == nil {
		if message, ok := unmarshal[string](envelope.Error); ok {
			failure.Message = truncate(strings.ReplaceAll(message, token, "[redacted]"))
		}
	}
	if response.StatusCode == http.StatusUnprocessableEntity {
		return &ValidationError{APIError: failure, Fields: envelope.Errors}
	}
	return failure
}

func truncate(text string) string {
	if len(text) > 200 {
		text = strings.ToValidUTF8(text[:200], "")
	}
	return text
}

// retryAfter reads either form of the header; the duration of a date counts from the answer's own clock when it has one.
func retryAfter(header http.Header) time.Duration {
	value := header.Get("Retry-After")
	if seconds, err := strconv.Atoi(value); err == nil && seconds > 0 {
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return max(0, at.Sub(now))
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

// Me asks for the owner of the credentials (GET /me): the cheapest check of connectivity, token and budget.
func (c *Client) Me(ctx context.Context) (Me, error) {
	var answer struct {
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
	limit, err := c.call(ctx, http.MethodGet, "/me", nil, nil, &answer)
	if err != nil {
		return Me{}, fmt.Errorf("asking who the credentials belong to: %w", err)
	}
	if answer.Data == nil {
		return Me{}, fmt.Errorf("asking who the credentials belong to: %w: it has no data", ErrMalformed)
	}
	d := answer.Data
	return Me{ID: d.ID, GUID: d.GUID, Active: d.Active, TimeZone: d.TimeZone, TeamID: d.Team.ID, RateLimit: limit}, nil
}
