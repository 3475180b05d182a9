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
	// renewAhead is how long before its expiry an access token is renewed, beside the requests that go on with it.
	renewAhead = 5 * time.Minute
	// renewPause is how long after a renewal ahead of time began the next one may begin.
	renewPause = 15 * time.Second
	// renewTimeout bounds one renewal: waiting for the lock, retries of the http client, storing.
	renewTimeout = time.Minute
	// refusalPause is for how long credentials that the token endpoint has refused are not shown to it again.
	refusalPause = time.Minute
)

// tokenSource supplies the bearer token of a request.
type tokenSource interface {
	token(ctx context.Context) (string, error)
	// renew returns another token than the refused one, or the same when there is none to be had.
	renew(ctx context.Context, refused string) (renewal, error)
	// scope is what the token's issuer named; "" when it did not.
	scope() string
	close(ctx context.Context) error
}

// renewal is an access token in place of a refused one. issued says that it comes straight from the token endpoint, so that
// renewing it in its turn is no use; a token that was found in the store may be as dead as the one before it.
type renewal struct {
	access string
	issued bool
}

// keySource is an API key: it is renewed by its owner, who rotates it where the function reads it.
type keySource struct {
	key   func() string
	newer func(ctx context.Context, refused string) string // may be nil
}

func (s keySource) token(context.Context) (string, error) {
	key := s.key()
	if key == "" {
		return "", fmt.Errorf("%w: the API key", ErrMissingSecret)
	}
	return key, nil
}

func (s keySource) renew(ctx context.Context, refused string) (renewal, error) {
	if s.newer != nil {
		if key := s.newer(ctx, refused); key != "" {
			return renewal{access: key, issued: true}, nil
		}
	}
	key, err := s.token(ctx)
	return renewal{access: key, issued: true}, err
}

func (keySource) scope() string { return "" }

func (keySource) close(context.Context) error { return nil }

// oauth holds the access token and renews it.
//
// A refresh token is revoked the moment its successor is issued. Hence:
//   - One process at a time renews, under the store's lock, and looks into the store first: what another one has put there
//     is taken instead of asking again, and what is asked with is the newest refresh token there is.
//   - An access token is handed out only after the grant that it belongs to is in the store.
//   - A renewal is not cut off by its caller's context, and a grant that could not be stored is kept, and stored first when the
//     next caller comes, or when the client is closed.
//
// What remains is the moment between the endpoint's issuing a grant and the store's acknowledging it: if the process dies
// there, or the answer is lost on the way, the store holds a dead refresh token and nobody has its successor; somebody has to
// authorise the application again. Nothing can close that hole from this side. It is one write wide, and before the endpoint is
// asked the store has just answered a read and granted a lock, so that an outage of the store alone does not open it.
type oauth struct {
	cfg     Config
	logger  *slog.Logger
	http    *http.Client
	flight  singleflight.Group
	flights sync.WaitGroup

	pending *pendingGrant // touched by the one flight alone

	mu      sync.Mutex // guards what follows; never held during I/O
	current Grant
	ahead   time.Time // when a renewal ahead of time began last
	refusal refusal
	closed  bool
}

// pendingGrant was issued and is not stored yet. over is what the store held when it was issued: if it holds something else by
// now, somebody has authorised the application anew meanwhile, and that goes first.
type pendingGrant struct{ grant, over Grant }

// refusal is the token endpoint's last one, and which credentials it was about.
type refusal struct {
	err         error
	at          time.Time
	credentials string
}

func newOAuth(cfg Config, logger *slog.Logger, client *http.Client) *oauth {
	return &oauth{cfg: cfg, logger: logger, http: client}
}

// token makes nobody wait who has a good token: renewing it takes a lock that others may hold for seconds.
func (o *oauth) token(ctx context.Context) (string, error) {
	now := o.cfg.Now()
	o.mu.Lock()
	current := o.current
	usable := current.usable(now)
	ahead := usable && current.due(now) && now.Sub(o.ahead) >= renewPause
	if ahead {
		o.ahead = now
	}
	o.mu.Unlock()
	if !usable {
		renewed, err := o.renew(ctx, current.AccessToken)
		return renewed.access, err
	}
	if ahead {
		o.launch(ctx, current.AccessToken)
	}
	return current.AccessToken, nil
}

func (o *oauth) renew(ctx context.Context, refused string) (renewal, error) {
	if err := ctx.Err(); err != nil {
		return renewal{}, err
	}
	select {
	case landed := <-o.launch(ctx, refused):
		return landed.renewal, landed.err
	case <-ctx.Done():
		return renewal{}, ctx.Err()
	}
}

// landing is what a flight brought back.
type landing struct {
	renewal
	err error
}

