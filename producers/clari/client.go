// Package clari is the client of Clari's forecast export API: it starts export jobs, follows them and streams their results.
//
// It neither retries nor breaks circuits: the *http.Client it is given does. What that cannot see, it repeats: a GET whose answer
// came damaged, and a request whose key was refused. It accepts every variant of an answer that the API is known or suspected to
// send, and keeps every number as the digits that arrived.
package clari

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
	"strings"

	"github.com/revstream/revstream/pipeline/resilience"
)

// DefaultBaseURL is the address of the API's version 4.
const DefaultBaseURL = "https://api.clari.com/v4"

// How a request carries the API key.
const (
	AuthAPIKey = "apikey" // header "apikey: <key>"
	AuthBearer = "bearer" // header "Authorization: Bearer <key>"
)

// maxAnswerBytes bounds every answer that is held in memory: all but the results. A list of jobs is the longest of them.
const maxAnswerBytes = 16 << 20

// Config is what a Client needs to know.
type Config struct {
	// BaseURL is the API's root with its version and without query or user. Default DefaultBaseURL.
	BaseURL string
	// AuthScheme is AuthAPIKey or AuthBearer. Default AuthAPIKey.
	AuthScheme string
	// APIKey gives the key. It is called once per request, so that a rotated key is used at once. Required.
	APIKey func() string
	// RenewKey gives another key than the one that was refused, or the same if there is no other; the request is then sent once
	// more, so that a rotation costs none. Without it no request is.
	RenewKey func(ctx context.Context, refused string) string
	// Repeat says how patiently a GET is repeated whose answer came damaged. Its Retryable is not used.
	Repeat resilience.RepeatConfig
	// CorrelationID gives the X-Correlation-Id of a request; empty sends none. Default none.
	CorrelationID func(ctx context.Context) string
	// SpoolDir is the folder of the temporary file that holds a job's results while they are read: a disk with room for them, no
	// tmpfs, which would be memory. Default os.TempDir().
	SpoolDir string
}

// Client calls the API. It is safe for concurrent use.
type Client struct {
	base          string
	scheme        string
	key           func() string
	renewKey      func(ctx context.Context, refused string) string
	repeat        resilience.RepeatConfig
	correlationID func(ctx context.Context) string
	spoolDir      string
	logger        *slog.Logger
	http          *http.Client
}

// New checks cfg. The client's transport owns retries, rate limits and timeouts; only GET may be repeated blindly.
func New(cfg Config, logger *slog.Logger, client *http.Client) (*Client, error) {
	var errs []error
	if cfg.BaseURL == "" {
		cfg.BaseURL = DefaultBaseURL
	}
	if cfg.AuthScheme == "" {
		cfg.AuthScheme = AuthAPIKey
	}
	// The URL is not repeated in the error: one with a user in it holds a password.
	u, err := url.Parse(cfg.BaseURL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		errs = append(errs, errors.New("CLARI_BASE_URL (or --clari-base-url): want http(s)://host[:port]/path without user, query or fragment"))
	}
	if cfg.AuthScheme != AuthAPIKey && cfg.AuthScheme != AuthBearer {
		errs = append(errs, fmt.Errorf("auth scheme %q: want %q or %q", cfg.AuthScheme, AuthAPIKey, AuthBearer))
	}
	if cfg.APIKey == nil {
		errs = append(errs, errors.New("API key: none given"))
	}
	if logger == nil {
		errs = append(errs, errors.New("logger: none given"))
	}
	if client == nil {
		errs = append(errs, errors.New("HTTP client: none given"))
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("configuring the Clari client: %w", errors.Join(errs...))
	}
	cfg.Repeat.Retryable = damaged
	return &Client{
		base: strings.TrimRight(cfg.BaseURL, "/"), scheme: cfg.AuthScheme, key: cfg.APIKey, renewKey: cfg.RenewKey, repeat: cfg.Repeat,
		correlationID: cfg.CorrelationID, spoolDir: cfg.SpoolDir, logger: logger, http: withoutKeyElsewhere(client),
	}, nil
}

// withoutKeyElsewhere copies client so that a redirect to another origin (results may lie in an object store) does not take the
// key along: net/http drops Authorization there by itself, but knows nothing of a header named apikey.
func withoutKeyElsewhere(client *http.Client) *http.Client {
	own, check := *client, client.CheckRedirect
	own.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if first := via[0].URL; req.URL.Host != first.Host || req.URL.Scheme != first.Scheme {
			req.Header.Del("apikey")
			req.Header.Del("Authorization")
		}
		if check != nil {
			return check(req, via)
		}
		if len(via) >= 10 {
			return errors.New("stopped after 10 redirects")
		}
		return nil
	}
	return &own
}

// do sends a request and returns its answer, whose body the caller closes. Any status but 2xx is an *APIError. A refusal of the
// key was no use of it, so whatever the method, the request is sent again: with the key's successor, or with the same key, as a
// gateway also refuses one that is good when what it asks is away.
func (c *Client) do(ctx context.Context, method, path string, body any) (*http.Response, error) {
	key := c.key()
	resp, err := c.send(ctx, method, path, body, key)
	if errors.Is(err, ErrUnauthorized) && key != "" && c.renewKey != nil {
		resp, err = c.send(ctx, method, path, body, c.renewKey(ctx, key))
	}
	return resp, err
}

func (c *Client) send(ctx context.Context, method, path string, body any, key string) (*http.Response, error) {
	var payload io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		payload = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, payload)
	if err != nil {
		return nil, err
	}
	if key == "" {
		return nil, fmt.Errorf("the API key is empty: %w", ErrUnauthorized)
	}
	c.setHeaders(req, key)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 != 2 {
		defer resp.Body.Close()
		return nil, readAPIError(resp, key)
	}
	return resp, nil
}

// get runs op, which reads an answer to a GET, until that is not damaged.
func (c *Client) get(ctx context.Context, path string, op func(context.Context, *http.Response) error) error {
	return resilience.Repeat(ctx, c.repeat, c.logger, "GET "+path, func(ctx context.Context) error {
		resp, err := c.do(ctx, http.MethodGet, path, nil)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		return op(ctx, resp)
	})
}

// damaged tells an answer that was cut off, or is the page of something that stands before the API.
func damaged(err error) bool {
	_, cut := errors.AsType[*resilience.BodyError](err)
	_, syntax := errors.AsType[*json.SyntaxError](err)
	return cut || syntax || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, ErrBadResults)
}

func (c *Client) setHeaders(req *http.Request, key string) {
	req.Header.Set("Accept", "application/json")
	if req.Body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.scheme == AuthBearer {
		req.Header.Set("Authorization", "Bearer "+key)
	} else {
		req.Header.Set("apikey", key)
	}
	if c.correlationID == nil {
		return
	}
	if id := c.correlationID(req.Context()); id != "" {
		req.Header.Set("X-Correlation-Id", id)
	}
}

// read sends a GET and decodes its answer into out.
func (c *Client) read(ctx context.Context, path string, out any) error {
	return c.get(ctx, path, func(_ context.Context, resp *http.Response) error { return decode(resp, out) })
}

// call sends a request that may be sent but once and decodes its answer into out.
func (c *Client) call(ctx context.Context, method, path string, body, out any) error {
	resp, err := c.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return decode(resp, out)
}

func decode(resp *http.Response, out any) error {
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes+1))
	if err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if len(b) > maxAnswerBytes {
		return fmt.Errorf("reading the answer: longer than %d bytes", maxAnswerBytes)
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("decoding the answer (status %d, content type %q): %w", resp.StatusCode, resp.Header.Get("Content-Type"), err)
	}
	return nil
}
