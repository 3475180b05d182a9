package web

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"
)

// identity is an OpenID Connect provider that signs what a test tells it to.
type identity struct {
	server *httptest.Server
	key    *ecdsa.PrivateKey
	signer *ecdsa.PrivateKey // of the next token

	mu     sync.Mutex
	claims map[string]any // that the next token has besides, or instead
	asked  url.Values     // of the sign-in that was begun last
	codes  int            // that were exchanged
}

func newIdentity(t *testing.T) *identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	p := &identity{key: key, signer: key}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		p.answer(w, map[string]any{
			"issuer": p.server.URL, "authorization_endpoint": p.server.URL + "/authorize", "token_endpoint": p.server.URL + "/token",
			"jwks_uri": p.server.URL + "/keys", "id_token_signing_alg_values_supported": []string{"ES256"},
		})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		p.answer(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1", Algorithm: "ES256", Use: "sig"}}})
	})
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /token", p.token)
	p.server = httptest.NewServer(mux)
	t.Cleanup(p.server.Close)
	return p
}

func (p *identity) answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body)
}

// authorize signs in at once whoever comes.
func (p *identity) authorize(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = r.URL.Query()
	back, err := url.Parse(p.asked.Get("redirect_uri"))
	if err != nil {
		http.Error(w, "redirect_uri", http.StatusBadRequest)
		return
	}
	back.RawQuery = url.Values{"code": {"the-code"}, "state": {p.asked.Get("state")}}.Encode()
	http.Redirect(w, r, back.String(), http.StatusFound)
}

// token holds the client to its PKCE verifier.
func (p *identity) token(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if r.PostFormValue("code") != "the-code" || p.asked.Get("code_challenge_method") != "S256" || base64.RawURLEncoding.EncodeToString(sum[:]) != p.asked.Get("code_challenge") {
		w.WriteHeader(http.StatusBadRequest)
		p.answer(w, map[string]string{"error": "invalid_grant"})
		return
	}
	p.codes++
	claims := map[string]any{
		"iss": p.server.URL, "aud": "desk", "sub": "u-1", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(),
		"nonce": p.asked.Get("nonce"), "preferred_username": "ada", "groups": []string{"staff", "revenue-ops"},
	}
	maps.Copy(claims, p.claims)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: p.signer, KeyID: "1"}}, nil)
	if err == nil {
		var signed *jose.JSONWebSignature
		body, _ := json.Marshal(claims)
		if signed, err = signer.Sign(body); err == nil {
			text, _ := signed.CompactSerialize()
			p.answer(w, map[string]any{"access_token": "x", "token_type": "Bearer", "id_token": text})
			return
		}
	}
	http.Error(w, err.Error(), http.StatusInternalServerError)
}

// newOIDCBench is a page without tokens.
func newOIDCBench(t *testing.T) (*bench, *identity) {
	t.Helper()
	p := newIdentity(t)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := listener.Addr().String()
	require.NoError(t, listener.Close())
	b := newBench(t, func(cfg *Config, _ *Deps) {
		cfg.Addr, cfg.OperatorToken, cfg.ViewerToken = addr, "", ""
		cfg.OIDCIssuer, cfg.OIDCClientID, cfg.OIDCClientSecret = p.server.URL, "desk", "the-client's-secret"
		cfg.OIDCRedirectURL = "http://" + addr + callbackPath
		cfg.OIDCOperators, cfg.OIDCViewers = []string{"revenue-ops"}, []string{"revenue"}
	})
	t.Cleanup(b.server.provider.client.CloseIdleConnections)
	return b, p
}

// follow sends a browser to the provider and back, and returns what it then gets.
func (br *browser) follow() answer {
	br.t.Helper()
	got := br.get("/oidc/start")
	require.Equal(br.t, http.StatusFound, got.status, got.text)
	return br.get(br.callback(got.header.Get("Location")))
}

// callback is where the provider sends a browser.
func (br *browser) callback(authorize string) string {
	br.t.Helper()
	req, err := http.NewRequestWithContext(br.t.Context(), http.MethodGet, authorize, nil)
	require.NoError(br.t, err)
	return strings.TrimPrefix(br.do(req).header.Get("Location"), br.base)
}

