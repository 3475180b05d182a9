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
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	// renewAhead is how long before its expiry an access token is renewed, so that no request travels with one that dies on
	// the way.
	renewAhead = time.Minute
	// renewTimeout bounds one renewal, retries of the http client included.
	renewTimeout = time.Minute
)

// tokenSource supplies the bearer token of a request.
type tokenSource interface {
	token(ctx context.Context) (string, error)
	// renew returns another token than the refused one, or the same when there is none to be had.
	renew(ctx context.Context, refused string) (string, error)
}

// keySource is an API key: it is renewed by its owner, who rotates it where the function reads it.
type keySource struct{ key func() string }

func (s keySource) token(context.Context) (string, error) {
	key := s.key()
	if key == "" {
		return "", fmt.Errorf("%w: the API key", ErrMissingSecret)
	}
	return key, nil
}

func (s keySource) renew(ctx context.Context, _ string) (string, error) { return s.token(ctx) }

// oauth holds the access token and renews it.
//
// Invariant: an access token is handed out only after the refresh token that came with it is in the store. The old refresh
// token is revoked the moment the new pair is issued, so a crash in between would leave the store with a dead token and the
// pipeline without access until somebody authorises it again. For the same reason a renewal is not cut off by its caller's
// context, and a pair that could not be stored is kept and stored first when the next caller comes.
type oauth struct {
	cfg    Config
	logger *slog.Logger
	http   *http.Client
	flight singleflight.Group

	mu      sync.Mutex // guards what follows; never held during I/O
	current grant
	pending *grant // issued, not yet stored; touched by the one flight alone
}

type grant struct {
	access    string
	refresh   string    // "" for client_credentials
	expiresAt time.Time // zero: unknown
}

func newOAuth(cfg Config, logger *slog.Logger, client *http.Client) *oauth {
	return &oauth{cfg: cfg, logger: logger, http: client}
}

func (o *oauth) token(ctx context.Context) (string, error) {
	o.mu.Lock()
	current := o.current
	o.mu.Unlock()
	due := !current.expiresAt.IsZero() && !o.cfg.Now().Before(current.expiresAt.Add(-renewAhead))
	if current.access != "" && !due {
		return current.access, nil
	}
	renewed, err := o.renew(ctx, current.access)
	if err != nil && current.access != "" && o.cfg.Now().Before(current.expiresAt) {
		return current.access, nil // the renewal ahead of time failed; there is time left to try again
	}
	return renewed, err
}

// renew is a single flight: the first caller goes, the others take what it brings back, errors included. The flight is named
// after the token to be replaced. That keeps a caller whose own new token was refused out of the flight that would hand it
// the same token again, and still no two flights ask for tokens at once: a caller can only name a token that an earlier,
// finished flight has made current, and a flight that names an older one finds it replaced and asks for nothing.
func (o *oauth) renew(ctx context.Context, refused string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	access, err, _ := o.flight.Do(refused, func() (any, error) {
		o.mu.Lock()
		current := o.current
		o.mu.Unlock()
		if current.access != refused {
			return current.access, nil
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), renewTimeout)
		defer cancel()
		return o.fly(ctx)
	})
	if err != nil {
		return "", err
	}
	return access.(string), nil
}

func (o *oauth) fly(ctx context.Context) (string, error) {
	if o.pending == nil {
		issued, err := o.issue(ctx)
		if err != nil {
			return "", err
		}
		o.pending = &issued
	}
	if o.pending.refresh != "" {
		if err := o.cfg.TokenStore.Save(ctx, o.pending.refresh); err != nil {
			return "", fmt.Errorf("storing the new refresh token: %w", err)
		}
	}
	issued := *o.pending
	o.pending = nil
	o.mu.Lock()
	o.current = issued
	o.mu.Unlock()
	o.logger.DebugContext(ctx, "access token renewed")
	return issued.access, nil
}

// issue gets a new grant. With a refresh token configured the stored one goes first. When it is refused there are two ways on: another replica may
// have used it and stored its successor meanwhile, or an operator has authorised the application anew and configured the token.
func (o *oauth) issue(ctx context.Context) (grant, error) {
	tried := map[string]bool{}
	var refusal error
	for range 3 {
		refresh, err := o.refreshToken(ctx, tried)
		if err != nil {
			return grant{}, err
		}
		if refresh == "" {
			break
		}
		issued, err := o.request(ctx, map[string]string{"grant_type": "refresh_token", "refresh_token": refresh})
		if !errors.Is(err, ErrInvalidGrant) {
			if issued.refresh == "" {
				issued.refresh = refresh // the endpoint may keep a refresh token: then this one stays good
			}
			return issued, err
		}
		tried[refresh], refusal = true, err
	}
	if refusal != nil {
		return grant{}, refusal
	}
	issued, err := o.request(ctx, map[string]string{"grant_type": "client_credentials"})
	issued.refresh = ""
	return issued, err
}

func (o *oauth) refreshToken(ctx context.Context, tried map[string]bool) (string, error) {
	if o.cfg.RefreshToken == nil {
		return "", nil // a token that is still stored is of an authorisation that is not to be used any more
	}
	if o.cfg.TokenStore != nil {
		stored, err := o.cfg.TokenStore.Load(ctx)
		if err != nil {
			return "", fmt.Errorf("loading the refresh token: %w", err)
		}
		if stored != "" && !tried[stored] {
			return stored, nil
		}
	}
	if configured := o.cfg.RefreshToken(); !tried[configured] {
		return configured, nil
	}
	return "", nil
}

func (o *oauth) request(ctx context.Context, form map[string]string) (grant, error) {
	secret := o.cfg.ClientSecret()
	if secret == "" {
		return grant{}, fmt.Errorf("%w: the client secret", ErrMissingSecret)
	}
	form["client_id"], form["client_secret"] = o.cfg.ClientID, secret
	body, err := json.Marshal(form)
	if err != nil {
		return grant{}, fmt.Errorf("encoding the token request: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, o.cfg.TokenURL, bytes.NewReader(body))
	if err != nil {
		return grant{}, fmt.Errorf("asking for a token: %w", withoutURL(err))
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	response, err := o.http.Do(request)
	if err != nil {
		return grant{}, fmt.Errorf("asking for a token: %w", withoutURL(err))
	}
	defer drain(response.Body)
	return o.parse(response)
}

func (o *oauth) parse(response *http.Response) (grant, error) {
	var answer struct {
		AccessToken  string  `json:"access_token"`
		RefreshToken string  `json:"refresh_token"`
		ExpiresIn    float64 `json:"expires_in"` // seconds
		Error        string  `json:"error"`
	}
	raw, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if err != nil {
		return grant{}, fmt.Errorf("%w: reading the token endpoint's: %w", ErrMalformed, err)
	}
	parseErr := json.Unmarshal(raw, &answer)
	if response.StatusCode != http.StatusOK {
		return grant{}, &TokenError{Status: response.StatusCode, Code: truncate(answer.Error)}
	}
	if parseErr != nil || answer.AccessToken == "" {
		return grant{}, fmt.Errorf("%w: the token endpoint's has no access token", ErrMalformed)
	}
	issued := grant{access: answer.AccessToken, refresh: answer.RefreshToken}
	if answer.ExpiresIn > 0 {
		issued.expiresAt = o.cfg.Now().Add(time.Duration(answer.ExpiresIn * float64(time.Second)))
	}
	return issued, nil
}
