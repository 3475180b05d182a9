package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/revstream/revstream/dlq-replayer/desk"
)

// outcome is a report as JSON. A plan's counts are of what would be done, and it has neither a run nor a status.
type outcome struct {
	DryRun  bool                      `json:"dry_run"`
	Action  desk.Action               `json:"action"`
	RunID   string                    `json:"run_id,omitempty"`
	Status  string                    `json:"status,omitempty"`
	Note    string                    `json:"note,omitempty"`
	Done    int                       `json:"done"`
	Reasons map[string]map[string]int `json:"reasons"` // of done, by topic
	Parked  int                       `json:"parked"`
	Skipped []setback                 `json:"skipped"`
	Failed  []setback                 `json:"failed,omitempty"`

	Judged   int     `json:"judged,omitempty"`
	Returned int     `json:"returned,omitempty"`
	Seconds  float64 `json:"seconds,omitempty"`
	// SecondsAtRate is how long a plan's letters take, if there is a rate.
	SecondsAtRate float64 `json:"seconds_at_rate,omitempty"`
}

type setback struct {
	Why     string  `json:"why"`
	Letters int     `json:"letters"`
	First   desk.ID `json:"first"`
}

func setbacks(s desk.Setback) []setback {
	list := []setback{}
	for _, why := range slices.Sorted(maps.Keys(s.Why)) {
		list = append(list, setback{why, s.Why[why].Letters, s.Why[why].First})
	}
	return list
}

func newOutcome(action desk.Action, r desk.Report) outcome {
	reasons := r.Reasons
	if reasons == nil {
		reasons = map[string]map[string]int{}
	}
	return outcome{
		Action: action, RunID: r.RunID, Status: r.Status, Note: r.Note, Done: r.Done, Reasons: reasons, Parked: r.Parked,
		Skipped: setbacks(r.Skipped), Failed: setbacks(r.Failed), Judged: r.Judged, Returned: r.Returned,
		Seconds: r.Elapsed.Round(time.Millisecond).Seconds(),
	}
}

// past is the word for what was done.
func past(action desk.Action) string { return string(action) + "ed" }

// onto is how a topic goes with an action: what is replayed goes to its topic, what is parked stays.
func onto(action desk.Action) string {
	if action == desk.Replay || action == desk.Repair {
		return "to"
	}
	return "letters of"
}

func (c *console) printPlan(order desk.Order, r desk.Report, asJSON bool) error {
	result := newOutcome(order.Action, r)
	result.DryRun, result.RunID, result.Status, result.Seconds = true, "", "", 0
	if order.Rate > 0 {
		result.SecondsAtRate = float64(r.Done) / order.Rate
	}
	if asJSON {
		return c.answer(result)
	}
	var text strings.Builder
	would := "would " + string(order.Action)
	for _, topic := range slices.Sorted(maps.Keys(r.Reasons)) {
		fmt.Fprintf(&text, "%s %s %s:%s\n", would, onto(order.Action), topic, counts(r.Reasons[topic]))
	}
	if r.Parked > 0 {
		fmt.Fprintf(&text, "would park %d, replayed %d times or more already\n", r.Parked, order.MaxReplays)
	}
	for _, s := range result.Skipped {
		fmt.Fprintf(&text, "would skip %d, such as %s: %s\n", s.Letters, s.First, printable(s.Why))
	}
	fmt.Fprintf(&text, "dry run: %s %d", would, r.Done)
	if r.Parked > 0 {
		fmt.Fprintf(&text, ", park %d", r.Parked)
	}
	fmt.Fprintf(&text, " and skip %d", r.Skipped.Letters)
	if result.SecondsAtRate > 0 {
		took := time.Duration(result.SecondsAtRate * float64(time.Second)).Round(time.Second)
		fmt.Fprintf(&text, ", in about %s at %g a second", max(took, time.Second), order.Rate)
	}
	fmt.Fprintf(&text, "; nothing was written, --yes --reason=TEXT acts\n")
	_, err := fmt.Fprint(c.out, text.String())
	return err
}

func (c *console) printReport(action desk.Action, r desk.Report, asJSON bool) error {
	result := newOutcome(action, r)
	if asJSON {
		return c.answer(result)
	}
	var text strings.Builder
	for _, topic := range slices.Sorted(maps.Keys(r.Reasons)) {
		fmt.Fprintf(&text, "%s %s %s:%s\n", past(action), onto(action), topic, counts(r.Reasons[topic]))
	}
	for _, s := range result.Skipped {
		fmt.Fprintf(&text, "skipped %d, such as %s: %s\n", s.Letters, s.First, printable(s.Why))
	}
	for _, s := range result.Failed {
		fmt.Fprintf(&text, "failed %d, such as %s: %s\n", s.Letters, s.First, printable(s.Why))
	}
	if r.Judged > 0 {
		fmt.Fprintf(&text, "%d of them were consumed by now, of which %d came back\n", r.Judged, r.Returned)
	}
	fmt.Fprintf(&text, "%s=%d", past(action), r.Done)
	if action == desk.Replay || action == desk.Repair {
		fmt.Fprintf(&text, " parked=%d", r.Parked)
	}
	fmt.Fprintf(&text, " skipped=%d failed=%d run=%s\n", r.Skipped.Letters, r.Failed.Letters, r.RunID)
	_, err := fmt.Fprint(c.out, text.String())
	return err
}
