package web

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/pipeline/secret"
)

// clock is a time that a test moves.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func (c *clock) pass(d time.Duration) { c.ahead.Add(int64(d)) }

// newClock makes the page's time the test's. Nothing has asked it for the time yet.
func (b *bench) newClock() *clock {
	c := &clock{}
	b.server.now = c.now
	return c
}

func TestSigningInWithAToken(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	br := b.browser()
	require.Equal(t, "/sign-in", br.get("/").header.Get("Location"))
	require.Equal(t, http.StatusUnauthorized, br.get("/api/me").status)
	for _, wrong := range []string{"", "operator", operatorToken + "x", operatorToken[1:]} {
		got := br.enter(wrong)
		require.Equal(t, "/sign-in?error=token", got.header.Get("Location"))
		require.NotContains(t, got.header.Values("Set-Cookie"), sessionCookie)
	}
	require.Contains(t, br.get("/sign-in?error=token").text, "not one of the desk")
	require.NotContains(t, br.get("/sign-in?error=<script>").text, "script>alert")

	got := br.enter(operatorToken)
	require.Equal(t, "/", got.header.Get("Location"))
	cookie := strings.Join(got.header.Values("Set-Cookie"), "\n")
	for _, want := range []string{"desk-session=", "HttpOnly", "SameSite=Lax", "Path=/"} {
		require.Contains(t, cookie, want)
	}
	require.Contains(t, br.get("/api/me").text, `"role":"operator"`)
	require.Contains(t, br.get("/").text, "<!doctype html>")
	require.Contains(t, b.signedIn(viewerToken).get("/api/me").text, `"role":"viewer"`)
}

// TestASessionIsNewWithEachSignIn, so that nobody can be given one that is known to somebody else.
func TestASessionIsNewWithEachSignIn(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	first := b.signedIn(viewerToken)
	before := first.cookies()[sessionCookie]
	stream := first.stream()
	form := csrfFor(t, b, first)
	got := first.do(form)
	require.Equal(t, "/", got.header.Get("Location"))
	require.NotEqual(t, before, first.cookies()[sessionCookie])
	stream.event("signed-out", func(string) bool { return true })
	thief := b.browser()
	thief.give(sessionCookie, before)
	require.Equal(t, http.StatusUnauthorized, thief.get("/api/me").status)
}

// csrfFor is the form of a browser that is signed in already, to which it is not shown.
func csrfFor(t *testing.T, b *bench, br *browser) *http.Request {
	t.Helper()
	br.give(formCookie, "known")
	form := url.Values{"csrf": {b.server.formToken("known")}, "token": {operatorToken}}
	req := br.request(http.MethodPost, "/sign-in", strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return req
}

func (br *browser) cookies() map[string]string {
	br.t.Helper()
	at, err := url.Parse(br.base)
	require.NoError(br.t, err)
	values := map[string]string{}
	for _, cookie := range br.client.Jar.Cookies(at) {
		values[cookie.Name] = cookie.Value
	}
	return values
}

func (br *browser) give(name, value string) {
	br.t.Helper()
	at, err := url.Parse(br.base)
	require.NoError(br.t, err)
	br.client.Jar.SetCookies(at, []*http.Cookie{{Name: name, Value: value, Path: "/"}})
}

func TestSessionsEnd(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	clock := b.newClock()
	idle, busy := b.signedIn(viewerToken), b.signedIn(viewerToken)
	stream := idle.stream()
	clock.pass(29 * time.Minute)
	require.Equal(t, http.StatusOK, idle.get("/api/stats").status, "which the page asks by itself")
	again := idle.request(http.MethodGet, "/api/letters", nil)
	again.Header.Set(quietHeader, "1")
	require.Equal(t, http.StatusOK, idle.do(again).status, "as it does when letters arrive")
	require.Equal(t, http.StatusOK, busy.get("/api/letters").status)
	clock.pass(2 * time.Minute)
	require.Equal(t, http.StatusUnauthorized, idle.get("/api/stats").status, "idle for half an hour")
	require.Equal(t, http.StatusOK, busy.get("/api/letters").status)
	stream.event("signed-out", func(string) bool { return true })
	for range 16 {
		clock.pass(28 * time.Minute)
		require.Equal(t, http.StatusOK, busy.get("/api/letters").status)
	}
	clock.pass(2 * time.Minute)
	require.Equal(t, http.StatusUnauthorized, busy.get("/api/letters").status, "eight hours after the sign-in")

	leaves := b.signedIn(viewerToken)
	before := leaves.cookies()[sessionCookie]
	require.Equal(t, http.StatusNoContent, leaves.post("/sign-out", nil).status)
	leaves.give(sessionCookie, before)
	require.Equal(t, http.StatusUnauthorized, leaves.get("/api/me").status)
}

// TestTokensRotate: the new one counts at once, and whoever came with the old one is out.
func TestTokensRotate(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(path, []byte(operatorToken+"\n"), 0o600))
	b := newBench(t, func(cfg *Config, _ *Deps) { cfg.OperatorToken = secret.Ref("file://" + path) })
	old := b.signedIn(operatorToken)
	require.NoError(t, os.WriteFile(path, []byte("another-token-of-the-test\n"), 0o600))
	b.until("the old session has ended", func() bool { return old.get("/api/me").status == http.StatusUnauthorized })
	require.Equal(t, "/sign-in?error=token", old.enter(operatorToken).header.Get("Location"))
	b.signedIn("another-token-of-the-test")
	require.NoError(t, os.WriteFile(path, []byte("short"), 0o600))
	b.until("the token is too short", func() bool { return b.server.secrets.OperatorToken.Get() == "short" })
	require.Equal(t, "/sign-in?error=token", b.browser().enter("short").header.Get("Location"))
}

