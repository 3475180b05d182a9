package web

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"sync"
	"time"
)

// role is what somebody may do; each may what those before it may.
type role int

const (
	nobody role = iota
	viewer
	operator
)

func (r role) String() string { return [...]string{"nobody", "viewer", "operator"}[r] }

// session is somebody's being signed in. It does not change but for seen, which sessions guards.
type session struct {
	name    string
	role    role
	csrf    string
	token   *[sha256.Size]byte // of the token that it was opened with; nil for one of the provider's
	created time.Time
	seen    time.Time // when something was last done in it
	ended   chan struct{}
}

// sessions are in memory: a restart signs everybody out. They are known by the hashes of their IDs.
type sessions struct {
	idle, max time.Duration
	now       func() time.Time
	valid     func(*session) bool // besides its age

	mu  sync.Mutex
	all map[[sha256.Size]byte]*session
}

// secretText is 256 bits at random.
func secretText() string {
	var bits [32]byte
	_, _ = rand.Read(bits[:]) // it never fails
	return base64.RawURLEncoding.EncodeToString(bits[:])
}

// open makes a session and returns its ID. Those that have expired go.
func (s *sessions) open(signed session) string {
	id := secretText()
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, old := range s.all {
		s.drop(id, old)
	}
	signed.csrf, signed.created, signed.ended = secretText(), s.now(), make(chan struct{})
	signed.seen = signed.created
	s.all[sha256.Sum256([]byte(id))] = &signed
	return id
}

// drop removes a session if it has ended, and says so.
func (s *sessions) drop(id [sha256.Size]byte, one *session) bool {
	now := s.now()
	if now.Sub(one.seen) < s.idle && now.Sub(one.created) < s.max && s.valid(one) {
		return false
	}
	delete(s.all, id)
	close(one.ended)
	return true
}

// get returns the session with an ID, or nil. If act is set, something is being done in it.
func (s *sessions) get(id string, act bool) *session {
	hash := sha256.Sum256([]byte(id))
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.all[hash]
	if one == nil || s.drop(hash, one) {
		return nil
	}
	if act {
		one.seen = s.now()
	}
	return one
}

// expires is when a session ends if nothing is done in it.
func (s *sessions) expires(one *session) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if end := one.created.Add(s.max); end.Before(one.seen.Add(s.idle)) {
		return end
	}
	return one.seen.Add(s.idle)
}

func (s *sessions) end(id string) {
	hash := sha256.Sum256([]byte(id))
	s.mu.Lock()
	defer s.mu.Unlock()
	if one := s.all[hash]; one != nil {
		delete(s.all, hash)
		close(one.ended)
	}
}

// Names of the cookies. With HTTPS the browser holds them to this host and to encrypted connections.
const (
	sessionCookie = "desk-session"
	formCookie    = "desk-form"
	oidcCookie    = "desk-oidc"
)

func (s *Server) cookieName(name string) string {
	if s.cfg.secure() {
		return "__Host-" + name
	}
	return name
}

// setCookie sets a cookie of the browser's session. An empty value takes it away.
func (s *Server) setCookie(w http.ResponseWriter, name, value string) {
	cookie := &http.Cookie{ //nolint:gosec // it is Secure wherever the page is: on the loopback address it need not be
		Name: s.cookieName(name), Value: value, Path: "/", HttpOnly: true, Secure: s.cfg.secure(), SameSite: http.SameSiteLaxMode,
	}
	if value == "" {
		cookie.MaxAge = -1
	}
	http.SetCookie(w, cookie)
}

// cookie returns a cookie's value, or "".
func (s *Server) cookie(r *http.Request, name string) string {
	cookie, err := r.Cookie(s.cookieName(name))
	if err != nil {
		return ""
	}
	return cookie.Value
}
