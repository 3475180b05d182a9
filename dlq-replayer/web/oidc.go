package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/revstream/revstream/pipeline/secret"
)

const (
	callbackPath = "/oidc/callback"
	oidcTimeout  = 10 * time.Second // of what is asked of the provider
	flowMax      = 10 * time.Minute // for signing in there
	maxFlows     = 1000             // at once; the oldest goes
)

// errNoRole is returned for somebody whom no value of the role claim lets in.
var errNoRole = errors.New("the ID token's claim has no value that gives a role")

// provider signs people in by OpenID Connect: the code flow with PKCE, state and nonce.
type provider struct {
	cfg    Config
	secret *secret.Value // nil for a public client
	client *http.Client
	now    func() time.Time

	finding  sync.Mutex     // of what follows
	found    *oidc.Provider // nil until the provider has answered
	verifier *oidc.IDTokenVerifier

	mu    sync.Mutex
	flows map[string]flow // by state
}

// flow is a sign-in that has begun.
type flow struct {
	browser  string // value of the cookie of the browser that began it
	nonce    string
	verifier string // PKCE's
	begun    time.Time
}

func newProvider(cfg Config, clientSecret *secret.Value, now func() time.Time) *provider {
	return &provider{cfg: cfg, secret: clientSecret, client: &http.Client{Timeout: oidcTimeout}, now: now, flows: map[string]flow{}}
}

// discover asks the provider for its endpoints, until it has answered once: it may be away when the page starts.
func (p *provider) discover(ctx context.Context) (*oauth2.Config, *oidc.IDTokenVerifier, error) {
	p.finding.Lock()
	defer p.finding.Unlock()
	if p.found == nil {
		// The keys are fetched with this context later on, too.
		found, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), p.client), p.cfg.OIDCIssuer)
		if err != nil {
			return nil, nil, fmt.Errorf("DESK_OIDC_ISSUER: asking the provider for its endpoints: %w", err)
		}
		p.found = found
		p.verifier = found.Verifier(&oidc.Config{ClientID: p.cfg.OIDCClientID, Now: p.now})
	}
	config := &oauth2.Config{
		ClientID: p.cfg.OIDCClientID, Endpoint: p.found.Endpoint(), RedirectURL: p.cfg.OIDCRedirectURL,
		Scopes: append([]string{oidc.ScopeOpenID}, p.cfg.OIDCScopes...),
	}
	if p.secret != nil {
		config.ClientSecret = p.secret.Get()
	}
	return config, p.verifier, nil
}

func (s *Server) startOIDC(w http.ResponseWriter, r *http.Request) {
	config, _, err := s.provider.discover(r.Context())
	if err != nil {
		s.refuseOIDC(w, r, err)
		return
	}
	state, started := secretText(), flow{browser: secretText(), nonce: secretText(), verifier: oauth2.GenerateVerifier(), begun: s.now()}
	s.provider.begin(state, started)
	s.setCookie(w, oidcCookie, started.browser)
	http.Redirect(w, r, config.AuthCodeURL(state, oidc.Nonce(started.nonce), oauth2.S256ChallengeOption(started.verifier)), http.StatusFound)
}

func (p *provider) begin(state string, started flow) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.flows) >= maxFlows {
		oldest := ""
		for name, other := range p.flows {
			if oldest == "" || other.begun.Before(p.flows[oldest].begun) {
				oldest = name
			}
		}
		delete(p.flows, oldest)
	}
	p.flows[state] = started
}

// take ends a flow. A state is good for one try, in the browser that began.
func (p *provider) take(state, browser string) (flow, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	started, ok := p.flows[state]
	delete(p.flows, state)
	return started, ok && same(started.browser, browser) && p.now().Sub(started.begun) < flowMax
}

func (s *Server) finishOIDC(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	started, ok := s.provider.take(query.Get("state"), s.cookie(r, oidcCookie))
	s.setCookie(w, oidcCookie, "")
	if !ok {
		s.refuseOIDC(w, r, errors.New("the provider's answer belongs to no sign-in that was begun in this browser a moment ago"))
		return
	}
	if query.Get("code") == "" {
		s.refuseOIDC(w, r, errors.New("the provider has refused the sign-in"))
		return
	}
	who, err := s.provider.finish(r.Context(), query.Get("code"), started)
	if err != nil {
		s.refuseOIDC(w, r, err)
		return
	}
	s.welcome(w, r, who)
}

// refuseOIDC sends the browser back to the form. The log has why; nothing of it is anybody's personal data.
func (s *Server) refuseOIDC(w http.ResponseWriter, r *http.Request, err error) {
	code := "oidc"
	if errors.Is(err, errNoRole) {
		code = "role"
	}
	s.logger.WarnContext(r.Context(), "a sign-in failed", "address", s.address(r), "error", err)
	http.Redirect(w, r, "/sign-in?error="+code, http.StatusSeeOther)
}

// finish turns the provider's code into a session.
func (p *provider) finish(ctx context.Context, code string, started flow) (session, error) {
	config, verifier, err := p.discover(ctx)
	if err != nil {
		return session{}, err
	}
	ctx = oidc.ClientContext(ctx, p.client)
	token, err := config.Exchange(ctx, code, oauth2.VerifierOption(started.verifier))
	if err != nil {
		if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok { // its text has the answer's body
			return session{}, fmt.Errorf("exchanging the code: the provider refuses it: %q", refused.ErrorCode)
		}
		return session{}, fmt.Errorf("exchanging the code: %w", err)
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return session{}, errors.New("exchanging the code: the answer has no ID token")
	}
	id, err := verifier.Verify(ctx, raw)
	if err != nil {
		return session{}, fmt.Errorf("verifying the ID token: %w", err)
	}
	if !same(id.Nonce, started.nonce) {
		return session{}, errors.New("verifying the ID token: it was made for another sign-in")
	}
	return p.session(id)
}

// session is what an ID token says of somebody.
func (p *provider) session(id *oidc.IDToken) (session, error) {
	claims := map[string]any{}
	if err := id.Claims(&claims); err != nil {
		return session{}, fmt.Errorf("reading the ID token's claims: %w", err)
	}
	who := session{name: id.Subject}
	for _, claim := range []string{"preferred_username", "email", "name"} {
		if name, ok := claims[claim].(string); ok && name != "" {
			who.name = name
			break
		}
	}
	var values []string
	switch claim := claims[p.cfg.OIDCRoleClaim].(type) {
	case string:
		values = []string{claim}
	case []any:
		for _, value := range claim {
			if text, ok := value.(string); ok {
				values = append(values, text)
			}
		}
	}
	has := func(wanted []string) bool {
		return slices.ContainsFunc(values, func(value string) bool { return slices.Contains(wanted, value) })
	}
	switch {
	case has(p.cfg.OIDCOperators):
		who.role = operator
	case has(p.cfg.OIDCViewers):
		who.role = viewer
	default:
		return session{}, fmt.Errorf("%w: claim %s", errNoRole, p.cfg.OIDCRoleClaim)
	}
	return who, nil
}
