package claritest

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/revstream/revstream/producers/chaos"
)

// Stats is what the simulator has seen and what it would export.
type Stats struct {
	Requests map[string]int `json:"requests"` // of the API, by route
	Recent   []Request      `json:"recent"`   // the last of them, oldest first
	Jobs     map[string]int `json:"jobs"`     // by status
	State    State          `json:"state"`

	Chaos map[chaos.Kind]int `json:"chaos"` // requests that were made to fail; only those that had an effect are counted above, too
}

// State counts what exports of all quarters would have in them, without malformed entries.
type State struct {
	Count
	Periods map[string]Count `json:"periods"` // by timePeriodId
}

// Count is a number of entries and of values in them.
type Count struct {
	Entries int `json:"entries"`
	Values  int `json:"values"`
}

// Scope says what State counts. The zero value is all types of all forecasts, in the latest week of each quarter.
type Scope struct {
	ForecastID string
	Types      []string
	Historical bool
}

// State counts the data as it is now.
func (s *Simulator) State(scope Scope) State {
	req := exportRequest{Types: scope.Types, IncludeHistorical: scope.Historical}
	if len(req.Types) == 0 {
		req.Types = allTypes
	}
	state := State{Periods: map[string]Count{}}
	now := s.cfg.Now()
	current := s.quarterOf(now)
	for _, forecast := range s.cfg.Forecasts {
		if scope.ForecastID != "" && scope.ForecastID != forecast {
			continue
		}
		for q := current; q > current-quarter(s.cfg.Quarters); q-- {
			s.mu.Lock()
			snap := s.snapshotOf(forecast, q, now, req)
			s.mu.Unlock()
			c := state.Periods[s.id(q)]
			_ = s.each(snap, func(_ entryKey, e *entry) error { // fails only if this function does
				c.Entries++
				for _, kind := range snap.kinds {
					if e.values[kind] != "" {
						c.Values++
					}
				}
				return nil
			})
			state.Periods[s.id(q)] = c
		}
	}
	for _, c := range state.Periods {
		state.Entries += c.Entries
		state.Values += c.Values
	}
	return state
}

// Chaos changes which share of the requests fails in which way. To fail the very next ones, see Fail.
func (s *Simulator) Chaos(cfg chaos.Config) error { return s.chaos.Set(cfg) }

// Stats counts requests, jobs and data.
func (s *Simulator) Stats(scope Scope) Stats {
	state := s.State(scope)
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := Stats{Requests: maps.Clone(s.requests), Recent: slices.Clone(s.recent), Jobs: map[string]int{}, State: state,
		Chaos: s.chaos.Done()}
	now := s.cfg.Now()
	for _, j := range s.jobs {
		status, _ := s.status(j, now)
		stats.Jobs[status]++
	}
	return stats
}

func (s *Simulator) controlRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /_sim/stats", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		scope := Scope{ForecastID: q.Get("forecastId"), Historical: q.Get("historical") == "true"}
		if types := q.Get("types"); types != "" {
			scope.Types = strings.Split(types, ",")
		}
		writeJSON(w, http.StatusOK, s.Stats(scope))
	})
	control(mux, "POST /_sim/update", func(u Update) (any, error) {
		changes, err := s.Update(u)
		return map[string]any{"changes": changes}, err
	})
	control(mux, "POST /_sim/hide-user", func(body struct {
		UserID string `json:"userId"`
		Index  *int   `json:"index"` // in place of userId: the i-th user
		Show   bool   `json:"show"`  // puts the user back
	}) (any, error) {
		if body.Index != nil {
			body.UserID = userID(*body.Index)
		}
		return map[string]any{"userId": body.UserID, "hidden": !body.Show}, s.HideUser(body.UserID, !body.Show)
	})
	control(mux, "POST /_sim/fail", func(body struct {
		Fault
		Requests int `json:"requests"`
	}) (any, error) {
		return map[string]any{}, s.Fail(body.Requests, body.Fault)
	})
	control(mux, "POST /_sim/quota", func(q Quota) (any, error) {
		return map[string]any{}, s.SetQuota(q)
	})
	control(mux, "POST /_sim/api-keys", func(body struct {
		Keys []string `json:"keys"`
	}) (any, error) {
		return map[string]any{}, s.SetAPIKeys(body.Keys...)
	})
	control(mux, "POST /_sim/chaos", func(cfg chaos.Config) (any, error) {
		return map[string]any{}, s.Chaos(cfg)
	})
	control(mux, "POST /_sim/fail-jobs", func(body struct {
		Jobs   int    `json:"jobs"`
		Status string `json:"status"`
	}) (any, error) {
		return map[string]any{}, s.FailJobs(body.Jobs, body.Status)
	})
	mux.HandleFunc("/_sim/", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusNotFound, map[string]string{
			"error": "want GET /_sim/stats or POST /_sim/update, /_sim/hide-user, /_sim/fail, /_sim/chaos, /_sim/fail-jobs, /_sim/quota, /_sim/api-keys",
		})
	})
}

// control adds a route that takes a JSON body, strictly, and answers 400 with the reason when do fails.
func control[T any](mux *http.ServeMux, pattern string, do func(T) (any, error)) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		var body T
		dec := json.NewDecoder(io.LimitReader(r.Body, 1<<20))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&body); err != nil {
			writeJSON(w, http.StatusBadRequest, map[string]string{"error": errors.Join(errors.New("the body is not what this route takes"), err).Error()})
			return
		}
		answer, err := do(body)
		if err != nil {
			writeJSON(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
			return
		}
		writeJSON(w, http.StatusOK, answer)
	})
}
