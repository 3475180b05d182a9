package web

import (
	"context"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// requestTimeout bounds what is behind a request, a plan of all letters among it.
const requestTimeout = time.Minute

// csrfHeader carries the session's token with everything but a GET.
const csrfHeader = "X-CSRF-Token"

// route is one of the API's.
type route struct {
	pattern string
	needs   role
	// quiet requests come from the page by itself, and do not keep a session from ending.
	quiet  bool
	handle func(w http.ResponseWriter, r *http.Request, who *session) error
}

// api is the whole API behind the sign-in.
func (s *Server) api() []route {
	return []route{
		{pattern: "GET /api/me", needs: viewer, handle: s.me},
		{pattern: "GET /api/letters", needs: viewer, handle: s.letters},
		{pattern: "GET /api/letters/{topic}/{partition}/{offset}", needs: viewer, handle: s.letter},
		{pattern: "GET /api/histogram", needs: viewer, handle: s.histogram},
		{pattern: "GET /api/stats", needs: viewer, quiet: true, handle: s.stats},
		{pattern: "GET /api/runs", needs: viewer, quiet: true, handle: s.listRuns},
		{pattern: "GET /api/audit", needs: viewer, handle: s.audit},
		{pattern: "GET /api/events", needs: viewer, quiet: true, handle: s.events},
		{pattern: "POST /api/plan", needs: viewer, handle: s.plan},
		{pattern: "POST /api/runs", needs: operator, handle: s.startRun},
		{pattern: "POST /api/runs/{id}/stop", needs: operator, handle: s.stopRun},
		{pattern: "POST /api/runs/{id}/resume", needs: operator, handle: s.resumeRun},
		{pattern: "POST /sign-out", needs: viewer, handle: s.signOut},
	}
}

// routes is the whole page.
func (s *Server) routes() (http.Handler, error) {
	files, err := static()
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	for _, route := range s.api() {
		mux.HandleFunc(route.pattern, func(w http.ResponseWriter, r *http.Request) { s.serveAPI(w, r, route) })
	}
	mux.Handle("GET /static/", files)
	mux.HandleFunc("GET /{$}", s.index)
	mux.HandleFunc("GET /sign-in", s.signInForm)
	mux.HandleFunc("POST /sign-in", s.signIn)
	if s.provider != nil {
		mux.HandleFunc("GET /oidc/start", s.startOIDC)
		mux.HandleFunc("GET "+callbackPath, s.finishOIDC)
	}
	// What the browser says of where a request comes from, before anything is looked at.
	foreign := http.NewCrossOriginProtection()
	foreign.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, refuse(http.StatusForbidden, "the request comes from another site"))
	}))
	return s.guard(foreign.Handler(mux)), nil
}

// guard sets what every answer carries, and refuses what no browser of ours sends.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
		h.Set("Cache-Control", "no-store")
		if s.cfg.secure() {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		if !s.known(r.Host) {
			s.fail(w, r, refuse(http.StatusForbidden, "the desk is not served under this name: open it as http://%s", s.cfg.Addr))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// known refuses other hosts' names where the page is bound to the loopback address: a page of such a host, whose name was
// made to mean this machine, would count as ours.
func (s *Server) known(host string) bool {
	bound, _, _ := net.SplitHostPort(s.cfg.Addr) // Validate has seen to it
	if s.cfg.BehindTLS || !isLoopback(bound) {
		return true
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return isLoopback(strings.Trim(host, "[]"))
}

func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request, route route) {
	who, err := s.admit(r, route)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	if route.pattern != "GET /api/events" { // which lasts
		ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
		defer cancel()
		r = r.WithContext(ctx)
	}
	if err := route.handle(w, r, who); err != nil {
		s.fail(w, r, err)
	}
}

// admit says who makes a request, if they may.
func (s *Server) admit(r *http.Request, route route) (*session, error) {
	// A link on another site must not look at anything in a session's name, nor reveal it.
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return nil, refuse(http.StatusForbidden, "the request comes from another site")
	}
	who := s.sessions.get(s.cookie(r, sessionCookie), !route.quiet && r.Header.Get(quietHeader) == "")
	switch {
	case who == nil:
		return nil, refuse(http.StatusUnauthorized, "nobody is signed in, or the session has ended: sign in again")
	case r.Method != http.MethodGet && r.Method != http.MethodHead && !same(r.Header.Get(csrfHeader), who.csrf):
		return nil, refuse(http.StatusForbidden, "the request lacks the session's %s: load the page anew", csrfHeader)
	case who.role < route.needs:
		return nil, errNotOperator
	}
	return who, nil
}

// quietHeader marks a request that the page makes because something has changed, and not because somebody is there.
const quietHeader = "X-Desk-Quiet"

var errNotOperator = refuse(http.StatusForbidden, "this needs an operator, and you are signed in as a viewer")

// same compares in constant time.
func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// address is the browser's. Behind a proxy it is the one that the proxy has added, which is the last.
func (s *Server) address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	if !s.cfg.BehindTLS {
		return host
	}
	hops := r.Header.Values("X-Forwarded-For")
	if len(hops) == 0 {
		return host
	}
	last := hops[len(hops)-1]
	last = strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:])
	addr, err := netip.ParseAddr(last)
	if err != nil {
		return host
	}
	return addr.Unmap().String()
}

func (s *Server) index(w http.ResponseWriter, r *http.Request) {
	if s.sessions.get(s.cookie(r, sessionCookie), true) == nil {
		http.Redirect(w, r, "/sign-in", http.StatusFound)
		return
	}
	http.ServeFileFS(w, r, files, indexPage)
}
