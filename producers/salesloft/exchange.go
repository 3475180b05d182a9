package salesloft

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/revstream/revstream/pipeline/resilience"
)

const (
	// maxRenewals is how often one call renews its token: what the store had may be as dead as what was refused.
	maxRenewals = 2
	// maxTurns is for how many minutes one call waits because others have used up the budget that it was promised.
	maxTurns = 3
)

// exchange is one request of a call.
type exchange struct {
	method, path string
	query        url.Values
	payload      []byte
	points       int  // what it is reckoned to cost
	atOnce       bool // whatever the budget says
}

// call sends one request as often as it takes, and has read take in an answer of 2xx (nil: ignored). An answer to a GET that
// read finds malformed is asked for again.
func (c *Client) call(ctx context.Context, method, path string, query url.Values, body any, read func([]byte) error) (RateLimit, error) {
	page, _ := strconv.Atoi(query.Get("page"))
	return c.do(ctx, exchange{method: method, path: path, query: query, points: cost(page)}, body, read)
}

func (c *Client) do(ctx context.Context, e exchange, body any, read func([]byte) error) (RateLimit, error) {
	if body != nil {
		var err error
		if e.payload, err = json.Marshal(body); err != nil {
			return noLimit, fmt.Errorf("encoding the request: %w", err)
		}
	}
	limit, err := c.repeat(ctx, e, read)
	if refused, ok := errors.AsType[*ValidationError](err); ok {
		c.logRefused(ctx, e, refused)
	}
	return limit, err
}

func (c *Client) repeat(ctx context.Context, e exchange, read func([]byte) error) (RateLimit, error) {
	if e.method != http.MethodGet {
		return c.authorised(ctx, e, read)
	}
	limit := noLimit
	cfg := resilience.RepeatConfig{
		Backoff:   c.backoff,
		Retryable: func(err error) bool { return errors.Is(err, ErrMalformed) },
	}
	err := resilience.Repeat(ctx, cfg, c.logger, e.method+" "+c.basePath+e.path, func(ctx context.Context) error {
		var err error
		limit, err = c.authorised(ctx, e, read)
		return err
	})
	return limit, err
}

// into decodes an answer, which is malformed unless it is complete (nil: always is).
func into[T any](target *T, complete func(T) bool) func([]byte) error {
	return func(raw []byte) error {
		var answer T // a fresh one for each try
		if err := json.Unmarshal(raw, &answer); err != nil {
			return fmt.Errorf("%w: it is not the expected JSON", ErrMalformed) // the decoder's own text quotes values
		}
		if complete != nil && !complete(answer) {
			return fmt.Errorf("%w: it has no data", ErrMalformed)
		}
		*target = answer
		return nil
	}
}

// authorised renews the token when it is refused.
func (c *Client) authorised(ctx context.Context, e exchange, read func([]byte) error) (RateLimit, error) {
	token, err := c.tokens.token(ctx)
	if err != nil {
		return noLimit, fmt.Errorf("getting an access token: %w", err)
	}
	for renewals := 0; ; renewals++ {
		limit, err := c.afford(ctx, e, token, read)
		if !errors.Is(err, ErrUnauthorized) || renewals == maxRenewals {
			return limit, err
		}
		renewed, renewErr := c.tokens.renew(ctx, token)
		if renewErr != nil {
			return limit, fmt.Errorf("renewing the refused access token: %w", renewErr)
		}
		if renewed.access == token {
			return limit, err
		}
		if token = renewed.access; renewed.issued {
			renewals = maxRenewals - 1
		}
	}
}

// afford waits until the budget allows for the request, and for the next minute when it was refused all the same: the team's
// other integrations spend too. A request that was refused for that was not processed, whatever its method.
func (c *Client) afford(ctx context.Context, e exchange, token string, read func([]byte) error) (RateLimit, error) {
	for turns := 0; ; turns++ {
		var f fare
		var err error
		if e.atOnce {
			f = c.budget.spend(e.points)
		} else if f, err = c.budget.acquire(ctx, e.points); err != nil {
			return noLimit, fmt.Errorf("%s %s: %w", e.method, e.path, err)
		}
		limit, err := c.send(ctx, e, token, read)
		failure, _ := errors.AsType[*APIError](err)
		if !errors.Is(err, ErrRateLimited) || failure == nil {
			c.budget.settle(f, limit)
			return limit, err
		}
		c.budget.refuse(f, failure.RetryAfter)
		if turns == maxTurns || e.atOnce {
			return limit, err
		}
	}
}

func (c *Client) send(ctx context.Context, e exchange, token string, read func([]byte) error) (RateLimit, error) {
	target := c.base + e.path
	if len(e.query) > 0 {
		target += "?" + e.query.Encode()
	}
	var body io.Reader
	if e.payload != nil {
		body = bytes.NewReader(e.payload)
	}
	request, err := http.NewRequestWithContext(ctx, e.method, target, body)
	if err != nil {
		return noLimit, fmt.Errorf("%s %s: %w", e.method, e.path, withoutURL(err))
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Accept", "application/json")
	if e.payload != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := c.http.Do(request) //nolint:bodyclose // drain closes it
	if err != nil {
		return noLimit, fmt.Errorf("%s %s: %w", e.method, e.path, withoutURL(err))
	}
	defer drain(response.Body)
	limit := rateLimit(response.Header)
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return limit, responseError(e.method, c.basePath+e.path, response, token)
	}
	if read == nil {
		return limit, nil
	}
	if err := readAnswer(response.Body, read); err != nil {
		return limit, fmt.Errorf("%s %s: %w", e.method, e.path, err)
	}
	return limit, nil
}

// drain reads what is left of a body, so that the connection can be used again, unless that is much.
func drain(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, 64<<10)
	_ = body.Close()
}

func readAnswer(body io.Reader, read func([]byte) error) error {
	raw, err := io.ReadAll(io.LimitReader(body, maxAnswer+1))
	if err != nil {
		return fmt.Errorf("%w: reading it: %w", ErrMalformed, err)
	}
	if len(raw) > maxAnswer {
		return fmt.Errorf("%w: it is longer than %d bytes", ErrMalformed, maxAnswer)
	}
	return read(raw)
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