func TestFailedSignInsAreLimited(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	clock := b.newClock()
	br := b.browser()
	for range failuresAtOnce {
		require.Equal(t, http.StatusSeeOther, br.enter("wrong").status)
	}
	got := br.enter(operatorToken)
	require.Equal(t, http.StatusTooManyRequests, got.status, "even with the right one: it would tell")
	require.Contains(t, got.text, "wait a minute")
	clock.pass(failureEvery + time.Second)
	require.Equal(t, "/", br.enter(operatorToken).header.Get("Location"))

	require.Equal(t, network("2001:db8::1"), network("2001:db8::ffff:2"), "who has one address of IPv6 has 2^64")
	many := newAttempts()
	for i := range maxAddresses + 10 {
		many.failed(strings.Repeat("x", i), time.Now())
	}
	require.LessOrEqual(t, len(many.by), maxAddresses+1)
}

// TestEveryRouteIsGuarded: nothing without a session, no change without its token or from another site, and nothing for
// viewers that operators alone may do.
func TestEveryRouteIsGuarded(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.people(1)
	stranger, looks, acts := b.browser(), b.signedIn(viewerToken), b.signedIn(operatorToken)
	path := strings.NewReplacer("{topic}", "revenue.people.v1", "{partition}", "0", "{offset}", "0", "{id}", "x")
	operators := 0
	for _, route := range b.server.api() {
		method, pattern, _ := strings.Cut(route.pattern, " ")
		send := func(br *browser, change func(*http.Request)) int {
			req := br.request(method, path.Replace(pattern), strings.NewReader("{}"))
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set(csrfHeader, br.csrf)
			req.Header.Set("Origin", br.base)
			change(req)
			return br.do(req).status
		}
		none := func(*http.Request) {}
		require.Equal(t, http.StatusUnauthorized, send(stranger, none), route.pattern)
		require.Equal(t, http.StatusForbidden, send(acts, func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }), route.pattern)
		if method != http.MethodGet {
			require.Equal(t, http.StatusForbidden, send(acts, func(r *http.Request) { r.Header.Del(csrfHeader) }), route.pattern)
			require.Equal(t, http.StatusForbidden, send(acts, func(r *http.Request) { r.Header.Set(csrfHeader, looks.csrf) }), route.pattern)
			require.Equal(t, http.StatusForbidden, send(acts, func(r *http.Request) { r.Header.Set("Origin", "https://elsewhere.test") }), route.pattern)
		}
		if route.needs == operator {
			operators++
			require.Equal(t, http.StatusForbidden, send(looks, none), route.pattern)
			require.NotEqual(t, http.StatusForbidden, send(acts, none), route.pattern)
		}
	}
	require.Equal(t, 3, operators)
	require.Equal(t, http.StatusOK, acts.get("/api/me").status, "nothing of it has signed the operator out")

	sign := stranger.request(http.MethodPost, "/sign-in", strings.NewReader("token="+operatorToken))
	sign.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	require.Equal(t, http.StatusForbidden, stranger.do(sign).status, "without the form's token")
	sign = csrfFor(t, b, stranger)
	sign.Header.Set("Origin", "https://elsewhere.test")
	require.Equal(t, http.StatusForbidden, stranger.do(sign).status)
}

