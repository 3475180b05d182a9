package desk

import (
	"fmt"
	"maps"
	"time"
)

// Report says what a run did, or would do. Of a run that was resumed it tells of the last stretch; its record on the topic
// of decisions tells of all.
type Report struct {
	RunID  string
	Status string // of deadletter's states of runs; empty for a plan
	Note   string // why it has stopped
	// Done counts the letters that were acted on, or would be, by original topic and reason.
	Done    int
	Reasons map[string]map[string]int
	// Parked letters were replayed too often, and are set aside.
	Parked int
	// Skipped letters cannot or must not be acted on. Failed ones were tried, and are as they were, unless the error that
	// ended the run says that this is not known.
	Skipped, Failed Setback
	// Of the replayed letters, how many consumers have dealt with, and how many of these came back as new letters.
	Judged, Returned int
	// Total is how many letters are selected, if a plan was made before; 0 if it is not known.
	Total   int
	Elapsed time.Duration
}

// Setback counts letters that were not acted on, by why.
type Setback struct {
	Letters int
	Why     map[string]*Cause
}

// Cause is why some letters were not acted on.
type Cause struct {
	Letters int
	First   ID // one of them
}

func (s *Setback) add(why string, id ID) {
	if s.Why == nil {
		s.Why = make(map[string]*Cause)
	}
	if s.Why[why] == nil {
		s.Why[why] = &Cause{First: id}
	}
	s.Why[why].Letters++
	s.Letters++
}

func (s Setback) clone() Setback {
	why := make(map[string]*Cause, len(s.Why))
	for name, cause := range s.Why {
		why[name] = new(*cause)
	}
	return Setback{Letters: s.Letters, Why: why}
}

// clone is what a caller may keep while the run goes on.
func (r *Report) clone() Report {
	c := *r
	c.Skipped, c.Failed = r.Skipped.clone(), r.Failed.clone()
	c.Reasons = make(map[string]map[string]int, len(r.Reasons))
	for topic, reasons := range r.Reasons {
		c.Reasons[topic] = maps.Clone(reasons)
	}
	return c
}

func (r *Report) did(e Entry) {
	if r.Reasons[e.ID.Topic] == nil {
		r.Reasons[e.ID.Topic] = make(map[string]int)
	}
	r.Reasons[e.ID.Topic][e.Letter.Reason]++
	r.Done++
}

// Shortfall says that not everything selected was acted on, if so.
func (r Report) Shortfall() error {
	if missed := r.Skipped.Letters + r.Failed.Letters; missed > 0 {
		return fmt.Errorf("%d of %d selected letters were left as they are", missed, missed+r.Done+r.Parked)
	}
	return nil
}
