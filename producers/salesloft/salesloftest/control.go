package salesloftest

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/revstream/revstream/producers/chaos"
)

// Change says what shall happen to which people.
type Change struct {
	IDs   []int64 `json:"ids,omitempty"`   // these people, or
	Count int     `json:"count,omitempty"` // that many, picked by the seed
	// UpdatedAt stamps them all with this time, in the past too. By default each has the clock's time, and all differ.
	UpdatedAt time.Time `json:"updated_at,omitzero"`
	// SameInstant gives all of them one timestamp, as a bulk update does.
	SameInstant bool `json:"same_instant,omitempty"`
	// Fields are set as they are, valid or not; without them an update changes what it likes.
	Fields map[string]json.RawMessage `json:"fields,omitempty"`
	Quiet  bool                       `json:"quiet,omitempty"` // sends no webhooks
}

// Update changes people and returns their IDs. An unknown ID is an error and changes nobody.
func (s *Simulator) Update(change Change) ([]int64, error) {
	return s.apply("person_updated", change, s.people.update)
}

// Create adds Count people and returns their IDs.
func (s *Simulator) Create(change Change) ([]int64, error) {
	return s.apply("person_created", change, s.people.create)
}

// Delete removes people and returns their IDs. An unknown ID is an error and removes nobody.
func (s *Simulator) Delete(change Change) ([]int64, error) {
	return s.apply("person_deleted", change, s.people.remove)
}

func (s *Simulator) apply(event string, change Change, do func(Change) ([]*person, error)) ([]int64, error) {
	changed, err := do(change)
	if err != nil {
		return nil, err
	}
	ids := make([]int64, len(changed))
	for i, p := range changed {
		ids[i] = p.id
	}
	if !change.Quiet {
		s.notify(event, changed...)
	}
	return ids, nil
}

func (s *Simulator) notify(event string, changed ...*person) {
	if !s.courier.subscribed(event) {
		return
	}
	for _, p := range changed {
		body := s.people.render(p)
		if event == "person_deleted" && s.cfg.DeleteBodyIDOnly {
			body, _ = json.Marshal(map[string]int64{"id": p.id})
		}
		s.courier.notify(event, body)
	}
	s.courier.flush()
}

// LoadRecorded replaces the people by those of recorded answers: one or more documents {"data":[…]}, whose records are then
// served as they are, whatever fields they have. Each needs an integer id and an updated_at.
func (s *Simulator) LoadRecorded(r io.Reader) error { return s.people.load(r) }

// Stats is what has happened so far.
type Stats struct {
	People       int           `json:"people"` // alive now
	Created      int           `json:"created"`
	Updated      int           `json:"updated"`
	Deleted      int           `json:"deleted"`
	MaxUpdatedAt time.Time     `json:"max_updated_at,omitzero"`
	Requests     int           `json:"requests"` // to the API, without the token endpoint
	Points       int           `json:"points"`   // cost points charged
	Unauthorized int           `json:"unauthorized"`
	RateLimited  int           `json:"rate_limited"`
	Failed       int           `json:"failed"` // by FailNext
	TokensIssued int           `json:"tokens_issued"`
	Webhooks     DeliveryStats `json:"webhooks"`

	Chaos map[chaos.Kind]int `json:"chaos"` // requests that were made to fail; only those that had an effect are counted above, too
}

// Stats returns what has happened so far.
func (s *Simulator) Stats() Stats {
	s.mu.Lock()
	counts := s.counts
	s.mu.Unlock()
	stats := s.people.stats()
	stats.Requests, stats.Points, stats.Failed = counts.requests, counts.points, counts.failed
	stats.Unauthorized, stats.RateLimited = counts.unauthorized, counts.rateLimited
	stats.TokensIssued, stats.Webhooks, stats.Chaos = s.tokens.count(), s.courier.stats(), s.chaos.Done()
	return stats
}

// People calls yield with each person alive, ascending by ID, as the API would send it, until yield returns false.
func (s *Simulator) People(yield func(id int64, record json.RawMessage) bool) {
	for _, p := range s.people.alive() {
		if !yield(p.id, s.people.render(p)) {
			return
		}
	}
}

func (s *Simulator) controlRoutes(mux *http.ServeMux) {
	mux.HandleFunc("POST /_sim/update", control(s.Update))
	mux.HandleFunc("POST /_sim/create", control(s.Create))
	mux.HandleFunc("POST /_sim/delete", control(s.Delete))
	mux.HandleFunc("POST /_sim/fail", s.controlFail)
	mux.HandleFunc("POST /_sim/chaos", s.controlChaos)
	mux.HandleFunc("POST /_sim/expire-tokens", func(w http.ResponseWriter, _ *http.Request) {
		s.ExpireTokens()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /_sim/stats", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, s.Stats())
	})
	mux.HandleFunc("GET /_sim/tokens", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string][]string{"tokens": s.tokens.all()})
	})
	mux.HandleFunc("GET /_sim/people", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		lines := bufio.NewWriter(w)
		for _, record := range s.People {
			_, _ = lines.Write(record)
			if lines.WriteByte('\n') != nil {
				return // the caller has hung up
			}
		}
		_ = lines.Flush()
	})
}

func control(do func(Change) ([]int64, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var change Change
		decoder := json.NewDecoder(r.Body)
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&change); err != nil && !errors.Is(err, io.EOF) {
			writeError(w, http.StatusBadRequest, "reading the change: "+err.Error())
			return
		}
		ids, err := do(change)
		if err != nil {
			writeError(w, http.StatusBadRequest, err.Error())
			return
		}
		writeJSON(w, http.StatusOK, map[string][]int64{"ids": ids})
	}
}

func (s *Simulator) controlFail(w http.ResponseWriter, r *http.Request) {
	var fault struct {
		Count  int `json:"count"`
		Status int `json:"status"`
	}
	if err := json.NewDecoder(r.Body).Decode(&fault); err != nil || fault.Status < 400 || fault.Status > 599 {
		writeError(w, http.StatusBadRequest, `want {"count": n, "status": 400…599}`)
		return
	}
	s.FailNext(fault.Count, fault.Status)
	w.WriteHeader(http.StatusNoContent)
}

func (s *Simulator) controlChaos(w http.ResponseWriter, r *http.Request) {
	var cfg chaos.Config
	err := json.NewDecoder(r.Body).Decode(&cfg)
	if err == nil {
		err = s.Chaos(cfg)
	}
	if err != nil {
		writeError(w, http.StatusBadRequest, err.Error())
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