func TestEveryAnswerIsGuarded(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	br := b.signedIn(viewerToken)
	for path, status := range map[string]int{
		"/": http.StatusOK, "/sign-in": http.StatusFound, "/api/me": http.StatusOK, "/static/main.js": http.StatusOK, "/nowhere": http.StatusNotFound,
		"/static/": http.StatusNotFound, "/static/index.html": http.StatusNotFound, "/static/../web.go": http.StatusTemporaryRedirect, "/static/%2e%2e/web.go": http.StatusNotFound,
	} {
		got := br.get(path)
		if status == http.StatusTemporaryRedirect {
			require.GreaterOrEqual(t, got.status, 300, path)
		} else {
			require.Equal(t, status, got.status, path)
		}
		require.Contains(t, got.header.Get("Content-Security-Policy"), "default-src 'none'")
		require.Equal(t, "nosniff", got.header.Get("X-Content-Type-Options"))
		require.Equal(t, "DENY", got.header.Get("X-Frame-Options"))
		require.Empty(t, got.header.Get("Strict-Transport-Security"), "it is not served by HTTPS")
	}
	// A foreign page whose host's name was made to mean this machine.
	req := br.request(http.MethodGet, "/api/me", nil)
	req.Host = "rebound.test:8105"
	require.Equal(t, http.StatusForbidden, br.do(req).status)
	for _, host := range []string{"localhost:8105", "127.0.0.1", "[::1]:8105"} {
		req.Host = host
		require.NotEqual(t, http.StatusForbidden, br.do(req).status, host)
	}
	require.Equal(t, http.StatusBadRequest, br.postText("/api/plan", `{"reason":"`+strings.Repeat("x", maxBody)+`"}`).status)
}

// TestBehindAProxy: cookies are for HTTPS alone, and addresses are those that the proxy tells.
func TestBehindAProxy(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(cfg *Config, _ *Deps) { cfg.BehindTLS = true })
	br := b.browser()
	got := br.get("/sign-in")
	require.Contains(t, got.header.Get("Set-Cookie"), "__Host-desk-form=")
	require.Contains(t, got.header.Get("Set-Cookie"), "; Secure;")
	require.NotEmpty(t, got.header.Get("Strict-Transport-Security"))
	req := httptest.NewRequest(http.MethodGet, "/", nil)
	req.RemoteAddr = "10.0.0.1:99"
	require.Equal(t, "10.0.0.1", b.server.address(req))
	req.Header.Set("X-Forwarded-For", "1.2.3.4, 198.51.100.7")
	require.Equal(t, "198.51.100.7", b.server.address(req), "what comes before is the browser's to invent")
	b.server.cfg.BehindTLS = false
	require.Equal(t, "10.0.0.1", b.server.address(req))
}

func TestConfigSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	good := Config{Addr: "127.0.0.1:8105", OperatorToken: "x", SessionIdle: time.Minute, SessionMax: time.Hour, OIDCRoleClaim: "groups"}
	require.NoError(t, good.Validate())
	for want, change := range map[string]func(*Config){
		"nobody could sign in: set": func(c *Config) { c.OperatorToken = "" },
		"unencrypted":               func(c *Config) { c.Addr = "0.0.0.0:8105" },
		"is not an address":         func(c *Config) { c.Addr = "8105" },
		"are needed together":       func(c *Config) { c.TLSCert = "x" },
		"DESK_SESSION_IDLE":         func(c *Config) { c.SessionIdle = 0 },
		"DESK_SESSION_MAX":          func(c *Config) { c.SessionMax = time.Second },
		"DESK_OIDC_ISSUER":          func(c *Config) { c.OIDCIssuer = "http://idp.test" },
		"DESK_OIDC_CLIENT_ID":       func(c *Config) { c.OIDCIssuer = "https://idp.test" },
		"/oidc/callback":            func(c *Config) { c.OIDCIssuer, c.OIDCRedirectURL = "https://idp.test", "https://desk.test/" },
		"DESK_OIDC_OPERATORS":       func(c *Config) { c.OIDCIssuer = "https://idp.test" },
	} {
		wrong := good
		change(&wrong)
		require.ErrorContains(t, wrong.Validate(), want)
	}
	good.Addr, good.BehindTLS = ":8105", true
	require.NoError(t, good.Validate())
	_, err := (&Config{OperatorToken: "short"}).Open(t.Context())
	require.ErrorContains(t, err, "DESK_OPERATOR_TOKEN has less than 16 characters")
	require.NotContains(t, err.Error(), "short")
	_, err = (&Config{OperatorToken: operatorToken, ViewerToken: operatorToken}).Open(t.Context())
	require.ErrorContains(t, err, "are the same")
}