// launch is a single flight: the first caller goes, the others take what it brings back, errors included. The flight is named
// after the token to be replaced. That keeps a caller whose own new token was refused out of the flight that would hand it
// the same token again, and still no two flights ask for tokens at once: a caller can only name a token that an earlier,
// finished flight has made current, and a flight that names an older one finds it replaced and asks for nothing.
func (o *oauth) launch(ctx context.Context, refused string) <-chan landing {
	landed := make(chan landing, 1)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		landed <- landing{err: errClosed}
		return landed
	}
	o.flights.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), renewTimeout)
		defer cancel()
		answer, err, _ := o.flight.Do(refused, func() (any, error) { return o.fly(ctx, refused) })
		renewed, _ := answer.(renewal)
		landed <- landing{renewed, err}
	})
	return landed
}

// close waits for the flights, each of which ends by renewTimeout, and then tries once more to store what is not stored yet.
func (o *oauth) close(ctx context.Context) error {
	o.mu.Lock()
	o.closed = true
	current := o.current
	o.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		o.flights.Wait()
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		return fmt.Errorf("waiting for the renewal of the access token: %w", ctx.Err())
	}
	if o.pending == nil {
		return nil
	}
	_, err := o.replace(ctx, current.AccessToken)
	return err
}

func (o *oauth) scope() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.current.Scope
}

// age is that of the access token in use; false while there is none, or it does not say.
func (o *oauth) age() (time.Duration, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.cfg.Now().Sub(o.current.IssuedAt), !o.current.IssuedAt.IsZero()
}

func (o *oauth) fly(ctx context.Context, refused string) (renewal, error) {
	o.mu.Lock()
	current := o.current
	o.mu.Unlock()
	if current.AccessToken != refused {
		return renewal{access: current.AccessToken}, nil
	}
	renewed, err := o.replace(ctx, refused)
	if err != nil && current.usable(o.cfg.Now()) {
		o.logger.WarnContext(ctx, "renewing the access token failed; the present one has not expired", "error", err)
	}
	return renewed, err
}

func (o *oauth) replace(ctx context.Context, refused string) (renewal, error) {
	// Without the lock first: a process that starts finds a good grant and need not wait for anybody.
	stored, err := o.load(ctx)
	if err != nil {
		return renewal{}, err
	}
	if o.good(stored, refused) {
		return o.adopt(ctx, stored, false), nil
	}
	if err := o.barred(); err != nil {
		return renewal{}, err
	}
	if o.cfg.TokenStore == nil {
		return o.ask(ctx, Grant{})
	}
	unlock, err := o.cfg.TokenStore.Lock(ctx)
	if err != nil {
		return renewal{}, fmt.Errorf("waiting to be the one that renews the access token: %w", err)
	}
	defer unlock()
	if stored, err = o.load(ctx); err != nil {
		return renewal{}, err
	}
	if o.good(stored, refused) {
		return o.adopt(ctx, stored, false), nil
	}
	return o.ask(ctx, stored)
}

// good says that a stored grant is of this client's kind, fresh, and not the one that is to be replaced.
func (o *oauth) good(stored Grant, refused string) bool {
	now := o.cfg.Now()
	return stored.usable(now) && !stored.due(now) && stored.AccessToken != refused && o.ours(stored)
}

// ours tells a grant that somebody has authorised from one that the client asked for in its own name.
func (o *oauth) ours(stored Grant) bool {
	return (stored.RefreshToken != "") == (o.cfg.RefreshToken != nil)
}

// ask asks the token endpoint, and stores what it issues before anybody sees it.
func (o *oauth) ask(ctx context.Context, stored Grant) (renewal, error) {
	if o.pending == nil || !o.pending.over.same(stored) {
		o.pending = nil
		issued, err := o.issue(ctx, stored)
		o.note(err)
		if err != nil {
			return renewal{}, err
		}
		o.pending = &pendingGrant{grant: issued, over: stored}
	}
	if err := o.save(ctx, stored, o.pending.grant); err != nil {
		return renewal{}, err
	}
	issued := o.pending.grant
	o.pending = nil
	return o.adopt(ctx, issued, true), nil
}

func (o *oauth) adopt(ctx context.Context, g Grant, issued bool) renewal {
	o.mu.Lock()
	o.current, o.refusal = g, refusal{}
	o.mu.Unlock()
	o.logger.DebugContext(ctx, "access token renewed", "issued", issued, "expires_at", g.ExpiresAt)
	return renewal{access: g.AccessToken, issued: issued}
}

func (o *oauth) load(ctx context.Context) (Grant, error) {
	if o.cfg.TokenStore == nil {
		return Grant{}, nil
	}
	stored, err := o.cfg.TokenStore.Load(ctx)
	if err != nil {
		return Grant{}, fmt.Errorf("loading the stored grant: %w", err)
	}
	return stored, nil
}

// save never puts a grant without a refresh token in the place of one that has it: a tool that was started without the
// refresh token would take the producer's authorisation away.
func (o *oauth) save(ctx context.Context, stored, issued Grant) error {
	if o.cfg.TokenStore == nil || (issued.RefreshToken == "" && stored.RefreshToken != "") {
		return nil
	}
	if err := o.cfg.TokenStore.Save(ctx, issued); err != nil {
		return fmt.Errorf("storing the new grant: %w", err)
	}
	return nil
}

