package chaos

import (
	"net"
	"net/http"
	"strconv"
	"time"
)

// fail answers a request, or does not.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, f fault) {
	switch f.Kind {
	case Unauthorized:
		h.refuse(w, r, http.StatusUnauthorized)
	case RateLimited:
		f.setRetryAfter(w.Header())
		h.refuse(w, r, http.StatusTooManyRequests)
	case ServerError:
		h.refuse(w, r, []int{
			http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
		}[f.variant%4])
	case Reset:
		reset(w)
	case HTML:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader([]int{http.StatusOK, http.StatusBadGateway}[f.variant%2])
		_, _ = w.Write([]byte("<!DOCTYPE html>\n<html><head><title>Sorry</title></head><body><h1>Something went wrong</h1></body></html>\n"))
	case WrongType:
		h.next.ServeHTTP(&mistyped{ResponseWriter: w, as: []string{"text/plain; charset=utf-8", "application/octet-stream", "text/html"}[f.variant%3]}, r)
	case HalfBody:
		// Up to 128 MiB, and within the last 64 KiB of what is shorter.
		out := &torn{ResponseWriter: w, at: 1 << (15 + f.variant>>8%13)}
		h.next.ServeHTTP(out, r)
		out.tear(f.variant%2 == 0)
	case Stall:
		h.stall(w, r, f)
	}
}

// setRetryAfter says when to come back. A date is one of the machine's clock, as the header Date is.
func (f fault) setRetryAfter(header http.Header) {
	form := f.cfg.RetryAfter
	if form == RetryAfterMixed {
		form = []string{RetryAfterNone, RetryAfterSeconds, RetryAfterDate}[f.variant%3]
	}
	switch form {
	case RetryAfterSeconds:
		header.Set("Retry-After", strconv.Itoa(f.cfg.RetrySecs))
	case RetryAfterDate:
		at := time.Now().Add(time.Duration(f.cfg.RetrySecs)*time.Second + time.Second - 1) // a date has no fractions: never too early
		header.Set("Retry-After", at.UTC().Format(http.TimeFormat))
	}
}

// reset closes the connection so that the client gets an RST.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2 or no connection at all: the server's own way to break off
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// stall is late with the head, or stops in the middle of the body. Who asked for an effect and shall not have it gets no answer.
func (h *Handler) stall(w http.ResponseWriter, r *http.Request, f fault) {
	wait := func() bool {
		timer := time.NewTimer(f.cfg.StallFor)
		defer timer.Stop()
		select {
		case <-timer.C:
			return true
		case <-r.Context().Done():
			return false
		}
	}
	effect := r.Method != http.MethodGet && r.Method != http.MethodHead
	switch {
	case effect && !f.after:
		wait()
		reset(w)
	default:
		out := &halting{ResponseWriter: w, wait: wait, headToo: f.variant%2 == 0}
		h.next.ServeHTTP(out, r)
		_ = out.release() // the client may be gone
	}
}

// unheard takes an answer that nobody gets.
type unheard struct{ header http.Header }

func (u *unheard) Header() http.Header         { return u.header }
func (u *unheard) Write(b []byte) (int, error) { return len(b), nil }
func (u *unheard) WriteHeader(int)             {}

// mistyped changes the content type of an answer.
type mistyped struct {
	http.ResponseWriter
	as    string
	wrote bool
}

func (m *mistyped) WriteHeader(status int) {
	if !m.wrote && m.Header().Get("Content-Type") != "" {
		m.Header().Set("Content-Type", m.as)
	}
	m.wrote = true
	m.ResponseWriter.WriteHeader(status)
}

func (m *mistyped) Write(b []byte) (int, error) {
	if !m.wrote {
		m.WriteHeader(http.StatusOK)
	}
	return m.ResponseWriter.Write(b)
}

// tail is how much of an answer is held back, so that its end can be torn off.
const tail = 64 << 10

// torn breaks an answer off at a position, or within its last tail bytes if it is shorter.
type torn struct {
	http.ResponseWriter
	at     int
	status int
	passed int
	held   []byte
}

func (t *torn) WriteHeader(status int) { t.status = status }

func (t *torn) Write(b []byte) (int, error) {
	t.held = append(t.held, b...)
	over := len(t.held) - tail
	if over <= 0 {
		return len(b), nil
	}
	t.head()
	n, err := t.ResponseWriter.Write(t.held[:over])
	t.held = append(t.held[:0], t.held[over:]...)
	if t.passed += n; t.passed >= t.at {
		t.abort()
	}
	return len(b), err
}

// head sends what comes before the body, once.
func (t *torn) head() {
	if t.passed == 0 && t.status != 0 {
		t.ResponseWriter.WriteHeader(t.status)
	}
}

// tear sends half of what is left. Where all of it is, the head can say how long it should have been.
func (t *torn) tear(withLength bool) {
	if len(t.held) == 0 {
		reset(t.ResponseWriter) // nothing to halve, such as a 204
		return
	}
	if t.passed == 0 && withLength {
		t.Header().Set("Content-Length", strconv.Itoa(len(t.held)))
	}
	t.head()
	_, _ = t.ResponseWriter.Write(t.held[:len(t.held)/2]) // the client may be gone
	t.abort()
}

func (t *torn) abort() {
	_ = http.NewResponseController(t.ResponseWriter).Flush() // likewise
	panic(http.ErrAbortHandler)                              // the server's way to close without the last chunk
}

// halting holds the first tail bytes of an answer back and waits before or in the middle of them. A shorter answer waits once its
// handler has returned, with whatever lock it wrote under; one that is longer is streamed, under none.
type halting struct {
	http.ResponseWriter
	wait    func() bool
	headToo bool
	status  int
	held    []byte
	done    bool
}

func (s *halting) WriteHeader(status int) { s.status = status }

func (s *halting) Write(b []byte) (int, error) {
	if s.done {
		return s.ResponseWriter.Write(b)
	}
	if s.held = append(s.held, b...); len(s.held) > tail {
		return len(b), s.release()
	}
	return len(b), nil
}

// release waits, once, and sends what was held back.
func (s *halting) release() error {
	if s.done {
		return nil
	}
	s.done = true
	before := s.held[:len(s.held)/2]
	if s.headToo {
		s.wait()
		before = nil
	}
	if s.status != 0 {
		s.ResponseWriter.WriteHeader(s.status)
	}
	if len(before) > 0 {
		if _, err := s.ResponseWriter.Write(before); err != nil {
			return err
		}
	}
	if !s.headToo {
		_ = http.NewResponseController(s.ResponseWriter).Flush() // the client may be gone: the next write says so
		s.wait()
	}
	_, err := s.ResponseWriter.Write(s.held[len(before):])
	s.held = nil
	return err
}