func TestSigningInWithAProvider(t *testing.T) {
	t.Parallel()
	b, p := newOIDCBench(t)
	br := b.browser()
	page := br.get("/sign-in").text
	require.Contains(t, page, "/oidc/start")
	require.NotContains(t, page, `name="token"`)
	require.Equal(t, "/", br.follow().header.Get("Location"))
	require.Contains(t, br.get("/api/me").text, `"name":"ada"`)
	require.Contains(t, br.get("/api/me").text, `"role":"operator"`)

	p.claims = map[string]any{"groups": "revenue", "preferred_username": "", "email": "bo@example.test"}
	require.Equal(t, "/", br.follow().header.Get("Location"))
	require.Contains(t, br.get("/api/me").text, `"name":"bo@example.test"`)
	require.Contains(t, br.get("/api/me").text, `"role":"viewer"`)
}

func TestAProvidersTokenIsChecked(t *testing.T) {
	t.Parallel()
	b, p := newOIDCBench(t)
	foreign, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		claims map[string]any
		signer *ecdsa.PrivateKey
		want   string
	}{
		"good":               {want: "/"},
		"another nonce":      {claims: map[string]any{"nonce": "another"}, want: "/sign-in?error=oidc"},
		"no nonce":           {claims: map[string]any{"nonce": nil}, want: "/sign-in?error=oidc"},
		"another audience":   {claims: map[string]any{"aud": "another"}, want: "/sign-in?error=oidc"},
		"another issuer":     {claims: map[string]any{"iss": "https://another.test"}, want: "/sign-in?error=oidc"},
		"expired":            {claims: map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}, want: "/sign-in?error=oidc"},
		"another key":        {signer: foreign, want: "/sign-in?error=oidc"},
		"no role":            {claims: map[string]any{"groups": []string{"staff"}}, want: "/sign-in?error=role"},
		"no claim":           {claims: map[string]any{"groups": nil}, want: "/sign-in?error=role"},
		"a claim of objects": {claims: map[string]any{"groups": []any{map[string]any{"revenue-ops": true}}}, want: "/sign-in?error=role"},
	} {
		if p.claims, p.signer = c.claims, p.key; c.signer != nil {
			p.signer = c.signer
		}
		br := b.browser()
		require.Equal(t, c.want, br.follow().header.Get("Location"), name)
		want := http.StatusUnauthorized
		if c.want == "/" {
			want = http.StatusOK
		}
		require.Equal(t, want, br.get("/api/me").status, name)
	}
}

// TestASignInBelongsToItsBrowser: neither another browser's nor an old one's answer of the provider counts.
func TestASignInBelongsToItsBrowser(t *testing.T) {
	t.Parallel()
	b, p := newOIDCBench(t)
	clock := b.newClock()
	victim, thief := b.browser(), b.browser()
	back := thief.callback(thief.get("/oidc/start").header.Get("Location"))
	require.Equal(t, "/sign-in?error=oidc", victim.get(back).header.Get("Location"), "begun elsewhere")
	require.Equal(t, "/sign-in?error=oidc", thief.get(back).header.Get("Location"), "used up")

	back = victim.callback(victim.get("/oidc/start").header.Get("Location"))
	clock.pass(flowMax)
	require.Equal(t, "/sign-in?error=oidc", victim.get(back).header.Get("Location"), "too late")
	clock.pass(-flowMax)
	require.Equal(t, "/sign-in?error=oidc", victim.get(callbackPath+"?error=access_denied&state=x").header.Get("Location"))
	require.Zero(t, p.codes, "no code was exchanged")
	require.Equal(t, http.StatusUnauthorized, victim.get("/api/me").status)

	for range maxFlows + 5 {
		b.server.provider.begin(secretText(), flow{begun: clock.now()})
	}
	require.Len(t, b.server.provider.flows, maxFlows)
}

// TestAProviderThatIsAway is asked again with the next sign-in.
func TestAProviderThatIsAway(t *testing.T) {
	t.Parallel()
	b, p := newOIDCBench(t)
	handler := p.server.Config.Handler
	p.server.Config.Handler = http.NotFoundHandler()
	require.Equal(t, "/sign-in?error=oidc", b.browser().get("/oidc/start").header.Get("Location"))
	p.server.Config.Handler = handler
	require.Equal(t, "/", b.browser().follow().header.Get("Location"))
}