// note remembers a refusal of the credentials, which only somebody who configures others can end.
func (o *oauth) note(err error) {
	if !errors.Is(err, ErrInvalidGrant) && !errors.Is(err, ErrUnauthorized) {
		return
	}
	noted := refusal{err: err, at: o.cfg.Now(), credentials: o.credentials()}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.refusal = noted
}

// barred returns the last refusal while asking again would only repeat it: every request of the client comes by here.
func (o *oauth) barred() error {
	credentials := o.credentials()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.refusal.credentials == credentials && o.cfg.Now().Before(o.refusal.at.Add(refusalPause)) {
		return o.refusal.err
	}
	return nil
}

func (o *oauth) credentials() string {
	credentials := o.cfg.ClientSecret()
	if o.cfg.RefreshToken != nil {
		credentials += "\x00" + o.cfg.RefreshToken()
	}
	return credentials
}

// issue gets a new grant. With a refresh token configured the stored one goes first. When it is refused there are two ways
// on: another process that was taken for dead may have used it and stored its successor meanwhile, or an operator has
// authorised the application anew and configured the token.
func (o *oauth) issue(ctx context.Context, stored Grant) (Grant, error) {
	if o.cfg.RefreshToken == nil {
		issued, err := o.request(ctx, map[string]string{"grant_type": "client_credentials"})
		issued.RefreshToken = "" // of no use, and it would mark the grant as one that somebody has authorised
		return issued, err
	}
	tried := map[string]bool{}
	var refused error
	for range 3 {
		refresh := stored.RefreshToken
		if refresh == "" || tried[refresh] {
			refresh = o.cfg.RefreshToken()
		}
		if refresh == "" {
			return Grant{}, fmt.Errorf("%w: the refresh token", ErrMissingSecret)
		}
		if tried[refresh] {
			break
		}
		issued, err := o.request(ctx, map[string]string{"grant_type": "refresh_token", "refresh_token": refresh})
		if !errors.Is(err, ErrInvalidGrant) {
			if issued.RefreshToken == "" {
				issued.RefreshToken = refresh // the endpoint may keep a refresh token: then this one stays good
			}
			return issued, err
		}
		tried[refresh], refused = true, err
		if stored, err = o.load(ctx); err != nil {
			return Grant{}, err
		}
	}
	return Grant{}, refused
}

// request shows the client secret once more when it is refused and has been rotated.
func (o *oauth) request(ctx context.Context, form map[string]string) (Grant, error) {
	secret := o.cfg.ClientSecret()
	if secret == "" {
		return Grant{}, fmt.Errorf("%w: the client secret", ErrMissingSecret)
	}
	issued, err := o.post(ctx, form, secret)
	if o.cfg.RenewClientSecret == nil || !errors.Is(err, ErrUnauthorized) || errors.Is(err, ErrInvalidGrant) {
		return issued, err
	}
	if renewed := o.cfg.RenewClientSecret(ctx, secret); renewed != "" && renewed != secret {
		return o.post(ctx, form, renewed)
	}
	return issued, err
}

func (o *oauth) post(ctx context.Context, form map[string]string, secret string) (Grant, error) {
	form["client_id"], form["client_secret"] = o.cfg.ClientID, secret
	body, err := json.Marshal(form)
	if err != nil {
		return Grant{}, fmt.Errorf("encoding the token request: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, o.cfg.TokenURL, bytes.NewReader(body))
	if err != nil {
		return Grant{}, fmt.Errorf("asking for a token: %w", withoutURL(err))
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	response, err := o.http.Do(request)
	if err != nil {
		return Grant{}, fmt.Errorf("asking for a token: %w", withoutURL(err))
	}
	defer drain(response.Body)
	return o.parse(response)
}

func (o *oauth) parse(response *http.Response) (Grant, error) {
	var answer struct {
		AccessToken  string  `json:"access_token"`
		RefreshToken string  `json:"refresh_token"`
		ExpiresIn    float64 `json:"expires_in"` // seconds
		Scope        string  `json:"scope"`
		Error        string  `json:"error"`
	}
	raw, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if err != nil {
		return Grant{}, fmt.Errorf("%w: reading the token endpoint's: %w", ErrMalformed, err)
	}
	parseErr := json.Unmarshal(raw, &answer)
	if response.StatusCode != http.StatusOK {
		return Grant{}, &TokenError{Status: response.StatusCode, Code: truncate(answer.Error)}
	}
	if parseErr != nil || answer.AccessToken == "" {
		return Grant{}, fmt.Errorf("%w: the token endpoint's has no access token", ErrMalformed)
	}
	now := o.cfg.Now()
	issued := Grant{AccessToken: answer.AccessToken, RefreshToken: answer.RefreshToken, IssuedAt: now, Scope: answer.Scope}
	if answer.ExpiresIn > 0 {
		issued.ExpiresAt = now.Add(time.Duration(answer.ExpiresIn * float64(time.Second)))
	}
	return issued, nil
}
