package web

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/revstream/revstream/dlq-replayer/desk"
	"github.com/revstream/revstream/pipeline/deadletter"
)

// auditEntry is something that was done.
type auditEntry struct {
	At     time.Time       `json:"at"`
	By     string          `json:"by"`
	From   string          `json:"from"`
	What   string          `json:"what"`
	Why    string          `json:"reason"`
	RunID  string          `json:"run_id,omitempty"`
	Letter string          `json:"letter,omitempty"`
	Note   string          `json:"note,omitempty"`
	Detail json.RawMessage `json:"detail,omitempty"` // of a run: what was asked for
}

func (s *Server) audit(w http.ResponseWriter, r *http.Request, who *session) error {
	query := filter{values: r.URL.Query()}
	before, limit := query.number("cursor", 0, 1, 1<<62), query.number("limit", 100, 1, maxLimit)
	if err := query.check(s); err != nil {
		return err
	}
	facts, next, err := s.board.Audit(r.Context(), before, int(limit))
	if err != nil {
		return err
	}
	entries := []auditEntry{}
	for _, fact := range facts {
		entries = append(entries, newAuditEntry(fact, who))
	}
	body := map[string]any{"entries": entries, "next": ""}
	if next > 0 {
		body["next"] = strconv.FormatInt(next, 10)
	}
	s.answer(w, http.StatusOK, body)
	return nil
}

func newAuditEntry(fact desk.Fact, who *session) auditEntry {
	if run := fact.Run; run != nil {
		entry := auditEntry{
			At: run.UpdatedAt, By: run.By, From: run.From, What: verb(*run), Why: run.Why, RunID: run.ID, Note: figures(*run), Detail: run.Order,
		}
		if who.role < operator {
			entry.Detail = maskOrder(run.Order)
		}
		return entry
	}
	d := fact.Decision
	entry := auditEntry{At: d.At, By: d.By, From: d.From, What: d.Decision, Why: d.Why, RunID: d.RunID}
	if fact.Place != nil {
		id := desk.ID{Topic: strings.TrimSuffix(fact.Place.Topic, deadletter.Suffix), Partition: fact.Place.Partition, Offset: fact.Place.Offset}
		entry.Letter = id.String()
	}
	if d.Patched {
		entry.Note = "the record was changed before it was replayed: the run has the change"
	}
	return entry
}

// figures are what a run has come to, in a line.
func figures(run deadletter.Run) string {
	var parts []string
	for _, part := range []struct {
		name string
		n    int
	}{{"done", run.Done}, {"parked", run.Parked}, {"skipped", run.Skipped}, {"failed", run.Failed}, {"returned", run.Returned}} {
		if part.n > 0 || part.name == "done" {
			parts = append(parts, strconv.Itoa(part.n)+" "+part.name)
		}
	}
	text := run.Status + ": " + strings.Join(parts, ", ")
	if run.Note != "" {
		text += "; " + run.Note
	}
	return text
}
