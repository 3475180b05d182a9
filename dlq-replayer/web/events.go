package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/revstream/revstream/dlq-replayer/desk"
)

const (
	lookEvery  = 500 * time.Millisecond // from one look for news to the next
	aliveEvery = 15 * time.Second       // from one sign of life to the next
	maxStreams = 200                    // at once
)

// stream writes events to one browser. It looks for news by itself, so a slow browser delays nobody.
type stream struct {
	server *Server
	who    *session
	id     string // of the session
	w      http.ResponseWriter

	runs    map[string]string // what was sent of each
	counted int64             // version of the picture that they are of
	sentAt  time.Time         // the counts
}

// events streams what changes, until the browser leaves, the session ends or the page stops.
func (s *Server) events(w http.ResponseWriter, r *http.Request, who *session) error {
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		return refuse(http.StatusTooManyRequests, "too many pages are open")
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // proxies must not wait for more
	w.WriteHeader(http.StatusOK)
	st := &stream{server: s, who: who, id: s.cookie(r, sessionCookie), w: w, runs: map[string]string{}, counted: -1}
	look, alive := time.NewTicker(lookEvery), time.NewTicker(aliveEvery)
	defer look.Stop()
	defer alive.Stop()
	for err := st.news(); err == nil; {
		select {
		case <-r.Context().Done():
			return nil
		case <-s.stopping:
			return nil
		case <-who.ended:
			_ = st.send("signed-out", "{}") // the browser has gone away
			return nil
		case <-alive.C:
			if s.sessions.get(st.id, false) != nil { // else ended is closed by now
				err = st.write(": alive\n\n")
			}
		case <-look.C:
			err = st.news()
		}
	}
	return nil // the browser has gone away
}

// news sends what has changed.
func (st *stream) news() error {
	for _, run := range st.server.shownRuns(st.who) {
		text, err := json.Marshal(run)
		if err != nil {
			return err
		}
		if st.runs[run.ID] == string(text) {
			continue
		}
		if err := st.send("run", string(text)); err != nil {
			return err
		}
		st.runs[run.ID] = string(text)
	}
	version := st.server.board.Version()
	if version == st.counted || time.Since(st.sentAt) < time.Second {
		return nil
	}
	stats := st.server.board.Stats()
	st.counted, st.sentAt = version, time.Now()
	return st.send("letters", fmt.Sprintf(`{"open":%d,"letters":%d}`, stats.States[desk.Open], stats.Letters))
}

func (st *stream) send(event, data string) error {
	return st.write("event: " + event + "\ndata: " + data + "\n\n")
}

func (st *stream) write(text string) error {
	control := http.NewResponseController(st.w)
	// The deadline of other answers is too soon for a stream, and none at all would keep a browser that is gone.
	if err := control.SetWriteDeadline(time.Now().Add(2 * aliveEvery)); err != nil {
		return err
	}
	if _, err := st.w.Write([]byte(text)); err != nil {
		return err
	}
	return control.Flush()
}
