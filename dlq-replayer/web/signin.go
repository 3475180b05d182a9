package web

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/revstream/revstream/pipeline/secret"
)

// Codes of what went wrong, as ?error= of /sign-in, and what they say.
var signInErrors = map[string]string{
	"token":   "That token is not one of the desk's.",
	"oidc":    "The sign-in with your organisation's account did not succeed. Try again; if it keeps failing, the desk's log says why.",
	"role":    "You are signed in there, but have no role here: ask for one of the groups that DESK_OIDC_OPERATORS or DESK_OIDC_VIEWERS names.",
	"expired": "Your session has ended. Sign in again.",
	"form":    "The form had expired. Try again.",
	"often":   "Too many failed tries from your address: wait a minute.",
}

func (s *Server) signInForm(w http.ResponseWriter, r *http.Request) {
	if s.sessions.get(s.cookie(r, sessionCookie), false) != nil {
		http.Redirect(w, r, "/", http.StatusFound)
		return
	}
	s.showSignIn(w, r, http.StatusOK, r.URL.Query().Get("error"))
}

// showSignIn shows the form, with what went wrong before.
func (s *Server) showSignIn(w http.ResponseWriter, r *http.Request, status int, code string) {
	form := s.cookie(r, formCookie)
	if form == "" {
		form = secretText()
		s.setCookie(w, formCookie, form)
	}
	var page bytes.Buffer
	err := signInTemplate.Execute(&page, struct {
		Token, OIDC bool
		Error, CSRF string
	}{
		Token: s.secrets.OperatorToken != nil || s.secrets.ViewerToken != nil, OIDC: s.provider != nil,
		Error: signInErrors[code], CSRF: s.formToken(form),
	})
	if err != nil {
		s.fail(w, r, refuse(http.StatusInternalServerError, "rendering the form: %w", err))
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = page.WriteTo(w) // the browser has gone away
}

// formToken ties a form to the browser that it was shown in, so that nobody is signed in by another site.
func (s *Server) formToken(cookie string) string {
	mac := hmac.New(sha256.New, s.formKey[:])
	mac.Write([]byte(cookie))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// signIn takes the form with a token.
func (s *Server) signIn(w http.ResponseWriter, r *http.Request) {
	address := s.address(r)
	if !s.attempts.allowed(address, s.now()) {
		w.Header().Set("Retry-After", "60")
		s.showSignIn(w, r, http.StatusTooManyRequests, "often")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	form := s.cookie(r, formCookie)
	if form == "" || !same(r.PostFormValue("csrf"), s.formToken(form)) {
		s.showSignIn(w, r, http.StatusForbidden, "form")
		return
	}
	role, hash := s.roleOf(r.PostFormValue("token"))
	if role == nobody {
		s.attempts.failed(address, s.now())
		s.logger.WarnContext(r.Context(), "a sign-in failed", "address", address)
		http.Redirect(w, r, "/sign-in?error=token", http.StatusSeeOther)
		return
	}
	s.welcome(w, r, session{name: role.String() + " (token)", role: role, token: hash})
}

// welcome opens a session, a new one in any case.
func (s *Server) welcome(w http.ResponseWriter, r *http.Request, who session) {
	s.sessions.end(s.cookie(r, sessionCookie))
	s.setCookie(w, sessionCookie, s.sessions.open(who))
	s.setCookie(w, formCookie, "")
	s.logger.InfoContext(r.Context(), "signed in", "role", who.role.String(), "address", s.address(r))
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// roleOf compares with every token in the same time, whichever it is, if any.
func (s *Server) roleOf(token string) (role, *[sha256.Size]byte) {
	found, hash := nobody, sha256.Sum256([]byte(token))
	for role, value := range map[role]*secret.Value{operator: s.secrets.OperatorToken, viewer: s.secrets.ViewerToken} {
		if value != nil && isToken(hash, value) && role > found {
			found = role
		}
	}
	return found, &hash
}

func isToken(hash [sha256.Size]byte, value *secret.Value) bool {
	token := value.Get()
	want := sha256.Sum256([]byte(token))
	return hmac.Equal(hash[:], want[:]) && len(token) >= minToken // a rotation may have brought a shorter one
}

// holds says whether a session's token is accepted still: it may have been rotated.
func (s *Server) holds(one *session) bool {
	if one.token == nil {
		return true
	}
	value := s.secrets.OperatorToken
	if one.role == viewer {
		value = s.secrets.ViewerToken
	}
	return value != nil && isToken(*one.token, value)
}

func (s *Server) signOut(w http.ResponseWriter, r *http.Request, _ *session) error {
	s.sessions.end(s.cookie(r, sessionCookie))
	s.setCookie(w, sessionCookie, "")
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// Failed sign-ins of one address: so many at once, then one in a while.
const (
	failuresAtOnce = 5
	failureEvery   = 12 * time.Second
	maxAddresses   = 10_000
)

// attempts counts failed sign-ins by address.
type attempts struct {
	mu sync.Mutex
	by map[string]*rate.Limiter
}

func newAttempts() *attempts { return &attempts{by: map[string]*rate.Limiter{}} }

func (a *attempts) allowed(address string, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	limiter := a.by[network(address)]
	return limiter == nil || limiter.TokensAt(now) >= 1
}

func (a *attempts) failed(address string, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	name := network(address)
	if len(a.by) >= maxAddresses {
		for other, limiter := range a.by {
			if limiter.TokensAt(now) >= failuresAtOnce {
				delete(a.by, other)
			}
		}
	}
	if a.by[name] == nil {
		if len(a.by) >= maxAddresses {
			name = "" // what is left of the addresses counts as one
		}
		if a.by[name] == nil {
			a.by[name] = rate.NewLimiter(rate.Every(failureEvery), failuresAtOnce)
		}
	}
	a.by[name].AllowN(now, 1)
}

// network is what one person has of addresses: of IPv6, 64 bits are theirs to choose.
func network(address string) string {
	addr, err := netip.ParseAddr(address)
	if err != nil || addr.Is4() {
		return address
	}
	prefix, err := addr.Prefix(64)
	if err != nil {
		return address
	}
	return prefix.String()
}
