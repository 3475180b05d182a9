package web

import (
	"encoding/json"
	"math"
	"net/http"
	"slices"
	"strings"

	"github.com/revstream/revstream/dlq-replayer/desk"
	"github.com/revstream/revstream/dlq-replayer/payload"
)

// orderRequest is what the page asks to plan or to do.
type orderRequest struct {
	Action     desk.Action    `json:"action"`
	Selection  desk.Selection `json:"selection"`
	Change     *desk.Change   `json:"change"`
	Rate       float64        `json:"rate"`
	MaxReplays int            `json:"max_replays"`
	Why        string         `json:"reason"`
}

// readOrder reads an order, and says what is wrong with it before anything is done.
func (s *Server) readOrder(w http.ResponseWriter, r *http.Request, who *session) (desk.Order, error) {
	var body orderRequest
	if err := decode(w, r, &body); err != nil {
		return desk.Order{}, err
	}
	if slices.Contains(body.Selection.States, allStates) {
		body.Selection.States = desk.AllStates
	}
	order := desk.Order{
		Action: body.Action, Selection: body.Selection, Rate: body.Rate, MaxReplays: body.MaxReplays,
		By: who.name, Why: strings.TrimSpace(body.Why), From: s.address(r),
	}
	if body.Action == desk.Repair {
		order.Change = body.Change
	}
	if order.Selection.Reveal {
		// Otherwise an expression could tell personal data bit by bit, and nobody would have written down who looked.
		return desk.Order{}, refuse(http.StatusBadRequest, "an expression sees personal data masked here: `dlq-replayer replay --where … --reveal` has it as it is")
	}
	if err := s.desk.Check(order); err != nil {
		return desk.Order{}, refuse(http.StatusBadRequest, "%w", err)
	}
	if order.Change != nil {
		if err := payload.CheckChange(order.Change.Patch, order.Change.Headers); err != nil {
			return desk.Order{}, refuse(http.StatusBadRequest, "%w", err)
		}
	}
	return order, nil
}

// setback is why some letters would be left as they are.
type setback struct {
	Why     string  `json:"why"`
	Letters int     `json:"letters"`
	First   desk.ID `json:"first"`
}

// maxPlans are made at once: each reads all letters.
const maxPlans = 2

func (s *Server) plan(w http.ResponseWriter, r *http.Request, who *session) error {
	order, err := s.readOrder(w, r, who)
	if err != nil {
		return err
	}
	select {
	case s.plans <- struct{}{}:
		defer func() { <-s.plans }()
	default:
		return refuse(http.StatusTooManyRequests, "others are asking for plans: try again in a few seconds")
	}
	report, err := s.desk.Plan(r.Context(), order, nil)
	if err != nil {
		return err
	}
	skipped := []setback{}
	for why, cause := range report.Skipped.Why {
		skipped = append(skipped, setback{why, cause.Letters, cause.First})
	}
	slices.SortFunc(skipped, func(a, b setback) int { return strings.Compare(a.Why, b.Why) })
	seconds := 0.0
	if order.Rate > 0 {
		seconds = math.Ceil(float64(report.Done) / order.Rate)
	}
	s.answer(w, http.StatusOK, map[string]any{
		"done": report.Done, "reasons": report.Reasons, "parked": report.Parked, "skipped": skipped,
		"total": report.Done + report.Parked + report.Skipped.Letters, "seconds_at_rate": seconds,
	})
	return nil
}

// maskOrder hides from viewers what operators wrote into values and headers: it may be personal data.
func maskOrder(raw json.RawMessage) json.RawMessage {
	var order map[string]any
	if json.Unmarshal(raw, &order) != nil {
		return nil
	}
	if change, ok := order["change"].(map[string]any); ok {
		order["change"] = maskValues(change)
	}
	if selection, ok := order["selection"].(map[string]any); ok {
		for _, name := range []string{"where", "headers"} {
			if selection[name] != nil {
				selection[name] = maskValues(selection[name])
			}
		}
	}
	masked, err := json.Marshal(order)
	if err != nil {
		return nil
	}
	return masked
}

// maskValues keeps names alone.
func maskValues(value any) any {
	switch v := value.(type) {
	case nil:
		return nil // a field that is taken away
	case map[string]any:
		for name := range v {
			v[name] = maskValues(v[name])
		}
		return v
	case []any:
		for i := range v {
			v[i] = maskValues(v[i])
		}
		return v
	default:
		return payload.Mask
	}
}
